import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import React from 'react';

import { problemIn } from '../model/problems';
import type { IProblem } from '../model/wire';
import type { IAgentlab, IView } from '../tokens';
import type { ISettings } from '../settings';

/** What views may use. */
export interface IHost {
  readonly agentlab: IAgentlab;
  readonly trans: TranslationBundle;
  readonly settings: ISettings;
  /** Carry out a command. Raises what went wrong. */
  run(command: string, args?: ReadonlyPartialJSONObject): Promise<unknown>;
  /** Whether there is such a command: a part of agentlab may be missing. */
  has(command: string): boolean;
}

/** The host of the views below. */
export const Host = React.createContext<IHost | null>(null);

/** The host; only to be used below one. */
export function useHost(): IHost {
  const host = React.useContext(Host);
  if (!host) {
    throw new Error('No host of agentlab above this view.');
  }
  return host;
}

/** The rows as they are; the view is made again when there are others. */
export function useView(): IView {
  const { model } = useHost().agentlab;
  const subscribe = React.useCallback(
    (changed: () => void) => {
      model.changed.connect(changed);
      return () => void model.changed.disconnect(changed);
    },
    [model]
  );
  return React.useSyncExternalStore(subscribe, () => model.view);
}

/** Whether the rows are as they are now, and not as they were. */
export function fresh(view: IView): boolean {
  return view.link.state === 'live' || view.link.state === 'polling';
}

/** The time that ages are counted to, ns: where the rows are old, the one they are of. */
export function timeOf(host: IHost): number {
  const { model } = host.agentlab;
  return fresh(model.view) || model.view.asOf === null ? model.now() : model.view.asOf * 1e6;
}

/** Something that is asked of the plane: whether it is under way, and what went wrong the last time. */
export interface IAsking {
  readonly busy: boolean;
  readonly problem: IProblem | null;
  ask(what: () => Promise<unknown>): Promise<boolean>;
  forget(): void;
}

/** Ask for something, and hold what comes of it. */
export function useAsking(): IAsking {
  const [busy, setBusy] = React.useState(false);
  const [problem, setProblem] = React.useState<IProblem | null>(null);
  const there = React.useRef(true);
  React.useEffect(() => {
    there.current = true;
    return () => void (there.current = false);
  }, []);
  const ask = React.useCallback(async (what: () => Promise<unknown>) => {
    setBusy(true);
    setProblem(null);
    let found: IProblem | null = null;
    try {
      await what();
    } catch (error) {
      found = problemIn(error);
    }
    if (there.current) {
      setBusy(false);
      setProblem(found);
    }
    return found === null;
  }, []);
  return { busy, problem, ask, forget: () => setProblem(null) };
}
