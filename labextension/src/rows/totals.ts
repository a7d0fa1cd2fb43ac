import { rowsOf } from '../model/model';
import type { Tables } from '../model/wire';
import { ENDED } from './agents';

/** How many of what: for the status bar and the badge. */
export interface ITotals {
  readonly running: number;
  readonly waiting: number;
  readonly approvals: number;
  readonly live: number;
  readonly ill: number;
}

/** Counted anew from the rows. `running` are all that live and do not wait. */
export function totals(tables: Tables): ITotals {
  let live = 0;
  let waiting = 0;
  for (const agent of rowsOf({ tables }, 'agents').values()) {
    live += ENDED.has(agent.status) ? 0 : 1;
    waiting += agent.status === 'waiting' || agent.status === 'blocked' ? 1 : 0;
  }
  const asked = [...rowsOf({ tables }, 'approvals').values()].filter(one => one.status === 'asked').length;
  const ill = [...rowsOf({ tables }, 'runtimes').values()].filter(one => (one.health ?? one.status) !== 'online').length;
  return { running: live - waiting, waiting, approvals: asked, live, ill };
}
