import type { TranslationBundle } from '@jupyterlab/translation';

import type { ISpawn } from '../model/actions';

/** What is written in the form. */
export interface IDraft {
  kind: string;
  name: string;
  task: string;
  run: string;
  workdir: string;
  claims: string;
  /** The program of an agent whose kind is any program. */
  command: string;
  model: string;
  boundary: string;
  priority: string;
  claimsMode: string;
  tools: string;
  rules: string;
  instructions: string;
  /** One a line: NAME, NAME=env:OTHER or NAME=file:/path. */
  env: string;
  tokens: string;
  cost: string;
  minutes: string;
  keep: boolean;
  waitLimits: boolean;
}

/** A draft in which nothing is written. */
export const EMPTY: IDraft = {
  kind: '', name: '', task: '', run: '', workdir: '', claims: '', command: '', model: '', boundary: 'tools', priority: 'normal', claimsMode: 'exclusive',
  tools: '', rules: '', instructions: '', env: '', tokens: '', cost: '', minutes: '', keep: false, waitLimits: false
};

/** Kinds whose agents are any program, which is named by its command. */
const COMMANDED: ReadonlySet<string> = new Set(['acp', 'cli']);

/** Whether agents of a kind are named by their command. */
export function commanded(kind: string): boolean {
  return COMMANDED.has(kind);
}

/** The draft for another kind. Of a program of which no more is known than its command, nobody can take its own tools away. */
export function ofKind(draft: IDraft, kind: string): IDraft {
  const boundary = commanded(kind) ? 'native' : commanded(draft.kind) ? 'tools' : draft.boundary;
  return { ...draft, kind, boundary };
}

/** An open run that an agent may join: it works in the folder of that run. */
export interface IOpenRun {
  readonly name: string;
  readonly root: string;
}

/** The draft for a run of this name: a run has one folder, and so an agent that joins it has that one. */
export function inRun(draft: IDraft, run: string, open: readonly IOpenRun[]): IDraft {
  const joined = open.find(one => one.name === run.trim());
  return { ...draft, run, workdir: joined?.root || draft.workdir };
}

/** The draft as it is sent: what is empty is left out. */
export function spawnOf(draft: IDraft): ISpawn {
  const [claims, tools] = [draft.claims, draft.tools].map(text => text.split(/[\s,]+/).filter(Boolean)) as [string[], string[]];
  const rules = draft.rules.split('\n').map(rule => rule.trim()).filter(Boolean);
  const env = referencesOf(draft.env) ?? {};
  const [tokens, cost, minutes] = [draft.tokens, draft.cost, draft.minutes].map(amountOf) as [number, number, number];
  const said = (text: string): string | undefined => text.trim() || undefined;
  const spawn: ISpawn = {
    kind: draft.kind,
    task: draft.task,
    workdir: draft.workdir.trim(),
    name: said(draft.name),
    run: said(draft.run),
    model: said(draft.model),
    claims: claims.length ? claims : undefined,
    claims_mode: draft.claimsMode === 'exclusive' ? undefined : draft.claimsMode,
    boundary: draft.boundary === 'tools' ? undefined : draft.boundary,
    priority: draft.priority === 'normal' ? undefined : draft.priority,
    options: commanded(draft.kind) && draft.command.trim() ? { command: draft.command.trim() } : undefined,
    tools: tools.length ? tools : undefined,
    permissions: rules.length ? rules : undefined,
    instructions: said(draft.instructions),
    env: Object.keys(env).length ? env : undefined,
    max_tokens: tokens ? Math.round(tokens) : undefined,
    max_cost: cost || undefined,
    max_time: minutes ? minutes * 60 : undefined,
    keep: draft.keep || undefined,
    wait_limits: draft.waitLimits || undefined
  };
  return Object.fromEntries(Object.entries(spawn).filter(([, value]) => value !== undefined)) as unknown as ISpawn;
}

/** What is missing before anything is asked; '' where nothing is. */
export function missing(draft: IDraft, trans: TranslationBundle): string {
  if (!draft.kind) {
    return trans.__('Choose a kind of agent.');
  }
  if (commanded(draft.kind) && !draft.command.trim()) {
    return trans.__('Name the program that is to be the agent, with its arguments.');
  }
  if (!draft.task.trim()) {
    return trans.__('Say what the agent is to do.');
  }
  if ([draft.tokens, draft.cost, draft.minutes].some(text => !(amountOf(text) >= 0))) {
    return trans.__('A limit is a number above 0, or nothing.');
  }
  if (!referencesOf(draft.env)) {
    return trans.__('The environment is given by reference, one a line: NAME, NAME=env:OTHER or NAME=file:/path. A value itself is not taken here.');
  }
  return draft.workdir.trim() ? '' : trans.__('Name the folder that it works in.');
}

/** What each variable refers to; null: something is no reference. */
function referencesOf(text: string): Record<string, string> | null {
  const lines = text.split('\n').map(line => line.trim()).filter(Boolean);
  const found = lines.map(line => /^([A-Za-z_]\w*)(?:=(env:[A-Za-z_]\w*|file:\S.*))?$/.exec(line));
  return found.every(one => one !== null) ? Object.fromEntries(found.map(one => [one[1]!, one[2] ?? `env:${one[1]!}`])) : null;
}

/** 0: nothing is written; NaN: no amount. */
function amountOf(text: string): number {
  const amount = Number(text.trim() || 0);
  return Number.isFinite(amount) && (amount > 0 || !text.trim()) ? amount : NaN;
}
