import type { IGateway } from '../tokens';
import { problemIn } from '../model/problems';
import type { IProblem } from '../model/wire';
import type { IEvent } from '../timeline/events';
import type { EventLog } from './log';

/** Events of one request: large enough to need few, small enough that taking one in is not felt. */
export const PAGE = 10_000;

/** How far a run has come to this browser. */
export type Stage =
  | { readonly name: 'loading'; readonly total: number | null }
  | { readonly name: 'live' }
  | { readonly name: 'ended' }
  | { readonly name: 'lost'; readonly problem: IProblem }
  | { readonly name: 'failed'; readonly problem: IProblem };

/** What the loader tells. */
export interface ILoading {
  grew(events: readonly IEvent[]): void;
  stage(stage: Stage): void;
}

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;

/** Brings the events of a run: in pages first, then as they happen. What it has it keeps; it comes back after a loss. */
export class Loader {
  private readonly _over = new AbortController();
  private _trying: AbortController | null = null;
  private _socket: WebSocket | null = null;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _pause = FIRST_PAUSE;

  constructor(
    private readonly _gateway: IGateway,
    private readonly _run: string,
    private readonly _log: EventLog,
    private readonly _told: ILoading
  ) {}

  start(): void {
    void this._load();
  }

  /** Try again at once. */
  again(): void {
    clearTimeout(this._timer);
    this._socket?.close();
    this._pause = FIRST_PAUSE;
    void this._load();
  }

  dispose(): void {
    this._over.abort();
    this._trying?.abort();
    clearTimeout(this._timer);
    this._socket?.close();
  }

  private async _load(): Promise<void> {
    this._trying?.abort();
    const trying = (this._trying = new AbortController());
    const path = `api/runs/${encodeURIComponent(this._run)}`;
    try {
      // Beside each other: of a run that ended long ago, the plane may have to look through all events for its row.
      const [row] = await Promise.all([this._row(path, trying.signal), this._pages(path, trying.signal)]);
      const last = row.seq ?? 0;
      if (this._log.lastSeq < last) {
        await this._pages(path, trying.signal);
      }
      if (trying.signal.aborted) {
        return;
      }
      this._pause = FIRST_PAUSE;
      if (row.status === 'open' || this._log.lastSeq < last) {
        this._follow();
      } else {
        this._told.stage({ name: 'ended' });
      }
    } catch (error) {
      if (!trying.signal.aborted) {
        trying.abort();
        this._fail(error);
      }
    }
  }

  private async _row(path: string, signal: AbortSignal): Promise<{ status?: string; seq?: number }> {
    const first = !this._log.length;
    const row = await this._gateway.request<{ status?: string; seq?: number }>('GET', path, undefined, signal);
    if (first && !signal.aborted) {
      this._told.stage({ name: 'loading', total: row.seq ?? null });
    }
    return row;
  }

  private async _pages(path: string, signal: AbortSignal): Promise<void> {
    for (let more = true; more && !signal.aborted; ) {
      const events = await this._gateway.request<IEvent[]>('GET', `${path}/events?since=${this._log.lastSeq}&limit=${PAGE}`, undefined, signal);
      more = events.length >= PAGE;
      if (!signal.aborted) {
        this._take(events);
      }
    }
  }

  private _follow(): void {
    const socket = this._gateway.socket(`api/runs/${encodeURIComponent(this._run)}/stream?since=${this._log.lastSeq}`);
    this._socket = socket;
    this._told.stage({ name: 'live' });
    socket.onmessage = message => {
      const said = JSON.parse(String(message.data)) as { events?: IEvent[] };
      this._pause = FIRST_PAUSE;
      if (socket === this._socket && said.events) {
        this._take(said.events);
        if (said.events.some(event => event.body?.type === 'run.end')) {
          this._socket = null;
          socket.close();
          this._told.stage({ name: 'ended' });
        }
      }
    };
    socket.onclose = () => {
      if (socket === this._socket && !this._over.signal.aborted) {
        this._socket = null;
        this._lose({ code: 'cut', message: 'The stream of this run was cut.', next: 'It is tried again by itself; what is here stays.' });
      }
    };
  }

  private _take(events: readonly IEvent[]): void {
    if (this._log.append(events)) {
      this._told.grew(events);
    }
  }

  private _fail(error: unknown): void {
    if (this._over.signal.aborted) {
      return;
    }
    const problem = problemIn(error);
    if (isFinal(error) && !this._log.length) {
      this._told.stage({ name: 'failed', problem });
    } else {
      this._lose(problem);
    }
  }

  private _lose(problem: IProblem): void {
    this._told.stage({ name: 'lost', problem });
    clearTimeout(this._timer);
    this._timer = setTimeout(() => void this._load(), this._pause);
    this._pause = Math.min(this._pause * 2, LONGEST_PAUSE);
  }
}

/** Whether asking again cannot help: there is no such run. */
function isFinal(error: unknown): boolean {
  const status = (error as { status?: number } | null)?.status;
  return status === 404 || status === 400 || status === 403;
}
