/** A host for views: a model that shows what it is given, commands that are only noted. */
import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import { act, render } from '@testing-library/react';
import React from 'react';

import { rowsOf } from '../src/model/model';
import { TableDraft } from '../src/model/tables';
import type { IDelta, IRowTypes, Rows } from '../src/model/wire';
import { DEFAULTS, type ISettings } from '../src/settings';
import type { IModel, IView, Link } from '../src/tokens';
import { Host, type IHost } from '../src/ui/host';
import { FakeGateway, full } from './fakes';

/** ns: the moment at which all tests play. */
export const NOW = 1_700_000_100e9;

/** Rows without a stream. */
export class StillModel implements IModel {
  private readonly _draft = new TableDraft();
  readonly changed = new Signal<this, IView>(this);
  view: IView = { seq: 0, tables: new Map(), link: { state: 'live' }, asOf: NOW / 1e6 };
  reconnects = 0;

  constructor(tables: IDelta['tables'] = {}) {
    this.show(full(1, tables));
  }

  show(change: IDelta, link: Link = this.view.link): void {
    this._draft.apply(change);
    this.view = { ...this.view, seq: this._draft.seq, tables: this._draft.publish(), link };
    this.changed.emit(this.view);
  }

  rows<T extends keyof IRowTypes>(table: T): Rows<IRowTypes[T]> {
    return rowsOf(this.view, table);
  }

  now(): number {
    return NOW;
  }

  reconnect(): void {
    this.reconnects++;
  }
}

/** What a test may look into. */
export interface IStage {
  host: IHost;
  model: StillModel;
  gateway: FakeGateway;
  ran: { command: string; args: unknown }[];
}

/** A stage with these rows. `commands`: those that there are. */
export function stage(tables: IDelta['tables'] = {}, more: Partial<ISettings> & { commands?: string[] } = {}): IStage {
  const model = new StillModel(tables);
  const gateway = new FakeGateway();
  const ran: IStage['ran'] = [];
  const { commands = ['agentlab:open-run', 'agentlab:compare-runs'], ...settings } = more;
  const host: IHost = {
    agentlab: { model, gateway },
    trans: nullTranslator.load('agentlab'),
    settings: { ...DEFAULTS, ...settings },
    run: async (command, args) => void ran.push({ command, args }),
    has: command => commands.includes(command)
  };
  return { host, model, gateway, ran };
}

/** Render a view on a stage. */
export function shown(on: IStage, view: JSX.Element): ReturnType<typeof render> {
  return render(<Host.Provider value={on.host}>{view}</Host.Provider>);
}

/** Change the rows of a stage, as the stream would. */
export function change(on: IStage, what: IDelta, link?: Link): void {
  act(() => on.model.show(what, link));
}
