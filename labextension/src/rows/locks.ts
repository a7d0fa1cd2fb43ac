import { rowsOf } from '../model/model';
import type { ILockRow, Tables } from '../model/wire';
import { ENDED, waiting, type IWaiting } from './agents';
import { line, owner } from './text';

/** A ticket as it is seen at one unit. */
export interface ITicketView {
  readonly ticket: number;
  readonly owner: string;
  readonly ownerKey: string;
  readonly runId: string;
  readonly mode: string;
  readonly held: boolean;
  readonly paused: boolean;
  readonly implicit: boolean;
  readonly priority: string;
  readonly position: number;
  readonly since: number;
  readonly ttl: number;
  /** When the lease was to end when the row was sent, ns: it is renewed without another row. 0 where nobody says so. */
  readonly expires: number;
  readonly units: readonly string[];
  readonly waiting: IWaiting | null;
}

/** A unit with those who hold it and its queue, in order. `depth`: how deep it lies within other units that are listed. */
export interface IUnitView {
  readonly unit: string;
  readonly kind: string;
  readonly name: string;
  readonly depth: number;
  readonly within: string;
  readonly root: string;
  readonly holders: readonly ITicketView[];
  readonly queue: readonly ITicketView[];
}

const views = new WeakMap<object, ITicketView>();

/** What is said of a ticket. */
export function ticketView(row: ILockRow): ITicketView {
  let view = views.get(row);
  if (!view) {
    views.set(row, (view = made(row)));
  }
  return view;
}

function made(row: ILockRow): ITicketView {
  const held = row.status === 'held' || row.status === 'paused';
  return {
    ticket: row.ticket,
    owner: owner(row.owner ?? '?'),
    ownerKey: row.owner ?? '',
    runId: row.run_id ?? '',
    mode: row.mode ?? '',
    held,
    paused: row.status === 'paused',
    implicit: Boolean(row.implicit),
    priority: row.priority ?? 'normal',
    position: row.position ?? 0,
    since: (held ? row.granted : row.requested) ?? 0,
    ttl: row.ttl ?? 0,
    expires: row.expires ?? 0,
    units: (row.units ?? []).map(unit => line(unit, 300)),
    waiting: held ? null : waiting({ units: row.units ?? [], position: row.position ?? null, behind: row.behind ?? [] })
  };
}

/** The units that are held or waited for, as a tree: folders before what lies in them, other kinds after the paths. */
export function unitTree(tables: Tables): IUnitView[] {
  const runs = rowsOf({ tables }, 'runs');
  const units = new Map<string, { unit: string; root: string; holders: ITicketView[]; queue: ITicketView[] }>();
  for (const row of rowsOf({ tables }, 'locks').values()) {
    const ticket = ticketView(row);
    const root = runs.get(ticket.runId)?.root ?? '';
    for (const unit of row.units ?? []) {
      const key = `${root}\0${unit}`;
      let node = units.get(key);
      if (!node) {
        units.set(key, (node = { unit, root, holders: [], queue: [] }));
      }
      (ticket.held ? node.holders : node.queue).push(ticket);
    }
  }
  const listed = [...units.values()].sort((a, b) => compare(a.root, b.root) || compare(place(a.unit), place(b.unit)));
  const above: { path: string; root: string; unit: string }[] = [];
  return listed.map(node => {
    const path = pathOf(node.unit);
    while (above.length && (path === null || above.at(-1)!.root !== node.root || !inside(path, above.at(-1)!.path))) {
      above.pop();
    }
    const depth = path === null ? 0 : above.length;
    const within = depth ? above.at(-1)!.unit : '';
    if (path !== null && node.unit.startsWith('dir:')) {
      above.push({ path, root: node.root, unit: node.unit });
    }
    const [kind, name] = halves(node.unit);
    node.holders.sort((a, b) => a.since - b.since);
    node.queue.sort((a, b) => a.position - b.position || a.ticket - b.ticket);
    return {
      unit: line(node.unit, 300), kind: line(kind, 20), name: line(name, 280), depth, within: line(within, 300), root: line(node.root, 300),
      holders: node.holders, queue: node.queue
    };
  });
}

/** What breaks when a ticket is taken from its owner, or what its owner loses when it stops waiting. */
export interface IConsequence {
  readonly units: readonly string[];
  readonly owner: string;
  /** Whether the owner is an agent that is at work. */
  readonly working: boolean;
  readonly doing: string;
  /** Who is next in the queues of these units. */
  readonly next: readonly string[];
}

/** What releasing or cancelling a ticket does to whom. */
export function consequence(tables: Tables, ticket: number): IConsequence | null {
  const locks = rowsOf({ tables }, 'locks');
  const row = locks.get(String(ticket));
  if (!row) {
    return null;
  }
  const agent = rowsOf({ tables }, 'agents').get(row.owner);
  const next = [...locks.values()]
    .filter(other => !other.token && (other.behind ?? []).some(one => one.owner === row.owner))
    .sort((a, b) => (a.position ?? 0) - (b.position ?? 0))
    .map(other => owner(other.owner));
  return {
    units: (row.units ?? []).map(unit => line(unit, 200)),
    owner: owner(row.owner),
    working: agent !== undefined && !ENDED.has(agent.status),
    doing: line(agent?.doing ?? '', 160),
    next: [...new Set(next)]
  };
}

function halves(unit: string): [string, string] {
  const at = unit.indexOf(':');
  return at < 0 ? ['', unit] : [unit.slice(0, at), unit.slice(at + 1)];
}

function pathOf(unit: string): string | null {
  const [kind, name] = halves(unit);
  return kind === 'file' || kind === 'dir' || kind === 'notebook' ? name : null;
}

function inside(path: string, folder: string): boolean {
  return folder === '.' || path.startsWith(`${folder}/`);
}

/** Where a unit is sorted: paths first, a folder right before what lies in it. */
function place(unit: string): string {
  const path = pathOf(unit);
  return path === null ? `1${unit}` : `0${path === '.' ? '' : path.replace(/\//g, '\u0001')}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
