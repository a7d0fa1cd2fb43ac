import * as React from 'react';

import { upper } from '../../timeline/grow';
import { timeText } from '../../timeline/viewport';
import { line } from '../../timeline/visible';
import { isFiltering, NO_FILTER, type IFilter } from '../filter';
import { say } from '../say';
import { isOpen } from '../store';
import { useConsole, useStore } from './context';
import { Rows } from './rows';

/** The events of the run, as far as the cursor: all of them, or those that pass the filter. */
export function EventsView(): JSX.Element {
  const { trans } = useConsole();
  const store = useStore();
  const { log, filtered } = store;
  const { indexes } = filtered;
  const count = upper(indexes.length, i => indexes[i]!, store.count - 1);
  const chosen = store.selected === null ? -1 : log.indexOf(store.selected);
  const place = chosen < 0 ? -1 : upper(count, i => indexes[i]!, chosen) - 1;
  const current = place >= 0 && indexes[place] === chosen ? place : -1;
  return (
    <div className="jp-agentlab-run-events">
      <FilterBar />
      <div className="jp-agentlab-run-events-head jp-agentlab-run-event" aria-hidden="true">
        {[trans.__('seq'), trans.__('time'), trans.__('actor'), trans.__('type'), trans.__('unit'), trans.__('status'), trans.__('what')].map(
          word => <span key={word}>{word}</span>
        )}
      </div>
      <Rows
        count={count} height={22} label={trans.__('Events')} current={current} tail={store.cursor === null && isOpen(store.stage) && current < 0}
        onMove={index => store.select(log.seq.at(indexes[index]!))}
        onOpen={index => store.setCursor(log.seq.at(indexes[index]!))}
        render={index => <EventRow index={indexes[index]!} />}
      />
      <div className="jp-agentlab-run-events-foot jp-agentlab-run-faint" role="status">
        {isFiltering(filtered.filter)
          ? trans.__('%1 of %2 events', count, store.count) + (filtered.done ? '' : ` · ${trans.__('searching')}`)
          : trans._n('%1 event', '%1 events', count)}
        {' · '}
        {trans.__('Enter or a double click goes to that moment')}
      </div>
    </div>
  );
}

function EventRow({ index }: { index: number }): JSX.Element {
  const { store } = useConsole();
  const event = store.log.events[index]!;
  const bad = ['error', 'failed', 'denied', 'timeout'].includes(event.status ?? '') || event.body.type === 'error';
  return (
    <span className={`jp-agentlab-run-event${bad ? ' jp-mod-bad' : ''}`}>
      <span className="jp-agentlab-run-number">{event.seq}</span>
      <span className="jp-agentlab-run-number">{timeText(store.log.teller.time(event.ts), 1)}</span>
      <span>{line(event.actor, 40)}</span>
      <span className={`jp-agentlab-run-type jp-mod-${event.body.type.split('.')[0]}`}>{line(event.body.type, 40)}</span>
      <span>{line(event.unit ?? '', 60)}</span>
      <span>{bad ? '✗ ' : ''}{line(event.status ?? '', 20)}</span>
      <span>{say(event)}</span>
    </span>
  );
}

function FilterBar(): JSX.Element {
  const { trans } = useConsole();
  const store = useStore();
  const { filter, log } = store;
  const set = (part: Partial<IFilter>) => store.setFilter({ ...filter, ...part });
  const types = Array.from({ length: log.types.size - 1 }, (_, i) => log.types.text(i + 1)).sort();
  const actors = Array.from({ length: log.actors.size - 1 }, (_, i) => log.actors.text(i + 1));
  return (
    <div className="jp-agentlab-run-filter" role="search">
      <input type="search" className="jp-mod-styled" placeholder={trans.__('Search in events')} aria-label={trans.__('Search in events')}
        value={filter.text} onChange={event => set({ text: event.target.value })} />
      <select aria-label={trans.__('Type')} value={filter.types.size ? [...filter.types].join(' ') : ''}
        onChange={event => set({ types: new Set(event.target.value ? event.target.value.split(' ') : []) })}>
        <option value="">{trans.__('all types')}</option>
        {groups(types).map(([name, all]) => all.length > 1 && <option key={`${name}.*`} value={all.join(' ')}>{line(`${name}.*`, 40)}</option>)}
        {types.map(type => <option key={type} value={type}>{line(type, 40)}</option>)}
      </select>
      <select aria-label={trans.__('Actor')} value={filter.actor} onChange={event => set({ actor: event.target.value })}>
        <option value="">{trans.__('all actors')}</option>
        {actors.map(actor => <option key={actor} value={actor}>{line(actor, 40)}</option>)}
      </select>
      <input type="search" className="jp-mod-styled" placeholder={trans.__('unit')} aria-label={trans.__('Unit')} value={filter.unit} size={14}
        onChange={event => set({ unit: event.target.value })} />
      {isFiltering(filter) && <button className="jp-agentlab-run-button" onClick={() => store.setFilter(NO_FILTER)}>{trans.__('Clear')}</button>}
    </div>
  );
}

/** Types by their first word. */
function groups(types: readonly string[]): [string, string[]][] {
  const found = new Map<string, string[]>();
  types.forEach(type => {
    const name = type.split('.')[0]!;
    found.set(name, [...(found.get(name) ?? []), type]);
  });
  return [...found];
}
