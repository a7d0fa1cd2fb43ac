import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import { CommandIDs } from '../commands/ids';
import { unitTree, type ITicketView, type IUnitView } from '../rows/locks';
import { ordinal, shortSpan, span } from '../rows/text';
import { Glyph } from '../ui/glyphs';
import { fresh, useHost, useView } from '../ui/host';
import { Age, Columns, Empty, IconButton, useRoving } from '../ui/parts';
import { modeWord } from '../ui/words';

/** Who holds what, and who waits for it, in order. */
export function Locks(): JSX.Element {
  const { trans } = useHost();
  const view = useView();
  const units = React.useMemo(() => unitTree(view.tables), [view.tables]);
  const keys = units.flatMap(unit => [...unit.holders, ...unit.queue].map(ticket => rowKey(unit, ticket)));
  const { active, onKeyDown, onFocus } = useRoving(keys);
  if (!units.length) {
    return (
      <Empty title={trans.__('Nothing is locked.')}>
        {trans.__('Agents take locks when they write or run something; who has to wait stands here, in order.')}
      </Empty>
    );
  }
  const roots = new Set(units.map(unit => unit.root)).size > 1;
  return (
    <table className="jp-agentlab-table jp-agentlab-locks" onKeyDown={onKeyDown} onFocus={onFocus}>
      <caption className="jp-agentlab-hidden">{trans.__('Locks and queues')}</caption>
      <Columns of={['main', 'lease', 'none']} />
      <thead className="jp-agentlab-hidden">
        <tr>
          <th scope="col">{trans.__('Place and owner')}</th>
          <th scope="col">{trans.__('Since and lease')}</th>
          <th scope="col">{trans.__('Actions')}</th>
        </tr>
      </thead>
      {units.map((unit, at) => (
        <tbody key={`${unit.root}\0${unit.unit}`}>
          {roots && unit.root !== units[at - 1]?.root && (
            <tr className="jp-agentlab-root">
              <th scope="rowgroup" colSpan={3} title={unit.root}>
                <bdi dir="ltr">{unit.root}</bdi>
              </th>
            </tr>
          )}
          <tr className="jp-agentlab-unit">
            <th scope="rowgroup" colSpan={3} style={{ paddingInlineStart: 8 + 14 * unit.depth }} title={unit.unit}>
              <span className="jp-agentlab-faint">{unit.kind}:</span>
              <span className="jp-agentlab-strong">{unit.name}</span>
              {unit.within && <span className="jp-agentlab-hidden">{trans.__('in %1', unit.within)}</span>}
              {unit.queue.length > 0 && <span className="jp-agentlab-tag">{trans._n('%1 waits', '%1 wait', unit.queue.length)}</span>}
            </th>
          </tr>
          {[...unit.holders, ...unit.queue].map(ticket => (
            <Ticket key={ticket.ticket} unit={unit} ticket={ticket} active={rowKey(unit, ticket) === active} able={fresh(view)} />
          ))}
        </tbody>
      ))}
    </table>
  );
}

/** What ends a lease. Its end moves with every sign of life, of which nobody tells: no countdown would be true. */
function leaseWords(trans: TranslationBundle, ticket: ITicketView): string {
  const rule = trans.__('Renewed while its owner lives; it ends %1 after the last sign of life.', span(ticket.ttl));
  const until = new Date(ticket.expires / 1e6).toLocaleTimeString();
  return ticket.expires ? `${rule} ${trans.__('When this lock last changed, it was to end at %1.', until)}` : rule;
}

function rowKey(unit: IUnitView, ticket: ITicketView): string {
  return `${ticket.ticket} ${unit.unit}`;
}

const Ticket = React.memo(
  function Ticket(props: { unit: IUnitView; ticket: ITicketView; active: boolean; able: boolean }): JSX.Element {
    const { trans, run } = useHost();
    const { unit, ticket } = props;
    const tabIndex = props.active ? 0 : -1;
    const button = (glyph: string, label: string, command: string): JSX.Element => (
      <IconButton glyph={glyph} label={label} tabIndex={tabIndex} onClick={() => void run(command, { ticket: ticket.ticket })} />
    );
    const word = ticket.held ? (ticket.paused ? trans.__('holds, paused') : trans.__('holds')) : trans.__('waits');
    const others = ticket.units.filter(other => other !== unit.unit);
    return (
      <tr
        className={`jp-agentlab-row jp-agentlab-ticket ${ticket.held ? 'jp-mod-held' : 'jp-mod-waiting'}`}
        data-row={rowKey(unit, ticket)}
        data-ticket={ticket.ticket}
        data-held={ticket.held}
        tabIndex={tabIndex}
      >
        <td style={{ paddingInlineStart: 16 + 14 * unit.depth }} className="jp-agentlab-main">
          <div className="jp-agentlab-holder">
            <span className="jp-agentlab-place">
              {ticket.held ? <Glyph name="lock" className="jp-agentlab-state-lock" /> : ordinal(ticket.position || 1)}
            </span>
            <div className="jp-agentlab-sub">
              <span className="jp-agentlab-owner" title={ticket.ownerKey}>
                {ticket.ownerKey.startsWith('user:') && <Glyph name="person" />}
                {ticket.owner}
              </span>{' '}
              <span title={ticket.implicit ? trans.__('Taken by itself, for one call') : trans.__('Claimed')}>
                <span className={ticket.held ? '' : 'jp-agentlab-hidden'}>{word} · </span>
                {modeWord(trans, ticket.mode)}
                {ticket.priority !== 'normal' && ` · ${ticket.priority}`}
              </span>
              {others.length > 0 && <span title={others.join('\n')}>{` · ${trans._n('+%1 unit', '+%1 units', others.length)}`}</span>}
            </div>
          </div>
        </td>
        <td className="jp-agentlab-numbers">
          <Age from={ticket.since} label={ticket.held ? trans.__('Held for') : trans.__('Waits for')} />
          {ticket.held && ticket.ttl > 0 && (
            <span className="jp-agentlab-faint" title={leaseWords(trans, ticket)}>
              {' · '}
              {trans.__('lease %1', shortSpan(ticket.ttl))}
            </span>
          )}
        </td>
        <td className="jp-agentlab-actions">
          {props.able &&
            (ticket.held ? (
              button('release', trans.__('Release what %1 holds', ticket.owner), CommandIDs.releaseTicket)
            ) : (
              <>
                {button('bump', trans.__('Move %1 to the front', ticket.owner), CommandIDs.bumpTicket)}
                {button('failed', trans.__('Take %1 out of the queue', ticket.owner), CommandIDs.cancelTicket)}
              </>
            ))}
        </td>
      </tr>
    );
  },
  (a, b) => a.ticket === b.ticket && a.active === b.active && a.able === b.able && a.unit.depth === b.unit.depth && a.unit.unit === b.unit.unit
);

