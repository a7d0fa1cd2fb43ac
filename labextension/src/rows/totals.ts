import { rowsOf } from '../model/model';
import type { IAgentRow, Tables } from '../model/wire';
import { ENDED } from './agents';

/** Agents that live, each counted once. `others`: those that are neither at work nor waiting nor asking, by status. */
export interface ICensus {
  readonly live: number;
  readonly working: number;
  readonly waiting: number;
  readonly asking: number;
  readonly others: ReadonlyMap<string, number>;
}

/** Who does what: what is said of agents anywhere is counted here. */
export function census(agents: Iterable<Pick<IAgentRow, 'status'>>): ICensus {
  let [live, working, waiting, asking] = [0, 0, 0, 0];
  const others = new Map<string, number>();
  for (const { status } of agents) {
    if (ENDED.has(status)) {
      continue;
    }
    live++;
    if (status === 'running') {
      working++;
    } else if (status === 'waiting') {
      waiting++;
    } else if (status === 'blocked') {
      asking++;
    } else {
      others.set(status, (others.get(status) ?? 0) + 1);
    }
  }
  return { live, working, waiting, asking, others };
}

/** How many of what: for the status bar and the badge. */
export interface ITotals {
  readonly agents: ICensus;
  readonly approvals: number;
  readonly ill: number;
}

/** Counted anew from the rows. */
export function totals(tables: Tables): ITotals {
  const asked = [...rowsOf({ tables }, 'approvals').values()].filter(one => one.status === 'asked').length;
  const ill = [...rowsOf({ tables }, 'runtimes').values()].filter(one => (one.health ?? one.status) !== 'online').length;
  return { agents: census(rowsOf({ tables }, 'agents').values()), approvals: asked, ill };
}
