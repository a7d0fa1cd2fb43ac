/** That a console shows nothing as being so now which nobody can know any more. */
import { act, render, screen } from '@testing-library/react';
import * as React from 'react';
import { afterEach, describe, expect, it } from 'vitest';

import { RunStore, type Pane } from '../../src/console/store';
import { Console } from '../../src/console/views/console';
import { ConsoleProvider, untranslated } from '../../src/console/views/context';
import { agent, full } from '../fakes';
import { StillModel } from '../host';
import { Pen } from '../timeline/runs';
import { RunGateway, until } from './plane';

for (const [name, value] of [['clientHeight', 400], ['clientWidth', 800]] as const) {
  Object.defineProperty(HTMLElement.prototype, name, { configurable: true, get: () => value });
}

HTMLCanvasElement.prototype.getContext = () => null;

const made: RunStore[] = [];

afterEach(() => made.splice(0).forEach(store => store.dispose()));

const ROWS = { runs: { r1: { run_id: 'r1', status: 'open' } }, agents: { 'r1/ann': agent('ann', { doing: 'runs pytest' }) } };

interface IShown {
  store: RunStore;
  gateway: RunGateway;
  model: StillModel;
  say: (pane: Pane) => Promise<string>;
  settle: (change?: () => void) => Promise<void>;
}

/** A console that follows ann, who runs pytest. */
async function following(): Promise<IShown> {
  const pen = new Pen();
  pen.put('user:me', { type: 'run.start', name: 'story', root: '/w' });
  pen.put('ann', { type: 'agent.start', spec: { kind: 'script' } }, { name: 'ann', status: 'queued' });
  pen.put('ann', { type: 'proc.start', proc: 'p1', argv: ['pytest', '-q'] });
  const gateway = Object.assign(new RunGateway(pen.events), { status: 'open' });
  const model = new StillModel(ROWS);
  const store = new RunStore('r1', { gateway, model });
  made.push(store);
  store.start();
  const settle = (change: () => void = () => undefined) => act(async () => {
    change();
    await new Promise(resolve => setTimeout(resolve, 150));
  });
  render(<ConsoleProvider value={{ store, gateway, trans: untranslated, insertCode: () => undefined }}><Console /></ConsoleProvider>);
  await act(() => gateway.opened(1));
  const say = async (pane: Pane) => {
    await settle(() => store.setPane(pane));
    return screen.getByRole('tabpanel').textContent ?? '';
  };
  return { store, gateway, model, say, settle };
}

const pale = () => document.querySelector('.jp-mod-stale') !== null;
const badge = () => document.querySelector('.jp-agentlab-run-badge')!.textContent;

describe('a run that goes on', () => {
  it('is shown as it is now', async () => {
    const { say } = await following();
    expect(await say('state')).toContain('runs pytest');
    expect(await say('output')).toContain('▶ running');
    expect([pale(), badge()]).toEqual([false, '● live']);
  });

  it('has come as far as now while its agents live and it is followed, and else as far as it had', async () => {
    const { store, model, gateway, settle } = await following();
    const live = { ...ROWS, runs: { r1: { run_id: 'r1', status: 'open', live: 1 } } };
    const begun = store.log.events[0]!.ts;
    const last = store.elapsed;
    expect(last).toBe(store.log.reached.at(store.log.length - 1));
    let now = begun + 60e9;
    model.now = () => now;
    expect(store.elapsed).toBe(last); // nobody lives in it
    await settle(() => model.show(full(2, live)));
    expect(store.elapsed).toBe(60_000);
    await settle(() => store.setCursor(2));
    now += 60e9;
    expect(store.elapsed).toBe(60_000); // somebody looks at what was
    await settle(() => store.setCursor(null));
    expect(store.elapsed).toBe(120_000);
    gateway.mood = 'away';
    await settle(() => gateway.last.cut());
    now += 60e9;
    expect(store.elapsed).toBe(120_000);
  });

  it('is pale as soon as the model has lost the plane, and the stream is doubted', async () => {
    const { say, model, gateway, settle } = await following();
    await say('state');
    gateway.mood = 'away';
    await settle(() => model.show(full(2, ROWS), { state: 'offline', problem: { code: 'x', message: 'gone', next: '' } }));
    expect([pale(), badge()]).toEqual([true, '⚡ connection lost']);
  });

  it('is pale while the model has no stream yet', async () => {
    const { say, model, settle } = await following();
    await say('state');
    await settle(() => model.show(full(2, ROWS), { state: 'connecting' }));
    expect(pale()).toBe(true);
  });

  it('keeps its last rows when the stream is cut, not those of a moment that was looked at before', async () => {
    const { say, store, gateway, settle } = await following();
    await say('state');
    await settle(() => store.setCursor(2));
    expect(await say('state')).toContain('at 2');
    await settle(() => store.setCursor(null));
    gateway.mood = 'away';
    await settle(() => gateway.last.cut());
    const said = await say('state');
    expect(said).toContain('runs pytest');
    expect(said).toContain('As it was when it was last heard of.');
    expect(said).not.toContain('at 2');
    expect([pale(), screen.getByRole('alert').textContent]).toEqual([true, expect.stringContaining('What is shown ends with event 3.')]);
    await settle(() => store.setCursor(2));
    expect(pale()).toBe(false); // what has happened stays so
  });

  it('says of a process only that it ran when it was last heard of', async () => {
    const { say, gateway, settle } = await following();
    gateway.mood = 'away';
    await settle(() => gateway.last.cut());
    const said = await say('output');
    expect(said).toContain('ran when last heard of');
    expect(said).not.toContain('▶ running');
  });

  it('shows no process as running after an agent that was killed', async () => {
    const { say, store, gateway, settle } = await following();
    const end = { seq: 4, ts: store.log.events[2]!.ts + 1e9, actor: 'ann', status: 'failed', body: { type: 'agent.end' } };
    await settle(() => gateway.last.say({ events: [end] }));
    expect(await say('output')).toContain('ended with its agent');
    await settle(() => store.setCursor(3));
    expect(await say('output')).toContain('▶ running');
  });

  it('that was deleted is said to be so, and what came of it stays', async () => {
    const { say, gateway, store, settle } = await following();
    gateway.mood = 'deleted';
    await settle(() => gateway.last.cut());
    await act(() => until(() => store.stage.name === 'gone'));
    await settle();
    expect([badge(), screen.getByRole('alert').textContent]).toEqual(['✗ deleted', expect.stringContaining('it was deleted')]);
    expect(await say('events')).toContain('proc.start');
    expect(await say('output')).not.toContain('▶ running');
  });

  it('to which no WebSocket gets through is said to be asked for, as a status and no alarm', async () => {
    const { gateway, store, settle } = await following();
    const socket = gateway.socket.bind(gateway);
    gateway.socket = path => {
      const made = socket(path);
      const fake = gateway.last;
      setTimeout(() => fake.closed || fake.cut());
      return made;
    };
    store.retry();
    await act(() => until(() => store.stage.name === 'polling'));
    await settle();
    expect([screen.queryByRole('alert'), badge()]).toEqual([null, '◔ every few seconds']);
    expect(screen.getByText(/No live connection gets through/).closest('[role=status]')).not.toBeNull();
  });
});
