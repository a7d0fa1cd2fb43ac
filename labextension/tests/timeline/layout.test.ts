import { describe, expect, it } from 'vitest';

import { Teller, type IEvent } from '../../src/timeline';
import { laneOrder, Layout, orderAxis, spanAt, timeAxis, Track, visible } from '../../src/timeline/layout';
import { Kind, SpanTable } from '../../src/timeline/spans';
import { fit, pan, reveal, ticks, timeText, within, zoom } from '../../src/timeline/viewport';
import { Pen, random, run } from './runs';

function laid(events: readonly IEvent[], batch = Infinity): Layout {
  const teller = new Teller();
  const layout = new Layout(teller.table);
  events.forEach((event, i) => {
    teller.take(event);
    if ((i + 1) % batch === 0) {
      layout.take();
    }
  });
  layout.take();
  return layout;
}

const rowsOf = (layout: Layout) => layout.lanes.flatMap(lane => lane.rows);

describe('the layout', () => {
  it('has each span in exactly one row, and spans of a row one after the other', () => {
    for (const seed of [1, 5, 9]) {
      const layout = laid(run(4000, 6, seed));
      const seen = new Set<number>();
      for (const row of rowsOf(layout)) {
        let before = -Infinity;
        for (let place = 0; place < row.spans.length; place++) {
          const index = row.spans.at(place);
          expect(seen.has(index)).toBe(false);
          seen.add(index);
          expect(layout.table.lane.at(index)).toBe(row.lane);
          expect(layout.table.start.at(index)).toBeGreaterThanOrEqual(row.track === Track.Moments ? -Infinity : before);
          before = timeAxis(layout.table).end(index);
        }
      }
      expect(seen.size).toBe(layout.table.length);
    }
  });

  it('is the same whether events come one by one or all together, where what has ended is known', () => {
    const events = run(1500, 4, 3);
    const [one, some] = [laid(events, 1), laid(events, 7)];
    const shape = (layout: Layout) => layout.lanes.map(lane => [lane.name, lane.rows.filter(row => row.spans.length).length > 0]);
    expect(shape(one)).toEqual(shape(some));
    expect(rowsOf(one).reduce((sum, row) => sum + row.spans.length, 0)).toBe(one.table.length);
  });

  it('puts overlapping calls of an agent below each other', () => {
    const pen = new Pen();
    pen.put('a', { type: 'tool.call', call: '1' }, { name: 'run' });
    pen.now = 10;
    pen.put('a', { type: 'tool.call', call: '2' }, { name: 'run' });
    pen.now = 20;
    pen.put('a', { type: 'tool.result', call: '1' }, { status: 'ok' });
    pen.now = 30;
    pen.put('a', { type: 'tool.call', call: '3' }, { name: 'run' });
    const layout = laid(pen.events, 1);
    expect([0, 1, 2].map(i => layout.rowOf(i)!.depth)).toEqual([0, 1, 0]);
  });

  it('puts subagents behind their parents, and lanes in the order of their appearance', () => {
    const lanes = ['user:me', 'a', 'b', 'a/x', 'b/y', 'a/x/deep', 'c/orphan'];
    expect(laneOrder(lanes).map(n => lanes[n])).toEqual(['user:me', 'a', 'a/x', 'a/x/deep', 'b', 'b/y', 'c/orphan']);
  });

  it('finds what is on the screen as a look at every span would', () => {
    const layout = laid(run(3000, 3, 11));
    const { table } = layout;
    const next = random(4);
    for (const axis of [timeAxis(table), orderAxis(table)]) {
      for (let round = 0; round < 200; round++) {
        const a = next() * axis.last();
        const b = a + next() * axis.last() * 0.1;
        for (const row of rowsOf(layout).filter(each => each.track !== Track.Moments || axis.name === 'time')) {
          const [first, last] = visible(axis, row, a, b);
          const found = new Set(Array.from({ length: last - first }, (_, i) => row.spans.at(first + i)));
          for (let place = 0; place < row.spans.length; place++) {
            const index = row.spans.at(place);
            if (axis.start(index) <= b && axis.end(index) >= a && axis.end(index) > a) {
              expect(found.has(index)).toBe(true);
            }
          }
          expect(last - first).toBeLessThanOrEqual(row.spans.length);
        }
      }
    }
  });

  it('finds the span under the pointer, or the nearest within reach', () => {
    const table = new SpanTable();
    table.add({ kind: Kind.Tool, lane: 'a', start: 10, end: 20, seq: 1 });
    table.add({ kind: Kind.Tool, lane: 'a', start: 40, end: null, seq: 2 });
    const layout = new Layout(table);
    layout.take();
    const row = layout.rowOf(0)!;
    const axis = timeAxis(table);
    expect([15, 22, 30, 45, 1e9].map(at => spanAt(axis, row, at, 5))).toEqual([0, 0, -1, 1, 1]);
  });
});

describe('the viewport', () => {
  const whole = fit(0, 1000);

  it('keeps the moment under the pointer where it is', () => {
    const next = random(2);
    for (let round = 0; round < 200; round++) {
      const view = { from: next() * 500, to: 500 + next() * 500 };
      const at = view.from + next() * (view.to - view.from);
      const closer = zoom(view, 0.3 + next() * 0.6, at, whole);
      const share = (v: typeof view) => (at - v.from) / (v.to - v.from);
      expect(share(closer)).toBeCloseTo(share(view), 6);
    }
  });

  it('never loses everything from sight, however far it goes', () => {
    let view = whole;
    for (let i = 0; i < 50; i++) {
      view = pan(view, 0.7, whole);
    }
    expect(view.from).toBeLessThanOrEqual(whole.to);
    expect(zoom(view, 1e9, 0, whole).to - zoom(view, 1e9, 0, whole).from).toBeLessThanOrEqual(2 * (whole.to - whole.from) + 1e-6);
  });

  it('moves only where something is out of sight', () => {
    const view = { from: 100, to: 200 };
    expect(reveal(view, 120, 130)).toBe(view);
    const whole = { from: -10, to: 1020 };
    expect(within(reveal({ from: 500, to: 600 }, 5, 5), whole)).toEqual({ from: -10, to: 90 }); // and not half of nothing
    expect(within(reveal({ from: 500, to: 600 }, 1015, 1015), whole)).toEqual({ from: 920, to: 1020 });
    expect(within({ from: -5000, to: 5000 }, whole)).toEqual({ from: -10, to: 9990 });
    const moved = reveal(view, 500, 510);
    expect(moved.from).toBeLessThan(500);
    expect(moved.to).toBeGreaterThan(510);
  });

  it('has marks at round times that are apart from each other', () => {
    const lengths = [0.05, 3, 70, 900, 12_000, 400_000, 9_000_000];
    for (const [length, from] of lengths.flatMap(each => [0, 1234.5, 75_000, 7_300_000].map(at => [each, at] as const))) {
      const { step, marks } = ticks({ from, to: from + length }, 900);
      expect(marks.length).toBeGreaterThan(1);
      expect(marks.length).toBeLessThanOrEqual(11);
      expect(new Set(marks.map(mark => timeText(mark, step))).size).toBe(marks.length);
    }
  });
});
