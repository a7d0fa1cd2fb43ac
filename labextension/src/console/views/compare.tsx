import * as React from 'react';

import { durationText } from '../../timeline/viewport';
import { line } from '../../timeline/visible';
import { text } from '../../timeline/events';
import { compareFiles, summary, type ISummary } from '../compare';
import type { RunStore } from '../store';
import { ConsoleProvider, type IConsole } from './context';
import { Problems } from './header';
import { TimelineView } from './timeline';

/** Two runs beside each other: what they came to, the files that they left, and their pictures. */
export function Compare({ consoles }: { consoles: readonly [IConsole, IConsole] }): JSX.Element {
  const [, again] = React.useReducer((n: number) => n + 1, 0);
  React.useEffect(() => {
    const undo = consoles.map(each => each.store.changed.listen(again));
    return () => undo.forEach(each => each());
  }, [consoles]);
  const { trans } = consoles[0];
  const [a, b] = consoles.map(({ store: { log } }) => summary(log)) as [ISummary, ISummary];
  const lines: [string, (s: ISummary) => number, (n: number) => string][] = [
    [trans.__('duration'), s => s.duration, durationText],
    [trans.__('events'), s => s.events, plainNumber],
    [trans.__('agents'), s => s.agents, plainNumber],
    [trans.__('tool calls'), s => s.calls, plainNumber],
    [trans.__('of them not ok'), s => s.failed, plainNumber],
    [trans.__('waits for locks'), s => s.waits, plainNumber],
    [trans.__('time waited'), s => s.waited, durationText],
    [trans.__('processes'), s => s.processes, plainNumber],
    [trans.__('tokens'), s => s.tokens, plainNumber],
    [trans.__('cost'), s => s.cost, n => `$${n.toFixed(4)}`],
    [trans.__('files left'), s => [...s.files.values()].filter(Boolean).length, plainNumber]
  ];
  return (
    <div className="jp-agentlab-console-body jp-agentlab-run-scroll" tabIndex={0}>
      {consoles.map(each => <ConsoleProvider key={each.store.run} value={each}><Problems /></ConsoleProvider>)}
      <table className="jp-agentlab-run-table">
        <caption>{trans.__('What the two runs came to')}</caption>
        <thead><tr><th scope="col" />{consoles.map(({ store }, i) => <th key={store.run} scope="col">{'AB'[i]}: {title(store)}</th>)}<th scope="col">B − A</th></tr></thead>
        <tbody>
          {lines.map(([word, of, say]) => (
            <tr key={word}>
              <th scope="row">{word}</th>
              <td className="jp-agentlab-run-number">{say(of(a))}</td>
              <td className="jp-agentlab-run-number">{say(of(b))}</td>
              <td className="jp-agentlab-run-number">{of(b) === of(a) ? '=' : `${of(b) > of(a) ? '+' : '−'}${say(Math.abs(of(b) - of(a)))}`}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <table className="jp-agentlab-run-table">
        <caption>{trans.__('Files that either of them wrote')}</caption>
        <thead><tr><th scope="col">{trans.__('file')}</th><th scope="col">{trans.__('at the end')}</th></tr></thead>
        <tbody>
          {compareFiles(a, b).slice(0, 2000).map(({ path, verdict }) => (
            <tr key={path} className={verdict === 'same' ? '' : 'jp-mod-current'}><td>{line(path, 200)}</td><td>{verdict === 'same' ? '=' : '≠'} {trans.__(verdict)}</td></tr>
          ))}
        </tbody>
      </table>
      {consoles.map(each => (
        <section key={each.store.run} className="jp-agentlab-run-compare-picture" aria-label={title(each.store)}>
          <strong>{title(each.store)}</strong>
          <ConsoleProvider value={each}><TimelineView /></ConsoleProvider>
        </section>
      ))}
    </div>
  );
}

const plainNumber = (n: number): string => n.toLocaleString();

function title({ log, run }: RunStore): string {
  const first = log.events[0];
  return `${line(first?.body.type === 'run.start' ? text(first.body, 'name') : run, 40)} (${run})`;
}
