import { Poll } from '@lumino/polling';

import type { IGateway, Link } from '../tokens';
import { words } from '../translation';
import { GatewayError, NO_EXTENSION, problemIn } from './problems';
import { isDelta } from './tables';
import type { IDelta, IProblem, JSONish } from './wire';

const FIRST_RETRY = 300; // ms
const LAST_RETRY = 30_000; // ms
const NEVER_MIND = 60_000; // ms between tries where nothing of agentlab is there
const QUIET = 15_000; // ms of silence after which is asked whether the plane is still there
const MOMENT = 2_000; // ms that what has happened may be on its way
const ANSWER = 10_000; // ms that an answer may take
const POLL = 5_000; // ms
const SOCKETS_BEFORE_POLLING = 3;

interface IStatus {
  readonly ok?: boolean;
  readonly plane?: { readonly [fact: string]: JSONish | undefined } | null;
  readonly problem?: Partial<IProblem> | null;
}

/** Who hears of what comes. */
export interface IStreamTarget {
  /** Position of what is known; null: nothing is. */
  since(): number | null;
  /** False: it does not follow from what is known, and a snapshot is needed. */
  take(delta: IDelta): boolean;
  /** What is known is so now. */
  heard(): void;
  link(link: Link): void;
}

/**
 * The rows, as they come: a WebSocket that continues where it was cut, tries again with growing pauses, and is doubted when it is quiet;
 * where no socket gets through, the rows are asked for every few seconds, unless nobody looks.
 */
export class RowStream {
  private _socket: WebSocket | null = null;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _watch: ReturnType<typeof setInterval> | undefined;
  private _poll: Poll | null = null;
  private _attempt = 0; // what belongs to an earlier attempt is ignored
  private _failures = 0;
  private _unopened = 0;
  private _plane = '';
  private _resync = false;
  private _heard = 0;
  private _state: Link = { state: 'connecting' };
  private _closed = false;

  constructor(
    private readonly _gateway: IGateway,
    private readonly _target: IStreamTarget
  ) {
    document.addEventListener('visibilitychange', this._woken);
    window.addEventListener('online', this._woken);
  }

  /** Connect, now, whatever pause there was. */
  start(): void {
    clearTimeout(this._timer);
    if (!this._closed) {
      void this._connect(++this._attempt);
    }
  }

  close(): void {
    this._closed = true;
    this._attempt++;
    document.removeEventListener('visibilitychange', this._woken);
    window.removeEventListener('online', this._woken);
    clearTimeout(this._timer);
    this._drop();
    this._stopPolling();
  }

  private _woken = (): void => {
    if (document.visibilityState === 'visible' && this._state.state !== 'live') {
      this._failures = 0;
      this.start();
    }
  };

  private async _connect(attempt: number): Promise<void> {
    this._drop();
    if (this._state.state === 'live') {
      this._say({ state: 'connecting' });
    }
    try {
      const status = await this._status();
      if (attempt === this._attempt) {
        this._meet(status);
        this._open(attempt);
      }
    } catch (error) {
      if (attempt === this._attempt) {
        this._failed(problemIn(error));
      }
    }
  }

  private async _status(): Promise<IStatus> {
    const stop = new AbortController();
    const late = setTimeout(() => stop.abort(), ANSWER);
    try {
      const status = await this._gateway.request<IStatus>('GET', 'status', undefined, stop.signal);
      if (!status?.ok) {
        const { trans } = words;
        const { code, message, next } = status?.problem ?? {};
        throw new GatewayError({
          code: code ?? 'PlaneUnavailable',
          message: message ?? trans.__('No plane answers.'),
          next: next ?? trans.__('It is started by the next agent that you spawn. `agentlab doctor` says what is wrong.')
        });
      }
      return status;
    } finally {
      clearTimeout(late);
    }
  }

  /** Positions of another plane's log mean nothing here. */
  private _meet(status: IStatus): void {
    const plane = [status.plane?.home, status.plane?.url].filter(Boolean).join(' ');
    if (plane !== this._plane) {
      this._resync ||= this._plane !== '';
      this._plane = plane;
    }
  }

  private _open(attempt: number): void {
    const since = this._resync ? null : this._target.since();
    const socket = this._gateway.socket(since === null ? 'api/stream' : `api/stream?since=${since}`);
    this._socket = socket;
    let opened = false;
    const live = (): void => {
      this._failures = this._unopened = 0;
      this._hear();
      this._stopPolling();
      this._say({ state: 'live' });
    };
    socket.onopen = () => {
      opened = true;
      if (attempt === this._attempt && since !== null) {
        live(); // nothing may have happened meanwhile, and then nothing is said
      }
    };
    socket.onmessage = event => {
      if (attempt !== this._attempt) {
        return;
      }
      const delta = parsed(event.data);
      if (!isDelta(delta)) {
        return; // a newer plane may say more
      }
      if (delta.full) {
        this._resync = false;
      }
      if (!this._target.take(delta)) {
        this._resync = true;
        this.start();
      } else if (this._state.state !== 'live') {
        live();
      } else {
        this._hear();
      }
    };
    socket.onclose = event => {
      if (attempt !== this._attempt) {
        return;
      }
      this._drop();
      this._unopened += opened ? 0 : 1;
      if (this._unopened >= SOCKETS_BEFORE_POLLING) {
        const { trans } = words;
        this._startPolling(trans.__('closed with %1', event.code));
      } else {
        this._say({ state: 'connecting' });
        this._later();
      }
    };
    this._watch = setInterval(() => void this._doubt(attempt), QUIET);
  }

  /** A socket may be dead without anybody saying so: the plane is asked, another way, whether it is there and how far it is. */
  private async _doubt(attempt: number): Promise<void> {
    if (performance.now() - this._heard < QUIET) {
      return;
    }
    try {
      const { plane } = await this._status();
      if (this._state.state !== 'live' || (await this._behind(plane?.position))) {
        this._mute(attempt);
      } else if (attempt === this._attempt) {
        this._hear();
      }
    } catch (error) {
      if (attempt === this._attempt) {
        this._failed(problemIn(error));
      }
    }
  }

  /** Whether the plane is further than what came, and stays so for longer than a way takes. */
  private async _behind(position: JSONish | undefined): Promise<boolean> {
    const behind = (): boolean => typeof position === 'number' && position > (this._target.since() ?? position);
    if (behind()) {
      await new Promise(resolve => setTimeout(resolve, MOMENT));
    }
    return behind();
  }

  /** A socket was opened and says nothing. */
  private _mute(attempt: number): void {
    if (attempt !== this._attempt) {
      return;
    }
    this._resync = true;
    if (++this._unopened >= SOCKETS_BEFORE_POLLING) {
      this._attempt++;
      this._drop();
      const { trans } = words;
      this._startPolling(trans.__('it was opened and stayed silent'));
    } else {
      this.start();
    }
  }

  private _hear(): void {
    this._heard = performance.now();
    this._target.heard();
  }

  private _failed(problem: IProblem): void {
    this._attempt++;
    this._drop();
    this._stopPolling();
    this._say({ state: 'offline', problem });
    this._later(problem.code === NO_EXTENSION ? NEVER_MIND : undefined);
  }

  private _later(pause?: number): void {
    clearTimeout(this._timer);
    const grown = Math.min(LAST_RETRY, FIRST_RETRY * 2 ** this._failures++);
    this._timer = setTimeout(() => {
      if (document.visibilityState === 'visible' || this._failures < 4) {
        this.start(); // else: when somebody looks again
      }
    }, pause ?? grown * (0.75 + Math.random() / 2));
  }

  private _startPolling(why: string): void {
    const { trans } = words;
    const problem = {
      code: 'NoSocket',
      message: trans.__('No live connection gets through (WebSocket: %1); asking every %2 s instead.', why, POLL / 1000),
      next: trans.__('Something between this browser and the Jupyter server stops WebSockets: a proxy, often.')
    };
    this._poll ??= new Poll({
      name: 'agentlab:rows',
      frequency: { interval: POLL, backoff: true, max: NEVER_MIND },
      standby: 'when-hidden',
      factory: async () => {
        try {
          const state = await this._gateway.request<IDelta>('GET', 'api/state');
          this._target.take({ ...state, full: true });
          this._target.heard();
          this._say({ state: 'polling', problem });
        } catch (error) {
          this._say({ state: 'offline', problem: problemIn(error) });
          throw error;
        }
      }
    });
    this._later(NEVER_MIND);
  }

  private _stopPolling(): void {
    this._poll?.dispose();
    this._poll = null;
  }

  private _drop(): void {
    clearInterval(this._watch);
    const socket = this._socket;
    this._socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  private _say(link: Link): void {
    if (!this._closed) {
      this._state = link;
      this._target.link(link);
    }
  }
}

function parsed(data: unknown): unknown {
  try {
    return typeof data === 'string' ? JSON.parse(data) : null;
  } catch {
    return null;
  }
}
