import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';

import type { IGateway, IModel, IView, Link } from '../tokens';
import { PlaneClock } from './clock';
import { RowStream } from './stream';
import { TableDraft } from './tables';
import type { IDelta, IRowTypes, Rows } from './wire';

const NONE: Rows = new Map();

const HIDDEN = 1000; // ms between two views while nobody looks

/** The one owner of the rows. Deltas are folded as they come; views of them are given out at most once a frame. */
export class AgentlabModel implements IModel, IDisposable {
  private readonly _draft = new TableDraft();
  private readonly _stream: RowStream;
  private readonly _changed = new Signal<this, IView>(this);
  private readonly _clock: PlaneClock;
  private _view: IView = { seq: 0, tables: new Map(), link: { state: 'connecting' }, asOf: null };
  private _link: Link = this._view.link;
  private _asOf: number | null = null;
  private _due = false;
  private _gave = 0; // when the last view was given out, ms
  private _disposed = false;

  /** Pause between two views, ms: more than a frame where people want it calm. */
  pause = 50;

  constructor(gateway: IGateway, clock: PlaneClock = new PlaneClock()) {
    this._clock = clock;
    this._stream = new RowStream(gateway, {
      since: () => (this._asOf === null ? null : this._draft.seq),
      take: delta => this._take(delta),
      heard: () => {
        this._asOf = this._clock.now() / 1e6;
      },
      link: link => {
        this._link = link;
        this._soon();
      }
    });
  }

  get view(): IView {
    return this._view;
  }

  get changed(): ISignal<this, IView> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  rows<T extends keyof IRowTypes>(table: T): Rows<IRowTypes[T]> {
    return rowsOf(this._view, table);
  }

  now(): number {
    return this._clock.now();
  }

  reconnect(): void {
    this._stream.start();
  }

  dispose(): void {
    if (!this._disposed) {
      this._disposed = true;
      this._stream.close();
      Signal.clearData(this);
    }
  }

  private _take(delta: IDelta): boolean {
    if (!this._draft.apply(delta)) {
      return false;
    }
    this._clock.rows(delta);
    this._soon();
    return true;
  }

  private _soon(): void {
    if (this._due || this._disposed) {
      return;
    }
    this._due = true;
    const wait = this.pause - (performance.now() - this._gave);
    if (document.hidden) {
      setTimeout(this._give, HIDDEN);
    } else if (wait > 0) {
      setTimeout(() => requestAnimationFrame(this._give), wait);
    } else {
      requestAnimationFrame(this._give);
    }
  }

  private _give = (): void => {
    this._due = false;
    if (this._disposed) {
      return;
    }
    this._gave = performance.now();
    this._view = { seq: this._draft.seq, tables: this._draft.publish(), link: this._link, asOf: this._asOf };
    this._changed.emit(this._view);
  };
}

/** The rows of a table in a view; none where it is unknown. */
export function rowsOf<T extends keyof IRowTypes>(view: Pick<IView, 'tables'>, table: T): Rows<IRowTypes[T]> {
  return (view.tables.get(table) ?? NONE) as unknown as Rows<IRowTypes[T]>;
}
