import { ReactWidget } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import type { IGateway, IModel } from '../tokens';
import { RunStore } from './store';
import { Console } from './views/console';
import { ConsoleProvider, type IConsole } from './views/context';

/** The run console: one run in the main area. */
export class ConsolePanel extends ReactWidget {
  readonly store: RunStore;
  private readonly _console: IConsole;

  constructor(options: ConsolePanel.IOptions) {
    super();
    const { run, gateway, model, trans, insertCode } = options;
    this.addClass('jp-agentlab-console');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Run %1', options.name || run));
    this.store = new RunStore(run, { gateway, model });
    this._console = { store: this.store, gateway, trans, insertCode: () => insertCode(this.store) };
  }

  dispose(): void {
    if (!this.isDisposed) {
      this.store.dispose();
      super.dispose();
    }
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (!this._started) {
      this._started = true;
      this.store.start();
    }
  }

  protected render(): JSX.Element {
    return (
      <ConsoleProvider value={this._console}>
        <Console />
      </ConsoleProvider>
    );
  }

  private _started = false;
}

/** What a console is made of. */
export namespace ConsolePanel {
  export interface IOptions {
    readonly run: string;
    readonly name?: string;
    readonly gateway: IGateway;
    readonly model: IModel | null;
    readonly trans: TranslationBundle;
    readonly insertCode: (store: RunStore) => void;
  }
}
