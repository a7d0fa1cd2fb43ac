import type { IEvent } from '../../src/timeline';
import { GatewayError } from '../../src/model/problems';
import { FakeGateway } from '../fakes';

/** A plane that has one run with these events, and states that say which seq they are of. */
export class RunGateway extends FakeGateway {
  readonly states: number[] = [];
  asks = 0;
  status = 'done';
  blobs: Record<string, string> = {};
  /** What becomes of requests: answered, left without an answer, refused because nobody is there, or because the run was deleted. */
  mood: 'answers' | 'hangs' | 'away' | 'deleted' = 'answers';

  constructor(readonly events: IEvent[], readonly run = 'r1') {
    super();
  }

  override async request<T>(method: string, path: string): Promise<T> {
    const [where, query] = path.split('?') as [string, string | undefined];
    const asked = new URLSearchParams(query);
    this.asks++;
    if (this.mood === 'hangs') {
      return new Promise<T>(() => undefined);
    }
    if (this.mood === 'away') {
      throw new GatewayError({ code: 'PlaneUnavailable', message: 'No plane answers.', next: '' }, 503);
    }
    if (this.mood === 'deleted') {
      throw new GatewayError({ code: 'NotFound', message: `The log has no run '${this.run}'.`, next: '' }, 404);
    }
    const say = (value: unknown) => JSON.parse(JSON.stringify(value)) as T;
    switch (where) {
      case `api/runs/${this.run}`:
        return say({ run_id: this.run, status: this.status, seq: this.events.at(-1)?.seq ?? 0 });
      case `api/runs/${this.run}/events`: {
        const since = Number(asked.get('since'));
        return say(this.events.filter(event => event.seq > since).slice(0, Number(asked.get('limit'))));
      }
      case `api/runs/${this.run}/state`: {
        const seq = Number(asked.get('seq'));
        this.states.push(seq);
        return say({ seq, tables: { agents: { 'r1/a': { agent: 'r1/a', run_id: 'r1', name: 'a', kind: 'script', status: `at ${seq}` } }, locks: {}, tasks: {} } });
      }
      default:
        return super.request(method, path);
    }
  }

  /** Wait for the n-th socket, and open it. */
  async opened(n: number): Promise<void> {
    await until(() => this.sockets.length >= n);
    this.last.open();
    await new Promise(resolve => setTimeout(resolve, 300)); // it settles
  }

  override async text(path: string): Promise<string> {
    const found = this.blobs[path.slice('api/blobs/'.length)];
    if (found === undefined) {
      throw new Error('no such blob');
    }
    return found;
  }
}

/** Wait until something is so. */
export async function until(holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!holds()) {
    if (Date.now() > deadline) {
      throw new Error('it never came to be');
    }
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}
