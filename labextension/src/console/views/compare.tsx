import * as React from 'react';

import { durationText } from '../../timeline/viewport';
import { line } from '../../timeline/visible';
import { compareFiles, summary, type ISummary } from '../compare';
import type { RunStore } from '../store';
import { verdictWord } from '../words';
import { ConsoleProvider, type IConsole } from './context';
import { Badge, Problems } from './header';
import { TimelineView } from './timeline';

type Consoles = readonly [IConsole, IConsole];

/** Two runs beside each other: what they came to, the files that they left, and their pictures. */
export function Compare({ consoles }: { consoles: Consoles }): JSX.Element {
  const [, again] = React.useReducer((n: number) => n + 1, 0);
  React.useEffect(() => {
    const undo = consoles.map(each => each.store.changed.listen(again));
    return () => undo.forEach(each => each());
  }, [consoles]);
  return (
    <div className="jp-agentlab-console-body jp-agentlab-run-scroll" tabIndex={0}>
      <header className="jp-agentlab-console-header">
        {consoles.map((each, i) => (
          <ConsoleProvider key={i} value={each}>
            <strong>{'AB'[i]}: {title(each.store)}</strong> <Badge />
          </ConsoleProvider>
        ))}
      </header>
      {consoles.map((each, i) => <ConsoleProvider key={i} value={each}><Problems /></ConsoleProvider>)}
      <Result consoles={consoles} />
      {consoles.map((each, i) => (
        <section key={i} className="jp-agentlab-run-compare-picture" aria-label={title(each.store)}>
          <strong>{title(each.store)}</strong>
          <ConsoleProvider value={each}><TimelineView /></ConsoleProvider>
        </section>
      ))}
    </div>
  );
}

/** Half of a run is no result: nothing is compared before both are here as far as they go. */
function Result({ consoles }: { consoles: Consoles }): JSX.Element {
  const { trans } = consoles[0];
  const stages = consoles.map(({ store }) => store.stage.name);
  if (consoles.some(({ store }) => !store.complete)) {
    const comes = stages.every(stage => stage !== 'failed' && stage !== 'lost' && stage !== 'gone');
    return (
      <p className="jp-agentlab-run-empty" role="status" aria-busy={comes}>
        {comes ? trans.__('Reading both logs; they are compared when all of them is here.') : trans.__('There is nothing to compare: not all of both runs is here.')}
      </p>
    );
  }
  const [a, b] = consoles.map(({ store: { log } }) => summary(log)) as [ISummary, ISummary];
  return (
    <>
      {stages.some(stage => stage !== 'ended') && (
        <p className="jp-agentlab-run-empty">{trans.__('Not both runs have ended: this is what they have come to so far.')}</p>
      )}
      <Sums consoles={consoles} a={a} b={b} />
      <table className="jp-agentlab-run-table">
        <caption>{trans.__('Files that either of them wrote')}</caption>
        <thead><tr><th scope="col">{trans.__('file')}</th><th scope="col">{trans.__('at the end')}</th></tr></thead>
        <tbody>
          {compareFiles(a, b).slice(0, 2000).map(({ path, verdict }) => (
            <tr key={path} className={verdict === 'same' ? '' : 'jp-mod-current'}><td>{line(path, 200)}</td><td>{verdict === 'same' ? '=' : '≠'} {verdictWord(trans, verdict)}</td></tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

function Sums({ consoles, a, b }: { consoles: Consoles; a: ISummary; b: ISummary }): JSX.Element {
  const { trans } = consoles[0];
  const lines: [string, (s: ISummary) => number | null, (n: number) => string][] = [
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
    <table className="jp-agentlab-run-table">
      <caption>{trans.__('What the two runs came to')}</caption>
      <thead><tr><th scope="col" />{consoles.map(({ store }, i) => <th key={i} scope="col" className="jp-agentlab-run-number">{'AB'[i]}: {title(store)}</th>)}<th scope="col" className="jp-agentlab-run-number">B − A</th></tr></thead>
      <tbody>
        {lines.map(([word, of, say]) => (
          <tr key={word}>
            <th scope="row">{word}</th>
            {[of(a), of(b)].map((n, i) => <td key={i} className="jp-agentlab-run-number">{n === null ? trans.__('not told') : say(n)}</td>)}
            <td className="jp-agentlab-run-number">{difference(of(a), of(b), say)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** How much more B has; nothing is said where one of them does not tell. */
function difference(a: number | null, b: number | null, say: (n: number) => string): string {
  return a === null || b === null ? '' : a === b ? '=' : `${b > a ? '+' : '−'}${say(Math.abs(b - a))}`;
}

const plainNumber = (n: number): string => n.toLocaleString();

const title = (store: RunStore): string => `${line(store.name || store.run, 40)} (${line(store.run, 40)})`;
