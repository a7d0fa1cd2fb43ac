import type { IDelta, Row } from './wire';

const FIELDS = ['touched', 'last_seen', 'updated', 'requested', 'granted', 'asked', 'started', 'ended', 'queued_at'] as const;

/**
 * The time of the plane, ns since the epoch, told from what it sends and never from this computer's calendar, which may jump.
 *
 * `tick`: ms of a clock that only goes forward.
 */
export class PlaneClock {
  private _offset: number | null = null; // ms between `tick` and the plane's time

  constructor(private readonly _tick: () => number = () => performance.now()) {}

  now(): number {
    return (this._tick() + (this._offset ?? Date.now() - this._tick())) * 1e6;
  }

  /** An answer of the server said what time it is, to the second. */
  answered(date: string | null): void {
    const told = date ? Date.parse(date) : NaN;
    if (!Number.isNaN(told)) {
      const offset = told + 500 - this._tick();
      if (this._offset === null || Math.abs(offset - this._offset) > 1500) {
        this._offset = offset;
      }
    }
  }

  /** Rows came: it is at least as late as the newest time in them. */
  rows(delta: IDelta): void {
    let newest = 0;
    for (const rows of Object.values(delta.tables)) {
      for (const row of Object.values(rows)) {
        newest = row ? Math.max(newest, latest(row)) : newest;
      }
    }
    const offset = newest / 1e6 - this._tick();
    if (newest && (this._offset === null ? true : offset > this._offset)) {
      this._offset = this._offset === null ? Math.max(offset, Date.now() - this._tick()) : offset;
    }
  }
}

function latest(row: Row): number {
  let newest = 0;
  for (const field of FIELDS) {
    const value = row[field];
    if (typeof value === 'number' && value > newest) {
      newest = value;
    }
  }
  return newest;
}
