import { command, Teller } from '../timeline/teller';
import { number, text, texts, type IEvent } from '../timeline/events';
import { floats, Texts, upper, words } from '../timeline/grow';

/** A process of a run: where its events are in the log, as indexes. */
export interface IProcess {
  readonly id: string;
  readonly actor: string;
  readonly start: number;
  readonly command: string;
  readonly outputs: number[];
  /** Where it says how it ended; null: nothing does. */
  exit: number | null;
  /** Where its agent or its run ended while it had not: it went with them, unsaid. */
  left: number | null;
}

/** Seqs that are missing: [first, last]. */
export type Gap = readonly [number, number];

/**
 * The events of a run, taken in once: columns to search, lists of what each view shows, spans for the timeline.
 * Whatever is shown of a moment is a part of these lists up to an index.
 */
export class EventLog {
  readonly events: IEvent[] = [];
  readonly teller = new Teller();
  readonly seq = words(1024);
  readonly type = words(1024);
  readonly actor = words(1024);
  /** ms since the origin, never falling: what a moment of time is looked up in. */
  readonly reached = floats(1024);
  readonly types = new Texts();
  readonly actors = new Texts();
  readonly gaps: Gap[] = [];
  // Indexes of events, rising.
  readonly files: number[] = [];
  readonly messages: number[] = [];
  readonly artifacts: number[] = [];
  readonly plans: number[] = [];
  readonly calls: number[] = [];
  readonly grants: number[] = [];
  readonly claims: number[] = [];
  readonly tasks: number[] = [];
  readonly handoffs: number[] = [];
  readonly processes: IProcess[] = [];
  private readonly _processOf = new Map<string, IProcess>();
  private readonly _running = new Set<IProcess>();

  get length(): number {
    return this.events.length;
  }

  get lastSeq(): number {
    return this.length ? this.seq.at(this.length - 1) : 0;
  }

  /** Take events in the order of the log. Those that are here already are left out; missing ones are remembered as a gap. */
  append(events: readonly IEvent[]): number {
    let taken = 0;
    for (const event of events) {
      if (typeof event?.seq !== 'number' || event.seq <= this.lastSeq) {
        continue;
      }
      if (event.seq > this.lastSeq + 1) {
        this.gaps.push([this.lastSeq + 1, event.seq - 1]);
      }
      this._take(event.body?.type ? event : { ...event, body: { ...event.body, type: 'unknown' } });
      taken++;
    }
    return taken;
  }

  /** How many events there were after `seq`; all where it is null. */
  count(seq: number | null): number {
    return seq === null ? this.length : upper(this.length, i => this.seq.at(i), seq);
  }

  /** The index of an event; -1: it is not here. */
  indexOf(seq: number): number {
    const after = this.count(seq);
    return after && this.seq.at(after - 1) === seq ? after - 1 : -1;
  }

  event(seq: number | null): IEvent | undefined {
    return seq === null ? undefined : this.events[this.indexOf(seq)];
  }

  /** The last event at a moment, ms since the origin. */
  seqAt(time: number): number {
    const after = upper(this.length, i => this.reached.at(i), time);
    return after ? this.seq.at(after - 1) : 0;
  }

  /** The moment of an event. */
  timeOf(seq: number): number {
    const after = this.count(seq);
    return after ? this.reached.at(after - 1) : 0;
  }

  /** The part of a list of indexes that had happened after `count` events. */
  until(list: readonly number[], count: number): readonly number[] {
    const after = upper(list.length, i => list[i]!, count - 1);
    return after === list.length ? list : list.slice(0, after);
  }

  processOf(event: IEvent): IProcess | undefined {
    return this._processOf.get(processKey(event));
  }

  private _take(event: IEvent): void {
    const index = this.events.push(event) - 1;
    const { body } = event;
    this.teller.take(event);
    this.seq.push(event.seq);
    this.type.push(this.types.number(body.type));
    this.actor.push(this.actors.number(event.actor));
    const time = this.teller.time(event.ts);
    this.reached.push(index ? Math.max(time, this.reached.at(index - 1)) : time);
    switch (body.type) {
      case 'file.write':
      case 'file.delete':
      case 'file.rename':
        this.files.push(index);
        break;
      case 'message':
        this.messages.push(index);
        break;
      case 'artifact':
        this.artifacts.push(index);
        break;
      case 'plan':
        this.plans.push(index);
        break;
      case 'tool.call':
        this.calls.push(index);
        break;
      case 'lock.grant':
        this.grants.push(index);
        this.claims.push(index);
        break;
      case 'lock.request':
        this.claims.push(index);
        break;
      case 'task.create':
      case 'task.update':
        this.tasks.push(index);
        break;
      case 'handoff':
        this.handoffs.push(index);
        break;
      case 'proc.start': {
        const process = {
          id: text(body, 'proc'), actor: event.actor, start: index, command: command(texts(body, 'argv')), outputs: [], exit: null, left: null
        };
        this.processes.push(process);
        this._running.add(process);
        this._processOf.set(processKey(event), process);
        break;
      }
      case 'proc.output':
        this.processOf(event)?.outputs.push(index);
        break;
      case 'proc.exit': {
        const process = this.processOf(event);
        if (process) {
          process.exit = index;
          this._running.delete(process);
        }
        break;
      }
      case 'agent.end':
        this._leave(index, process => process.actor === event.actor);
        break;
      case 'run.end':
        this._leave(index, () => true);
        break;
    }
  }

  /** A runner that is killed tells of no exit: what it had started ends with it. */
  private _leave(index: number, goes: (process: IProcess) => boolean): void {
    for (const process of this._running) {
      if (goes(process)) {
        process.left = index;
        this._running.delete(process);
      }
    }
  }
}

const processKey = (event: IEvent): string => `${event.actor} ${text(event.body, 'proc')}`;

/** What became of a process. `left`: it ended with its agent or its run, and nothing says how. */
export type ProcessEnd =
  | { readonly how: 'running' }
  | { readonly how: 'left' }
  | { readonly how: 'exit'; readonly code: number }
  | { readonly how: 'signal'; readonly signal: number };

/** What had become of a process after `count` events. */
export function processEnd(log: EventLog, process: IProcess, count: number): ProcessEnd {
  const { exit, left } = process;
  if (exit !== null && exit < count) {
    const { body } = log.events[exit]!;
    return typeof body.signal === 'number' ? { how: 'signal', signal: body.signal } : { how: 'exit', code: number(body, 'code') };
  }
  return { how: left !== null && left < count ? 'left' : 'running' };
}
