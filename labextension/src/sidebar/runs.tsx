import React from 'react';

import { CommandIDs } from '../commands/ids';
import type { IRunListing } from '../model/wire';
import { outdates, runs, type IRunView } from '../rows/runs';
import { amount, money } from '../rows/text';
import { StateGlyph } from '../ui/glyphs';
import { fresh, useAsking, useHost, useView } from '../ui/host';
import { Age, Columns, Empty, IconButton, Problem, useRoving } from '../ui/parts';
import { censusWords, statusWord } from '../ui/words';

const SOON = 1000; // ms: runs end together, and the log lists them a moment later

/** All runs of the log: search, open, compare two. */
export function Runs(): JSX.Element {
  const { agentlab, trans, settings, run, has } = useHost();
  const view = useView();
  const [listing, setListing] = React.useState<readonly IRunListing[]>([]);
  const [search, setSearch] = React.useState('');
  const [chosen, choose] = React.useState<readonly string[]>([]);
  const { problem, ask, forget, busy } = useAsking();
  const ready = fresh(view);
  const load = React.useCallback(
    () => void ask(async () => setListing((await agentlab.gateway.request<IRunListing[]>('GET', `api/runs?limit=${settings.runs}`)) ?? [])),
    [agentlab, ask, settings.runs]
  );
  React.useEffect(() => {
    if (ready) {
      load();
    }
  }, [ready, load]);
  const before = React.useRef(view.tables);
  const old = React.useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  React.useEffect(() => {
    if (ready && outdates(before.current, view.tables)) {
      clearTimeout(old.current);
      old.current = setTimeout(load, SOON);
    }
    before.current = view.tables;
  }, [ready, view.tables, load]);
  React.useEffect(() => () => clearTimeout(old.current), [load]);
  const found = React.useMemo(() => runs(view.tables, listing, search), [view.tables, listing, search]);
  const { active, onKeyDown, onFocus } = useRoving(found.map(one => one.key));
  const toggle = (key: string): void => choose(chosen.includes(key) ? chosen.filter(one => one !== key) : [...chosen, key].slice(-2));
  const two = chosen.filter(key => found.some(one => one.key === key));
  return (
    <div>
      <div className="jp-agentlab-bar">
        <input
          type="search"
          className="jp-agentlab-input"
          placeholder={trans.__('Search runs')}
          aria-label={trans.__('Search runs')}
          value={search}
          onChange={event => setSearch(event.target.value)}
        />
        {has(CommandIDs.compareRuns) && (
          <button
            type="button"
            className="jp-agentlab-button"
            disabled={two.length !== 2}
            title={trans.__('Choose two runs, then compare them')}
            onClick={() => void run(CommandIDs.compareRuns, { run_ids: [...two] })}
          >
            {trans.__('Compare')}
          </button>
        )}
        <IconButton glyph="refresh" label={trans.__('List the runs anew')} disabled={busy || !ready} onClick={load} />
      </div>
      <Problem problem={ready ? problem : null} onClose={forget} />
      {found.length === 0 ? (
        search ? (
          <Empty title={trans.__('No run is called so.')}>{trans.__('Names, ids, folders and states are searched.')}</Empty>
        ) : (
          <Empty title={trans.__('No runs yet.')}>{trans.__('A run begins with its first agent, and stays in the log.')}</Empty>
        )
      ) : (
        <table className="jp-agentlab-table jp-agentlab-runs" onKeyDown={onKeyDown} onFocus={onFocus}>
          <caption className="jp-agentlab-hidden">{trans.__('Runs')}</caption>
          <Columns of={['check', 'main', 'numbers', 'menu']} />
          <thead className="jp-agentlab-hidden">
            <tr>
              <th scope="col">{trans.__('Compare')}</th>
              <th scope="col">{trans.__('Run')}</th>
              <th scope="col">{trans.__('Duration and cost')}</th>
              <th scope="col">{trans.__('Actions')}</th>
            </tr>
          </thead>
          <tbody>
            {found.slice(0, settings.runs).map(one => (
              <Run key={one.key} of={one} active={one.key === active} chosen={chosen.includes(one.key)} toggle={toggle} />
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}

function Run(props: { of: IRunView; active: boolean; chosen: boolean; toggle: (key: string) => void }): JSX.Element {
  const { trans, settings, run, has } = useHost();
  const { of } = props;
  const tabIndex = props.active ? 0 : -1;
  const open = (): void => void run(CommandIDs.openRun, { run_id: of.key });
  const canOpen = has(CommandIDs.openRun);
  return (
    <tr
      className="jp-agentlab-row jp-agentlab-run"
      data-row={of.key}
      data-run={of.key}
      tabIndex={tabIndex}
      onDoubleClick={() => canOpen && open()}
      onKeyDown={event => canOpen && event.key === 'Enter' && event.target === event.currentTarget && open()}
    >
      <td className="jp-agentlab-place">
        <input
          type="checkbox"
          checked={props.chosen}
          tabIndex={tabIndex}
          aria-label={trans.__('Choose %1 to compare', of.name)}
          onChange={() => props.toggle(of.key)}
        />
      </td>
      <td className="jp-agentlab-main">
        <div className="jp-agentlab-line" title={[of.key, of.root].filter(Boolean).join('\n')}>
          <StateGlyph status={of.status} />
          <span className="jp-agentlab-strong">{of.name}</span>
        </div>
        <div className="jp-agentlab-sub">
          {of.live ? (of.agents?.live ? censusWords(trans, of.agents) : trans._n('%1 live agent', '%1 live agents', of.live)) : statusWord(trans, of.status)}
          {of.live === 0 && (
            <>
              {' · '}
              <span className="jp-agentlab-whole">{trans.__('%1 events', amount(of.events))}</span>
            </>
          )}
          {settings.showUsage && !!of.tokens && (
            <>
              {' · '}
              <span className="jp-agentlab-whole">{trans.__('%1 tokens', amount(of.tokens))}</span>
            </>
          )}
          {of.parent && ` · ${trans.__('a fork')}`}
        </div>
      </td>
      <td className="jp-agentlab-numbers">
        <div>
          <Age from={of.started} to={of.ended} label={trans.__('Duration')} />
        </div>
        {settings.showUsage && !!of.cost && <div className="jp-agentlab-faint jp-agentlab-cost">{money(of.cost)}</div>}
      </td>
      <td className="jp-agentlab-actions">
        {canOpen && <IconButton glyph="open" label={trans.__('Open run %1', of.name)} tabIndex={tabIndex} onClick={open} className="jp-mod-always" />}
      </td>
    </tr>
  );
}
