import { text } from '../timeline/events';
import { visibleText } from '../timeline/visible';
import type { EventLog, IProcess } from './log';

/** The longest piece that is one row; a longer line goes on in the next row. */
export const WIDEST = 2_000;

/** One row of an output. */
export interface ILine {
  readonly text: string;
  readonly fd: number;
  /** It goes on from the row before. */
  readonly goesOn: boolean;
  /** seq of the event that brought its beginning. */
  readonly seq: number;
}

/** What a process printed, as rows: made as it comes, never twice. Terminal sequences are taken out, the rest is written out. */
export class Output {
  readonly lines: ILine[] = [];
  /** Pieces whose bytes are not all here, as hashes. */
  readonly cut: string[] = [];
  private _taken = 0;
  private readonly _begun = new Map<number, { text: string; seq: number }>();

  constructor(
    private readonly _log: EventLog,
    readonly process: IProcess
  ) {}

  /** Take what had been printed after `count` events. False: that is less than is here already; make another one. */
  take(count: number): boolean {
    const { outputs } = this.process;
    if (this._taken > 0 && outputs[this._taken - 1]! >= count) {
      return false;
    }
    for (; this._taken < outputs.length && outputs[this._taken]! < count; this._taken++) {
      const event = this._log.events[outputs[this._taken]!]!;
      const raw = text(event.body, 'raw');
      if (raw) {
        this.cut.push(raw);
      }
      this._add(text(event.body, 'data'), event.body.fd === 2 ? 2 : 1, event.seq);
    }
    return true;
  }

  /** What was begun and has no end yet. */
  get rest(): ILine[] {
    return [...this._begun].flatMap(([fd, { text: begun, seq }]) => pieces(begun, fd, seq));
  }

  private _add(data: string, fd: number, seq: number): void {
    const begun = this._begun.get(fd);
    const parts = ((begun?.text ?? '') + data).split('\n');
    const rest = parts.pop()!;
    parts.forEach((part, i) => this.lines.push(...pieces(part, fd, i === 0 ? (begun?.seq ?? seq) : seq)));
    if (rest) {
      this._begun.set(fd, { text: rest, seq: parts.length ? seq : (begun?.seq ?? seq) });
    } else {
      this._begun.delete(fd);
    }
  }
}

function pieces(raw: string, fd: number, seq: number): ILine[] {
  // A bare carriage return writes over the line: what was last is what a terminal shows.
  const shown = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
  const clean = visibleText(shown.slice(shown.lastIndexOf('\r') + 1));
  const found: ILine[] = [];
  for (let at = 0; at === 0 || at < clean.length; at += WIDEST) {
    found.push({ text: clean.slice(at, at + WIDEST), fd, goesOn: at > 0, seq });
  }
  return found;
}
