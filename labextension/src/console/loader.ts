import type { IGateway } from '../tokens';
import { NO_EXTENSION, problemIn } from '../model/problems';
import type { IProblem } from '../model/wire';
import type { IEvent } from '../timeline/events';
import { words } from '../translation';
import type { EventLog } from './log';

/** Events of one request: large enough to need few, small enough that taking one in is not felt. */
export const PAGE = 10_000;

/**
 * How far a run has come to this browser. `polling`: no stream gets through, so it is asked again and again; `lost`: nothing answers,
 * and it is tried again; `gone`: it was here, and the log does not have it any more; `failed`: it never was here.
 */
export type Stage =
  | { readonly name: 'loading'; readonly total: number | null }
  | { readonly name: 'live' }
  | { readonly name: 'polling'; readonly problem: IProblem }
  | { readonly name: 'ended' }
  | { readonly name: 'lost'; readonly problem: IProblem }
  | { readonly name: 'gone'; readonly problem: IProblem }
  | { readonly name: 'failed'; readonly problem: IProblem };

/** What the loader tells. */
export interface ILoading {
  grew(events: readonly IEvent[]): void;
  stage(stage: Stage): void;
}

const FIRST_PAUSE = 500; // ms
const LONGEST_PAUSE = 10_000; // ms
const QUIET = 15_000; // ms of silence after which is asked whether the stream still tells everything
const SETTLE = 250; // ms that a socket must stay open: a gateway or a proxy takes some in only to close them
const ANSWER = 10_000; // ms that this answer may take
const PATIENCE = 60_000; // ms that a page of events may take
const POLL = 3_000; // ms
const SOCKETS_BEFORE_POLLING = 2;
const POLLS_BEFORE_SOCKET = 20; // a proxy may have been mended

function cut(): IProblem {
  const { trans } = words;
  return { code: 'cut', message: trans.__('The stream of this run was cut.'), next: trans.__('It is tried again by itself; what is here stays.') };
}

function noSocket(): IProblem {
  const { trans } = words;
  return {
    code: 'NoSocket',
    message: trans.__('No live connection gets through; new events are asked for every %1 s instead.', POLL / 1000),
    next: trans.__('Something between this browser and the Jupyter server stops WebSockets: a proxy, often.')
  };
}

interface IRunRow {
  readonly status?: string;
  readonly seq?: number;
}

/**
 * Brings the events of a run: in pages first, then as they happen. What it has it keeps; it comes back after a loss. A stream that is
 * quiet is doubted; where none gets through, the events are asked for.
 */
export class Loader {
  private readonly _over = new AbortController();
  private readonly _path: string;
  private _trying: AbortController | null = null;
  private _socket: WebSocket | null = null;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _watch: ReturnType<typeof setTimeout> | undefined;
  private _pause = FIRST_PAUSE;
  private _vain = 0; // sockets after one another that brought nothing
  private _polls = 0; // since a socket was tried; counted only while polling
  private _fetched = -1; // what was here when a gap made everything after it be fetched

  private _stage: Stage['name'] = 'loading';

  constructor(
    private readonly _gateway: IGateway,
    run: string,
    private readonly _log: EventLog,
    private readonly _told: ILoading
  ) {
    this._path = `api/runs/${encodeURIComponent(run)}`;
  }

  start(): void {
    void this._load();
  }

  /** Try again at once. */
  again(): void {
    this._pause = FIRST_PAUSE;
    this._vain = 0;
    this._stage = 'loading';
    void this._load();
  }

  /** Ask now whether what is said is still so: of a stream whether it is alive, of a run that ended whether it is there. */
  doubt(): void {
    if (this._stage === 'live') {
      void this._doubt();
    } else if (this._stage === 'ended') {
      this._row(this._over.signal).catch((error: unknown) => isGone(error) && this._stage === 'ended' && this._fail(error));
    }
  }

  dispose(): void {
    this._over.abort();
    this._trying?.abort();
    this._drop();
  }

  private async _load(): Promise<void> {
    this._drop();
    this._trying?.abort();
    const trying = (this._trying = new AbortController());
    try {
      const ended = await this._bring(trying.signal);
      if (trying.signal.aborted) {
        return;
      }
      if (ended) {
        this._end();
      } else if (this._vain >= SOCKETS_BEFORE_POLLING) {
        this._poll();
      } else {
        this._follow();
      }
    } catch (error) {
      if (!trying.signal.aborted) {
        trying.abort();
        this._fail(error);
      }
    }
  }

  /** Everything that there is by now. True: and there will be no more. */
  private async _bring(signal: AbortSignal): Promise<boolean> {
    const first = !this._log.length;
    // Beside each other: of a run that ended long ago, the plane may have to look through all events for its row.
    const asked = this._row(signal).then(row => {
      if (first && !signal.aborted) {
        this._say({ name: 'loading', total: row.seq ?? null });
      }
      return row;
    });
    const [row] = await Promise.all([asked, this._pages(signal)]);
    const last = row.seq ?? 0;
    if (this._log.lastSeq < last) {
      await this._pages(signal);
    }
    return row.status !== 'open' && this._log.lastSeq >= last;
  }

  private _row(signal: AbortSignal, limit = PATIENCE): Promise<IRunRow> {
    return this._ask<IRunRow>(this._path, signal, limit);
  }

  private async _pages(signal: AbortSignal): Promise<void> {
    for (let more = true; more && !signal.aborted; ) {
      const events = await this._ask<IEvent[]>(`${this._path}/events?since=${this._log.lastSeq}&limit=${PAGE}`, signal, PATIENCE);
      more = events.length >= PAGE;
      if (!signal.aborted) {
        this._take(events);
      }
    }
  }

  /** An answer, or a failure after `limit` ms: a plane that hangs keeps a request for ever. */
  private async _ask<T>(path: string, signal: AbortSignal, limit: number): Promise<T> {
    const asking = new AbortController();
    const stop = () => asking.abort();
    let late: ReturnType<typeof setTimeout> | undefined;
    signal.addEventListener('abort', stop);
    try {
      return await Promise.race([
        this._gateway.request<T>('GET', path, undefined, asking.signal),
        new Promise<never>((_, refuse) => {
          late = setTimeout(() => {
            const { trans } = words;
            refuse(new Error(trans.__('no answer for %1 s', limit / 1000)));
            stop();
          }, limit);
        })
      ]);
    } finally {
      clearTimeout(late);
      signal.removeEventListener('abort', stop);
    }
  }

  // --- as they happen ----------------------------------------------------------------------------------------

  private _follow(): void {
    const socket = this._gateway.socket(`${this._path}/stream?since=${this._log.lastSeq}`);
    this._socket = socket;
    let proven = false;
    const live = () => {
      if (socket === this._socket) {
        this._say({ name: 'live' });
        this._hear();
      }
    };
    socket.onopen = () => {
      if (socket === this._socket) {
        clearTimeout(this._watch);
        this._watch = setTimeout(live, SETTLE);
      }
    };
    socket.onmessage = message => {
      if (socket !== this._socket) {
        return;
      }
      proven = true;
      this._prove();
      live();
      const { events } = parsed(message.data);
      if (events && this._taken(events) && events.some(event => event.body?.type === 'run.end')) {
        this._end();
      }
    };
    const closed = (socket.onclose = () => {
      if (socket === this._socket && !this._over.signal.aborted) {
        this._vain += proven ? 0 : 1;
        if (this._stage === 'live') {
          this._lose(cut());
        } else {
          this._later(); // it never was live: nothing was said, so nothing is taken back
        }
      }
    });
    clearTimeout(this._watch);
    this._watch = setTimeout(closed, ANSWER); // a proxy may let it neither in nor go
  }

  /** Take what a stream says. False: something before it is missing, so all of it is fetched instead. */
  private _taken(events: readonly IEvent[]): boolean {
    let last = this._log.lastSeq;
    const whole = events.every(({ seq }) => seq <= last || ((last += 1), seq === last));
    if (whole || this._fetched === this._log.lastSeq) {
      this._take(events); // fetched already, and the log lacks them too
      return true;
    }
    this._fetched = this._log.lastSeq;
    void this._load();
    return false;
  }

  /** It works: what went wrong before does not count any more. */
  private _prove(): void {
    this._pause = FIRST_PAUSE;
    this._vain = this._polls = 0;
  }

  private _hear(): void {
    clearTimeout(this._watch);
    this._watch = setTimeout(() => void this._doubt(), QUIET);
  }

  /** A socket may be dead without anybody saying so. */
  private async _doubt(): Promise<void> {
    const socket = this._socket;
    const before = this._log.lastSeq;
    clearTimeout(this._watch);
    try {
      const row = await this._row(this._over.signal, ANSWER);
      if (socket !== this._socket || this._over.signal.aborted) {
        return;
      }
      if (this._log.lastSeq === before && ((row.seq ?? 0) > before || row.status !== 'open')) {
        void this._load(); // it went on in silence: by another stream then
      } else {
        this._prove();
        this._hear();
      }
    } catch (error) {
      if (socket === this._socket && !this._over.signal.aborted) {
        this._fail(error);
      }
    }
  }

  // --- where no stream gets through --------------------------------------------------------------------------

  private _poll(): void {
    this._pause = FIRST_PAUSE;
    this._say({ name: 'polling', problem: noSocket() });
    if (++this._polls >= POLLS_BEFORE_SOCKET) {
      this._polls = 0;
      this._follow();
    } else {
      this._later(POLL);
    }
  }

  // --- what is said ------------------------------------------------------------------------------------------

  private _take(events: readonly IEvent[]): void {
    if (this._log.append(events)) {
      this._told.grew(events);
    }
  }

  private _say(stage: Stage): void {
    if (!this._over.signal.aborted && !(stage.name === this._stage && (stage.name === 'live' || stage.name === 'polling'))) {
      this._stage = stage.name;
      this._told.stage(stage);
    }
  }

  private _end(): void {
    this._drop();
    this._say({ name: 'ended' });
  }

  private _fail(error: unknown): void {
    const problem = problemIn(error);
    if (this._log.length && isGone(error)) {
      this._drop();
      this._say({ name: 'gone', problem });
    } else if (!this._log.length && isFinal(error)) {
      this._say({ name: 'failed', problem });
    } else {
      this._lose(problem);
    }
  }

  private _lose(problem: IProblem): void {
    this._say({ name: 'lost', problem });
    this._later();
  }

  private _later(pause?: number): void {
    this._drop();
    if (!this._over.signal.aborted) {
      this._timer = setTimeout(() => void this._load(), pause ?? this._pause);
      this._pause = pause === undefined ? Math.min(this._pause * 2, LONGEST_PAUSE) : this._pause;
    }
  }

  /** Leave the socket, and whatever was to happen later. */
  private _drop(): void {
    clearTimeout(this._timer);
    clearTimeout(this._watch);
    const socket = this._socket;
    this._socket = null;
    socket?.close();
  }
}

function parsed(data: unknown): { events?: IEvent[] } {
  try {
    return JSON.parse(String(data)) as { events?: IEvent[] };
  } catch {
    return {}; // a newer plane may say more
  }
}

/** Whether asking again cannot help: there is no such run. */
function isFinal(error: unknown): boolean {
  const status = (error as { status?: number } | null)?.status;
  return status === 404 || status === 400 || status === 403;
}

/** Whether the log itself says that it has no such run; a server without agentlab says nothing about it. */
function isGone(error: unknown): boolean {
  return (error as { status?: number } | null)?.status === 404 && problemIn(error).code !== NO_EXTENSION;
}
