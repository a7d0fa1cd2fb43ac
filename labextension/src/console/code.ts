import type { IFilter } from './filter';
import type { RunStore } from './store';

/** A text in Python, in ASCII: nothing in it looks like something else, or turns the line around. */
function quoted(text: string): string {
  return JSON.stringify(text).replace(/[^\x20-\x7e]/gu, char => {
    const code = char.codePointAt(0)!.toString(16);
    return code.length > 4 ? `\\U${code.padStart(8, '0')}` : `\\u${code.padStart(4, '0')}`;
  });
}

/** Python whose last expression is a DataFrame of what a console shows, to go on with in a notebook. */
export function codeOf(store: RunStore): string {
  const run = `run = agentlab.connect().run_named(${quoted(store.run)})`;
  const code = shown(store);
  const imports = ['import agentlab', ...(code.startsWith('pd.') ? ['import pandas as pd'] : [])];
  return [...imports, '', run, code].join('\n');
}

function shown(store: RunStore): string {
  const { log, cursor } = store;
  const upTo = cursor === null ? '' : `seq <= ${cursor}`;
  switch (store.pane) {
    case 'events':
      return frame('events', [upTo], filtered(store.filter));
    case 'diffs': {
      const event = store.change === null ? undefined : log.events[store.change];
      const path = typeof event?.body.path === 'string' ? `unit = ${sql(`file:${event.body.path}`)}` : '';
      return frame('files', [upTo, path]);
    }
    case 'output':
      return frame('procs', [upTo, store.process ? `actor = ${sql(store.process.actor)}` : '']);
    case 'messages':
      return frame('messages', [upTo]);
    case 'plan':
      return frame('events', [upTo, "type IN ('plan', 'file.write')"]);
    case 'artifacts':
      return frame('events', [upTo, "type = 'artifact'"]);
    case 'tasks':
    case 'state':
      return `pd.DataFrame(list(run.at(${cursor ?? ''})["tables"][${quoted(store.pane === 'tasks' ? 'tasks' : 'agents')}].values()))`;
  }
}

function frame(name: string, where: string[], options: string[] = []): string {
  const asked = where.filter(Boolean).join(' AND ');
  return `run.${name}(${[...(asked ? [`where=${quoted(asked)}`] : []), ...options].join(', ')})`;
}

/** A filter as `run.events` takes it: it means the same there. */
function filtered({ types, actor, unit, text }: IFilter): string[] {
  const given = Object.entries({ actor, unit, text }).filter(([, value]) => value);
  return [
    ...(types.size ? [`types=[${[...types].sort().map(quoted).join(', ')}]`] : []),
    ...given.map(([name, value]) => `${name}=${quoted(value)}`)
  ];
}

/** A text in SQL. */
const sql = (text: string) => `'${text.replace(/'/g, "''")}'`;
