import { afterEach, expect, test, vi } from 'vitest';

import { PlaneClock } from '../../src/model/clock';
import { agent, delta } from '../fakes';

const HOUR = 3_600_000;

afterEach(() => void vi.useRealTimers());

function clock(): { clock: PlaneClock; pass: (ms: number) => void } {
  let tick = 1000;
  return { clock: new PlaneClock(() => tick), pass: ms => void (tick += ms) };
}

test('the time is that of the server, and a jump of this calendar changes nothing', () => {
  vi.useFakeTimers({ now: Date.parse('2030-01-01T00:00:00Z') });
  const { clock: plane, pass } = clock();
  plane.answered('Thu, 26 Nov 2026 10:00:00 GMT');
  const before = plane.now();
  expect(Math.abs(before / 1e6 - Date.parse('2026-11-26T10:00:00Z'))).toBeLessThan(1000);
  vi.setSystemTime(Date.parse('2040-01-01T00:00:00Z'));
  pass(5000);
  expect((plane.now() - before) / 1e9).toBeCloseTo(5);
});

test('it is at least as late as the newest row', () => {
  const { clock: plane } = clock();
  plane.answered('Thu, 26 Nov 2026 10:00:00 GMT');
  const later = Date.parse('2026-11-26T11:00:00Z') * 1e6;
  plane.rows(delta(1, { agents: { a: agent('a', { started: later }) } }));
  expect(plane.now()).toBe(later);
});

test('old rows do not set it back', () => {
  const { clock: plane } = clock();
  plane.answered('Thu, 26 Nov 2026 10:00:00 GMT');
  const before = plane.now();
  plane.rows(delta(1, { agents: { a: agent('a', { started: before - HOUR * 1e6 }) } }));
  expect(plane.now()).toBe(before);
});

test('without a word of the server this computer is believed until rows know better', () => {
  vi.useFakeTimers({ now: 1_000_000 });
  const { clock: plane } = clock();
  expect(plane.now()).toBe(1_000_000e6);
  plane.rows(delta(1, { agents: { a: agent('a') } }));
  expect(plane.now()).toBe(1_700_000_001e9);
});
