import type { TranslationBundle } from '@jupyterlab/translation';

import type { IConsequence } from '../rows/locks';

/** What a person is told before a ticket is taken from its owner. */
export function releaseText(trans: TranslationBundle, found: IConsequence, held: boolean): { title: string; body: string; verb: string } {
  const units = found.units.join(', ');
  const parts = held ? heldParts(trans, found) : [trans.__('Its request ends as refused; what it does about that is its own affair.')];
  if (found.next.length) {
    parts.push(held ? trans.__('Next in the queue: %1.', found.next.join(', ')) : trans.__('Behind it: %1.', found.next.join(', ')));
  }
  return {
    title: held ? trans.__('Release %1 from %2?', units, found.owner) : trans.__('Take %1 out of the queue for %2?', found.owner, units),
    body: parts.join(' '),
    verb: held ? trans.__('Release') : trans.__('Take out')
  };
}

function heldParts(trans: TranslationBundle, found: IConsequence): string[] {
  if (!found.working) {
    return [trans.__('%1 is no agent at work; nothing is interrupted.', found.owner)];
  }
  const doing = found.doing ? trans.__('%1 is at work there (%2).', found.owner, found.doing) : trans.__('%1 may be in the middle of a change there.', found.owner);
  return [doing, trans.__('What it has written stays, half done perhaps; its next write or command there is refused until it has the lock again.')];
}
