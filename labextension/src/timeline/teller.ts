import { ownerName, text, texts, type IEvent } from './events';
import { Fate, Kind, SpanTable } from './spans';

/** How each status of a call is drawn. */
const FATES: Readonly<Record<string, Fate>> = {
  error: Fate.Bad,
  failed: Fate.Bad,
  timeout: Fate.Bad,
  denied: Fate.Denied,
  cancelled: Fate.Denied,
  expired: Fate.Denied
};

const fate = (status: string | null | undefined): Fate => FATES[status ?? ''] ?? Fate.Fine;

/** Folds the events of a run into spans, in the order of the log. Open spans stay open until something ends them. */
export class Teller {
  readonly table = new SpanTable();
  private _origin: number | null = null;
  private readonly _open = new Map<string, number>();
  private readonly _tickets = new Map<number, { wait: number; hold: number; left: Set<string> }>();

  /** ns since the epoch of the moment 0; null before the first event. */
  get origin(): number | null {
    return this._origin;
  }

  /** ms since the origin, to the µs: a number of JavaScript is no finer for times since the epoch. */
  time(ts: number): number {
    return Math.round((ts - (this._origin ?? ts)) / 1e3) / 1e3;
  }

  take(event: IEvent): void {
    this._origin ??= event.ts;
    const at = this.time(event.ts);
    this.table.reach(at, event.seq);
    const { body } = event;
    switch (body.type) {
      case 'tool.call':
        this._begin(`t${text(body, 'call')}`, event, at, Kind.Tool, event.name ?? '', event.unit ?? '');
        break;
      case 'tool.result':
        this._end(`t${text(body, 'call')}`, event, at);
        break;
      case 'proc.start':
        this._begin(`p${event.actor} ${text(body, 'proc')}`, event, at, Kind.Process, command(texts(body, 'argv')), event.unit ?? '');
        break;
      case 'proc.exit':
        this._end(`p${event.actor} ${text(body, 'proc')}`, event, at);
        break;
      case 'model.call':
        this._ended(event, at, Kind.Model);
        break;
      case 'approval':
        this._approval(event, at);
        break;
      case 'message':
        this._moment(event, at, Kind.Message, text(body, 'role'));
        break;
      case 'file.write':
      case 'file.delete':
      case 'file.rename':
        this._moment(event, at, Kind.File, `${body.type.slice(5)} ${text(body, 'path')}`);
        break;
      case 'error':
        this._moment(event, at, Kind.Problem, text(body, 'message'));
        break;
      case 'guard':
        this._moment(event, at, Kind.Problem, text(body, 'rule'));
        break;
      case 'agent.start':
      case 'agent.end':
      case 'handoff':
        this._moment(event, at, Kind.Mark, `${body.type.replace('.', ' ')} ${event.status ?? ''}`.trim());
        if (body.type === 'agent.end') {
          this._leave(event.actor, at, event.seq, fate(event.status));
        }
        break;
      case 'run.end':
        this._close(at, event.seq);
        break;
      default:
        if (body.type.startsWith('lock.')) {
          this._lock(event, at);
        } else if (event.dur_ns && !['task.update', 'agent.state'].includes(body.type)) {
          this._ended(event, at, Kind.Tool); // a type of a newer version that says how long it took
        }
    }
  }

  private _begin(key: string, event: IEvent, at: number, kind: Kind, label: string, unit: string): void {
    const index = this.table.add({ kind, lane: event.actor, start: at, end: null, seq: event.seq, label, unit });
    this._open.set(key, index);
  }

  private _end(key: string, event: IEvent, at: number): void {
    const index = this._open.get(key);
    if (index !== undefined) {
      this._open.delete(key);
      this.table.finish(index, at, event.seq, fate(event.status));
    }
  }

  private _ended(event: IEvent, at: number, kind: Kind): void {
    const start = Math.max(0, at - (event.dur_ns ?? 0) / 1e6);
    const label = event.name ?? event.body.type;
    this.table.add({ kind, lane: event.actor, start, end: at, seq: event.seq, label, unit: event.unit ?? '', fate: fate(event.status) });
  }

  private _moment(event: IEvent, at: number, kind: Kind, label: string): void {
    const { actor, seq, status, unit } = event;
    this.table.add({ kind, lane: actor, start: at, end: at, seq, label, unit: unit ?? '', fate: fate(status) });
  }

  private _approval(event: IEvent, at: number): void {
    const key = `a${text(event.body, 'approval')}`;
    if (event.status === 'asked') {
      this._begin(key, event, at, Kind.Approval, text(event.body, 'question'), event.unit ?? '');
    } else {
      this._end(key, event, at);
    }
  }

  private _lock(event: IEvent, at: number): void {
    const { body, seq } = event;
    const ticket = typeof body.ticket === 'number' ? body.ticket : -1;
    const units = texts(body, 'units');
    const lane = ownerName(text(body, 'owner') || event.actor);
    const unit = units.join(', ');
    const span = { lane, start: at, end: null, seq, unit, label: text(body, 'mode') };
    const known = this._tickets.get(ticket);
    switch (body.type) {
      case 'lock.request':
        if (!known) {
          const wait = this.table.add({ ...span, kind: Kind.Wait });
          this._tickets.set(ticket, { wait, hold: -1, left: new Set(units) });
        }
        break;
      case 'lock.grant':
        if (known && known.wait >= 0) {
          this.table.finish(known.wait, at, seq);
        }
        if (!known || known.hold < 0) {
          this._tickets.set(ticket, { wait: -1, hold: this.table.add({ ...span, kind: Kind.Hold }), left: new Set(units) });
        }
        break;
      case 'lock.release':
      case 'lock.expire':
        if (known) {
          units.forEach(each => known.left.delete(each));
          const expired = body.type === 'lock.expire' ? Fate.Denied : Fate.Fine;
          if (known.wait >= 0) {
            this.table.finish(known.wait, at, seq, Fate.Denied);
            this._tickets.delete(ticket);
          } else if (known.left.size === 0) {
            this.table.finish(known.hold, at, seq, expired);
            this._tickets.delete(ticket);
          }
        }
        break;
      case 'lock.deny':
        this.table.add({ ...span, end: at, kind: Kind.Problem, label: text(body, 'reason'), fate: Fate.Denied });
        break;
    }
  }

  /** What an agent had begun and nobody ended: it ends with the agent. */
  private _leave(actor: string, at: number, seq: number, how: Fate): void {
    const lane = this.table.laneNumber(actor);
    for (const [key, index] of this._open) {
      if (this.table.lane.at(index) === lane) {
        this._open.delete(key);
        this.table.finish(index, at, seq, how);
      }
    }
  }

  private _close(at: number, seq: number): void {
    for (const index of this._open.values()) {
      this.table.finish(index, at, seq, Fate.Denied);
    }
    this._open.clear();
  }
}

/** A command line as people say it: the program without its folder. */
export function command(argv: readonly string[]): string {
  const [program = '', ...rest] = argv;
  return [program.slice(program.lastIndexOf('/') + 1), ...rest].join(' ');
}
