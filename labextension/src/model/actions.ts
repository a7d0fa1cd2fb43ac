import type { IGateway } from '../tokens';
import type { JSONish } from './wire';

/** What can be asked of an agent without a word. */
export type Verb = 'pause' | 'resume' | 'interrupt' | 'stop';

/** How an approval is answered. `reason` goes with a denial. */
export interface IAnswer {
  readonly status: 'approved' | 'denied' | 'answered';
  readonly answer?: string;
  readonly scope?: 'once' | 'session' | 'always';
}

/** An agent to be spawned, as people write it. */
export interface ISpawn {
  readonly kind: string;
  readonly task: string;
  readonly workdir: string;
  readonly run?: string;
  readonly name?: string;
  readonly claims?: readonly string[];
  readonly claims_mode?: string;
  readonly model?: string;
  readonly boundary?: string;
  readonly priority?: string;
  /** Of its kind's driver. */
  readonly options?: { readonly [name: string]: string };
  /** Those that it may use; all where nothing is said. */
  readonly tools?: readonly string[];
  /** Rules that answer its requests. */
  readonly permissions?: readonly string[];
  readonly instructions?: string;
  /** References to the values of its environment: `env:NAME`, `file:/path`, as the Jupyter server has them. */
  readonly env?: { readonly [name: string]: string };
  readonly max_tokens?: number;
  /** USD. */
  readonly max_cost?: number;
  /** s at work. */
  readonly max_time?: number;
  /** It stays for follow-ups. */
  readonly keep?: boolean;
  /** It waits for a limit to reset. */
  readonly wait_limits?: boolean;
}

/** Everything that is asked of the plane from here. Each raises `GatewayError`. */
export class Actions {
  constructor(private readonly _gateway: IGateway) {}

  /** The key of the new agent. */
  async spawn(what: ISpawn): Promise<{ agent: string; run_id: string }> {
    return this._gateway.request('POST', 'spawn', { ...what } as JSONish);
  }

  async signal(agent: string, verb: Verb): Promise<void> {
    await this._gateway.request('POST', `${agentPath(agent)}/${verb}`, {});
  }

  async kill(agent: string): Promise<void> {
    await this._gateway.request('DELETE', agentPath(agent));
  }

  async send(agent: string, text: string): Promise<void> {
    await this._gateway.request('POST', `${agentPath(agent)}/send`, { text });
  }

  async bump(ticket: number): Promise<void> {
    await this._gateway.request('POST', 'api/bumps', { ticket });
  }

  async revoke(ticket: number, reason: string): Promise<void> {
    await this._gateway.request('POST', 'api/revokes', { ticket, reason });
  }

  async answer(approval: string, answer: IAnswer): Promise<void> {
    await this._gateway.request('POST', `api/approvals/${encodeURIComponent(approval)}`, { ...answer } as JSONish);
  }
}

function agentPath(agent: string): string {
  return `api/agents/${agent.split('/').map(encodeURIComponent).join('/')}`;
}
