/** What was used up, as rows and events say it: tokens `in`, `out` and `cached`, and `cost` in USD. What nobody told is not there. */
export type Usage = { readonly [name: string]: number };

/** The same for people. null: nobody told, which is not 0. */
export interface IUsed {
  /** In and out; what was read from a vendor's cache does not count. */
  readonly tokens: number | null;
  readonly cost: number | null;
}

/** What a row says that it used; of a log that does not know, nothing. */
export function used(usage: Usage | null | undefined): IUsed {
  const { in: taken, out: given, cost } = usage ?? {};
  return { tokens: taken === undefined && given === undefined ? null : (taken ?? 0) + (given ?? 0), cost: cost ?? null };
}

/** Of each what is said, the sum or the larger: `by`. */
export function merged(one: Usage, other: Usage, by: (a: number, b: number) => number): Usage {
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  return Object.fromEntries([...names].map(name => [name, by(one[name] ?? 0, other[name] ?? 0)]));
}
