/**
 * What the plane says, as it says it: `agentlab.core.rows` dressed by the feed.
 *
 * Times are nanoseconds since the epoch. Every row may have more fields than are named here, and a newer plane may leave some
 * out or bring further tables: readers take what they know and tolerate the rest.
 */

/** A value that JSON can hold. */
export type JSONish = null | boolean | number | string | readonly JSONish[] | { readonly [key: string]: JSONish | undefined };

/** Somebody in the way: who, where, in which mode, and whether they wait too. */
export interface IBlocker {
  readonly owner: string;
  readonly unit?: string;
  readonly mode?: string;
  readonly waits?: boolean;
  readonly ticket?: number;
}

/** What an agent waits for, at which place, behind whom. */
export interface IWait {
  readonly ticket: number;
  readonly units: readonly string[];
  readonly position?: number | null;
  readonly behind?: readonly IBlocker[];
}

/** One agent. `status` is `waiting` where it runs and its claim is queued. */
export interface IAgentRow {
  readonly agent: string;
  readonly run_id: string;
  readonly agent_id: string;
  readonly name: string;
  readonly kind: string;
  readonly status: string;
  readonly reason?: string;
  readonly error?: string;
  readonly doing?: string;
  readonly model?: string | null;
  readonly role?: string;
  readonly boundary?: string;
  readonly priority?: string;
  readonly runtime?: string | null;
  readonly pid?: number | null;
  readonly queued_at?: number;
  readonly started?: number | null;
  readonly ended?: number | null;
  readonly output?: JSONish;
  readonly exit_code?: number | null;
  readonly usage?: { readonly [name: string]: number };
  /** When the limit that it ran into resets, where its vendor says so. */
  readonly resets?: number | null;
  readonly waits?: IWait | null;
  readonly holds?: readonly string[];
  readonly task_id?: string;
  readonly spec?: { readonly [name: string]: JSONish | undefined };
}

/** One ticket: units that are held or waited for. */
export interface ILockRow {
  readonly ticket: number;
  readonly owner: string;
  readonly run_id: string;
  readonly units: readonly string[];
  readonly mode: string;
  readonly status: string;
  readonly token?: number | null;
  readonly implicit?: boolean;
  readonly priority?: string;
  readonly requested?: number;
  readonly granted?: number | null;
  readonly ttl?: number;
  readonly expires?: number | null;
  readonly bypassed?: number;
  readonly position?: number | null;
  readonly behind?: readonly IBlocker[];
}

/** A question that a person or a policy answers. */
export interface IApprovalRow {
  readonly approval: string;
  readonly run_id: string;
  readonly agent: string;
  readonly kind?: string;
  readonly question: string;
  readonly options?: readonly string[];
  readonly tool?: string;
  readonly units?: readonly string[];
  readonly input?: JSONish;
  readonly diff?: string | null;
  readonly risk?: string;
  readonly risks?: readonly string[];
  readonly locks?: readonly { readonly unit?: string; readonly owner?: string; readonly mode?: string; readonly waits?: boolean }[];
  readonly status: string;
  readonly answer?: string;
  readonly by?: string;
  readonly scope?: string;
  readonly rule?: string;
  readonly asked?: number;
  readonly answered?: number | null;
  readonly expires?: number | null;
}

/** An agent program that was looked for at a runtime. */
export interface ICli {
  readonly name: string;
  readonly verdict: string;
  readonly path?: string | null;
  readonly version?: string | null;
  readonly reason?: string;
}

/** A place where agents run. */
export interface IRuntimeRow {
  readonly runtime_id: string;
  readonly kind: string;
  readonly host?: string;
  readonly name?: string;
  readonly slots?: number;
  readonly used?: number;
  readonly status?: string;
  readonly reason?: string;
  readonly detail?: string;
  readonly health?: string;
  readonly last_seen?: number;
  readonly clis?: readonly ICli[];
  readonly kinds?: readonly string[];
}

/** A run that is in the memory of the plane. */
export interface IRunRow {
  readonly run_id: string;
  readonly name: string;
  readonly root?: string;
  readonly host?: string;
  readonly status: string;
  readonly schedule?: string;
  readonly user?: string;
  readonly started?: number;
  readonly ended?: number | null;
  readonly reason?: string;
  readonly seq?: number;
  readonly touched?: number;
  readonly agents?: number;
  readonly live?: number;
  readonly tasks?: number;
  /** Of all its agents, so far: tokens `in`, `out`, `cached`, and `cost` in USD; what nobody told is not there. */
  readonly usage?: { readonly [name: string]: number };
}

/** A run as the log lists it: also those that ended long ago. */
export interface IRunListing {
  readonly run_id: string;
  readonly name: string | null;
  readonly status: string | null;
  readonly source?: string;
  readonly parent_run_id?: string | null;
  readonly started?: number | null;
  readonly ended?: number | null;
  readonly n_events?: number;
  readonly live?: number;
  /** As in `IRunRow`; null: nobody told, or it ended before runs were summed up. */
  readonly usage?: { readonly [name: string]: number } | null;
  readonly config?: JSONish;
}

/** The rows of the tables that this version knows. */
export interface IRowTypes {
  agents: IAgentRow;
  locks: ILockRow;
  approvals: IApprovalRow;
  runtimes: IRuntimeRow;
  runs: IRunRow;
}

/** Any row, of any table. */
export type Row = { readonly [field: string]: JSONish | undefined };

/** Rows by key. */
export type Rows<R = Row> = ReadonlyMap<string, R>;

/** All tables. One that has not changed is the same object as before. */
export type Tables = ReadonlyMap<string, Rows>;

/** A snapshot (`full`) or what has changed since the one before. `null`: that row is gone. */
export interface IDelta {
  readonly seq: number;
  readonly full?: boolean;
  readonly tables: { readonly [table: string]: { readonly [key: string]: Row | null } };
}

/** What is wrong, and what can be done about it. */
export interface IProblem {
  readonly code: string;
  readonly message: string;
  readonly next: string;
}
