import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterEach, describe, expect, it } from 'vitest';

import { codeOf } from '../../src/console/code';
import { PANES, RunStore } from '../../src/console/store';
import { Pen } from '../timeline/runs';
import { RunGateway, until } from './plane';

/** tests/labextension/test_code.py runs what is in here. */
const GOLDEN = join(__dirname, 'codes.json');

const made: RunStore[] = [];

afterEach(() => made.splice(0).forEach(store => store.dispose()));

/** Of each pane, at the end and at a moment, and of a table with every filter: the code, by what it is of. */
async function codes(): Promise<Record<string, string>> {
  const pen = new Pen();
  pen.put('user:me', { type: 'run.start', name: 'story', root: '/w' });
  pen.put('ann', { type: 'agent.start', spec: { kind: 'script' } }, { name: 'ann', status: 'queued' });
  pen.put('ann', { type: 'file.write', path: 'a.py', before: null, after: 'h' });
  pen.put('ann', { type: 'proc.start', proc: 'p', argv: ['echo', 'hi'] });
  pen.put('ann', { type: 'message', role: 'assistant', text: 'written' });
  pen.put('ann', { type: 'agent.end' }, { status: 'done' });
  const store = new RunStore('RUN', { gateway: new RunGateway(pen.events, 'RUN') });
  made.push(store);
  store.start();
  await until(() => store.stage.name === 'ended');
  const found: Record<string, string> = {};
  const note = (what: string) => (found[what] = codeOf(store));
  for (const pane of PANES) {
    store.setPane(pane);
    store.setCursor(null);
    note(pane);
    store.setCursor(5);
    note(`${pane} at 5`);
  }
  store.setCursor(null);
  [3, 4].forEach(seq => store.select(seq));
  store.setPane('diffs');
  note('diffs of a file');
  store.setPane('output');
  note('output of a process');
  store.setPane('events');
  store.setFilter({ types: new Set(['file.write', 'tool.call']), actor: 'ann', unit: "it's a.py", text: 'a "b" \u202e' });
  note('events with every filter');
  store.setFilter({ types: new Set(), actor: '', unit: '', text: 'WRITTEN' });
  note('events with a text');
  return found;
}

describe('the code of what is shown', () => {
  it('is that which is run against a real run; GOLDEN=1 writes it anew', async () => {
    const found = await codes();
    if (process.env.GOLDEN) {
      writeFileSync(GOLDEN, `${JSON.stringify(found, null, 2)}\n`);
    }
    expect(found).toEqual(JSON.parse(readFileSync(GOLDEN, 'utf8')));
  });
});
