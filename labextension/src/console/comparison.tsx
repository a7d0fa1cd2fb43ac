import { ReactWidget } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import { line } from '../timeline/visible';
import type { IGateway } from '../tokens';
import { RunStore } from './store';
import { Compare } from './views/compare';
import type { IConsole } from './views/context';

/** Two runs in one panel of the main area. */
export class ComparisonPanel extends ReactWidget {
  readonly runs: readonly [string, string];
  private readonly _consoles: readonly [IConsole, IConsole];

  constructor(options: ComparisonPanel.IOptions) {
    super();
    const { runs, gateway, trans } = options;
    this.addClass('jp-agentlab-console');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Two runs compared'));
    const make = (run: string): IConsole => ({ store: new RunStore(run, { gateway }), gateway, trans, insertCode: () => undefined });
    this.runs = runs;
    this._consoles = [make(runs[0]), make(runs[1])];
    this._call();
    this._consoles.forEach(({ store }) => {
      const undo = store.changed.listen(() => {
        if (store.name) {
          undo();
          this._call();
        }
      });
    });
  }

  dispose(): void {
    if (!this.isDisposed) {
      this._consoles.forEach(({ store }) => store.dispose());
      super.dispose();
    }
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (!this._started) {
      this._started = true;
      this._consoles.forEach(({ store }) => store.start());
    }
  }

  private _call(): void {
    const [a, b] = this._consoles.map(({ store }) => line(store.name || store.run, 40)) as [string, string];
    const { trans } = this._consoles[0];
    this.title.label = trans.__('%1 and %2', a, b);
    this.title.caption = `${this.title.label} (${this.runs.join(', ')})`;
  }

  protected render(): JSX.Element {
    return <Compare consoles={this._consoles} />;
  }

  private _started = false;
}

/** What a comparison is made of. */
export namespace ComparisonPanel {
  export interface IOptions {
    readonly runs: readonly [string, string];
    readonly gateway: IGateway;
    readonly trans: TranslationBundle;
  }
}
