import * as React from 'react';

import { pretty } from '../plan';
import { durationText } from '../../timeline/viewport';
import { visibleText } from '../../timeline/visible';
import { useConsole, useStore } from './context';

const LONGEST = 20_000;

/** A field of the envelope: times as people read them. */
function said(key: string, value: unknown): string {
  if (typeof value === 'number' && key === 'ts') {
    return new Date(value / 1e6).toISOString().replace('T', ' ').replace('Z', ' UTC');
  }
  return typeof value === 'number' && key === 'dur_ns' ? durationText(value / 1e6) : visibleText(String(value)).slice(0, 500);
}

/** The chosen event, whole and as it is: also of a type that nobody knows. */
export function Detail(): JSX.Element | null {
  const { trans } = useConsole();
  const store = useStore();
  const event = store.log.event(store.selected);
  const places = React.useMemo(() => event && store.placesOf(event), [event, store.log.length]);
  if (!event || !places) {
    return null;
  }
  const { body, ...envelope } = event;
  const { type, ...facts } = body;
  const json = visibleText(pretty(facts as never));
  const cause = event.cause ?? null;
  const { change, process, span } = places;
  return (
    <aside className="jp-agentlab-run-detail" aria-label={trans.__('The chosen event')}>
      <div className="jp-agentlab-run-detail-head">
        <strong>{visibleText(type)}</strong> <span className="jp-agentlab-run-faint">#{event.seq}</span>
        <span className="jp-agentlab-run-grow" />
        {change !== null && <button className="jp-agentlab-run-button" onClick={() => store.goTo(event, 'diffs')}>{trans.__('Show diff')}</button>}
        {process !== null && <button className="jp-agentlab-run-button" onClick={() => store.goTo(event, 'output')}>{trans.__('Show output')}</button>}
        {span && <button className="jp-agentlab-run-button" onClick={() => store.reveal(event.seq)}>{trans.__('Show on the timeline')}</button>}
        <button className="jp-agentlab-run-button" onClick={() => store.setCursor(event.seq)}>{trans.__('Go to this moment')}</button>
        <button className="jp-agentlab-run-button" aria-label={trans.__('Close')} title={trans.__('Close')} onClick={() => store.select(null)}>✕</button>
      </div>
      <dl>
        {Object.entries(envelope).filter(([key, value]) => value !== null && !['seq', 'run_id'].includes(key)).map(([key, value]) => (
          <React.Fragment key={key}>
            <dt>{key}</dt>
            <dd>
              {key === 'cause' && cause !== null
                ? <button className="jp-agentlab-run-link" onClick={() => store.select(cause)}>#{cause}</button>
                : said(key, value)}
            </dd>
          </React.Fragment>
        ))}
      </dl>
      <pre tabIndex={0}>{json.length > LONGEST ? `${json.slice(0, LONGEST)}\n… ${trans.__('%1 more characters', json.length - LONGEST)}` : json}</pre>
    </aside>
  );
}
