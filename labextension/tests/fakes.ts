/** A plane that is in this process: REST answers and sockets that a test writes itself. */
import type { IGateway } from '../src/tokens';
import { GatewayError, noExtension, problemOf } from '../src/model/problems';
import type { IDelta, JSONish, Row } from '../src/model/wire';

/** A socket whose other end is the test. */
export class FakeSocket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  closed = false;

  constructor(readonly path: string) {}

  open(): void {
    this.onopen?.();
  }

  say(message: unknown): void {
    this.onmessage?.({ data: typeof message === 'string' ? message : JSON.stringify(message) });
  }

  cut(code = 1006): void {
    this.closed = true;
    this.onclose?.({ code });
  }

  close(): void {
    this.closed = true;
  }
}

/** Answers are functions of `METHOD path`; what is not there is 404, as without the server extension. */
export class FakeGateway implements IGateway {
  readonly sockets: FakeSocket[] = [];
  readonly asked: { call: string; body: JSONish | undefined }[] = [];
  readonly answers: Record<string, (body: JSONish | undefined) => JSONish> = {
    'GET status': () => ({ ok: true, version: '0.1.0', plane: { pid: 1 } })
  };

  async request<T>(method: string, path: string, body?: JSONish): Promise<T> {
    const call = `${method} ${path}`;
    this.asked.push({ call, body });
    const answer = this.answers[call];
    if (!answer) {
      throw new GatewayError(noExtension(), 404);
    }
    return answer(body) as T;
  }

  async text(path: string): Promise<string> {
    return String(await this.request('GET', path));
  }

  socket(path: string): WebSocket {
    const socket = new FakeSocket(path);
    this.sockets.push(socket);
    return socket as unknown as WebSocket;
  }

  /** The socket that was opened last. */
  get last(): FakeSocket {
    return this.sockets.at(-1)!;
  }

  /** From now on this call is refused as the plane refuses. */
  refuse(call: string, status: number, code: string, message: string, next = ''): void {
    this.answers[call] = () => {
      throw new GatewayError(problemOf(status, JSON.stringify({ code, message, next })), status);
    };
  }
}

/** A snapshot. */
export function full(seq: number, tables: IDelta['tables']): IDelta {
  return { seq, tables, full: true };
}

/** What changed. */
export function delta(seq: number, tables: { [table: string]: { [key: string]: Row | null } }): IDelta {
  return { seq, tables, full: false };
}

/** A row of an agent, as the plane makes it. */
export function agent(name: string, more: Partial<Record<string, JSONish>> = {}): Row {
  return {
    agent: `r1/${name}`, run_id: 'r1', agent_id: name, name, kind: 'script', status: 'running', reason: '', doing: '', error: '',
    queued_at: 1_700_000_000e9, started: 1_700_000_001e9, ended: null, usage: {}, waits: null, holds: [], model: null,
    boundary: 'tools', ...more
  };
}
