import { isFiltering, type IFilter } from './filter';
import type { RunStore } from './store';

/** What a Python text needs. */
function quoted(text: string): string {
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
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
      return frame('events', [upTo, ...conditions(store.filter)], store.filter.text);
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

function frame(name: string, where: string[], text = ''): string {
  const asked = where.filter(Boolean).join(' AND ');
  const call = `run.${name}(${asked ? `where=${quoted(asked)}` : ''}${text ? `${asked ? ', ' : ''}payload="text"` : ''})`;
  return text ? `${call}.query(${quoted(`payload.str.contains(${quoted(text)}, case=False, regex=False)`)})` : call;
}

function conditions(filter: IFilter): string[] {
  if (!isFiltering(filter)) {
    return [];
  }
  const types = [...filter.types].sort();
  return [
    types.length === 0 ? '' : types.length === 1 ? `type = ${sql(types[0]!)}` : `type IN (${types.map(sql).join(', ')})`,
    filter.actor ? `(actor = ${sql(filter.actor)} OR substr(actor, 1, ${filter.actor.length + 1}) = ${sql(`${filter.actor}/`)})` : '',
    filter.unit ? `instr(lower(unit), ${sql(filter.unit.toLowerCase())}) > 0` : ''
  ];
}

/** A text in SQL. */
const sql = (text: string) => `'${text.replace(/'/g, "''")}'`;
