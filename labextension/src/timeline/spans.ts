import { bytes, floats, Texts, upper, words } from './grow';
import { line } from './visible';

/** What took time, or happened at a moment. The order is that of the tracks in a lane, from the top. */
export enum Kind {
  Tool,
  Process,
  Model,
  Wait,
  Hold,
  Approval,
  Message,
  File,
  Problem,
  Mark
}

/** Kinds from here on are moments: they have no length. */
export const FIRST_MOMENT = Kind.Message;

/** How it ended, as far as the picture says it. */
export enum Fate {
  Fine,
  Bad,
  Denied
}

/** One span, as it is handed over. Times are milliseconds since the origin of the picture; `end` null: it goes on. */
export interface ISpan {
  readonly kind: Kind;
  readonly lane: string;
  readonly start: number;
  readonly end: number | null;
  readonly seq: number;
  readonly endSeq?: number | null;
  readonly label?: string;
  readonly unit?: string;
  readonly fate?: Fate;
}

/** All spans of a picture in columns. Appended in the order of the log; the end of an open one is set later. */
export class SpanTable {
  readonly texts = new Texts();
  readonly lanes: string[] = [];
  readonly kind = bytes();
  readonly lane = words();
  readonly start = floats();
  readonly end = floats(); // NaN: it goes on
  readonly seq = words();
  readonly endSeq = words(); // 0: it goes on
  readonly label = words();
  readonly unit = words();
  readonly fate = bytes();
  /** The latest moment that anything tells of, ms. */
  last = 0;
  lastSeq = 0;
  firstTime = Infinity;
  private readonly _shown: string[] = [];
  private readonly _laneNumbers = new Map<string, number>();

  get length(): number {
    return this.kind.length;
  }

  add(span: ISpan): number {
    const start = span.start;
    const end = span.end === null ? NaN : Math.max(span.end, start);
    this.kind.push(span.kind);
    this.lane.push(this.laneNumber(span.lane));
    this.start.push(start);
    this.end.push(end);
    this.seq.push(span.seq);
    this.endSeq.push(span.end === null ? 0 : (span.endSeq ?? span.seq));
    this.label.push(this.texts.number(span.label));
    this.unit.push(this.texts.number(span.unit));
    const index = this.fate.push(span.fate ?? Fate.Fine);
    this.reach(start, span.seq);
    if (end === end) {
      this.reach(end, span.endSeq ?? span.seq);
    }
    return index;
  }

  /** End an open span: never before it began. */
  finish(index: number, end: number, seq: number, fate: Fate = Fate.Fine): void {
    this.end.data[index] = Math.max(end, this.start.at(index));
    this.endSeq.data[index] = seq;
    if (fate !== Fate.Fine) {
      this.fate.data[index] = fate;
    }
    this.reach(end, seq);
  }

  /** There was something at this moment, whether it is drawn or not. */
  reach(time: number, seq: number): void {
    if (time > this.last) {
      this.last = time;
    }
    if (time < this.firstTime) {
      this.firstTime = time;
    }
    if (seq > this.lastSeq) {
      this.lastSeq = seq;
    }
  }

  isOpen(index: number): boolean {
    const end = this.end.at(index);
    return end !== end;
  }

  /** A label or a unit as it may be shown: what agents wrote is made visible, once for each text. */
  shown(number: number): string {
    return (this._shown[number] ??= line(this.texts.text(number), 200));
  }

  laneNumber(name: string): number {
    let found = this._laneNumbers.get(name);
    if (found === undefined) {
      found = this.lanes.push(name) - 1;
      this._laneNumbers.set(name, found);
    }
    return found;
  }
}

/** Columns as a kernel sends them, one after the other in a buffer: doubles start and end (ms; NaN: open), words lane, seq, label, unit, bytes kind and fate. */
export function unpack(data: ArrayBuffer, lanes: readonly string[], texts: readonly string[]): SpanTable {
  const each = 2 * 8 + 4 * 4 + 2;
  const count = Math.floor(data.byteLength / each);
  const doubles = new Float64Array(data, 0, 2 * count);
  const numbers = new Uint32Array(data, 16 * count, 4 * count);
  const small = new Uint8Array(data, 32 * count, 2 * count);
  const table = new SpanTable();
  lanes.forEach(lane => table.laneNumber(lane));
  for (let i = 0; i < count; i++) {
    const end = doubles[count + i]!;
    table.add({
      start: doubles[i]!, end: end === end ? end : null, lane: lanes[numbers[i]!] ?? '?', seq: numbers[count + i]!,
      label: texts[numbers[2 * count + i]!] ?? '', unit: texts[numbers[3 * count + i]!] ?? '',
      kind: Math.min(small[i]!, Kind.Mark) as Kind, fate: Math.min(small[count + i]!, Fate.Denied) as Fate
    });
  }
  return table;
}

/** Whether a kind tells of a lock. */
export const isKindLock = (kind: Kind): boolean => kind === Kind.Wait || kind === Kind.Hold;

/** The span that an event begins, else the one that it ends; -1: none. */
export function spanOf(table: SpanTable, seq: number): number {
  const { length } = table;
  const after = upper(length, i => table.seq.at(i), seq);
  if (after > 0 && table.seq.at(after - 1) === seq) {
    return after - 1;
  }
  for (let index = after - 1; index >= 0; index--) {
    if (table.endSeq.at(index) === seq) {
      return index;
    }
  }
  return -1;
}
