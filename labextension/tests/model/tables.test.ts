import { expect, test } from 'vitest';

import { TableDraft, isDelta } from '../../src/model/tables';
import { agent, delta, full } from '../fakes';

function draft(): TableDraft {
  const made = new TableDraft();
  made.apply(full(5, { agents: { 'r1/a': agent('a'), 'r1/b': agent('b') }, runs: { r1: { run_id: 'r1' } } }));
  return made;
}

test('a snapshot replaces everything', () => {
  const tables = draft();
  tables.apply(full(3, { agents: { 'r1/c': agent('c') } }));
  expect([...tables.publish().get('agents')!.keys()]).toEqual(['r1/c']);
  expect(tables.publish().has('runs')).toBe(false);
  expect(tables.seq).toBe(3);
});

test('a delta changes, adds and removes rows, and leaves the others the same objects', () => {
  const tables = draft();
  const before = tables.publish();
  expect(tables.apply(delta(6, { agents: { 'r1/a': agent('a', { status: 'done' }), 'r1/b': null, 'r1/c': agent('c') } }))).toBe(true);
  const after = tables.publish();
  expect(after.get('agents')!.get('r1/a')!.status).toBe('done');
  expect([...after.get('agents')!.keys()]).toEqual(['r1/a', 'r1/c']);
  expect(after.get('runs')).toBe(before.get('runs'));
});

test('a published picture never changes', () => {
  const tables = draft();
  const before = tables.publish();
  tables.apply(delta(6, { agents: { 'r1/a': null }, tasks: { t: { task_id: 't' } } }));
  expect(before.get('agents')!.size).toBe(2);
  expect(before.has('tasks')).toBe(false);
  const between = tables.publish();
  tables.apply(delta(7, { agents: { 'r1/b': null } }));
  expect(between.get('agents')!.size).toBe(1);
  expect(tables.publish().get('agents')!.size).toBe(0);
});

test('a picture of nothing new is the same picture', () => {
  const tables = draft();
  expect(tables.publish()).toBe(tables.publish());
});

test('what is older than what is known is not taken', () => {
  const tables = draft();
  expect(tables.apply(delta(4, { agents: { 'r1/a': null } }))).toBe(false);
  expect(tables.publish().get('agents')!.has('r1/a')).toBe(true);
});

test('unknown tables are kept and senseless ones left alone', () => {
  const tables = draft();
  tables.apply({ seq: 6, tables: { future: { x: { y: 1 } }, agents: null, runs: { r1: 7 } } } as never);
  expect(tables.publish().get('future')!.get('x')).toEqual({ y: 1 });
  expect(tables.publish().get('agents')!.size).toBe(2);
});

test('only deltas are taken for deltas', () => {
  expect(isDelta({ seq: 1, tables: {} })).toBe(true);
  for (const other of [null, 7, 'x', [], {}, { seq: '1', tables: {} }, { seq: 1 }, { seq: 1, tables: [] }, { events: [] }]) {
    expect(isDelta(other)).toBe(false);
  }
});
