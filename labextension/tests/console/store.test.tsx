import { act, fireEvent, render, screen, within } from '@testing-library/react';
import * as React from 'react';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { Moments, type Ask, type IMoment } from '../../src/console/moments';
import { RunStore, type Pane } from '../../src/console/store';
import { Console } from '../../src/console/views/console';
import { ConsoleProvider, untranslated } from '../../src/console/views/context';
import { Pen, run } from '../timeline/runs';
import { RunGateway, until } from './plane';

// jsdom lays nothing out: every element is as large as a list of rows.
for (const [name, value] of [['clientHeight', 400], ['clientWidth', 800]] as const) {
  Object.defineProperty(HTMLElement.prototype, name, { configurable: true, get: () => value });
}

HTMLCanvasElement.prototype.getContext = () => null;

const made: RunStore[] = [];

function storeOf(gateway: RunGateway, id = 'r1'): RunStore {
  const store = new RunStore(id, { gateway });
  made.push(store);
  store.start();
  return store;
}

afterEach(() => {
  made.splice(0).forEach(store => store.dispose());
});

describe('a store', () => {
  it('loads a run page by page, and has the state of its end', async () => {
    const gateway = new RunGateway(run(25_000, 6));
    const store = storeOf(gateway);
    await until(() => store.stage.name === 'ended' && store.momentIsCurrent);
    expect(store.log.length).toBe(25_000);
    expect(gateway.states).toEqual([25_000]);
  });

  it('follows a run that is open, and notices its end', async () => {
    const events = run(120);
    const gateway = new RunGateway(events.slice(0, 100));
    gateway.status = 'open';
    const store = storeOf(gateway);
    await gateway.opened(1);
    await until(() => store.stage.name === 'live');
    expect(gateway.last.path).toBe('api/runs/r1/stream?since=100');
    gateway.last.say({ type: 'events', events: events.slice(98, 120) });
    expect([store.log.length, store.log.gaps]).toEqual([120, []]);
    gateway.last.say({ type: 'events', events: [{ seq: 121, ts: events[119]!.ts, actor: 'user:me', status: 'done', body: { type: 'run.end' } }] });
    expect(store.stage.name).toBe('ended');
  });

  it('a cut stream is said, what is here stays, and it goes on from where it was', async () => {
    const events = run(130);
    const gateway = new RunGateway(events.slice(0, 100));
    gateway.status = 'open';
    const store = storeOf(gateway);
    await gateway.opened(1);
    gateway.events.push(...events.slice(100));
    gateway.last.cut();
    expect(store.stage.name).toBe('lost');
    expect(store.log.length).toBe(100);
    await gateway.opened(2);
    await until(() => store.stage.name === 'live');
    expect([store.log.length, gateway.sockets.length, gateway.last.path]).toEqual([130, 2, 'api/runs/r1/stream?since=130']);
  });

  it('asks for the row and the events beside each other, and leaves out nothing that came between', async () => {
    const events = run(130);
    const gateway = new RunGateway(events.slice(0, 100));
    const request = gateway.request.bind(gateway);
    let answer = () => undefined as void;
    const later = new Promise<void>(resolve => (answer = resolve));
    gateway.request = async <T,>(method: string, path: string): Promise<T> => {
      await (path === 'api/runs/r1' ? later : undefined);
      return request<T>(method, path);
    };
    const store = storeOf(gateway);
    await until(() => store.log.length === 100);
    expect(store.stage.name).toBe('loading');
    gateway.events.push(...events.slice(100));
    answer();
    await until(() => store.stage.name === 'ended');
    expect([store.log.length, store.log.gaps]).toEqual([130, []]);
  });

  it('an attempt that was overtaken by another says nothing any more', async () => {
    const gateway = new RunGateway(run(100));
    const request = gateway.request.bind(gateway);
    const refuse: ((error: Error) => void)[] = [];
    gateway.request = <T,>(method: string, path: string): Promise<T> =>
      path === 'api/runs/r1' && !refuse.length ? new Promise<T>((_, reject) => refuse.push(reject)) : request<T>(method, path);
    const store = storeOf(gateway);
    store.retry();
    await until(() => store.stage.name === 'ended');
    refuse[0]!(new Error('too late'));
    await new Promise(resolve => setTimeout(resolve, 20));
    expect([store.stage.name, store.log.length]).toEqual(['ended', 100]);
  });

  it('a run that does not exist is said to be so', async () => {
    const gateway = new RunGateway(run(10));
    gateway.refuse('GET api/runs/gone', 404, 'NotFound', 'The log has no run gone.', 'Choose another.');
    const store = storeOf(gateway, 'gone');
    await until(() => store.stage.name === 'failed');
    expect(store.stage).toMatchObject({ problem: { message: 'The log has no run gone.' } });
  });

  it('one choice is for all views: a call chooses its change, a change of file its diff, a process its output', async () => {
    const pen = new Pen();
    pen.put('a', { type: 'tool.call', call: 'c1' }, { span: 'c1', name: 'write' });
    pen.put('a', { type: 'file.write', path: 'x', before: null, after: 'h' }, { parent: 'c1' });
    pen.put('a', { type: 'tool.call', call: 'c2' }, { span: 'c2', name: 'run' });
    pen.put('a', { type: 'proc.start', proc: 'p', argv: ['ls'] }, { parent: 'c2' });
    pen.put('a', { type: 'proc.output', proc: 'p', fd: 1, data: 'hi\n' });
    const store = storeOf(new RunGateway(pen.events));
    await until(() => store.stage.name === 'ended');
    store.select(1, true);
    expect([store.change, store.pane]).toEqual([1, 'diffs']);
    store.select(3, true);
    expect([store.process?.command, store.pane]).toEqual(['ls', 'output']);
    store.select(2);
    expect([store.change, store.pane]).toEqual([1, 'output']);
    store.select(5, true);
    expect(store.process?.command).toBe('ls');
  });
});

describe('moments', () => {
  it('only the last one that was asked for is told of, and a known one at once', async () => {
    vi.useFakeTimers();
    try {
      const asked: number[] = [];
      const answers = new Map<number, () => void>();
      const told: IMoment[] = [];
      const moments = new Moments(
        seq => new Promise(resolve => { asked.push(seq); answers.set(seq, () => resolve({ seq, tables: {} })); }),
        moment => told.push(moment), () => undefined, 60
      );
      [1, 2, 3].forEach(seq => moments.want(seq));
      await vi.advanceTimersByTimeAsync(60);
      expect(asked).toEqual([3]); // a scrub asks once, at its end
      moments.want(9);
      await vi.advanceTimersByTimeAsync(60);
      answers.get(9)!();
      answers.get(3)!();
      await vi.advanceTimersByTimeAsync(1);
      expect(told.map(moment => moment.seq)).toEqual([9]);
      moments.want(4);
      moments.want(3);
      expect(told.map(moment => moment.seq)).toEqual([9, 3]);
    } finally {
      vi.useRealTimers();
    }
  });

  /** Asks that answer after some ms unless they are given up, and how many are on their way. */
  function slow(after: number): { ask: Ask; asked: number[]; aborted: number[]; most: () => number } {
    const asked: number[] = [];
    const aborted: number[] = [];
    let open = 0;
    let most = 0;
    const ask: Ask = (seq, signal) => new Promise((resolve, reject) => {
      asked.push(seq);
      most = Math.max(most, (open += 1));
      const timer = setTimeout(() => { open -= 1; resolve({ seq, tables: {} }); }, after);
      signal.addEventListener('abort', () => { open -= 1; aborted.push(seq); clearTimeout(timer); reject(new DOMException('given up', 'AbortError')); });
    });
    return { ask, asked, aborted, most: () => most };
  }

  it('what is on its way for an older one is given up where the wish rests, and is no failure', async () => {
    vi.useFakeTimers();
    try {
      const { ask, asked, aborted, most } = slow(5_000);
      const told: number[] = [];
      const failed = vi.fn();
      const moments = new Moments(ask, moment => told.push(moment.seq), failed, 60);
      for (const seq of [10, 20, 30]) {
        moments.want(seq);
        await vi.advanceTimersByTimeAsync(100);
      }
      await vi.advanceTimersByTimeAsync(10_000);
      expect([asked, aborted, told, most()]).toEqual([[10, 20, 30], [10, 20], [30], 1]);
      moments.want(40);
      await vi.advanceTimersByTimeAsync(100);
      moments.want(30);
      expect([aborted, told]).toEqual([[10, 20, 40], [30, 30]]); // it is known: nothing has to come
      moments.want(50);
      moments.cancel();
      await vi.advanceTimersByTimeAsync(10_000);
      expect([asked, told, failed.mock.calls]).toEqual([[10, 20, 30, 40], [30, 30], []]);
    } finally {
      vi.useRealTimers();
    }
  });

  it.each([5, 40, 400])('a wish that moves at every frame is followed, one question at a time, with answers after %i ms', async after => {
    vi.useFakeTimers();
    try {
      const { ask, asked, aborted, most } = slow(after);
      const told: number[] = [];
      const moments = new Moments(ask, moment => told.push(moment.seq), () => undefined, 60);
      for (let seq = 1; seq <= 125; seq++) {
        moments.want(seq);
        await vi.advanceTimersByTimeAsync(16);
      }
      expect(told.length).toBeGreaterThanOrEqual(3);
      expect(asked.length).toBeLessThanOrEqual(2_000 / 60);
      await vi.advanceTimersByTimeAsync(60 + after);
      expect(told).toEqual([...told].sort((a, b) => a - b));
      expect(told.at(-1)).toBe(125);
      expect([told.length + aborted.length, most()]).toEqual([asked.length, 1]);
    } finally {
      vi.useRealTimers();
    }
  });

  it('what failed is said where it is still wanted, and can be wanted again', async () => {
    vi.useFakeTimers();
    try {
      const failed = vi.fn();
      const ask = vi.fn(() => Promise.reject(new Error('away')));
      const moments = new Moments(ask, () => undefined, failed, 60);
      moments.want(1);
      await vi.advanceTimersByTimeAsync(60);
      moments.want(1);
      await vi.advanceTimersByTimeAsync(60);
      expect([ask.mock.calls.length, failed.mock.calls.length]).toEqual([2, 2]);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('the views', () => {
  async function shown(gateway: RunGateway, id = 'r1'): Promise<RunStore> {
    const store = storeOf(gateway, id);
    render(<ConsoleProvider value={{ store, gateway, trans: untranslated, insertCode: () => undefined }}><Console /></ConsoleProvider>);
    await act(async () => {
      await until(() => store.stage.name === 'ended' || store.stage.name === 'failed');
      await new Promise(resolve => setTimeout(resolve, 150));
    });
    return store;
  }

  const settle = (change: () => void) => act(async () => {
    change();
    await new Promise(resolve => setTimeout(resolve, 120));
  });

  function story(): RunGateway {
    const pen = new Pen();
    pen.put('user:me', { type: 'run.start', name: 'story', root: '/w' });
    pen.put('ann', { type: 'agent.start', spec: { kind: 'script' } }, { name: 'ann', status: 'queued' });
    pen.put('ann', { type: 'plan', steps: ['write it'], units: ['file:a.txt'] });
    pen.put('ann', { type: 'message', role: 'assistant', text: '<img src=x onerror=alert(1)>\nsecond line' });
    pen.put('ann', { type: 'file.write', path: 'a.txt', before: null, after: 'h1', added: 1, removed: 0, size: 4 });
    pen.put('ann', { type: 'proc.start', proc: 'p1', argv: ['pytest', '-q'] });
    pen.put('ann', { type: 'proc.output', proc: 'p1', fd: 1, data: '\u001b[32m3 passed\u001b[0m\n' });
    pen.put('ann', { type: 'proc.exit', proc: 'p1', code: 1 }, { status: 'error' });
    pen.put('ann', { type: 'never.heard', of: 'it' });
    pen.put('user:me', { type: 'run.end', reason: '' }, { status: 'done' });
    const gateway = new RunGateway(pen.events);
    gateway.blobs = { h1: 'one\n' };
    return gateway;
  }

  it('the table has all events, shows one whole when it is chosen, also of an unknown type', async () => {
    const store = await shown(story());
    const list = screen.getByRole('listbox', { name: 'Events' });
    expect(within(list).getAllByRole('option').length).toBe(10);
    fireEvent.click(within(list).getByText('never.heard'));
    await settle(() => undefined);
    expect(store.selected).toBe(9);
    expect(screen.getByRole('complementary').textContent).toContain('"of": "it"');
  });

  it('every pane shows the moment of the scrubber', async () => {
    const store = await shown(story());
    const say = async (pane: Pane, seq: number | null) => {
      await settle(() => {
        store.setPane(pane);
        store.setCursor(seq);
      });
      return screen.getByRole('tabpanel').textContent ?? '';
    };
    expect(await say('messages', null)).toContain('<img src=x onerror=alert(1)> second line');
    expect(await say('messages', 3)).toContain('Nothing had been said');
    expect(await say('output', null)).toContain('3 passed');
    expect(await say('output', null)).toContain('exit 1');
    expect(await say('output', 6)).toContain('running');
    expect(await say('output', 6)).not.toContain('3 passed');
    expect(await say('diffs', null)).toContain('a.txt');
    expect(await say('diffs', 4)).toContain('Nothing had been written');
    expect(await say('plan', 4)).toContain('planned, not written');
    expect(await say('plan', 5)).toContain('written as planned');
    expect(await say('state', 5)).toContain('at 5');
    expect(await say('events', 4)).toContain('4 events');
    expect(document.querySelector('img')).toBeNull();
  });

  it('the keyboard moves the moment, the choice and the tabs', async () => {
    const store = await shown(story());
    const list = screen.getByRole('listbox', { name: 'Events' });
    await settle(() => fireEvent.keyDown(list, { key: 'Home' }));
    await settle(() => fireEvent.keyDown(list, { key: 'ArrowDown' }));
    expect(store.selected).toBe(2);
    await settle(() => fireEvent.keyDown(list, { key: 'Enter' }));
    expect(store.cursor).toBe(2);
    await settle(() => fireEvent.keyDown(list, { key: ']' }));
    expect(store.cursor).toBe(3);
    await settle(() => fireEvent.keyDown(screen.getByRole('tab', { name: /Events/ }), { key: 'ArrowRight' }));
    expect(store.pane).toBe('diffs');
    const slider = screen.getByRole('slider');
    await settle(() => fireEvent.change(slider, { target: { value: '7' } }));
    expect(slider.getAttribute('aria-valuetext')).toContain('event 7 of 10');
    await settle(() => fireEvent.click(screen.getByRole('button', { name: 'To the end' })));
    expect(store.cursor).toBeNull();
  });

  it('a run that is not there is no blank panel', async () => {
    const gateway = story();
    gateway.refuse('GET api/runs/gone', 404, 'NotFound', 'The log has no run gone.');
    await shown(gateway, 'gone');
    const alert = screen.getByRole('alert').textContent!;
    expect(alert).toContain('The log has no run gone.');
    expect(alert).toContain('deleted');
    expect(screen.getByRole('button', { name: 'Try again' })).toBeTruthy();
  });

  it('the filter shows what passes and says how many', async () => {
    const store = await shown(story());
    await settle(() => fireEvent.change(screen.getByRole('searchbox', { name: 'Search in events' }), { target: { value: 'PASSED' } }));
    expect(store.filtered.indexes).toEqual([6]);
    expect(screen.getByRole('tabpanel').textContent).toContain('1 of 10 events');
  });
});
