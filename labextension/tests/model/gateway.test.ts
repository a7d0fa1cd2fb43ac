import { ServerConnection } from '@jupyterlab/services';
import { expect, test } from 'vitest';

import { Gateway } from '../../src/model/gateway';
import { GatewayError } from '../../src/model/problems';

class Opened {
  constructor(readonly url: string) {}
}

function gateway(answer: () => Promise<Response>, more: Partial<ServerConnection.ISettings> = {}): { gateway: Gateway; asked: Request[] } {
  const asked: Request[] = [];
  const settings = ServerConnection.makeSettings({
    baseUrl: 'http://hub.example/user/ann/',
    wsUrl: 'ws://hub.example/user/ann/',
    token: 's3cret',
    appendToken: false,
    WebSocket: Opened as never,
    fetch: (async (request: Request) => {
      asked.push(request);
      return answer();
    }) as never,
    ...more
  });
  return { gateway: new Gateway(settings), asked };
}

const json = (value: unknown, status = 200) => async () => new Response(JSON.stringify(value), { status });

async function problem(of: Promise<unknown>): Promise<{ code: string; message: string; next: string }> {
  const error = await of.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(GatewayError);
  return (error as GatewayError).problem;
}

test('requests go below the base url', async () => {
  const { gateway: way, asked } = gateway(json({ agent: 'r1/a' }));
  expect(await way.request('POST', 'spawn', { kind: 'script' })).toEqual({ agent: 'r1/a' });
  expect(asked[0]!.url).toBe('http://hub.example/user/ann/agentlab/spawn');
  expect(await asked[0]!.json()).toEqual({ kind: 'script' });
});

test('a socket has the token in its url only where the server wants it there', () => {
  const without = gateway(json({})).gateway.socket('api/stream?since=7') as unknown as Opened;
  expect(without.url).toBe('ws://hub.example/user/ann/agentlab/api/stream?since=7');
  const withToken = gateway(json({}), { appendToken: true }).gateway;
  expect((withToken.socket('api/stream?since=7') as unknown as Opened).url).toMatch(/since=7&token=s3cret$/);
  expect((withToken.socket('api/stream') as unknown as Opened).url).toMatch(/stream\?token=s3cret$/);
});

test('a refusal of the plane is told in its own words', async () => {
  const { gateway: way } = gateway(json({ code: 'NameTaken', message: "The name 'ann' is taken.", data: {} }, 409));
  expect(await problem(way.request('POST', 'spawn', {}))).toMatchObject({ code: 'NameTaken', message: "The name 'ann' is taken." });
});

test('a 404 that is not the plane\'s means that there is no server extension', async () => {
  const { gateway: way } = gateway(json({ message: 'Not Found', reason: null }, 404));
  expect((await problem(way.request('GET', 'status'))).code).toBe('NoServerExtension');
  const lite = gateway(async () => new Response('<!doctype html>', { status: 200 })).gateway;
  expect((await problem(lite.request('GET', 'status'))).code).toBe('NoServerExtension');
  const missing = gateway(json({ code: 'NotFound', message: 'There is no run r9.' }, 404)).gateway;
  expect((await problem(missing.request('GET', 'api/runs/r9'))).code).toBe('NotFound');
});

test('a login that is over says so', async () => {
  const { gateway: way } = gateway(json({ message: 'Forbidden' }, 403));
  expect((await problem(way.request('GET', 'status'))).next).toContain('log in');
});

test('a page of a login in place of an answer is no missing extension', async () => {
  const login = new Response('<!doctype html>', { status: 200 });
  Object.defineProperties(login, { redirected: { value: true }, url: { value: 'http://hub.example/hub/login?next=x' } });
  const { gateway: way } = gateway(async () => login);
  expect((await problem(way.request('GET', 'status'))).code).toBe('NotLoggedIn');
});

test('a server that a hub has stopped says so, whatever the hub shows', async () => {
  for (const body of ['<!doctype html>', JSON.stringify({ message: 'JupyterHub server no longer running' })]) {
    const { gateway: way } = gateway(async () => new Response(body, { status: 424 }));
    expect(await problem(way.request('GET', 'status'))).toMatchObject({ code: 'ServerStopped', next: expect.stringContaining('Hub Control Panel') });
  }
});

test('a server that is gone says so', async () => {
  const { gateway: way } = gateway(() => Promise.reject(new TypeError('Failed to fetch')));
  expect((await problem(way.request('GET', 'status'))).code).toBe('Unreachable');
});

test('a blob is text and cut where it is long', async () => {
  const { gateway: way } = gateway(async () => new Response('x'.repeat(100)));
  expect(await way.text('api/blobs/abc')).toBe('x'.repeat(100));
  expect(await way.text('api/blobs/abc', 10)).toBe(`${'x'.repeat(10)}\n… cut here`);
});
