/** What people may set. The defaults are those of `schema/plugin.json`. */
export interface ISettings {
  /** Whether agents that have ended are listed. */
  readonly showEnded: boolean;
  /** Whether tokens and cost are shown. */
  readonly showUsage: boolean;
  /** ms between two pictures. */
  readonly refresh: number;
  /** Runs that are listed. */
  readonly runs: number;
  /** Whether the item of the status bar is there. */
  readonly statusBar: boolean;
  /** Whether a new question is announced. */
  readonly announce: boolean;
}

/** Where nothing is set. */
export const DEFAULTS: ISettings = { showEnded: true, showUsage: true, refresh: 50, runs: 200, statusBar: true, announce: true };

/** Settings out of whatever was written. */
export function settingsOf(given: { readonly [name: string]: unknown }): ISettings {
  const made: Record<string, unknown> = { ...DEFAULTS };
  for (const [name, standard] of Object.entries(DEFAULTS)) {
    const value = given[name];
    if (typeof value === typeof standard && (typeof value !== 'number' || Number.isFinite(value))) {
      made[name] = value;
    }
  }
  return made as unknown as ISettings;
}
