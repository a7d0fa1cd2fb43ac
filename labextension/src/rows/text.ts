/** Texts for people, made of texts by agents: what could be obeyed is shown, not done. As `agentlab.client.text` does it. */
import { words } from '../translation';

// eslint-disable-next-line no-control-regex
const ANSI = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|[ -/]*[0-~])/g;
const UNSEEN =
  // eslint-disable-next-line no-control-regex
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/gu;

/** Longest line that is shown whole. */
export const LINE = 2000;
/** Longest text that is shown whole. */
export const TEXT = 200_000;

/** The text without terminal sequences; every other control, direction or invisible character is written out. */
export function visible(text: string): string {
  return text.replace(/\r\n/g, '\n').replace(ANSI, '').replace(UNSEEN, writtenOut);
}

function writtenOut(char: string): string {
  const code = char.codePointAt(0) ?? 0;
  const hex = code.toString(16);
  return code < 0x100 ? `\\x${hex.padStart(2, '0')}` : code < 0x10000 ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`;
}

/** One visible line of at most `limit` characters. */
export function line(value: unknown, limit = 120): string {
  const short = visible(said(value).slice(0, limit * 8))
    .replace(/\s+/g, ' ')
    .trim();
  return short.length <= limit ? short : `${short.slice(0, limit - 1)}…`;
}

/** A visible text: lines are cut at `LINE` and the whole at `TEXT` characters, and say that they were. */
export function block(value: unknown): string {
  const text = said(value);
  const cut = text.length > TEXT ? `${text.slice(0, TEXT)}\n… ${more(text.length - TEXT)}` : text;
  return visible(cut)
    .split('\n')
    .map(one => (one.length > LINE ? `${one.slice(0, LINE)}… ${more(one.length - LINE)}` : one))
    .join('\n');
}

function more(n: number): string {
  const { trans } = words;
  return trans.__('%1 more characters', n);
}

function said(value: unknown): string {
  if (typeof value === 'string') {
    return value;
  }
  if (value === null || value === undefined) {
    return '';
  }
  return typeof value === 'object' ? JSON.stringify(value, null, 2) : String(value);
}

/** A duration as people say it: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min. */
export function span(seconds: number): string {
  if (seconds < 10) {
    return `${Math.max(seconds, 0).toFixed(1)} s`;
  }
  if (seconds < 60) {
    return `${Math.round(seconds)} s`;
  }
  const minutes = Math.floor(Math.round(seconds) / 60);
  if (minutes < 60) {
    return `${minutes} min ${String(Math.round(seconds) % 60).padStart(2, '0')} s`;
  }
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${String(minutes % 60).padStart(2, '0')} min` : `${Math.floor(hours / 24)} d`;
}

/** The same in as little room as there is: 12s, 3m, 2h, 4d. */
export function shortSpan(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  return whole < 60 ? `${whole}s` : whole < 3600 ? `${Math.floor(whole / 60)}m` : whole < 172_800 ? `${Math.floor(whole / 3600)}h` : `${Math.floor(whole / 86_400)}d`;
}

/** 1 → 1st: a place in a queue. */
export function ordinal(n: number): string {
  const ending = n % 100 >= 10 && n % 100 <= 20 ? 'th' : ({ 1: 'st', 2: 'nd', 3: 'rd' }[n % 10] ?? 'th');
  return `${n}${ending}`;
}

/** 950, 12.3k, 4.5M. */
export function amount(n: number): string {
  return n < 1000 ? String(Math.round(n)) : n < 999_950 ? `${(n / 1000).toFixed(1)}k` : `${(n / 1e6).toFixed(1)}M`;
}

/** Dollars, with as many digits as say something. */
export function money(dollars: number): string {
  return `$${dollars.toFixed(dollars < 0.1 ? 4 : 2)}`;
}

/** The owner of a lock as people call it: the agent's name, or `user:NAME`. */
export function owner(name: string): string {
  return line(name.slice(name.lastIndexOf('/') + 1), 60);
}
