import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { AgentlabModel } from '../../src/model/model';
import type { Link } from '../../src/tokens';
import { FakeGateway, agent, delta, full } from '../fakes';

let gateway: FakeGateway;
let model: AgentlabModel;

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  gateway = new FakeGateway();
  model = new AgentlabModel(gateway);
});

afterEach(() => {
  model.dispose();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

async function connected(): Promise<void> {
  model.reconnect();
  await pass(0);
  gateway.last.open();
  gateway.last.say(full(5, { agents: { 'r1/a': agent('a') } }));
  await pass(100);
}

function problem(): { code: string; message: string; next: string } {
  const link = model.view.link as Extract<Link, { state: 'offline' }>;
  return link.problem;
}

test('it is connecting, and live with the first snapshot', async () => {
  expect(model.view.link.state).toBe('connecting');
  await connected();
  expect(gateway.last.path).toBe('api/stream');
  expect(model.view.link.state).toBe('live');
  expect(model.rows('agents').get('r1/a')!.name).toBe('a');
  expect(model.view.seq).toBe(5);
});

test('many deltas make one view a frame', async () => {
  await connected();
  let views = 0;
  model.changed.connect(() => void views++);
  for (let seq = 6; seq < 1006; seq++) {
    gateway.last.say(delta(seq, { agents: { 'r1/a': agent('a', { doing: `edit ${seq}` }) } }));
  }
  await pass(100);
  expect(views).toBe(1);
  expect(model.rows('agents').get('r1/a')!.doing).toBe('edit 1005');
});

test('a cut socket is opened anew from where it was, and what is shown says meanwhile that it is old', async () => {
  await connected();
  const asOf = model.view.asOf!;
  gateway.last.cut();
  await pass(60);
  expect(model.view.link.state).toBe('connecting');
  expect(model.view.asOf).toBe(asOf);
  expect(model.rows('agents').size).toBe(1);
  await pass(400);
  expect(gateway.last.path).toBe('api/stream?since=5');
  gateway.last.open();
  await pass(100);
  expect(model.view.link.state).toBe('live');
});

test('a delta that does not follow asks for a snapshot', async () => {
  await connected();
  const before = gateway.last;
  before.say(delta(3, { agents: { 'r1/a': null } }));
  await pass(100);
  expect(before.closed).toBe(true);
  expect(gateway.last.path).toBe('api/stream');
  gateway.last.say(full(3, { agents: {} }));
  await pass(100);
  expect(model.rows('agents').size).toBe(0);
  expect(model.view.link.state).toBe('live');
});

test('what an earlier socket still says is ignored', async () => {
  await connected();
  const before = gateway.last;
  const handler = before.onmessage!;
  before.cut();
  await pass(500);
  gateway.last.say(full(9, { agents: {} }));
  handler({ data: JSON.stringify(full(5, { agents: { 'r1/old': agent('old') } })) });
  await pass(100);
  expect(model.rows('agents').size).toBe(0);
});

test('a message that is no delta changes nothing', async () => {
  await connected();
  const view = model.view;
  for (const message of ['no json', '7', { events: [] }, { seq: 9 }]) {
    gateway.last.say(message);
  }
  await pass(100);
  expect(model.view).toBe(view);
});

test('a server without agentlab is said to be one, and not asked all the time', async () => {
  delete gateway.answers['GET status'];
  model.reconnect();
  await pass(10_000);
  expect(problem().code).toBe('NoServerExtension');
  expect(problem().next).toContain('pip install agentlab');
  expect(gateway.asked.length).toBe(1);
});

test('the problem that the gateway tells is shown, and it is live again when the plane is back', async () => {
  await connected();
  const status = gateway.answers['GET status']!;
  gateway.answers['GET status'] = () => ({ ok: false, plane: null, problem: { code: 'VersionMismatch', message: 'Other versions.', next: 'Restart.' } });
  gateway.last.cut();
  await pass(1000);
  expect(problem()).toEqual({ code: 'VersionMismatch', message: 'Other versions.', next: 'Restart.' });
  gateway.answers['GET status'] = status;
  await pass(10_000);
  gateway.last.open();
  await pass(100);
  expect(model.view.link.state).toBe('live');
});

test('pauses between tries grow', async () => {
  gateway.refuse('GET status', 503, 'PlaneUnavailable', 'No plane.');
  model.reconnect();
  await pass(120_000);
  expect(gateway.asked.length).toBeGreaterThan(5);
  expect(gateway.asked.length).toBeLessThan(14);
});

test('a quiet socket is doubted: a plane that is gone is offline, not running', async () => {
  await connected();
  gateway.refuse('GET status', 503, 'PlaneUnavailable', 'The plane was killed.', 'Spawn.');
  const socket = gateway.last;
  await pass(31_000);
  expect(socket.closed).toBe(true);
  expect(model.view.link.state).toBe('offline');
  expect(problem().message).toBe('The plane was killed.');
});

test('a quiet socket of a plane that answers, and is no further, stays', async () => {
  gateway.answers['GET status'] = () => ({ ok: true, plane: { pid: 1, position: 5 } });
  await connected();
  const socket = gateway.last;
  await pass(120_000);
  expect(socket.closed).toBe(false);
  expect(model.view.link.state).toBe('live');
});

test('a socket that is dead while the plane goes on is noticed: a snapshot is asked for, over another one', async () => {
  let position = 5;
  gateway.answers['GET status'] = () => ({ ok: true, plane: { pid: 1, position } });
  await connected();
  const dead = gateway.last;
  await pass(20_000);
  const before = model.view.asOf!;
  position = 9;
  await pass(31_000);
  expect(dead.closed).toBe(true);
  expect(gateway.last.path).toBe('api/stream');
  expect(model.view.link.state).toBe('connecting');
  expect(model.view.asOf! - before).toBeLessThan(31_000);
  gateway.last.open();
  gateway.last.say(full(9, { agents: {} }));
  await pass(100);
  expect(model.view.link.state).toBe('live');
  expect(model.rows('agents').size).toBe(0);
});

test('what comes a moment after the plane said how far it is, is not late', async () => {
  await connected();
  const socket = gateway.last;
  let asked = 0;
  gateway.answers['GET status'] = () => {
    setTimeout(() => socket.say(delta(6, {})), 500);
    return { ok: true, plane: { pid: 1, position: ++asked && 6 } };
  };
  await pass(34_000);
  expect(asked).toBeGreaterThan(0);
  expect(socket.closed).toBe(false);
  expect(model.view.link.state).toBe('live');
});

test('where sockets open and stay silent, rows are asked for', async () => {
  gateway.answers['GET status'] = () => ({ ok: true, plane: { pid: 1, position: 9 } });
  gateway.answers['GET api/state'] = () => ({ seq: 9, tables: { agents: {} } }) as never;
  await connected();
  for (let n = 0; n < 3; n++) {
    await pass(33_000);
    gateway.last.open();
  }
  await pass(1000);
  expect(model.view.link.state).toBe('polling');
  expect(model.rows('agents').size).toBe(0);
});

test('nothing is asked for while nobody looks, and at once when somebody does', async () => {
  gateway.answers['GET api/state'] = () => ({ seq: 5, tables: {} }) as never;
  model.reconnect();
  for (let n = 0; n < 3; n++) {
    await pass(2000);
    gateway.last.cut(1006);
  }
  await pass(12_000);
  expect(model.view.link.state).toBe('polling');
  const polls = (): number => gateway.asked.filter(one => one.call === 'GET api/state').length;
  const hidden = vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
  const visibility = vi.spyOn(document, 'visibilityState', 'get').mockReturnValue('hidden');
  document.dispatchEvent(new Event('visibilitychange'));
  await pass(12_000); // one that was due is still done
  const before = polls();
  await pass(40_000);
  expect(polls()).toBe(before);
  hidden.mockReturnValue(false);
  visibility.mockReturnValue('visible');
  document.dispatchEvent(new Event('visibilitychange'));
  const sockets = gateway.sockets.length;
  await pass(6000);
  expect(gateway.sockets.length).toBeGreaterThan(sockets);
  expect(polls()).toBeGreaterThan(before);
});

test('where no socket gets through, rows are asked for, and a socket is tried again later', async () => {
  let seq = 5;
  gateway.answers['GET api/state'] = () => ({ seq: seq++, tables: { agents: { 'r1/a': agent('a') } } }) as never;
  model.reconnect();
  for (let n = 0; n < 3; n++) {
    await pass(2000);
    gateway.last.cut(1006);
  }
  await pass(12_000);
  expect(model.view.link.state).toBe('polling');
  expect(seq).toBeGreaterThan(6);
  expect(model.rows('agents').size).toBe(1);
  const tried = gateway.sockets.length;
  await pass(55_000);
  expect(gateway.sockets.length).toBeGreaterThan(tried);
  gateway.last.open();
  await pass(100);
  expect(model.view.link.state).toBe('live');
  const asked = gateway.asked.filter(one => one.call === 'GET api/state').length;
  await pass(14_000);
  expect(gateway.asked.filter(one => one.call === 'GET api/state').length).toBe(asked);
});

test('nothing goes on after it was disposed', async () => {
  await connected();
  const socket = gateway.last;
  model.dispose();
  const asked = gateway.asked.length;
  await pass(60_000);
  expect(socket.closed).toBe(true);
  expect(gateway.asked.length).toBe(asked);
});
