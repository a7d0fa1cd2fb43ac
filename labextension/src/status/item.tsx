import React from 'react';

import { CommandIDs } from '../commands/ids';
import { totals } from '../rows/totals';
import { Glyph } from '../ui/glyphs';
import { fresh, useHost, useView } from '../ui/host';
import { censusWords } from '../ui/words';

/** At work, waiting, approvals: in the status bar. A press shows the sidebar, or the questions where there are some. */
export function StatusItem(): JSX.Element {
  const { trans, run } = useHost();
  const view = useView();
  const { agents, approvals, ill } = totals(view.tables);
  const current = fresh(view);
  const first = view.link.state === 'connecting' && view.asOf === null; // nothing is wrong yet
  const words = current
    ? [
        censusWords(trans, agents),
        trans._n('%1 approval', '%1 approvals', approvals),
        ...(ill ? [trans._n('%1 runtime is ill', '%1 runtimes are ill', ill)] : [])
      ].join('; ')
    : first
      ? trans.__('agentlab is connecting')
      : trans.__('agentlab is not connected');
  return (
    <button
      type="button"
      className={`jp-agentlab-status ${current ? '' : 'jp-mod-stale'}`}
      title={words}
      aria-label={`agentlab: ${words}`}
      onClick={() => void run(approvals ? CommandIDs.showApprovals : CommandIDs.showPanel)}
    >
      {current ? (
        <>
          <Count glyph="running" n={agents.working} />
          <Count glyph="waiting" n={agents.waiting} />
          <Count glyph="blocked" n={approvals} strong />
          {ill > 0 && <Glyph name="warning" />}
        </>
      ) : (
        <>
          <Glyph name={first ? 'queued' : 'cancelled'} /> {first ? trans.__('agents: connecting…') : trans.__('agents: offline')}
        </>
      )}
    </button>
  );
}

function Count(props: { glyph: string; n: number; strong?: boolean }): JSX.Element {
  return (
    <span className={props.n && props.strong ? 'jp-agentlab-count jp-mod-asking' : 'jp-agentlab-count'}>
      <Glyph name={props.glyph} />
      {props.n}
    </span>
  );
}
