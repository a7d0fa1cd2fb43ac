import { expect, test } from 'vitest';

import { TableDraft } from '../../src/model/tables';
import type { IDelta, IRunListing, Tables } from '../../src/model/wire';
import { agentGroups } from '../../src/rows/agents';
import { approvals } from '../../src/rows/approvals';
import { consequence, unitTree } from '../../src/rows/locks';
import { outdates, runs } from '../../src/rows/runs';
import { kinds, runtimes } from '../../src/rows/runtimes';
import { block, line, ordinal, shortSpan, span, visible } from '../../src/rows/text';
import { census, totals } from '../../src/rows/totals';
import { censusWords } from '../../src/ui/words';
import { nullTranslator } from '@jupyterlab/translation';
import { agent, full } from '../fakes';

function tables(of: IDelta['tables']): Tables {
  const draft = new TableDraft();
  draft.apply(full(1, of));
  return draft.publish();
}

const lock = (ticket: number, owner: string, units: string[], more: object = {}) => ({
  ticket, owner: `r1/${owner}`, run_id: 'r1', units, mode: 'X', status: 'held', token: ticket, granted: ticket, requested: ticket, ttl: 60, position: null,
  behind: [], ...more
});

test('what agents write can neither hide nor turn nor colour anything', () => {
  expect(visible('a\x1b[31mred\x1b[0m\x1b]0;title\x07b')).toBe('aredb');
  expect(visible('x\u202egnp.exe')).toBe('x\\u202egnp.exe');
  expect(visible('a\u200bb\x07c\ud800')).toBe('a\\u200bb\\x07c\\ud800');
  expect(visible('tabs\tand\nlines 😀')).toBe('tabs\tand\nlines 😀');
});

test('a line of a megabyte is cut, and says so', () => {
  const cut = block('x'.repeat(1_000_000));
  expect(cut.length).toBeLessThan(3000);
  expect(cut).toMatch(/more characters/);
  expect(line('y'.repeat(1_000_000), 20)).toHaveLength(20);
});

test('durations and places are said as people say them', () => {
  expect([0.44, 59.7, 62, 3600, 200_000].map(span)).toEqual(['0.4 s', '60 s', '1 min 02 s', '1 h 00 min', '2 d']);
  expect([5, 65, 7200, 200_000].map(shortSpan)).toEqual(['5s', '1m', '2h', '2d']);
  expect([1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal).join(' ')).toBe('1st 2nd 3rd 4th 11th 12th 13th 21st 102nd 111th');
});

test('agents are listed by run, live runs and live agents first', () => {
  const groups = agentGroups(
    tables({
      runs: { r1: { run_id: 'r1', name: 'old', status: 'done' }, r2: { run_id: 'r2', name: 'new', status: 'open' } },
      agents: {
        'r1/a': agent('a', { status: 'done', ended: 9 }),
        'r2/c': agent('c', { agent: 'r2/c', run_id: 'r2', status: 'failed', error: 'no' }),
        'r2/b': agent('b', { agent: 'r2/b', run_id: 'r2', usage: { in: 5, out: 2, cost: 0.5 } })
      }
    })
  );
  expect(groups.map(group => [group.name, group.live, group.agents.map(one => one.name)])).toEqual([
    ['new', 1, ['b', 'c']],
    ['old', 0, ['a']]
  ]);
  expect(groups[0]!.cost).toBe(0.5);
  expect(groups[0]!.agents[1]!.detail).toBe('no');
});

test('ended agents are left out where they are not wanted', () => {
  const rows = tables({ agents: { 'r1/a': agent('a', { status: 'done' }), 'r1/b': agent('b') } });
  expect(agentGroups(rows, { ended: false })[0]!.agents.map(one => one.name)).toEqual(['b']);
});

test('a wait names what for, who holds it, who is before, and the place', () => {
  const waits = { ticket: 9, units: ['file:a'], position: 2, behind: [{ owner: 'r1/t' }, { owner: 'r1/t' }, { owner: 'user:ann', waits: true }] };
  const [group] = agentGroups(tables({ agents: { 'r1/a': agent('a', { status: 'waiting', waits: waits as never }) } }));
  expect(group!.agents[0]!.waiting).toEqual({ units: 'file:a', heldBy: ['t'], after: ['user:ann'], position: 2 });
});

test('units are a tree: what lies in a folder is below it, and a name that only begins alike is not', () => {
  const tree = unitTree(
    tables({
      locks: {
        1: lock(1, 'a', ['file:src2/x.py', 'proc:test']),
        2: lock(2, 'b', ['dir:src']),
        4: lock(4, 'd', ['file:src/lib/deep.py'], { status: 'waiting', token: null, position: 2 }),
        3: lock(3, 'c', ['file:src/lib/deep.py'], { status: 'waiting', token: null, position: 1 })
      }
    })
  );
  expect(tree.map(node => [node.unit, node.depth, node.within])).toEqual([
    ['dir:src', 0, ''],
    ['file:src/lib/deep.py', 1, 'dir:src'],
    ['file:src2/x.py', 0, ''],
    ['proc:test', 0, '']
  ]);
  expect(tree[1]!.queue.map(ticket => ticket.owner)).toEqual(['c', 'd']);
});

test('releasing a lock says who is at work there and who is next', () => {
  const rows = tables({
    agents: { 'r1/a': agent('a', { doing: 'edit file:x' }) },
    locks: { 1: lock(1, 'a', ['file:x']), 2: lock(2, 'b', ['file:x'], { status: 'waiting', token: null, position: 1, behind: [{ owner: 'r1/a' }] }) }
  });
  expect(consequence(rows, 1)).toEqual({ units: ['file:x'], owner: 'a', working: true, doing: 'edit file:x', next: ['b'] });
  expect(consequence(rows, 7)).toBeNull();
});

test('open questions come oldest first, answers newest first, and a diff is only taken where it is a hash', () => {
  const asked = (key: string, more: object) => ({ approval: key, run_id: 'r1', agent: 'r1/a', question: '?', status: 'asked', asked: 1, ...more });
  const { open, answered } = approvals(
    tables({
      approvals: {
        b: asked('b', { asked: 2, tool: 'run', diff: 'a'.repeat(64) }),
        a: asked('a', { diff: '../../etc/passwd' }),
        c: asked('c', { status: 'denied', answered: 5 }),
        d: asked('d', { status: 'approved', answered: 9 })
      }
    })
  );
  expect(open.map(one => [one.key, one.kind, one.diff.length])).toEqual([['a', 'question', 0], ['b', 'permission', 64]]);
  expect(answered.map(one => one.key)).toEqual(['d', 'c']);
});

test('ill runtimes come first, and a kind says where its program is missing', () => {
  const rows = tables({
    runtimes: {
      l: { runtime_id: 'l', kind: 'local', name: 'here', health: 'online', kinds: ['claude', 'codex', 'script'], clis: [{ name: 'claude', verdict: 'ok', version: '2.1' }, { name: 'codex', verdict: 'missing' }] },
      d: { runtime_id: 'd', kind: 'docker', name: 'box', health: 'offline', reason: 'no sign of life' }
    }
  });
  expect(runtimes(rows).map(one => [one.name, one.health])).toEqual([['box', 'offline'], ['here', 'online']]);
  expect(kinds(rows)).toEqual([
    { kind: 'claude', ok: true, note: '2.1' },
    { kind: 'codex', ok: false, note: 'missing' },
    { kind: 'script', ok: true, note: '' }
  ]);
});

test('runs are those of the log, as the plane has them now, and are searched by all words', () => {
  const rows = tables({
    runs: { r2: { run_id: 'r2', name: 'two', status: 'open', started: 2, seq: 7, live: 1 }, plane: { run_id: 'plane', name: 'plane', status: 'open' } },
    agents: { 'r2/a': agent('a', { run_id: 'r2' }) }
  });
  const listing = [{ run_id: 'r2', name: 'two', status: 'done' }, { run_id: 'r1', name: null, status: 'done', started: 1, n_events: 3 }];
  expect(runs(rows, listing).map(run => [run.key, run.name, run.status, run.events])).toEqual([
    ['r2', 'two', 'open', 7],
    ['r1', 'r1', 'done', 3]
  ]);
  expect(runs(rows, listing, 'R1 done').map(run => run.key)).toEqual(['r1']);
});

test('what a run used is known from its row while the plane has it, and from the log when it is forgotten', () => {
  const rows = tables({ runs: { r1: { run_id: 'r1', name: 'one', status: 'open', started: 9, seq: 7, live: 1, usage: { in: 10, out: 5, cached: 99, cost: 0.25 } } } });
  const ended = { name: null, status: 'done', started: 1, ended: 2 };
  const listing: IRunListing[] = [
    { run_id: 'r1', name: 'one', status: 'open', usage: { in: 1 } },
    { ...ended, run_id: 'forgotten', started: 8, usage: { in: 3, out: 4, cost: 1.5 } },
    { ...ended, run_id: 'no cost told', started: 7, usage: { in: 0, out: 4 } },
    { ...ended, run_id: 'no tokens told', started: 6, usage: { cost: 0 } },
    { ...ended, run_id: 'old', started: 5, usage: null },
    { ...ended, run_id: 'of an older plane', started: 4 }
  ];
  expect(runs(rows, listing).map(run => [run.key, run.tokens, run.cost])).toEqual([
    ['r1', 15, 0.25],
    ['forgotten', 7, 1.5],
    ['no cost told', 4, null],
    ['no tokens told', null, 0],
    ['old', null, null],
    ['of an older plane', null, null]
  ]);
});

test('what is counted adds up', () => {
  const rows = tables({
    agents: { a: agent('a'), b: agent('b', { status: 'waiting' }), c: agent('c', { status: 'done' }), d: agent('d', { status: 'idle' }) },
    approvals: { q: { status: 'asked' }, p: { status: 'denied' } },
    runtimes: { l: { health: 'online' }, d: { health: 'recently_lost' } }
  });
  expect(totals(rows)).toEqual({ agents: { live: 3, working: 1, waiting: 1, asking: 0, others: new Map([['idle', 1]]) }, approvals: 1, ill: 1 });
});

test('at work is who runs: all others that live are said by what they do instead', () => {
  const trans = nullTranslator.load('agentlab');
  const said = (...statuses: string[]): string => censusWords(trans, census(statuses.map(status => ({ status }))));
  expect(said('running', 'waiting', 'blocked', 'done')).toBe('3 agents: 1 at work, 1 waits, 1 asks');
  expect(said('running', 'running', 'failed')).toBe('2 agents at work');
  expect(said('paused', 'queued', 'dispatched', 'idle', 'stopping')).toBe('5 agents: 1 paused, 1 queued, 1 starting, 1 idle, 1 stopping');
  expect(said('done')).toBe('no agent');
});

test('a listing is newer than a row that was made before the run ended', () => {
  const rows = tables({ runs: { r1: { run_id: 'r1', name: 'one', status: 'open', seq: 7, live: 1 }, r2: { run_id: 'r2', name: 'two', status: 'open', seq: 7, live: 1 } } });
  const listing = [{ run_id: 'r1', name: 'one', status: 'done', ended: 9, n_events: 9 }, { run_id: 'r2', name: 'two', status: 'open' }];
  expect(runs(rows, listing).map(run => [run.key, run.status, run.events, run.live])).toEqual([['r1', 'done', 9, 0], ['r2', 'open', 7, 1]]);
});

test('the listing is old when a run has ended or was forgotten, not when one goes on', () => {
  const run = (status: string, seq = 1) => ({ run_id: 'r1', name: 'r1', status, seq });
  const [none, open, further, done] = [tables({}), tables({ runs: { r1: run('open') } }), tables({ runs: { r1: run('open', 2) } }), tables({ runs: { r1: run('done') } })];
  expect([outdates(none, open), outdates(open, open), outdates(open, further)]).toEqual([false, false, false]);
  expect([outdates(open, done), outdates(done, none), outdates(none, done)]).toEqual([true, true, true]);
});

test('rows of another version with fields missing, unknown or new are tolerated everywhere', () => {
  const odd = tables({ agents: { x: { agent: 'r/x', status: 'pondering', novelty: [1] } }, locks: { 1: { ticket: 1 } }, approvals: { q: { status: 'asked' } }, runtimes: { r: {} }, runs: { r: { run_id: 'r' } }, comets: { h: {} } } as never);
  expect(agentGroups(odd)[0]!.agents[0]!.status).toBe('pondering');
  expect(unitTree(odd)).toEqual([]);
  expect(approvals(odd).open).toHaveLength(1);
  expect(runtimes(odd)[0]!.health).toBe('unknown');
  expect(runs(odd, [])).toHaveLength(1);
  expect(totals(odd).agents.live).toBe(1);
});

test('two thousand deltas of fifty agents are folded and listed in far less than their second', () => {
  const draft = new TableDraft();
  draft.apply(full(0, { agents: Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`r1/a${n}`, agent(`a${n}`)])) }));
  const before = draft.publish();
  for (let seq = 1; seq <= 2000; seq++) {
    draft.apply({ seq, tables: { agents: { 'r1/a7': agent('a7', { doing: `${seq}` }) } } });
  }
  const after = draft.publish();
  const changed = [...after.get('agents')!].filter(([key, row]) => before.get('agents')!.get(key) !== row);
  expect(changed.map(([key]) => key)).toEqual(['r1/a7']);
  const [a, b] = [agentGroups(before)[0]!, agentGroups(after)[0]!];
  expect(b.agents.filter(one => !a.agents.includes(one)).map(one => one.name)).toEqual(['a7']); // the others are not rendered again
});
