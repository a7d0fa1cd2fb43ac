import type { IBody, IEvent } from '../../src/timeline';

/** A generator of numbers in [0, 1), the same for the same seed. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

export const BEGIN = 1_800_000_000_000_000_000;

/** Writes events in order, seq by seq. */
export class Pen {
  readonly events: IEvent[] = [];
  now = 0; // ms

  put(actor: string, body: IBody, more: Partial<IEvent> = {}): IEvent {
    const event: IEvent = { seq: this.events.length + 1, ts: BEGIN + Math.round(this.now * 1e6), actor, ...more, body };
    this.events.push(event);
    return event;
  }
}

/** A run of many agents as it could have been: calls in calls, waits, holds, processes, messages, refusals. */
export function run(count: number, agents = 8, seed = 1): IEvent[] {
  const next = random(seed);
  const pen = new Pen();
  pen.put('user:me', { type: 'run.start', name: 'made', root: '/w' }, { status: 'open' });
  const names = Array.from({ length: agents }, (_, i) => `agent-${i + 1}`);
  names.forEach(name => pen.put(name, { type: 'agent.start', spec: { kind: 'script' } }, { name, status: 'queued' }));
  const busy = new Map<string, { call: string; ticket: number; unit: string; held: boolean }>();
  let id = 0;
  while (pen.events.length < count) {
    pen.now += next() * 6;
    const name = names[Math.floor(next() * names.length)]!;
    const doing = busy.get(name);
    const owner = `r1/${name}`;
    if (!doing) {
      const call = `c${++id}`;
      const unit = `file:src/part${Math.floor(next() * 12)}.py`;
      pen.put(name, { type: 'tool.call', call, args: { path: unit } }, { name: next() < 0.6 ? 'edit' : 'run', span: call });
      const waits = next() < 0.4;
      pen.put(name, waits
        ? { type: 'lock.request', ticket: id, owner, units: [unit], mode: 'X', key: [id, 0], behind: [] }
        : { type: 'lock.grant', ticket: id, owner, units: [unit], mode: 'X', token: id });
      busy.set(name, { call, ticket: id, unit, held: !waits });
    } else if (!doing.held) {
      doing.held = true;
      pen.put(name, { type: 'lock.grant', ticket: doing.ticket, owner, units: [doing.unit], mode: 'X', token: doing.ticket });
    } else {
      if (next() < 0.5) {
        pen.put(name, { type: 'file.write', path: doing.unit.slice(5), before: null, after: 'a'.repeat(64), added: 3, removed: 1 });
      }
      if (next() < 0.2) {
        pen.put(name, { type: 'message', role: 'assistant', text: `done with ${doing.unit}` });
      }
      pen.put(name, { type: 'lock.release', ticket: doing.ticket, owner, units: [doing.unit] });
      pen.put(name, { type: 'tool.result', call: doing.call }, { status: next() < 0.03 ? 'error' : 'ok', span: doing.call });
      busy.delete(name);
    }
  }
  return pen.events.slice(0, count);
}
