import { rowsOf } from '../model/model';
import type { IRuntimeRow, Tables } from '../model/wire';
import { line } from './text';

/** An agent program at a runtime. `ok`: agents of its kind can be spawned there. */
export interface ICliView {
  readonly name: string;
  readonly version: string;
  readonly verdict: string;
  readonly ok: boolean;
  readonly missing: boolean;
  readonly reason: string;
  readonly path: string;
}

/** A place to run, and how it is. */
export interface IRuntimeView {
  readonly key: string;
  readonly name: string;
  readonly kind: string;
  readonly host: string;
  readonly health: string;
  readonly slots: number;
  readonly used: number;
  readonly lastSeen: number;
  readonly reason: string;
  readonly clis: readonly ICliView[];
  readonly kinds: readonly string[];
}

const ORDER = ['offline', 'about_to_gc', 'recently_lost', 'online'];

const views = new WeakMap<object, IRuntimeView>();

/** What is said of a runtime. */
export function runtimeView(row: IRuntimeRow): IRuntimeView {
  let view = views.get(row);
  if (!view) {
    views.set(row, (view = made(row)));
  }
  return view;
}

function made(row: IRuntimeRow): IRuntimeView {
  return {
    key: row.runtime_id ?? '',
    name: line(row.name || row.runtime_id, 60),
    kind: line(row.kind ?? '', 30),
    host: line(row.host ?? '', 80),
    health: row.health ?? row.status ?? 'unknown',
    slots: row.slots ?? 0,
    used: row.used ?? 0,
    lastSeen: row.last_seen ?? 0,
    reason: line(row.reason || row.detail || '', 300),
    clis: (row.clis ?? []).map(cli => ({
      name: line(cli.name, 40), version: line(cli.version ?? '', 40), verdict: line(cli.verdict ?? '', 40), ok: cli.verdict === 'ok',
      missing: cli.verdict === 'missing', reason: line(cli.reason ?? '', 200), path: line(cli.path ?? '', 300)
    })),
    kinds: row.kinds ?? []
  };
}

/** All runtimes, the ill ones first. */
export function runtimes(tables: Tables): IRuntimeView[] {
  const rank = (view: IRuntimeView): number => ORDER.indexOf(view.health);
  const all = [...rowsOf({ tables }, 'runtimes').values()].map(runtimeView);
  return all.sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
}

/** A kind of agents that can be spawned somewhere, and what its program is. */
export interface IKindView {
  readonly kind: string;
  readonly note: string;
  readonly ok: boolean;
}

/** The kinds of agents that the runtimes can start. Where its program is missing, the kind says so. */
export function kinds(tables: Tables): IKindView[] {
  const found = new Map<string, IKindView>();
  for (const runtime of runtimes(tables)) {
    for (const kind of runtime.kinds) {
      const cli = runtime.clis.find(one => one.name === kind);
      const ok = !cli || cli.ok;
      if (!found.get(kind)?.ok) {
        found.set(kind, { kind, ok, note: cli ? [cli.version, cli.ok ? '' : cli.verdict].filter(Boolean).join(', ') : '' });
      }
    }
  }
  return [...found.values()].sort((a, b) => (a.kind < b.kind ? -1 : 1));
}
