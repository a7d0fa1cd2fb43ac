import * as React from 'react';

import type { IAgentRow, ILockRow } from '../../model/wire';
import { number, ownerName, text } from '../../timeline/events';
import { line } from '../../timeline/visible';
import { rowsOfRun } from '../moments';
import { stateWord } from '../words';
import { useConsole, useStore } from './context';

interface ITaskRow {
  readonly task_id: string;
  readonly goal: string;
  readonly parent?: string | null;
  readonly owner?: string | null;
  readonly status: string;
}

/** The tasks of the run as a tree, at the cursor. */
export function TasksView(): JSX.Element {
  const { trans } = useConsole();
  const store = useStore();
  const moment = store.moment;
  if (!moment) {
    return <Waiting />;
  }
  const tasks = rowsOfRun(moment.tables, 'tasks' as 'agents', store.run) as unknown as ITaskRow[];
  const children = new Map<string, ITaskRow[]>();
  const known = new Set(tasks.map(task => task.task_id));
  tasks.forEach(task => {
    const parent = task.parent && known.has(task.parent) ? task.parent : '';
    children.set(parent, [...(children.get(parent) ?? []), task]);
  });
  const seqOf = (id: string) => store.log.tasks.map(index => store.log.events[index]!).find(event => event.task_id === id)?.seq ?? null;
  const branch = (parent: string, level: number): JSX.Element[] =>
    (children.get(parent) ?? []).flatMap(task => [
      <tr key={task.task_id} aria-level={level}>
        <td className="jp-agentlab-run-long" style={{ paddingLeft: 8 + (level - 1) * 18 }}>
          {level > 1 ? '└ ' : ''}<button className="jp-agentlab-run-link" onClick={() => store.select(seqOf(task.task_id))}>{line(task.goal, 160)}</button>
        </td>
        <td>{task.owner ? line(ownerName(task.owner), 40) : ''}</td>
        <td><Status word={task.status} /></td>
      </tr>,
      ...(level < 20 ? branch(task.task_id, level + 1) : [])
    ]);
  return (
    <Stale>
      <table className="jp-agentlab-run-table" role="treegrid">
        <thead><tr>{[trans.__('task'), trans.__('agent'), trans.__('status')].map(word => <th key={word} scope="col">{word}</th>)}</tr></thead>
        <tbody>{branch('', 1)}</tbody>
      </table>
      {!tasks.length && <p className="jp-agentlab-run-empty">{trans.__('There was no task at this moment.')}</p>}
    </Stale>
  );
}

/** Who ran, held and waited at the cursor. */
export function StateView(): JSX.Element {
  const { trans } = useConsole();
  const store = useStore();
  const moment = store.moment;
  if (!moment) {
    return <Waiting />;
  }
  const agents = rowsOfRun(moment.tables, 'agents', store.run);
  const locks = rowsOfRun(moment.tables, 'locks', store.run).sort((a, b) => Number(Boolean(b.token)) - Number(Boolean(a.token)) || a.ticket - b.ticket);
  return (
    <Stale>
      <table className="jp-agentlab-run-table">
        <caption>{trans.__('Agents')}</caption>
        <thead><tr>{[trans.__('agent'), trans.__('kind'), trans.__('status'), trans.__('does, or waits for'), trans.__('holds'), trans.__('tokens'), trans.__('cost')].map(word => <th key={word} scope="col">{word}</th>)}</tr></thead>
        <tbody>{agents.map(row => <AgentLine key={row.agent} row={row} />)}</tbody>
      </table>
      <table className="jp-agentlab-run-table">
        <caption>{trans.__('Locks and queues')}</caption>
        <thead><tr>{[trans.__('units'), trans.__('mode'), trans.__('owner'), trans.__('status'), trans.__('behind')].map(word => <th key={word} scope="col">{word}</th>)}</tr></thead>
        <tbody>{locks.map(row => <LockLine key={row.ticket} row={row} />)}</tbody>
      </table>
      {!locks.length && <p className="jp-agentlab-run-empty">{trans.__('Nothing was held or waited for at this moment.')}</p>}
    </Stale>
  );
}

function AgentLine({ row }: { row: IAgentRow }): JSX.Element {
  const { trans } = useConsole();
  const waits = row.waits ? trans.__('waits for %1 behind %2', row.waits.units.join(', '), names(row.waits.behind)) : '';
  const usage = row.usage ?? {};
  return (
    <tr>
      <th scope="row" className="jp-agentlab-run-long">{line(row.name, 60)}</th>
      <td>{line(row.kind ?? String(row.spec?.kind ?? ''), 30)}</td>
      <td><Status word={row.status} /></td>
      <td className="jp-agentlab-run-long">{line(waits || row.error || row.doing || row.reason || '', 200)}</td>
      <td className="jp-agentlab-run-long">{line((row.holds ?? []).join(', '), 160)}</td>
      <td className="jp-agentlab-run-number">{usage.in || usage.out ? `${usage.in ?? 0} / ${usage.out ?? 0}` : ''}</td>
      <td className="jp-agentlab-run-number">{usage.cost ? `$${usage.cost.toFixed(4)}` : ''}</td>
    </tr>
  );
}

function LockLine({ row }: { row: ILockRow }): JSX.Element {
  return (
    <tr>
      <th scope="row" className="jp-agentlab-run-long">{line(row.units.join(', '), 160)}</th>
      <td>{line(row.mode, 10)}</td>
      <td className="jp-agentlab-run-long">{line(ownerName(row.owner), 60)}</td>
      <td><Status word={row.status} />{row.position ? ` ${row.position}.` : ''}</td>
      <td className="jp-agentlab-run-long">{line(names(row.behind), 120)}</td>
    </tr>
  );
}

const names = (behind: ILockRow['behind']): string => [...new Set((behind ?? []).map(each => ownerName(each.owner)))].join(', ');

const SIGNS: Readonly<Record<string, string>> = {
  running: '▶', waiting: '◔', blocked: '?', paused: '‖', idle: '○', stopping: '■', done: '✓', failed: '✗', cancelled: '⊘', held: '●', pending: '…', queued: '…'
};

function Status({ word }: { word: string }): JSX.Element {
  const { trans } = useConsole();
  return <span className={`jp-agentlab-run-status jp-mod-${word}`}><span aria-hidden="true">{SIGNS[word] ?? '•'}</span> {stateWord(trans, word)}</span>;
}

/** What agents declared as their outputs, as far as the cursor. */
export function ArtifactsView(): JSX.Element {
  const { trans, gateway } = useConsole();
  const store = useStore();
  const { log } = store;
  const [shown, setShown] = React.useState<{ name: string; text: string } | null>(null);
  const all = log.until(log.artifacts, store.count).map(index => log.events[index]!).reverse().slice(0, 1000);
  const open = (name: string, hash: string) =>
    void gateway.text(`api/blobs/${hash}`, 500_000).then(
      found => setShown({ name, text: found }),
      (error: unknown) => setShown({ name, text: error instanceof Error ? error.message : String(error) })
    );
  return (
    <div className="jp-agentlab-run-split">
      <div className="jp-agentlab-run-side jp-mod-wide">
        <table className="jp-agentlab-run-table">
          <thead><tr>{[trans.__('artifact'), trans.__('kind'), trans.__('agent'), trans.__('bytes')].map(word => <th key={word} scope="col">{word}</th>)}</tr></thead>
          <tbody>
            {all.map(event => (
              <tr key={event.seq} className={event.seq === store.selected ? 'jp-mod-current' : ''}>
                <td className="jp-agentlab-run-long"><button className="jp-agentlab-run-link" onClick={() => { store.select(event.seq); open(event.name ?? '', text(event.body, 'hash')); }}>{line(event.name ?? '', 80)}</button></td>
                <td>{line(text(event.body, 'kind'), 20)}</td>
                <td>{line(event.actor, 40)}</td>
                <td className="jp-agentlab-run-number">{number(event.body, 'size').toLocaleString()}</td>
              </tr>
            ))}
          </tbody>
        </table>
        {!all.length && <p className="jp-agentlab-run-empty">{trans.__('There was no artifact at this moment.')}</p>}
      </div>
      <div className="jp-agentlab-run-main">
        {shown ? <Text {...shown} /> : <p className="jp-agentlab-run-empty">{trans.__('Choose an artifact to read it.')}</p>}
      </div>
    </div>
  );
}

function Text({ name, text: content }: { name: string; text: string }): JSX.Element {
  const { trans } = useConsole();
  const safe = content.slice(0, 200_000).split('\n').map(each => line(each.replace(/\t/g, '    ').replace(/^ +/, spaces => '\u00a0'.repeat(spaces.length)), 4000)).join('\n');
  return <pre className="jp-agentlab-run-text" tabIndex={0} aria-label={line(name, 80)}>{content.includes('\0') ? trans.__('This is no text.') : safe}</pre>;
}

/** Rows of another moment than the cursor's are shown, but pale. */
function Stale({ children }: { children: React.ReactNode }): JSX.Element {
  const { trans } = useConsole();
  const store = useStore();
  const stale = !store.momentIsCurrent;
  return (
    <div className={`jp-agentlab-run-scroll${stale ? ' jp-mod-stale' : ''}`} aria-busy={stale && store.isCurrent} tabIndex={0}>
      {stale && !store.isCurrent && <p className="jp-agentlab-run-empty" role="status">{trans.__('As it was when it was last heard of.')}</p>}
      {children}
    </div>
  );
}

function Waiting(): JSX.Element {
  const { trans } = useConsole();
  const store = useStore();
  const none = store.momentProblem || (store.cursor === null && !store.isCurrent && store.stage.name !== 'loading');
  return <p className="jp-agentlab-run-empty" role="status">{none ? trans.__('The rows of this moment are not here.') : trans.__('Reading the log…')}</p>;
}
