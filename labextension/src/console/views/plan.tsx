import * as React from 'react';

import { line } from '../../timeline/visible';
import { draw, type IDrawing } from '../graph';
import { planned, type ITouch, type Match } from '../plan';
import { useConsole, useStore } from './context';

/** What agents had planned or claimed, against what they had written by the cursor. */
export function PlanView(): JSX.Element {
  const { trans } = useConsole();
  const store = useStore();
  const { log, count } = store;
  // Only plans, claims and writes change it, so only they lay it out anew.
  const key = [log.plans, log.claims, log.files].map(list => log.until(list, count).length).join(':');
  const { plans, touches } = React.useMemo(() => planned(log, count), [log, key]);
  const drawing = React.useMemo(() => draw(touches), [touches]);
  const words: Record<Match, string> = {
    'as planned': trans.__('written as planned'), 'not yet': trans.__('planned, not written'), 'not planned': trans.__('written without a plan')
  };
  if (!touches.length && !plans.length) {
    return <p className="jp-agentlab-run-empty">{trans.__('No agent had planned, claimed or written anything at this moment.')}</p>;
  }
  return (
    <div className="jp-agentlab-run-split">
      <div className="jp-agentlab-run-main jp-agentlab-run-plan">
        <div className="jp-agentlab-run-plan-legend jp-agentlab-run-faint" aria-hidden="true">
          {(Object.keys(words) as Match[]).map(match => (
            <span key={match}><svg width="26" height="8"><line x1="0" y1="4" x2="26" y2="4" className={lineClass(match)} /></svg> {words[match]}</span>
          ))}
        </div>
        <Picture drawing={drawing} words={words} />
        {drawing.left > 0 && <p className="jp-agentlab-run-faint">{trans.__('%1 older ones are left out of the picture; the table has them.', drawing.left)}</p>}
      </div>
      <div className="jp-agentlab-run-side jp-mod-wide">
        {plans.map(plan => (
          <section key={plan.agent} className="jp-agentlab-run-steps">
            <button className="jp-agentlab-run-link" onClick={() => store.select(plan.seq)}>{trans.__('Plan of %1', line(plan.agent, 40))}</button>
            <ol>{plan.steps.map((each, i) => <li key={i}>{line(each, 200)}</li>)}</ol>
          </section>
        ))}
        <table className="jp-agentlab-run-table">
          <caption>{trans.__('Planned against written')}</caption>
          <thead><tr>{[trans.__('agent'), trans.__('unit'), trans.__('how')].map(word => <th key={word} scope="col">{word}</th>)}</tr></thead>
          <tbody>
            {touches.slice(0, 500).map(touch => (
              <tr key={`${touch.agent} ${touch.unit}`}>
                <td className="jp-agentlab-run-long">{line(touch.agent, 40)}</td>
                <td className="jp-agentlab-run-long"><button className="jp-agentlab-run-link" onClick={() => store.select(touch.seq, true)}>{line(touch.unit, 80)}</button></td>
                <td>{words[touch.match]}{touch.writes > 1 ? ` (${touch.writes}×)` : ''}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

const lineClass = (match: Match) => `jp-agentlab-run-line jp-mod-${match.replace(/ /g, '-')}`;

function Picture({ drawing, words }: { drawing: IDrawing; words: Readonly<Record<Match, string>> }): JSX.Element {
  const store = useStore();
  const { width, height, nodes, edges } = drawing;
  const choose = (touch: ITouch) => store.select(touch.seq, true);
  return (
    <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
      {edges.map(({ touch, points }) => (
        <path
          key={`${touch.agent} ${touch.unit}`} className={`${lineClass(touch.match)}${touch.seq === store.selected ? ' jp-mod-current' : ''}`}
          d={curve(points)} onClick={() => choose(touch)}
        >
          <title>{`${line(touch.agent, 40)} · ${line(touch.unit, 80)} · ${words[touch.match]}`}</title>
        </path>
      ))}
      {nodes.map(node => (
        <g key={node.id} className={`jp-agentlab-run-node jp-mod-${node.kind}`} transform={`translate(${node.x - node.width / 2},${node.y - node.height / 2})`}>
          <rect width={node.width} height={node.height} rx={node.kind === 'agent' ? 13 : 3} />
          <text x={node.width / 2} y={node.height / 2 + 4} textAnchor="middle">{line(node.label, Math.floor((node.width - 16) / 6.6))}</text>
        </g>
      ))}
    </svg>
  );
}

function curve(points: readonly { readonly x: number; readonly y: number }[]): string {
  const [first, last] = [points[0]!, points[points.length - 1]!];
  const middle = (first.x + last.x) / 2;
  return `M${first.x},${first.y}C${middle},${first.y} ${middle},${last.y} ${last.x},${last.y}`;
}
