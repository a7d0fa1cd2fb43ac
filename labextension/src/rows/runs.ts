import { rowsOf } from '../model/model';
import type { IAgentRow, IRunListing, Tables } from '../model/wire';
import { line } from './text';
import { census, type ICensus } from './totals';
import { used, type IUsed } from './usage';

/** A run, of memory or of the log, with what its agents used. */
export interface IRunView extends IUsed {
  readonly key: string;
  readonly name: string;
  readonly status: string;
  readonly started: number;
  readonly ended: number;
  readonly events: number;
  readonly live: number;
  /** Its agents; null where the plane has forgotten them. */
  readonly agents: ICensus | null;
  readonly root: string;
  readonly parent: string;
}

/** The id under which the plane logs its own affairs. */
export const PLANE = 'plane';

/** The runs of the log, as they are now: what the plane has in memory is newer than the listing. Newest first. */
export function runs(tables: Tables, listing: readonly IRunListing[], search = ''): IRunView[] {
  const agents = new Map<string, IAgentRow[]>();
  for (const agent of rowsOf({ tables }, 'agents').values()) {
    const known = agents.get(agent.run_id);
    known ? known.push(agent) : agents.set(agent.run_id, [agent]);
  }
  const found = new Map<string, IRunView>();
  for (const run of listing) {
    found.set(run.run_id, {
      key: run.run_id, name: line(run.name || run.run_id, 80), status: run.status ?? 'unknown', started: run.started ?? 0, ended: run.ended ?? 0,
      events: run.n_events ?? 0, live: run.live ?? 0, agents: null, ...used(run.usage), root: '', parent: run.parent_run_id ?? ''
    });
  }
  for (const run of rowsOf({ tables }, 'runs').values()) {
    const before = found.get(run.run_id);
    if (before && before.ended && before.events > (run.seq ?? 0)) {
      continue; // the log was read after this row was made
    }
    found.set(run.run_id, {
      key: run.run_id, name: line(run.name || run.run_id, 80), status: run.status, started: run.started ?? 0, ended: run.ended ?? 0,
      events: run.seq ?? 0, live: run.live ?? 0, agents: census(agents.get(run.run_id) ?? []), ...used(run.usage), root: line(run.root ?? '', 300), parent: before?.parent ?? ''
    });
  }
  found.delete(PLANE);
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return [...found.values()]
    .filter(run => words.every(word => `${run.name} ${run.key} ${run.status} ${run.root}`.toLowerCase().includes(word)))
    .sort((a, b) => b.started - a.started);
}

/** Whether the listing is old: a run is no longer among the rows, or has ended since. `before`: the tables of an earlier view. */
export function outdates(before: Tables, tables: Tables): boolean {
  const [were, are] = [rowsOf({ tables: before }, 'runs'), rowsOf({ tables }, 'runs')];
  if (were === are) {
    return false;
  }
  return (
    [...were.keys()].some(key => !are.has(key)) || [...are].some(([key, run]) => run.status !== 'open' && were.get(key)?.status !== run.status)
  );
}
