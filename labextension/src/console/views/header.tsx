import * as React from 'react';

import { durationText } from '../../timeline/viewport';
import { line } from '../../timeline/visible';
import { stateWord } from '../words';
import { useConsole, useStore } from './context';

/** Which run this is, how it is, and what can be done with all of it. */
export function Header(): JSX.Element {
  const { trans, insertCode } = useConsole();
  const store = useStore();
  const { log, stage } = store;
  const agents = log.actors.size - 1;
  return (
    <header className="jp-agentlab-console-header">
      <strong className="jp-agentlab-console-title">{line(store.name || store.run, 60)}</strong>
      <code className="jp-agentlab-run-faint">{store.run}</code>
      <Badge />
      <span className="jp-agentlab-run-faint">
        {trans._n('%1 event', '%1 events', log.length)} · {trans._n('%1 actor', '%1 actors', Math.max(agents, 0))} · <Elapsed />
      </span>
      <span className="jp-agentlab-run-grow" />
      <button className="jp-agentlab-run-button" onClick={insertCode} disabled={stage.name === 'failed'}
        title={trans.__('Put the DataFrame expression of what is shown into the notebook that was used last')}>
        {trans.__('Insert as code')}
      </button>
    </header>
  );
}

/** How long it has been going, or went. */
function Elapsed(): JSX.Element {
  const { store } = useConsole();
  const [, again] = React.useReducer((n: number) => n + 1, 0);
  React.useEffect(() => {
    const beat = setInterval(() => document.hidden || again(), 1000);
    return () => clearInterval(beat);
  }, []);
  return <>{durationText(store.elapsed)}</>;
}

/** How far the run has come to this browser, in a word. */
export function Badge(): JSX.Element {
  const { trans } = useConsole();
  const { stage, log } = useStore();
  const last = log.events[log.length - 1];
  const ended = stage.name === 'ended' && last?.body.type === 'run.end' ? (last.status ?? '') : '';
  const words: Record<typeof stage.name, [string, string]> = {
    loading: ['…', stage.name === 'loading' && stage.total ? trans.__('loading %1 %', Math.round((100 * log.length) / stage.total)) : trans.__('loading')],
    live: ['●', trans.__('live')],
    polling: ['◔', trans.__('every few seconds')],
    ended: [ended === 'failed' ? '✗' : ended === 'cancelled' ? '⊘' : '✓', ended ? stateWord(trans, ended) : trans.__('ended')],
    lost: ['⚡', trans.__('connection lost')],
    gone: ['✗', trans.__('deleted')],
    failed: ['✗', trans.__('not here')]
  };
  const [icon, word] = words[stage.name];
  return (
    <span className={`jp-agentlab-run-badge jp-mod-${['failed', 'cancelled'].includes(ended) ? ended : stage.name}`} role="status">
      <span aria-hidden="true">{icon}</span> {word}
    </span>
  );
}

/** What is wrong, and what to do: never a blank panel. */
export function Problems(): JSX.Element | null {
  const { trans } = useConsole();
  const store = useStore();
  const { stage, log } = store;
  const said: { message: string; next: string; again?: boolean }[] = [];
  if (stage.name === 'failed') {
    said.push({
      message: trans.__('The run %1 cannot be shown. %2', store.run, stage.problem.message),
      next: stage.problem.next || trans.__('It may have been deleted, or be in the log of another home. The section Runs of the sidebar lists those that there are.'),
      again: true
    });
  } else if (stage.name === 'lost') {
    said.push({
      message: `${stage.problem.message} ${trans.__('What is shown ends with event %1.', log.lastSeq)}`,
      next: stage.problem.next || trans.__('It is tried again by itself.'), again: true
    });
  } else if (stage.name === 'gone') {
    said.push({
      message: trans.__('The run %1 is not in the log any more: it was deleted. %2', store.run, stage.problem.message),
      next: trans.__('What had come to this browser stays until this is closed; contents of files may be gone.'), again: true
    });
  }
  if (store.momentProblem) {
    said.push({ message: trans.__('The rows at this moment cannot be had: %1', store.momentProblem.message), next: store.momentProblem.next });
  }
  if (log.gaps.length) {
    const gaps = log.gaps.slice(0, 3).map(([a, b]) => (a === b ? `${a}` : `${a}–${b}`)).join(', ');
    said.push({ message: trans.__('Events are missing: %1.', gaps), next: trans.__('The log does not have them either; what follows is shown as it is.') });
  }
  const calm = stage.name === 'polling' && !said.length ? stage.problem : null;
  if (calm) {
    return (
      <div className="jp-agentlab-run-problems" role="status">
        <p>{line(calm.message, 400)} <span className="jp-agentlab-run-faint">{line(calm.next, 400)}</span></p>
      </div>
    );
  }
  return said.length ? (
    <div className="jp-agentlab-run-problems" role="alert">
      {said.map((each, i) => (
        <p key={i}>
          <span aria-hidden="true">⚠ </span>{line(each.message, 400)} <span className="jp-agentlab-run-faint">{line(each.next, 400)}</span>{' '}
          {each.again && <button className="jp-agentlab-run-button" onClick={() => store.retry()}>{trans.__('Try again')}</button>}
        </p>
      ))}
    </div>
  ) : null;
}
