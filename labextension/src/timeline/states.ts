import type { ITrans } from './words';

/** A state of an agent or a run as a word; null: one that this version does not know. */
export function stateWord(trans: ITrans, status: string): string | null {
  switch (status) {
    case 'queued':
      return trans.__('queued');
    case 'dispatched':
      return trans.__('starting');
    case 'running':
      return trans.__('running');
    case 'waiting':
      return trans.__('waiting');
    case 'blocked':
      return trans.__('asks');
    case 'paused':
      return trans.__('paused');
    case 'idle':
      return trans.__('idle');
    case 'stopping':
      return trans.__('stopping');
    case 'done':
      return trans.__('done');
    case 'failed':
      return trans.__('failed');
    case 'cancelled':
      return trans.__('cancelled');
    case 'open':
      return trans.__('open');
    default:
      return null;
  }
}
