import { upper, words, type Column } from './grow';
import { FIRST_MOMENT, Kind, type SpanTable } from './spans';

/** Spans whose clock went back by less than this are still one after the other, ms. */
const SLACK = 2;

/** One line of the picture: spans of one track of a lane that do not overlap, by their start. */
export class Row {
  readonly spans: Column<Uint32Array> = words(8);
  /** px from the top of the picture; set by `Layout.arrange`. */
  top = 0;

  constructor(
    readonly lane: number,
    readonly track: Track,
    readonly depth: number
  ) {}
}

/** The tracks of a lane, from the top. */
export enum Track {
  Work,
  Model,
  Locks,
  Approvals,
  Moments
}

const TRACKS: readonly Track[] = [
  Track.Work,
  Track.Work,
  Track.Model,
  Track.Locks,
  Track.Locks,
  Track.Approvals,
  Track.Moments,
  Track.Moments,
  Track.Moments,
  Track.Moments
];

/** px */
export const HEIGHT: Readonly<Record<Track, number>> = {
  [Track.Work]: 17,
  [Track.Model]: 12,
  [Track.Locks]: 12,
  [Track.Approvals]: 12,
  [Track.Moments]: 9
};
export const LANE_PAD = 6;
export const LANE_LEAST = 30;

/** A lane as it is drawn: an agent, and behind it its subagents. */
export interface ILane {
  readonly number: number;
  readonly name: string;
  /** How deep in the tree of agents. */
  readonly indent: number;
  readonly rows: readonly Row[];
  readonly top: number;
  readonly height: number;
}

/** Places spans in rows as they come, and rows in lanes. Pure: it looks at nothing but the table. */
export class Layout {
  lanes: readonly ILane[] = [];
  height = 0;
  private _placed = 0;
  private _arranged = '';
  private readonly _rows = new Map<number, Map<Track, Row[]>>();
  private readonly _rowOf: Row[] = [];

  constructor(readonly table: SpanTable) {}

  /** Place what was added to the table since the last time. */
  take(): void {
    const { length } = this.table;
    for (let index = this._placed; index < length; index++) {
      this._rowOf.push(this._place(index));
    }
    this._placed = length;
    const shape = `${this.table.lanes.length}:${this._count()}`;
    if (shape !== this._arranged) {
      this._arranged = shape;
      this._arrange();
    }
  }

  /** The row that a span is in. */
  rowOf(index: number): Row | undefined {
    return this._rowOf[index];
  }

  private _place(index: number): Row {
    const { table } = this;
    const track = TRACKS[table.kind.at(index)]!;
    const tracks = this._tracks(table.lane.at(index));
    let rows = tracks.get(track);
    if (!rows) {
      tracks.set(track, (rows = []));
    }
    if (table.kind.at(index) >= FIRST_MOMENT) {
      const row = (rows[0] ??= new Row(table.lane.at(index), track, 0));
      const start = table.start.at(index);
      const place = upper(row.spans.length, i => table.start.at(row.spans.at(i)), start);
      row.spans.insert(place, index);
      return row;
    }
    const row = rows.find(each => this._fits(each, index)) ?? this._newRow(rows, index, track);
    const before = row.spans.length;
    if (before) {
      const last = table.end.at(row.spans.at(before - 1));
      if (last > table.start.at(index)) {
        table.start.data[index] = last;
        if (table.end.at(index) < last) {
          table.end.data[index] = last;
        }
      }
    }
    row.spans.push(index);
    return row;
  }

  private _newRow(rows: Row[], index: number, track: Track): Row {
    const row = new Row(this.table.lane.at(index), track, rows.length);
    rows.push(row);
    return row;
  }

  private _fits(row: Row, index: number): boolean {
    const { table } = this;
    const count = row.spans.length;
    return count === 0 || table.end.at(row.spans.at(count - 1)) <= table.start.at(index) + SLACK;
  }

  private _tracks(lane: number): Map<Track, Row[]> {
    let found = this._rows.get(lane);
    if (!found) {
      this._rows.set(lane, (found = new Map()));
    }
    return found;
  }

  private _count(): number {
    let count = 0;
    for (const tracks of this._rows.values()) {
      for (const rows of tracks.values()) {
        count += rows.length;
      }
    }
    return count;
  }

  private _arrange(): void {
    let top = 0;
    this.lanes = laneOrder(this.table.lanes).map(number => {
      const tracks = this._rows.get(number) ?? new Map<Track, Row[]>();
      const rows = [...tracks.entries()].sort(([a], [b]) => a - b).flatMap(([, each]) => each);
      let at = top + LANE_PAD;
      for (const row of rows) {
        row.top = at;
        at += HEIGHT[row.track] + 1;
      }
      const height = Math.max(at + LANE_PAD - top, LANE_LEAST);
      const name = this.table.lanes[number]!;
      const lane = { number, name, indent: name.split('/').length - 1, rows, top, height };
      top += height;
      return lane;
    });
    this.height = top;
  }
}

/** Lanes by their first appearance; a subagent (`a/b`) right behind its parent. */
export function laneOrder(lanes: readonly string[]): number[] {
  const children = new Map<string, number[]>();
  const known = new Set(lanes);
  lanes.forEach((name, number) => {
    let parent = name;
    do {
      parent = parent.includes('/') ? parent.slice(0, parent.lastIndexOf('/')) : '';
    } while (parent && !known.has(parent));
    children.set(parent, [...(children.get(parent) ?? []), number]);
  });
  const walk = (parent: string): number[] => (children.get(parent) ?? []).flatMap(number => [number, ...walk(lanes[number]!)]);
  return walk('');
}

/** What the horizontal axis counts: time (ms), or the order of the log (seq). */
export interface IAxis {
  readonly name: 'time' | 'order';
  start(index: number): number;
  /** Infinity: it goes on. */
  end(index: number): number;
  first(): number;
  last(): number;
}

/** The axis of time. */
export function timeAxis(table: SpanTable): IAxis {
  return {
    name: 'time',
    start: index => table.start.at(index),
    end: index => {
      const end = table.end.at(index);
      return end === end ? end : Infinity;
    },
    first: () => Math.min(table.firstTime, table.last),
    last: () => table.last
  };
}

/** The axis of the log's order: idle time takes no room, and clocks play no part. */
export function orderAxis(table: SpanTable): IAxis {
  return {
    name: 'order',
    start: index => table.seq.at(index),
    end: index => table.endSeq.at(index) || Infinity,
    first: () => 0,
    last: () => table.lastSeq
  };
}

/** The spans of a row that reach into [from, to), as a range of places in the row. Those of a row do not overlap. */
export function visible(axis: IAxis, row: Row, from: number, to: number): [number, number] {
  const { spans } = row;
  const first = upper(spans.length, i => axis.end(spans.at(i)), from);
  const last = upper(spans.length, i => axis.start(spans.at(i)), to);
  return [Math.max(0, first - 1), last]; // one that ends right at `from` is a line at the edge
}

/** The span of a row at a moment, or the nearest one within `slack`; -1: none. */
export function spanAt(axis: IAxis, row: Row, at: number, slack: number): number {
  const [first, last] = visible(axis, row, at - slack, at + slack);
  let best = -1;
  let least = slack;
  for (let place = first; place < last; place++) {
    const index = row.spans.at(place);
    const away = Math.max(axis.start(index) - at, at - axis.end(index), 0);
    if (away <= least) {
      least = away;
      best = index;
    }
  }
  return best;
}

/** Whether a kind is a moment. */
export const isMoment = (kind: Kind): boolean => kind >= FIRST_MOMENT;
