import React from 'react';

import { CommandIDs } from '../commands/ids';
import { NO_EXTENSION } from '../model/problems';
import { line } from '../rows/text';
import { Glyph } from '../ui/glyphs';
import { useHost, useView } from '../ui/host';
import { Words } from '../ui/parts';

/** How believable the rows are: nothing where they are live, else what is wrong, since when, and what to do. */
export function LinkBanner(): JSX.Element {
  const { trans, run } = useHost();
  const { link, asOf } = useView();
  const late = useLate(link.state === 'connecting');
  const since = asOf === null ? '' : trans.__('What is shown is as of %1.', new Date(asOf).toLocaleTimeString());
  const again = (
    <button type="button" className="jp-agentlab-button" onClick={() => void run(CommandIDs.reconnect)}>
      {trans.__('Try now')}
    </button>
  );
  let content: JSX.Element | null = null;
  if (link.state === 'offline') {
    const none = link.problem.code === NO_EXTENSION;
    content = (
      <div className={`jp-agentlab-banner ${none ? 'jp-mod-none' : 'jp-mod-offline'}`}>
        <Glyph name="warning" />
        <div>
          <div className="jp-agentlab-strong">
            <Words text={line(link.problem.message, 600)} />
          </div>
          <div>
            <Words text={line(link.problem.next, 600)} />
          </div>
          {since && <div>{since}</div>}
          <div className="jp-agentlab-buttons">{again}</div>
        </div>
      </div>
    );
  } else if (link.state === 'polling') {
    content = (
      <div className="jp-agentlab-banner" title={link.problem.next}>
        <Glyph name="warning" />
        <div>{link.problem.message}</div>
      </div>
    );
  } else if (link.state === 'connecting' && late) {
    content = (
      <div className="jp-agentlab-banner">
        <Glyph name="queued" />
        <div>
          {trans.__('Connecting to the plane…')} {since}
        </div>
      </div>
    );
  }
  return (
    <div role="status" aria-live="polite">
      {content}
    </div>
  );
}

/** Whether something has lasted long enough to be worth a word. */
function useLate(on: boolean): boolean {
  const [late, setLate] = React.useState(false);
  React.useEffect(() => {
    setLate(false);
    const timer = on ? setTimeout(() => setLate(true), 1000) : undefined;
    return () => clearTimeout(timer);
  }, [on]);
  return on && late;
}
