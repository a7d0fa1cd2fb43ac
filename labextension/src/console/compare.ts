import { used, type IUsed } from '../rows/usage';
import { text } from '../timeline/events';
import { Kind } from '../timeline/spans';
import type { EventLog } from './log';
import { spent } from './spent';

/** What a run came to, in numbers. Times in ms. */
export interface ISummary extends IUsed {
  readonly events: number;
  readonly agents: number;
  readonly duration: number;
  readonly calls: number;
  readonly failed: number;
  readonly waits: number;
  readonly waited: number;
  readonly processes: number;
  /** path -> hash of the content that the run left there; null: deleted. */
  readonly files: ReadonlyMap<string, string | null>;
}

const known = new WeakMap<EventLog, ISummary>();

/** The sums of a log: made anew only where it has grown. */
export function summary(log: EventLog): ISummary {
  let found = known.get(log);
  if (found?.events !== log.length) {
    known.set(log, (found = sums(log)));
  }
  return found;
}

function sums(log: EventLog): ISummary {
  const { table } = log.teller;
  let [calls, failed, waits, waited, processes, agents] = [0, 0, 0, 0, 0, 0];
  for (let i = 0; i < table.length; i++) {
    const kind = table.kind.at(i) as Kind;
    const length = (table.isOpen(i) ? table.last : table.end.at(i)) - table.start.at(i);
    if (kind === Kind.Tool) {
      calls++;
      failed += Number(table.fate.at(i) !== 0);
    } else if (kind === Kind.Wait) {
      waits++;
      waited += length;
    } else if (kind === Kind.Process) {
      processes++;
    }
  }
  for (const event of log.events) {
    agents += Number(event.body.type === 'agent.start');
  }
  return { events: log.length, agents, duration: table.last, calls, failed, waits, waited, processes, ...used(spent(log.events)), files: filesOf(log) };
}

function filesOf(log: EventLog): Map<string, string | null> {
  const files = new Map<string, string | null>();
  for (const index of log.files) {
    const { body } = log.events[index]!;
    const path = text(body, 'path');
    if (body.type === 'file.write') {
      files.set(path, text(body, 'after'));
    } else {
      files.set(path, null);
      if (body.type === 'file.rename') {
        files.set(text(body, 'to'), text(body, 'before'));
      }
    }
  }
  return files;
}

/** How a file of two runs compares. */
export type FileVerdict = 'same' | 'different' | 'only in A' | 'only in B';

/** The files that either run wrote, by path. */
export function compareFiles(a: ISummary, b: ISummary): { path: string; verdict: FileVerdict }[] {
  const paths = [...new Set([...a.files.keys(), ...b.files.keys()])].sort();
  return paths.map(path => {
    const [left, right] = [a.files.get(path), b.files.get(path)];
    const verdict = left === undefined ? 'only in B' : right === undefined ? 'only in A' : left === right ? 'same' : 'different';
    return { path, verdict };
  });
}
