import type { IRowTypes, Rows, Row, Tables } from '../model/wire';

/** The rows of a run as they were after an event. */
export interface IMoment {
  readonly seq: number;
  readonly tables: Tables;
}

/** Asks for the state at a seq. */
export type Ask = (seq: number, signal: AbortSignal) => Promise<{ seq: number; tables: { [table: string]: { [key: string]: Row } } }>;

const KEPT = 200;

/**
 * The states of a run by seq, remembered. Where the wish rests, the last one is asked for, and what is still on its way for an
 * older one is given up. While it moves on and on, as in a film, one at a time is asked for and told of, so that it can be seen.
 */
export class Moments {
  private readonly _known = new Map<number, IMoment>();
  private _wanted: number | null = null;
  private _resting: ReturnType<typeof setTimeout> | undefined;
  private _moving: ReturnType<typeof setTimeout> | undefined;
  private _asking: { readonly seq: number; readonly abort: AbortController } | null = null;

  constructor(
    private readonly _ask: Ask,
    private readonly _told: (moment: IMoment) => void,
    private readonly _failed: (error: unknown) => void,
    private readonly _rest = 24 // ms: longer than a frame, so that a drag asks only where it rests
  ) {}

  /** Want the state after an event. One that is known is told of at once. */
  want(seq: number): void {
    if (seq === this._wanted) {
      return;
    }
    this._wanted = seq;
    clearTimeout(this._resting);
    const known = this._known.get(seq);
    if (known) {
      this._giveUp();
      this._told(known);
      return;
    }
    this._resting = setTimeout(() => void this._go(), this._rest);
    this._moving ??= setTimeout(() => {
      this._moving = undefined;
      if (!this._asking) {
        void this._go();
      }
    }, this._rest);
  }

  /** Forget what was wanted. */
  cancel(): void {
    this._giveUp();
    this._wanted = null;
  }

  /** Leave what is on its way, or about to be. */
  private _giveUp(): void {
    clearTimeout(this._resting);
    clearTimeout(this._moving);
    this._moving = undefined;
    this._asking?.abort.abort();
    this._asking = null;
  }

  private async _go(): Promise<void> {
    const seq = this._wanted;
    if (seq === null || seq === this._asking?.seq || this._known.has(seq)) {
      return;
    }
    this._asking?.abort.abort();
    const asking = (this._asking = { seq, abort: new AbortController() });
    try {
      const answer = await this._ask(seq, asking.abort.signal);
      const moment: IMoment = { seq, tables: tablesOf(answer.tables) };
      this._remember(moment);
      if (this._asking === asking) {
        this._asking = null;
        this._told(moment);
      }
    } catch (error) {
      if (this._asking === asking) {
        this._asking = null;
        if (this._wanted === seq) {
          this._wanted = null; // so that it can be wanted again
          this._failed(error);
        }
      }
    }
  }

  private _remember(moment: IMoment): void {
    this._known.set(moment.seq, moment);
    if (this._known.size > KEPT) {
      this._known.delete(this._known.keys().next().value!);
    }
  }
}

/** The tables of an answer as maps. */
export function tablesOf(tables: { readonly [table: string]: { readonly [key: string]: Row | null } }): Tables {
  return new Map(
    Object.entries(tables).map(([name, rows]) => [
      name,
      new Map(Object.entries(rows).filter((entry): entry is [string, Row] => entry[1] !== null))
    ])
  );
}

/** The rows of one table that belong to a run. */
export function rowsOfRun<T extends keyof IRowTypes>(tables: Tables, table: T, run: string): IRowTypes[T][] {
  const rows = (tables.get(table) ?? new Map()) as unknown as Rows<IRowTypes[T]>;
  return [...rows.values()].filter(row => ((row as { run_id?: string }).run_id ?? run) === run);
}
