import * as React from 'react';

import { text } from '../../timeline/events';
import { timeText } from '../../timeline/viewport';
import { line, visibleText } from '../../timeline/visible';
import { useConsole, useStore } from './context';
import { Rows } from './rows';

/** What was said to and by agents, as far as the cursor; the chosen text whole. */
export function MessagesView(): JSX.Element {
  const { trans } = useConsole();
  const store = useStore();
  const { log } = store;
  const said = log.until(log.messages, store.count);
  const chosen = store.selected === null ? -1 : log.indexOf(store.selected);
  const current = said.indexOf(chosen);
  const event = log.events[said[current] ?? -1];
  return (
    <div className="jp-agentlab-run-split">
      <div className="jp-agentlab-run-side jp-mod-wide">
        <Rows
          count={said.length} height={38} label={trans.__('Messages')} current={current} tail={store.cursor === null && current < 0}
          onMove={index => store.select(log.seq.at(said[index]!))}
          render={index => {
            const each = log.events[said[index]!]!;
            const role = text(each.body, 'role');
            return (
              <span className="jp-agentlab-run-process">
                <span>{line(text(each.body, 'text'), 160)}</span>
                <span className="jp-agentlab-run-faint">
                  #{each.seq} · {timeText(log.teller.time(each.ts), 1)} · {role === 'user' ? `→ ${line(each.actor, 40)}` : line(each.actor, 40)} · {line(role, 20)}
                </span>
              </span>
            );
          }}
        />
      </div>
      <div className="jp-agentlab-run-main">
        {event ? <pre className="jp-agentlab-run-text" tabIndex={0}>{visibleText(text(event.body, 'text'))}</pre>
          : <p className="jp-agentlab-run-empty">{said.length ? trans.__('Choose a message to read all of it.') : trans.__('Nothing had been said at this moment.')}</p>}
      </div>
    </div>
  );
}
