import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Loader, type Stage } from '../../src/console/loader';
import { EventLog } from '../../src/console/log';
import { GatewayError, noExtension } from '../../src/model/problems';
import { run } from '../timeline/runs';
import { RunGateway } from './plane';

const ALL = run(130);
const later = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** A loader that has the first 100 events of a run that goes on, and what it says. */
async function loading(part: Partial<RunGateway> = {}): Promise<{ gateway: RunGateway; log: EventLog; said: string[]; loader: Loader }> {
  const gateway = Object.assign(new RunGateway(ALL.slice(0, 100)), { status: 'open' }, part);
  const log = new EventLog();
  const said: string[] = [];
  const loader = new Loader(gateway, 'r1', log, { grew: () => undefined, stage: (stage: Stage) => said.push(stage.name) });
  made.push(loader);
  loader.start();
  await later(0);
  return { gateway, log, said, loader };
}

const made: Loader[] = [];

/** What becomes of the sockets that are made from now on. */
function sockets(gateway: RunGateway, fate: 'open' | 'cut' | 'open, then cut'): void {
  const plain = RunGateway.prototype.socket.bind(gateway);
  gateway.socket = path => {
    const socket = plain(path);
    const fake = gateway.last;
    setTimeout(() => {
      if (fate !== 'cut') {
        fake.open();
      }
      if (fate !== 'open') {
        setTimeout(() => fake.closed || fake.cut());
      }
    });
    return socket;
  };
}

beforeEach(() => void vi.useFakeTimers());

afterEach(() => {
  made.splice(0).forEach(loader => loader.dispose());
  vi.useRealTimers();
});

describe('a run that is followed', () => {
  it('is live when its stream is open, not before', async () => {
    const { gateway, said } = await loading();
    expect([gateway.sockets.length, said]).toEqual([1, ['loading']]);
    gateway.last.open();
    await later(300);
    expect(said).toEqual(['loading', 'live']);
  });

  it('is asked for where its stream is silent: what went on meanwhile is brought, and followed anew', async () => {
    const { gateway, log, said } = await loading();
    gateway.last.open();
    await later(20_000);
    expect([gateway.sockets.length, said]).toEqual([1, ['loading', 'live']]); // nothing had happened
    gateway.events.push(...ALL.slice(100));
    sockets(gateway, 'open');
    await later(20_000);
    expect([log.length, log.gaps, gateway.sockets.length, gateway.last.path]).toEqual([130, [], 2, 'api/runs/r1/stream?since=130']);
    expect(said).not.toContain('lost');
  });

  it.each(['hangs', 'away'] as const)('is lost when its stream is silent and the plane %s, and is live again when that is over', async mood => {
    const { gateway, said } = await loading();
    gateway.last.open();
    gateway.mood = mood;
    await later(30_000);
    expect(said.at(-1)).toBe('lost');
    gateway.mood = 'answers';
    sockets(gateway, 'open');
    await later(90_000);
    expect(said.at(-1)).toBe('live');
  });

  it('is doubted at once when somebody else has heard that the plane is away', async () => {
    const { gateway, said, loader } = await loading();
    gateway.last.open();
    await later(300);
    gateway.mood = 'away';
    loader.doubt();
    await later(0);
    expect([said.at(-1), gateway.last.closed]).toEqual(['lost', true]);
  });

  it('is not shown with a hole: what is missing is fetched', async () => {
    const { gateway, log, said } = await loading();
    gateway.last.open();
    gateway.events.push(...ALL.slice(100));
    gateway.last.say({ events: ALL.slice(110) });
    await later(0);
    expect([log.length, log.gaps, gateway.last.path, said]).toEqual([130, [], 'api/runs/r1/stream?since=130', ['loading', 'live']]);
  });

  it('has a gap only where the log has one', async () => {
    const { gateway, log } = await loading();
    gateway.last.open();
    gateway.events.push(...ALL.slice(110));
    gateway.last.say({ events: ALL.slice(110) });
    await later(0);
    expect([log.length, log.gaps]).toEqual([120, [[101, 110]]]);
  });

  it('is gone when it was deleted: that is said once, and nobody asks for it any more', async () => {
    const { gateway, log, said } = await loading();
    gateway.last.open();
    await later(300);
    gateway.mood = 'deleted';
    gateway.last.cut();
    await later(120_000);
    expect([said, gateway.sockets.length, log.length]).toEqual([['loading', 'live', 'lost', 'gone'], 1, 100]);
  });

  it('that ended is gone when it is looked for and was deleted', async () => {
    const { gateway, said, loader } = await loading({ status: 'done' });
    loader.doubt();
    await later(0);
    expect(said).toEqual(['loading', 'ended']);
    gateway.mood = 'deleted';
    loader.doubt();
    await later(0);
    expect(said).toEqual(['loading', 'ended', 'gone']);
  });

  it('a server that has lost its extension says nothing about the run', async () => {
    const { gateway, said } = await loading();
    gateway.last.open();
    await later(300);
    gateway.request = () => Promise.reject(new GatewayError(noExtension(), 404));
    gateway.last.cut();
    await later(1_000);
    expect(said.at(-1)).toBe('lost');
  });
});

describe('where no WebSocket gets through', () => {
  it('events are asked for calmly: that is said once, nothing is said to be lost, and the end is seen', async () => {
    const { gateway, log, said } = await loading();
    sockets(gateway, 'cut');
    gateway.last.cut();
    await later(10_000);
    const asked = gateway.asks;
    await later(30_000);
    expect(gateway.asks - asked).toBeLessThanOrEqual(2 * 11);
    gateway.events.push(...ALL.slice(100));
    await later(4_000);
    expect([log.length, said]).toEqual([130, ['loading', 'polling']]);
    gateway.status = 'done';
    await later(4_000);
    expect(said).toEqual(['loading', 'polling', 'ended']);
  });

  it('a socket is tried again after a while, and is live when it opens', async () => {
    const { gateway, said } = await loading();
    sockets(gateway, 'cut');
    gateway.last.cut();
    await later(10_000);
    sockets(gateway, 'open');
    const before = gateway.sockets.length;
    await later(90_000);
    expect(gateway.sockets.length).toBe(before + 1);
    expect(said).toEqual(['loading', 'polling', 'live']);
  });

  it('sockets that open only to be cut are no reason to blink for ever', async () => {
    const { gateway, said } = await loading();
    sockets(gateway, 'open, then cut');
    gateway.last.open();
    gateway.last.cut();
    await later(50_000);
    expect(said).toEqual(['loading', 'polling']);
  });

  it('a socket that is let neither in nor go is given up', async () => {
    const { said } = await loading();
    await later(30_000);
    expect(said).toEqual(['loading', 'polling']);
  });

  it('a plane that goes away while it is asked is lost', async () => {
    const { gateway, said } = await loading();
    sockets(gateway, 'cut');
    gateway.last.cut();
    await later(10_000);
    gateway.mood = 'away';
    await later(5_000);
    expect([...new Set(said)]).toEqual(['loading', 'polling', 'lost']);
  });
});
