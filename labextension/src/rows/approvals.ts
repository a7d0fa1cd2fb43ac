import { rowsOf } from '../model/model';
import type { IApprovalRow, Tables } from '../model/wire';
import { block, line, owner } from './text';

/** One question of an agent. */
export interface IApprovalView {
  readonly key: string;
  readonly runId: string;
  readonly agent: string;
  readonly agentKey: string;
  readonly kind: 'permission' | 'question' | 'login';
  readonly question: string;
  readonly options: readonly { readonly value: string; readonly text: string }[];
  readonly tool: string;
  readonly units: readonly string[];
  /** '' where there is none. */
  readonly input: string;
  /** Hash of the blob. */
  readonly diff: string;
  readonly risk: string;
  readonly risks: readonly string[];
  readonly locks: readonly { readonly unit: string; readonly owner: string; readonly mode: string; readonly waits: boolean }[];
  readonly open: boolean;
  readonly status: string;
  readonly answer: string;
  readonly by: string;
  readonly scope: string;
  readonly rule: string;
  readonly asked: number;
  readonly answered: number;
  readonly expires: number;
}

const KINDS = new Set(['permission', 'question', 'login']);

const views = new WeakMap<object, IApprovalView>();

/** What is said of a question. */
export function approvalView(row: IApprovalRow): IApprovalView {
  let view = views.get(row);
  if (!view) {
    views.set(row, (view = made(row)));
  }
  return view;
}

function made(row: IApprovalRow): IApprovalView {
  const input = row.input;
  return {
    key: row.approval ?? '',
    runId: row.run_id ?? '',
    agent: owner(row.agent ?? '?'),
    agentKey: row.agent?.includes('/') ? row.agent : `${row.run_id}/${row.agent}`,
    kind: KINDS.has(row.kind ?? '') ? (row.kind as IApprovalView['kind']) : row.tool ? 'permission' : 'question',
    question: block(row.question ?? ''),
    options: (row.options ?? []).map(option => ({ value: option, text: line(option, 200) })),
    tool: line(row.tool ?? '', 80),
    units: (row.units ?? []).map(unit => line(unit, 200)),
    input: input === null || input === undefined ? '' : block(input),
    diff: typeof row.diff === 'string' && /^[0-9a-f]{16,128}$/.test(row.diff) ? row.diff : '',
    risk: row.risk ?? '',
    risks: (row.risks ?? []).map(risk => line(risk, 300)),
    locks: (row.locks ?? []).map(lock => ({
      unit: line(lock.unit ?? '', 200), owner: owner(lock.owner ?? ''), mode: line(lock.mode ?? '', 10), waits: Boolean(lock.waits)
    })),
    open: row.status === 'asked',
    status: row.status ?? '',
    answer: line(row.answer ?? '', 300),
    by: line(row.by ?? '', 60),
    scope: row.scope ?? '',
    rule: line(row.rule ?? '', 120),
    asked: row.asked ?? 0,
    answered: row.answered ?? 0,
    expires: row.expires ?? 0
  };
}

/** Open questions, the oldest first, and the latest answers, the newest first. */
export function approvals(tables: Tables, past = 20): { open: IApprovalView[]; answered: IApprovalView[] } {
  const all = [...rowsOf({ tables }, 'approvals').values()].map(approvalView);
  const open = all.filter(one => one.open).sort((a, b) => a.asked - b.asked);
  const answered = all.filter(one => !one.open).sort((a, b) => b.answered - a.answered || b.asked - a.asked);
  return { open, answered: answered.slice(0, past) };
}
