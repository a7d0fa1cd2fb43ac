import { ReactWidget } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import { line } from '../timeline/visible';
import type { IGateway, IModel } from '../tokens';
import { RunStore } from './store';
import { Console } from './views/console';
import { ConsoleProvider, type IConsole } from './views/context';

/** The run console: one run in the main area. Its title is the name of the run, as soon as that is known. */
export class ConsolePanel extends ReactWidget {
  readonly store: RunStore;
  private readonly _console: IConsole;

  constructor(options: ConsolePanel.IOptions) {
    super();
    const { run, gateway, model, trans, insertCode } = options;
    this.addClass('jp-agentlab-console');
    this.node.setAttribute('role', 'region');
    this.store = new RunStore(run, { gateway, model });
    this._console = { store: this.store, gateway, trans, insertCode: () => insertCode(this.store) };
    this._call(options.name || run);
    const undo = this.store.changed.listen(() => {
      if (this.store.name) {
        undo();
        this._call(this.store.name);
      }
    });
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

  private _call(name: string): void {
    const shown = line(name, 60);
    this.title.label = shown;
    this.title.caption = shown === this.store.run ? shown : `${shown} (${this.store.run})`;
    const { trans } = this._console;
    this.node.setAttribute('aria-label', trans.__('Run %1', shown));
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
