/** The events of a run as the plane sends them: one line of the log each. Unknown types and fields are kept as they are. */

/** A value that JSON can hold. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

/** The facts of an event. `type` says which fields there are; nothing is taken for granted. */
export interface IBody {
  readonly type: string;
  readonly [field: string]: Json | undefined;
}

/** An event: the envelope around a body. `ts`: ns since the epoch. */
export interface IEvent {
  readonly id?: number;
  readonly run_id?: string;
  readonly seq: number;
  readonly ts: number;
  readonly actor: string;
  readonly task_id?: string | null;
  readonly span?: string | null;
  readonly parent?: string | null;
  readonly cause?: number | null;
  readonly name?: string | null;
  readonly unit?: string | null;
  readonly status?: string | null;
  readonly dur_ns?: number | null;
  readonly tok_in?: number | null;
  readonly tok_out?: number | null;
  readonly tok_cache?: number | null;
  readonly cost?: number | null;
  readonly body: IBody;
}

/** A field of a body as text; '' where it is none. */
export function text(body: IBody, field: string): string {
  const value = body[field];
  return typeof value === 'string' ? value : '';
}

/** A field as a number; `otherwise` where it is none. */
export function number(body: IBody, field: string, otherwise = 0): number {
  const value = body[field];
  return typeof value === 'number' ? value : otherwise;
}

/** A field as a list of texts. */
export function texts(body: IBody, field: string): string[] {
  const value = body[field];
  return Array.isArray(value) ? value.filter((each): each is string => typeof each === 'string') : [];
}

/** Who owns a lock, as lanes are called: the agent without its run, or `user:NAME`. */
export function ownerName(owner: string): string {
  return owner.startsWith('user:') || !owner.includes('/') ? owner : owner.slice(owner.indexOf('/') + 1);
}
