import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { IGateway } from '../tokens';
import { words } from '../translation';
import { GatewayError, noExtension, notLoggedIn, problemOf, unreachable } from './problems';
import type { JSONish } from './wire';

/** Where the server extension answers, below the base url of the Jupyter server. */
export const NAMESPACE = 'agentlab';

/** The way to the plane through the Jupyter server: its settings bring base url, token and XSRF. */
export class Gateway implements IGateway {
  constructor(
    private readonly _settings: ServerConnection.ISettings = ServerConnection.makeSettings(),
    private readonly _answered: (date: string | null) => void = () => undefined
  ) {}

  async request<T = JSONish>(method: string, path: string, body?: JSONish, signal?: AbortSignal): Promise<T> {
    const text = await (await this._fetch(method, path, body, signal)).text();
    if (!text) {
      return null as T;
    }
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new GatewayError(noExtension(), 200); // a page instead of an answer: a static site
    }
  }

  async text(path: string, limit = 4_000_000, signal?: AbortSignal): Promise<string> {
    const response = await this._fetch('GET', path, undefined, signal);
    const reader = response.body?.getReader();
    if (!reader) {
      return (await response.text()).slice(0, limit);
    }
    const decoder = new TextDecoder();
    let text = '';
    for (let taken = 0; taken < limit; ) {
      const { done, value } = await reader.read();
      if (done) {
        return text + decoder.decode();
      }
      taken += value.length;
      text += decoder.decode(value, { stream: true });
    }
    await reader.cancel();
    return `${text.slice(0, limit)}\n… cut here`;
  }

  socket(path: string): WebSocket {
    const { wsUrl, appendToken, token, WebSocket: Socket } = this._settings;
    const url = URLExt.join(wsUrl, NAMESPACE, path);
    if (!appendToken || !token) {
      return new Socket(url);
    }
    return new Socket(`${url}${url.includes('?') ? '&' : '?'}token=${encodeURIComponent(token)}`);
  }

  private async _fetch(method: string, path: string, body?: JSONish, signal?: AbortSignal): Promise<Response> {
    // 'no-store', the usual one, would put a number into the query, and the plane refuses parameters that it does not know
    const init: RequestInit = { method, signal: signal ?? null, cache: 'no-cache' };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
    }
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(URLExt.join(this._settings.baseUrl, NAMESPACE, path), init, this._settings);
    } catch (error) {
      if (signal?.aborted) {
        throw error;
      }
      throw new GatewayError(unreachable(error instanceof Error ? error.message : String(error)));
    }
    this._answered(response.headers.get('date'));
    if (!response.ok) {
      throw new GatewayError(problemOf(response.status, await response.text()), response.status);
    }
    if (response.redirected && !response.url.startsWith(this._settings.baseUrl)) {
      const { trans } = words;
      throw new GatewayError(notLoggedIn(trans.__('The Jupyter server sent this page to a login.')), 403);
    }
    return response;
  }
}
