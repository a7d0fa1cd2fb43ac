import { rowsOf } from '../model/model';
import type { Tables, IAgentRow, IRunRow, IWait } from '../model/wire';
import { line, owner } from './text';

/** Statuses of an agent that has ended. */
export const ENDED: ReadonlySet<string> = new Set(['done', 'failed', 'cancelled']);
const UNPAUSABLE: ReadonlySet<string> = new Set(['queued', 'dispatched', 'paused', 'stopping']);

/** Who an agent waits for: `held by` comes before `after`. */
export interface IWaiting {
  readonly units: string;
  readonly heldBy: readonly string[];
  readonly after: readonly string[];
  readonly position: number;
}

/** What a line of the list says of an agent. */
export interface IAgentView {
  readonly key: string;
  readonly runId: string;
  readonly agentId: string;
  readonly name: string;
  readonly kind: string;
  readonly status: string;
  readonly live: boolean;
  /** It can be paused: it has begun, and is neither paused nor being stopped. */
  readonly pausable: boolean;
  readonly waiting: IWaiting | null;
  /** What it does, said, or died of; '' where there is nothing to say. */
  readonly detail: string;
  readonly wrong: boolean;
  /** When the limit that it ran into resets, ns; 0 where there is none or nobody says so. */
  readonly resets: number;
  readonly tokens: number;
  readonly cost: number;
  readonly began: number;
  readonly ended: number;
  readonly native: boolean;
  readonly holds: readonly string[];
}

/** The agents of a run. */
export interface IAgentGroup {
  readonly runId: string;
  readonly name: string;
  readonly status: string;
  readonly root: string;
  readonly agents: readonly IAgentView[];
  readonly live: number;
  readonly cost: number;
}

const views = new WeakMap<object, IAgentView>(); // a row never changes, and so what is said of it does not either

/** What is said of an agent. */
export function agentView(row: IAgentRow): IAgentView {
  let view = views.get(row);
  if (!view) {
    views.set(row, (view = made(row)));
  }
  return view;
}

/** Agents by run: the runs that live first, then the newest; agents that live first, in the order of their spawning. */
export function agentGroups(tables: Tables, options: { ended?: boolean } = {}): IAgentGroup[] {
  const runs = rowsOf({ tables }, 'runs');
  const byRun = new Map<string, IAgentView[]>();
  for (const row of rowsOf({ tables }, 'agents').values()) {
    const view = agentView(row);
    if (view.key && (view.live || options.ended !== false)) {
      const known = byRun.get(view.runId);
      known ? known.push(view) : byRun.set(view.runId, [view]);
    }
  }
  const groups = [...byRun].map(([runId, agents]) => group(runId, runs.get(runId), agents));
  return groups.sort((a, b) => Number(b.live > 0) - Number(a.live > 0) || newest(b) - newest(a));
}

function group(runId: string, run: IRunRow | undefined, agents: IAgentView[]): IAgentGroup {
  agents.sort((a, b) => Number(b.live) - Number(a.live) || (a.live ? a.began - b.began : b.ended - a.ended));
  return {
    runId,
    name: line(run?.name ?? runId, 60),
    status: run?.status ?? 'open',
    root: line(run?.root ?? '', 300),
    agents,
    live: agents.filter(agent => agent.live).length,
    cost: agents.reduce((sum, agent) => sum + agent.cost, 0)
  };
}

function newest(of: IAgentGroup): number {
  return of.agents.reduce((latest, agent) => Math.max(latest, agent.began), 0);
}

function made(row: IAgentRow): IAgentView {
  const status = row.status ?? 'unknown';
  const live = !ENDED.has(status);
  const usage = row.usage ?? {};
  return {
    key: row.agent ?? '',
    runId: row.run_id ?? '',
    agentId: row.agent_id ?? '',
    name: line(row.name ?? row.agent, 60),
    kind: line(row.kind ?? '', 30),
    status,
    live,
    pausable: live && !UNPAUSABLE.has(status),
    waiting: waiting(row.waits),
    detail: detail(row, status),
    wrong: status === 'failed',
    resets: row.resets ?? 0,
    tokens: (usage.in ?? 0) + (usage.out ?? 0),
    cost: usage.cost ?? 0,
    began: row.started ?? row.queued_at ?? 0,
    ended: row.ended ?? 0,
    native: row.boundary === 'native',
    holds: (row.holds ?? []).map(unit => line(unit, 200))
  };
}

/** What anything with units, a place and somebody in front waits for. */
export function waiting(waits: Pick<IWait, 'units' | 'position' | 'behind'> | null | undefined): IWaiting | null {
  if (!waits) {
    return null;
  }
  const behind = waits.behind ?? [];
  const owners = (ahead: boolean): string[] => [
    ...new Set(behind.filter(one => Boolean(one.waits) === ahead).map(one => owner(one.owner ?? '')))
  ];
  return { units: line((waits.units ?? []).join(', '), 160), heldBy: owners(false), after: owners(true), position: waits.position ?? 0 };
}

function detail(row: IAgentRow, status: string): string {
  if (row.error) {
    return line(row.error, 240);
  }
  if (status === 'done') {
    return line(row.output, 240);
  }
  return line(row.doing || row.reason || '', 240);
}
