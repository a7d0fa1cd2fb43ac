import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { codeOf } from '../../src/console/code';
import type { IFilter } from '../../src/console/filter';
import { RunStore } from '../../src/console/store';
import type { IEvent } from '../../src/timeline';
import { BEGIN } from '../timeline/runs';
import { RunGateway } from './plane';

interface ICase {
  readonly of: string;
  readonly filter: Partial<Omit<IFilter, 'types'>> & { readonly types?: readonly string[] };
  readonly seqs: readonly number[];
}

/** Events, filters, and what each must find: by hand. tests/labextension/test_filters.py finds the same with the code that is inserted. */
const { events, cases } = JSON.parse(readFileSync(join(__dirname, 'filters.json'), 'utf8')) as { events: Omit<IEvent, 'ts'>[]; cases: ICase[] };

/** The code of each filter, which is executed there. */
const CODES = join(__dirname, 'filtered.json');

function filtered({ filter }: ICase): RunStore {
  const store = new RunStore('golden', { gateway: new RunGateway([]) });
  store.log.append(events.map(event => ({ ...event, ts: BEGIN })));
  store.stage = { name: 'ended' };
  store.setFilter({ actor: '', unit: '', text: '', ...filter, types: new Set(filter.types) });
  while (!store.filtered.work(1)) {
    // slice by slice
  }
  return store;
}

describe('the filter finds', () => {
  it.each(cases.map(each => [each.of, each] as const))('%s', (_, each) => {
    const store = filtered(each);
    expect(store.filtered.indexes.map(index => store.log.seq.at(index))).toEqual(each.seqs);
    store.dispose();
  });

  it('what the code of it does; GOLDEN=1 writes that anew', () => {
    const codes = Object.fromEntries(cases.map(each => [each.of, codeOf(filtered(each))]));
    if (process.env.GOLDEN) {
      writeFileSync(CODES, `${JSON.stringify(codes, null, 2)}\n`);
    }
    expect(codes).toEqual(JSON.parse(readFileSync(CODES, 'utf8')));
  });
});
