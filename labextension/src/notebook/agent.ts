import { stateWord } from '../timeline/states';
import type { ITrans } from '../timeline/words';

/** Where the view of one agent looks for its words. It is plain JavaScript, `agentlab/notebook/widget.js`: it wants no build. */
export const PLACE = Symbol.for('agentlab:agent');

const STATES = ['queued', 'dispatched', 'running', 'waiting', 'blocked', 'paused', 'idle', 'stopping', 'done', 'failed', 'cancelled'];

/** What that view says, by its English. The rest is the kernel's, and comes in English. */
export function agentWords(trans: ITrans): Readonly<Record<string, string>> {
  return {
    ...Object.fromEntries(STATES.map(state => [state, stateWord(trans, state) ?? state])),
    'agent %1': trans.__('agent %1', '%1'),
    question: trans.__('question'),
    Stop: trans.__('Stop'),
    'Stop now': trans.__('Stop now'),
    'Ask it to stop; its locks are freed': trans.__('Ask it to stop; its locks are freed'),
    'Kill it, without asking': trans.__('Kill it, without asking'),
    'Allow once': trans.__('Allow once'),
    'Allow for this session': trans.__('Allow for this session'),
    'Always allow': trans.__('Always allow'),
    Deny: trans.__('Deny'),
    'as of %1: nothing is heard of it since; that is tried again by itself': trans.__(
      'as of %1: nothing is heard of it since; that is tried again by itself',
      '%1'
    ),
    'as of %1: the kernel says nothing since; run the cell again when it does': trans.__(
      'as of %1: the kernel says nothing since; run the cell again when it does',
      '%1'
    )
  };
}

/** From now on the views of agents on this page speak so. */
export function offerAgentWords(trans: ITrans): void {
  (globalThis as { [PLACE]?: Readonly<Record<string, string>> })[PLACE] = agentWords(trans);
}
