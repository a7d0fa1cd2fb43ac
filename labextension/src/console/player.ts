import { upper } from '../timeline/grow';
import type { EventLog } from './log';

/** What a step goes along. */
export type Stride = 'event' | 'call' | 'grant';

/** The event that a step from `seq` (null: the end) leads to; null: past the last one, the end. */
export function step(log: EventLog, seq: number | null, by: 1 | -1, stride: Stride): number | null {
  const count = log.count(seq);
  if (stride === 'event') {
    if (seq === null && by > 0) {
      return null;
    }
    const index = by > 0 ? count : count - 2;
    return index >= log.length ? null : log.seq.at(Math.max(index, 0)) || null;
  }
  const list = stride === 'call' ? log.calls : log.grants;
  const here = count - 1; // index of the event that the cursor is at
  const place = by > 0 ? upper(list.length, i => list[i]!, here) : upper(list.length, i => list[i]!, here - 1) - 1;
  const index = list[place];
  if (index === undefined) {
    return by > 0 ? null : log.length ? log.seq.at(0) : null;
  }
  return log.seq.at(index);
}

/** How fast a film can run. */
export const SPEEDS = [1, 2, 5, 10, 25, 100] as const;

/** Longest time in which nothing happens, ms of the run: a film does not wait for what took hours. */
const IDLE = 3_000;

/** A film of a run: moves the cursor as time went on then, only faster. */
export class Player {
  speed: number = 10;
  private _frame = 0;
  private _last = 0;
  private _time = 0;

  constructor(
    private readonly _log: EventLog,
    private readonly _cursor: () => number | null,
    private readonly _move: (seq: number | null) => void,
    private readonly _frames = { next: (call: (now: number) => void) => requestAnimationFrame(call), stop: (id: number) => cancelAnimationFrame(id) }
  ) {}

  get playing(): boolean {
    return this._frame !== 0;
  }

  /** Go on from the cursor; from the beginning where it is at the end. */
  play(): void {
    if (this.playing || !this._log.length) {
      return;
    }
    if (this._cursor() === null) {
      this._move(this._log.seq.at(0));
    }
    this._time = this._log.timeOf(this._cursor()!);
    this._last = 0;
    this._frame = this._frames.next(now => this._tick(now));
  }

  pause(): void {
    if (this.playing) {
      this._frames.stop(this._frame);
      this._frame = 0;
    }
  }

  private _tick(now: number): void {
    const cursor = this._cursor();
    if (cursor === null) {
      this._frame = 0;
      return;
    }
    const went = this._last ? Math.min(now - this._last, 250) : 0;
    this._last = now;
    const at = this._log.timeOf(cursor);
    // Somebody moved the cursor: go on from there.
    this._time = this._time < at || this._log.seqAt(this._time) < cursor ? at : this._time;
    this._time += went * this.speed;
    const next = this._log.count(cursor);
    if (next >= this._log.length) {
      this._frame = 0;
      this._move(null);
      return;
    }
    const due = this._log.reached.at(next);
    if (due - this._time > IDLE * Math.max(1, this.speed / 10)) {
      this._time = due; // nothing happens for long: skip it
    }
    const seq = this._log.seqAt(this._time);
    if (seq >= this._log.lastSeq) {
      this._frame = 0; // before the move: who looks then sees that it is over
      this._move(null);
      return;
    }
    if (seq > cursor) {
      this._move(seq);
    }
    this._frame = this._frames.next(later => this._tick(later));
  }
}
