import type { EventLog } from './log';
import { Search } from './matches';

/** What of the table of events is shown. Empty: everything. */
export interface IFilter {
  readonly types: ReadonlySet<string>;
  /** With its subagents. */
  readonly actor: string;
  /** A part of a work unit. */
  readonly unit: string;
  /** A part of what an event says. */
  readonly text: string;
}

/** Everything. */
export const NO_FILTER: IFilter = { types: new Set(), actor: '', unit: '', text: '' };

/** Whether a filter leaves anything out. */
export const isFiltering = (filter: IFilter): boolean =>
  filter.types.size > 0 || filter.actor !== '' || filter.unit !== '' || filter.text !== '';

/** The indexes that pass a filter, found a slice at a time so that nothing else has to wait, and kept as the log grows. */
export class Filtered {
  readonly indexes: number[] = [];
  private _looked = 0;
  private readonly _search: Search;

  constructor(
    readonly log: EventLog,
    readonly filter: IFilter
  ) {
    this._search = new Search(filter.unit, filter.text);
  }

  /** Whether everything was looked at. */
  get done(): boolean {
    return this._looked >= this.log.length;
  }

  /** Look for at most `ms` milliseconds. True: there is nothing left to look at. */
  work(ms: number, clock: () => number = () => performance.now()): boolean {
    const until = clock() + ms;
    while (!this.done) {
      const end = Math.min(this._looked + 256, this.log.length);
      for (; this._looked < end; this._looked++) {
        if (this._passes(this._looked)) {
          this.indexes.push(this._looked);
        }
      }
      if (clock() >= until) {
        break;
      }
    }
    return this.done;
  }

  private _passes(index: number): boolean {
    const { log, filter } = this;
    if (filter.types.size && !filter.types.has(log.types.text(log.type.at(index)))) {
      return false;
    }
    if (filter.actor) {
      const actor = log.actors.text(log.actor.at(index));
      if (actor !== filter.actor && !actor.startsWith(`${filter.actor}/`)) {
        return false;
      }
    }
    return this._search.isEmpty || this._search.matches(log.events[index]!);
  }
}
