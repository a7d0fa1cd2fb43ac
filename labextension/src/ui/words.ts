import type { TranslationBundle } from '@jupyterlab/translation';

import type { IWaiting } from '../rows/agents';
import { line, ordinal } from '../rows/text';
import type { ICensus } from '../rows/totals';
import { stateWord } from '../timeline/states';

/** A state as a word. One that this version does not know is said as it is. */
export function statusWord(trans: TranslationBundle, status: string): string {
  return stateWord(trans, status) ?? line(status, 24);
}

/** `3 agents: 1 at work, 1 waits, 1 asks`; `2 agents at work` where all are. */
export function censusWords(trans: TranslationBundle, { live, working, waiting, asking, others }: ICensus): string {
  if (live === working) {
    return live ? trans._n('%1 agent at work', '%1 agents at work', live) : trans.__('no agent');
  }
  const parts = [
    ...(working ? [trans.__('%1 at work', working)] : []),
    ...(waiting ? [trans._n('%1 waits', '%1 wait', waiting)] : []),
    ...(asking ? [trans._n('%1 asks', '%1 ask', asking)] : []),
    ...[...others].map(([status, n]) => `${n} ${statusWord(trans, status)}`)
  ];
  return `${trans._n('%1 agent', '%1 agents', live)}: ${parts.join(', ')}`;
}

/** `waits for file:a.txt · held by ann · 2nd`. */
export function waitWords(trans: TranslationBundle, waiting: IWaiting): string {
  const parts = [trans.__('waits for %1', waiting.units)];
  if (waiting.heldBy.length) {
    parts.push(trans.__('held by %1', waiting.heldBy.join(', ')));
  }
  if (waiting.after.length) {
    parts.push(trans.__('after %1', waiting.after.join(', ')));
  }
  if (waiting.position) {
    parts.push(ordinal(waiting.position));
  }
  return parts.join(' · ');
}

/** `its limit resets at 14:05`, with the day where that is another one. Both ns. */
export function resetWords(trans: TranslationBundle, resets: number, now: number): string {
  const [when, today] = [new Date(resets / 1e6), new Date(now / 1e6)];
  const time = when.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const day = when.toDateString() === today.toDateString() ? '' : `${when.toLocaleDateString([], { month: 'short', day: 'numeric' })} `;
  return resets > now ? trans.__('its limit resets at %1', `${day}${time}`) : trans.__('its limit was to reset at %1', `${day}${time}`);
}

/** How a runtime is. */
export function healthWord(trans: TranslationBundle, health: string): string {
  switch (health) {
    case 'online':
      return trans.__('online');
    case 'recently_lost':
      return trans.__('just lost');
    case 'offline':
      return trans.__('offline');
    case 'about_to_gc':
      return trans.__('long gone');
    default:
      return line(health, 24);
  }
}

/** Ownership in a word. */
export function modeWord(trans: TranslationBundle, mode: string): string {
  return mode === 'X' ? trans.__('exclusive') : mode === 'S' ? trans.__('shared') : line(mode, 10);
}
