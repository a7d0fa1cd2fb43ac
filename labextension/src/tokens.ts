import { Token } from '@lumino/coreutils';
import type { ISignal } from '@lumino/signaling';

import type { IProblem, IRowTypes, JSONish, Rows, Tables } from './model/wire';

/** How the rows come, and so how far they may be believed. */
export type Link =
  | { readonly state: 'connecting' }
  | { readonly state: 'live' }
  | { readonly state: 'polling'; readonly problem: IProblem }
  | { readonly state: 'offline'; readonly problem: IProblem };

/** One moment of everything: immutable, so that what has not changed is the same object. */
export interface IView {
  readonly seq: number;
  readonly tables: Tables;
  readonly link: Link;
  /** When the rows were last known to be so, ms of this browser; null before the first ones. */
  readonly asOf: number | null;
}

/** The one owner of the stream of rows. Everything that is shown is a function of its view. */
export interface IModel {
  readonly view: IView;
  /** Emitted at most once for each animation frame. */
  readonly changed: ISignal<IModel, IView>;
  /** The rows of a table. */
  rows<T extends keyof IRowTypes>(table: T): Rows<IRowTypes[T]>;
  /** Nanoseconds since the epoch by the clock of the plane, as far as its rows tell: browsers' clocks jump. */
  now(): number;
  /** Try again at once. */
  reconnect(): void;
}

/** The way to the plane, through the Jupyter server. Paths are those of the plane: `api/runs/r1/events`. */
export interface IGateway {
  /** The JSON that answers. Raises `GatewayError`. */
  request<T = JSONish>(method: string, path: string, body?: JSONish, signal?: AbortSignal): Promise<T>;
  /** The text of a blob, cut at `limit` bytes. Raises `GatewayError`. */
  text(path: string, limit?: number, signal?: AbortSignal): Promise<string>;
  /** Open a WebSocket of the plane. */
  socket(path: string): WebSocket;
}

/** What agentlab offers to other plugins. */
export interface IAgentlab {
  readonly model: IModel;
  readonly gateway: IGateway;
}

/** Require this to read rows and to talk with the plane. */
export const IAgentlab = new Token<IAgentlab>('agentlab:IAgentlab', 'The rows of agentlab and the way to its plane.');
