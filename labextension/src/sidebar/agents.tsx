import React from 'react';

import { CommandIDs } from '../commands/ids';
import { agentGroups, type IAgentGroup, type IAgentView, type IWaiting } from '../rows/agents';
import { approvals } from '../rows/approvals';
import { amount, line, money } from '../rows/text';
import { census } from '../rows/totals';
import { StateGlyph } from '../ui/glyphs';
import { fresh, useHost, useView } from '../ui/host';
import { Age, Columns, Empty, IconButton, openMenu, useRoving } from '../ui/parts';
import { censusWords, resetWords, statusWord, waitWords } from '../ui/words';

const MOST = 50; // runs whose agents are listed: those that live come first

/** The agents, by run. */
export function Agents(): JSX.Element {
  const { trans, settings } = useHost();
  const view = useView();
  const all = React.useMemo(() => agentGroups(view.tables, { ended: settings.showEnded }), [view.tables, settings.showEnded]);
  const groups = all.slice(0, MOST);
  const left = all.slice(MOST);
  const asks = React.useMemo(() => new Map(approvals(view.tables, 0).open.reverse().map(one => [one.agentKey, line(one.question, 240)])), [view.tables]);
  const keys = groups.flatMap(group => group.agents.map(agent => agent.key));
  const { active, onKeyDown, onFocus } = useRoving(keys);
  if (!keys.length) {
    return (
      <Empty title={trans.__('No agents yet.')}>
        {trans.__('Press + above, or write in a notebook:')}
        <code>%agent spawn claude --name ann "Add type hints to src/util.py"</code>
      </Empty>
    );
  }
  return (
    <div onKeyDown={onKeyDown} onFocus={onFocus}>
      {groups.map(group => (
        <Group key={group.runId} group={group} asks={asks} active={active} able={fresh(view)} />
      ))}
      {left.length > 0 && (
        <div className="jp-agentlab-empty jp-agentlab-faint" tabIndex={0}>
          {trans._n('The agents of %1 more run are not listed here', 'The agents of %1 more runs are not listed here', left.length)}
          {` (${censusWords(trans, census(left.flatMap(group => group.agents)))}). ${trans.__('The runs are below.')}`}
        </div>
      )}
    </div>
  );
}

function Group(props: { group: IAgentGroup; asks: ReadonlyMap<string, string>; active: string | undefined; able: boolean }): JSX.Element {
  const { trans, run, has } = useHost();
  const { group } = props;
  return (
    <table className="jp-agentlab-table jp-agentlab-agents">
      <caption>
        <span className="jp-agentlab-caption" title={group.root}>
          <span className="jp-agentlab-strong">{group.name}</span>
          <span className="jp-agentlab-faint">
            {group.live ? censusWords(trans, census(group.agents)) : statusWord(trans, group.status)}
            {group.cost > 0 && ` · ${money(group.cost)}`}
          </span>
          {has(CommandIDs.openRun) && (
            <IconButton
              glyph="open"
              label={trans.__('Open run %1', group.name)}
              onClick={() => void run(CommandIDs.openRun, { run_id: group.runId })}
            />
          )}
        </span>
      </caption>
      <Columns of={['main', 'menu']} />
      <thead className="jp-agentlab-hidden">
        <tr>
          <th scope="col">{trans.__('Agent, age and usage')}</th>
          <th scope="col">{trans.__('Actions')}</th>
        </tr>
      </thead>
      <tbody>
        {group.agents.map(agent => (
          <Agent key={agent.key} agent={agent} asks={props.asks.get(agent.key) ?? ''} active={agent.key === props.active} able={props.able} />
        ))}
      </tbody>
    </table>
  );
}

const Agent = React.memo(function Agent(props: { agent: IAgentView; asks: string; active: boolean; able: boolean }): JSX.Element {
  const { agentlab, trans, run, settings } = useHost();
  const { agent } = props;
  const detail = agent.waiting ? waitWords(trans, agent.waiting) : (agent.status === 'blocked' && props.asks) || agent.detail;
  const tabIndex = props.active ? 0 : -1;
  const open = (): void => void run(CommandIDs.openAgent, { agent: agent.key });
  return (
    <tr
      className={`jp-agentlab-row jp-agentlab-agent ${agent.live ? 'jp-mod-live' : ''}`}
      data-row={agent.key}
      data-agent={agent.key}
      tabIndex={tabIndex}
      onDoubleClick={open}
      onKeyDown={event => event.key === 'Enter' && event.target === event.currentTarget && open()}
    >
      <td className="jp-agentlab-main">
        <div className="jp-agentlab-line">
          <StateGlyph status={agent.status} />
          <span className="jp-agentlab-strong" title={agent.key}>
            {agent.name}
          </span>
          <span className="jp-agentlab-faint jp-agentlab-kind">{agent.kind}</span>
          {agent.native && (
            <span className="jp-agentlab-tag" title={trans.__("The vendor's own tools, gated from outside: weaker than agentlab's")}>
              {trans.__('native')}
            </span>
          )}
          <span className="jp-agentlab-numbers">
            {settings.showUsage && agent.tokens + agent.cost > 0 && <Usage agent={agent} />}
            <Age from={agent.began} to={agent.live ? 0 : agent.ended} label={trans.__('Age')} />
          </span>
        </div>
        <div className="jp-agentlab-sub" title={detail}>
          {agent.waiting && agent.status === 'waiting' ? (
            <Wait waiting={agent.waiting} />
          ) : (
            <>
              <span className={`jp-agentlab-word-${agent.status}`}>{statusWord(trans, agent.status)}</span>
              {agent.resets > 0 && <span className="jp-agentlab-resets">{` · ${resetWords(trans, agent.resets, agentlab.model.now())}`}</span>}
              {detail && <span className={agent.wrong ? 'jp-agentlab-wrong' : ''}>{` · ${detail}`}</span>}
            </>
          )}
        </div>
      </td>
      <td className="jp-agentlab-actions">
        {agent.live && props.able && <Verbs agent={agent} tabIndex={tabIndex} />}
        <IconButton glyph="more" label={trans.__('More for %1', agent.name)} tabIndex={tabIndex} onClick={openMenu} className="jp-mod-always" />
      </td>
    </tr>
  );
});

function Usage(props: { agent: IAgentView }): JSX.Element {
  const { trans } = useHost();
  const { tokens, cost } = props.agent;
  return <span title={trans.__('%1 tokens', tokens.toLocaleString())}>{cost > 0 ? money(cost) : amount(tokens)} · </span>;
}

function Wait(props: { waiting: IWaiting }): JSX.Element {
  const [first, ...rest] = waitWords(useHost().trans, props.waiting).split(' · ');
  return (
    <>
      <span className="jp-agentlab-word-waiting">{first}</span>
      {rest.length > 0 && ` · ${rest.join(' · ')}`}
    </>
  );
}

function Verbs(props: { agent: IAgentView; tabIndex: number }): JSX.Element {
  const { trans, run } = useHost();
  const { agent, tabIndex } = props;
  const verb = (glyph: string, label: string, command: string): JSX.Element => (
    <IconButton glyph={glyph} label={label} tabIndex={tabIndex} onClick={() => void run(command, { agent: agent.key })} />
  );
  return (
    <>
      {verb('send', trans.__('Send %1 a message', agent.name), CommandIDs.sendText)}
      {agent.status === 'paused'
        ? verb('running', trans.__('Resume %1', agent.name), CommandIDs.resumeAgent)
        : agent.pausable && verb('paused', trans.__('Pause %1', agent.name), CommandIDs.pauseAgent)}
      {verb('stop', trans.__('Stop %1', agent.name), CommandIDs.stopAgent)}
    </>
  );
}
