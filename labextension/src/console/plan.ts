import { texts, text, type Json } from '../timeline/events';
import type { EventLog } from './log';

/** How a unit of the plan and what was done stand to each other. */
export type Match = 'as planned' | 'not yet' | 'not planned';

/** An agent and a unit: whether it was planned and how often it was written. */
export interface ITouch {
  readonly agent: string;
  readonly unit: string;
  readonly match: Match;
  readonly writes: number;
  /** The event that says so: the last write, else the plan. */
  readonly seq: number;
}

/** The plan of an agent. */
export interface IPlan {
  readonly agent: string;
  readonly steps: readonly string[];
  readonly units: readonly string[];
  readonly seq: number;
}

/** Plans and claims against what was written, after `count` events. */
export function planned(log: EventLog, count: number): { plans: IPlan[]; touches: ITouch[] } {
  const plans = new Map<string, IPlan>();
  const wanted = new Map<string, Map<string, number>>(); // agent -> unit -> seq
  const want = (agent: string, units: readonly string[], seq: number) => {
    const known = wanted.get(agent) ?? new Map<string, number>();
    units.forEach(unit => known.has(unit) || known.set(unit, seq));
    wanted.set(agent, known);
  };
  for (const index of log.until(log.plans, count)) {
    const { actor, seq, body } = log.events[index]!;
    plans.set(actor, { agent: actor, steps: texts(body, 'steps'), units: texts(body, 'units'), seq });
  }
  plans.forEach(plan => want(plan.agent, plan.units, plan.seq));
  for (const index of log.until(log.claims, count)) {
    const { actor, seq, body } = log.events[index]!;
    if (body.implicit !== true) {
      want(actor, texts(body, 'units').filter(unit => !unit.startsWith('proc:')), seq);
    }
  }
  const written = new Map<string, Map<string, { writes: number; seq: number }>>();
  for (const index of log.until(log.files, count)) {
    const { actor, seq, body } = log.events[index]!;
    if (body.via === 'rollback') {
      continue;
    }
    const units = written.get(actor) ?? new Map<string, { writes: number; seq: number }>();
    const unit = `file:${text(body, 'path')}`;
    units.set(unit, { writes: (units.get(unit)?.writes ?? 0) + 1, seq });
    written.set(actor, units);
  }
  return { plans: [...plans.values()], touches: touches(wanted, written) };
}

function touches(
  wanted: Map<string, Map<string, number>>, written: Map<string, Map<string, { writes: number; seq: number }>>
): ITouch[] {
  const found: ITouch[] = [];
  for (const agent of new Set([...wanted.keys(), ...written.keys()])) {
    const plan = wanted.get(agent) ?? new Map<string, number>();
    const done = written.get(agent) ?? new Map<string, { writes: number; seq: number }>();
    for (const [unit, { writes, seq }] of done) {
      const match = [...plan.keys()].some(each => covers(each, unit)) ? 'as planned' : 'not planned';
      found.push({ agent, unit, match, writes, seq });
    }
    for (const [unit, seq] of plan) {
      if (![...done.keys()].some(each => covers(unit, each))) {
        found.push({ agent, unit, match: 'not yet', writes: 0, seq });
      }
    }
  }
  return found;
}

/** Whether a unit that was planned stands for one that was written: the same, or a folder around it. */
export function covers(plan: string, unit: string): boolean {
  if (plan === unit) {
    return true;
  }
  const [kind, path = ''] = split(plan);
  const [, file = ''] = split(unit);
  return kind === 'dir' ? path === '.' || path === '' || file.startsWith(`${path}/`) : kind === 'notebook' && path === file;
}

const split = (unit: string): [string, string] => [unit.slice(0, unit.indexOf(':')), unit.slice(unit.indexOf(':') + 1)];

/** A value for a person: JSON with line breaks. */
export function pretty(value: Json | undefined): string {
  return value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value, null, 2);
}
