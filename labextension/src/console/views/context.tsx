import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { IGateway } from '../../tokens';
import { bundleOf } from '../../translation';
import type { RunStore } from '../store';

/** What every view of the console may use. */
export interface IConsole {
  readonly store: RunStore;
  readonly gateway: IGateway;
  readonly trans: TranslationBundle;
  /** Put the code of what is shown into a notebook. */
  readonly insertCode: () => void;
}

const Context = React.createContext<IConsole | null>(null);

export const ConsoleProvider = Context.Provider;

/** The console that a view is in. */
export function useConsole(): IConsole {
  const found = React.useContext(Context);
  if (!found) {
    throw new Error('A view of the console was used outside of it.');
  }
  return found;
}

/** The store, with a new picture whenever it has changed. */
export function useStore(): RunStore {
  const { store } = useConsole();
  const [, again] = React.useReducer((n: number) => n + 1, 0);
  React.useEffect(() => store.changed.listen(again), [store]);
  return store;
}

/** Words where no translation was handed over: tests. */
export const untranslated = bundleOf(null);
