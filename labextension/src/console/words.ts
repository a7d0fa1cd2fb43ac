import type { TranslationBundle } from '@jupyterlab/translation';

import { statusWord } from '../ui/words';
import type { FileVerdict } from './compare';
import type { ProcessEnd } from './log';

/** The state of an agent, a task, a lock or a run as a word. One that this version does not know is said as it is. */
export function stateWord(trans: TranslationBundle, state: string): string {
  switch (state) {
    case 'held':
      return trans.__('held');
    case 'pending':
      return trans.__('pending');
    case 'ready':
      return trans.__('ready');
    case 'expired':
      return trans.__('expired');
    case 'released':
      return trans.__('released');
    case 'denied':
      return trans.__('denied');
    default:
      return statusWord(trans, state);
  }
}

/** How a file of two runs compares. */
export function verdictWord(trans: TranslationBundle, verdict: FileVerdict): string {
  const words: Record<FileVerdict, string> = {
    same: trans.__('same'), different: trans.__('different'), 'only in A': trans.__('only in A'), 'only in B': trans.__('only in B')
  };
  return words[verdict];
}

/** What became of a process, with a sign. `known`: false where nobody can say whether it still runs. */
export function endWords(trans: TranslationBundle, end: ProcessEnd, known: boolean): string {
  switch (end.how) {
    case 'running':
      return known ? `▶ ${trans.__('running')}` : `? ${trans.__('ran when last heard of')}`;
    case 'left':
      return `⊘ ${trans.__('ended with its agent')}`;
    case 'exit':
      return `${end.code === 0 ? '✓' : '✗'} ${trans.__('exit %1', end.code)}`;
    case 'signal':
      return `✗ ${trans.__('signal %1', end.signal)}`;
  }
}

/** Whether a process ended as it should not have. */
export const endedBadly = (end: ProcessEnd): boolean => end.how === 'left' || end.how === 'signal' || (end.how === 'exit' && end.code !== 0);
