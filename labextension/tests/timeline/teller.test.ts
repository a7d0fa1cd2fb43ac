import { describe, expect, it } from 'vitest';

import { Fate, Kind, spanOf, Teller, type IEvent } from '../../src/timeline';
import { Pen, run } from './runs';

function told(events: readonly IEvent[]): Teller {
  const teller = new Teller();
  events.forEach(event => teller.take(event));
  return teller;
}

const rows = ({ table }: Teller) =>
  Array.from({ length: table.length }, (_, i) => ({
    kind: table.kind.at(i),
    lane: table.lanes[table.lane.at(i)],
    start: table.start.at(i),
    end: table.isOpen(i) ? null : table.end.at(i),
    unit: table.texts.text(table.unit.at(i)),
    fate: table.fate.at(i)
  }));

describe('the teller', () => {
  it('makes a wait and a hold of a request, a grant and a release', () => {
    const pen = new Pen();
    const ticket = { ticket: 7, owner: 'r1/bob', units: ['file:a.txt'], mode: 'X' };
    pen.put('bob', { type: 'lock.request', ...ticket });
    pen.now = 40;
    pen.put('bob', { type: 'lock.grant', ...ticket, token: 9 });
    pen.now = 100;
    pen.put('bob', { type: 'lock.release', ...ticket });
    expect(rows(told(pen.events))).toEqual([
      { kind: Kind.Wait, lane: 'bob', start: 0, end: 40, unit: 'file:a.txt', fate: Fate.Fine },
      { kind: Kind.Hold, lane: 'bob', start: 40, end: 100, unit: 'file:a.txt', fate: Fate.Fine }
    ]);
  });

  it('holds until the last unit is given back, and tells a wait that was given up', () => {
    const pen = new Pen();
    const two = { ticket: 1, owner: 'r1/a', units: ['file:a', 'file:b'], mode: 'X' };
    pen.put('a', { type: 'lock.grant', ...two });
    pen.now = 5;
    pen.put('a', { type: 'lock.release', ...two, units: ['file:a'] });
    pen.put('b', { type: 'lock.request', ticket: 2, owner: 'r1/b', units: ['file:b'], mode: 'X' });
    pen.now = 9;
    pen.put('a', { type: 'lock.expire', ...two, units: ['file:b'], reason: 'lease' });
    pen.put('b', { type: 'lock.release', ticket: 2, owner: 'r1/b', units: ['file:b'], reason: 'cancelled' });
    const [hold, wait] = rows(told(pen.events));
    expect([hold!.end, hold!.fate]).toEqual([9, Fate.Denied]);
    expect([wait!.kind, wait!.end, wait!.fate]).toEqual([Kind.Wait, 9, Fate.Denied]);
  });

  it('leaves open what goes on, and ends with an agent what it left open', () => {
    const pen = new Pen();
    pen.put('a', { type: 'tool.call', call: 'c1' }, { name: 'run' });
    pen.put('b', { type: 'tool.call', call: 'c2' }, { name: 'run' });
    pen.now = 30;
    pen.put('a', { type: 'agent.end' }, { status: 'failed' });
    const calls = rows(told(pen.events)).filter(row => row.kind === Kind.Tool);
    expect(calls.map(row => [row.lane, row.end, row.fate])).toEqual([['a', 30, Fate.Bad], ['b', null, Fate.Fine]]);
  });

  it('takes events of types that it does not know, fields of the wrong kind and results without a call', () => {
    const pen = new Pen();
    pen.put('a', { type: 'quantum.leap', how: { far: 3 } });
    pen.put('a', { type: 'tool.result', call: 'nobody' }, { status: 'ok' });
    pen.put('a', { type: 'lock.release', units: 'all', ticket: 'x' });
    pen.put('a', { type: 'proc.start', argv: 'ls', proc: 4 });
    pen.put('a', { type: 'later.kind' }, { dur_ns: 5e6, name: 'later' });
    expect(rows(told(pen.events)).length).toBe(2);
  });

  it('a clock that goes back makes no span of negative length', () => {
    const pen = new Pen();
    pen.now = 1000;
    pen.put('a', { type: 'tool.call', call: 'c' }, { name: 'run' });
    pen.now = 10;
    pen.put('a', { type: 'tool.result', call: 'c' }, { status: 'ok' });
    const [call] = rows(told(pen.events));
    expect(call!.end).toBe(call!.start);
  });

  it('every span ends after it began, and each event of a call or lock finds its span', () => {
    for (const seed of [1, 2, 3]) {
      const events = run(3000, 5, seed);
      const { table } = told(events);
      for (let i = 0; i < table.length; i++) {
        expect(table.isOpen(i) || table.end.at(i) >= table.start.at(i)).toBe(true);
      }
      for (const event of events.filter(each => each.body.type === 'tool.call')) {
        const index = spanOf(table, event.seq);
        expect(table.lanes[table.lane.at(index)]).toBe(event.actor);
      }
      const ended = events.filter(each => each.body.type === 'tool.result');
      expect(ended.every(event => spanOf(table, event.seq) >= 0)).toBe(true);
    }
  });
});
