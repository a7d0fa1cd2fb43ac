import React from 'react';

import { Actions, type IAnswer } from '../model/actions';
import { problemIn } from '../model/problems';
import type { IProblem } from '../model/wire';
import { approvals, type IApprovalView } from '../rows/approvals';
import { Glyph, StateGlyph } from '../ui/glyphs';
import { fresh, useAsking, useHost, useView } from '../ui/host';
import { Age, Empty, Left, Problem } from '../ui/parts';
import { modeWord } from '../ui/words';
import { Diff } from './diff';

/** An answer that was not taken. It outlives its question: who was slower than somebody else is told so. */
interface IRefusal {
  readonly agent: string;
  readonly problem: IProblem;
}

/** What agents ask, and what they were told. */
export function Approvals(): JSX.Element {
  const { trans } = useHost();
  const view = useView();
  const { open, answered } = React.useMemo(() => approvals(view.tables), [view.tables]);
  const [refusals, setRefusals] = React.useState<ReadonlyMap<string, IRefusal>>(new Map());
  const refuse = React.useCallback((approval: IApprovalView, problem: IProblem | null) => {
    setRefusals(known => {
      const next = new Map(known);
      problem ? next.set(approval.key, { agent: approval.agent, problem }) : next.delete(approval.key);
      return next;
    });
  }, []);
  const late = [...refusals].filter(([key]) => !open.some(one => one.key === key));
  return (
    <div className="jp-agentlab-approvals">
      {late.map(([key, { agent, problem }]) => (
        <Problem
          key={key}
          problem={{ ...problem, message: trans.__('Your answer to %1 was not taken. %2', agent, problem.message) }}
          onClose={() => setRefusals(known => new Map([...known].filter(([other]) => other !== key)))}
        />
      ))}
      {open.map(one => (
        <Approval key={one.key} approval={one} able={fresh(view)} problem={refusals.get(one.key)?.problem ?? null} refuse={refuse} />
      ))}
      {!open.length && (
        <Empty title={trans.__('Nothing to answer.')}>
          {trans.__('When an agent asks for permission, has a question or must log in, it waits here for you.')}
        </Empty>
      )}
      {answered.length > 0 && (
        <details className="jp-agentlab-past">
          <summary>{trans._n('%1 answered', '%1 answered', answered.length)}</summary>
          <ul>
            {answered.map(one => (
              <li key={one.key}>
                <StateGlyph status={one.status} />
                <span>
                  <span className="jp-agentlab-strong">{one.agent}</span> {one.question.split('\n')[0]!.slice(0, 120) || one.tool}
                  <span className="jp-agentlab-faint">
                    {' · '}
                    {[outcome(trans, one), one.by && trans.__('by %1', one.by), one.rule, one.answer].filter(Boolean).join(' · ')}
                  </span>
                </span>
              </li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}

function outcome(trans: ReturnType<typeof useHost>['trans'], one: IApprovalView): string {
  switch (one.status) {
    case 'approved':
      return one.scope === 'always' ? trans.__('always allowed') : one.scope === 'session' ? trans.__('allowed for the session') : trans.__('allowed once');
    case 'denied':
      return trans.__('denied');
    case 'answered':
      return trans.__('answered');
    case 'expired':
      return trans.__('nobody answered in time');
    case 'cancelled':
      return trans.__('not needed any more');
    default:
      return one.status;
  }
}

const Approval = React.memo(function Approval(props: {
  approval: IApprovalView;
  able: boolean;
  problem: IProblem | null;
  refuse: (approval: IApprovalView, problem: IProblem | null) => void;
}): JSX.Element {
  const { agentlab, trans } = useHost();
  const { approval, problem, refuse } = props;
  const { busy, ask } = useAsking();
  const title = React.useId();
  const answer = (given: IAnswer): void => {
    refuse(approval, null);
    void ask(async () => {
      try {
        await new Actions(agentlab.gateway).answer(approval.key, given);
      } catch (error) {
        refuse(approval, problemIn(error));
      }
    });
  };
  return (
    <article className="jp-agentlab-approval" aria-labelledby={title} data-row={approval.key}>
      <header id={title}>
        <StateGlyph status="blocked" />
        <span className="jp-agentlab-strong">{approval.agent}</span>
        <span className="jp-agentlab-faint">{heading(trans, approval)}</span>
        <span className="jp-agentlab-numbers">
          <Age from={approval.asked} label={trans.__('Asked for')} />
        </span>
      </header>
      <div className="jp-agentlab-question">{approval.question}</div>
      {approval.kind === 'permission' && (approval.risk || approval.risks.length > 0) && (
        <div className="jp-agentlab-risks">
          {approval.risk && <Risk risk={approval.risk} />}
          <ul>
            {approval.risks.map(risk => (
              <li key={risk}>{risk}</li>
            ))}
          </ul>
        </div>
      )}
      {approval.units.length > 0 && (
        <div className="jp-agentlab-faint">
          {trans.__('On')}{' '}
          {approval.units.map(unit => (approval.locks.length || !isUnit(unit) ? unit : trans.__('%1 (free)', unit))).join(', ')}
        </div>
      )}
      {approval.locks.map(lock => (
        <div key={`${lock.unit} ${lock.owner}`} className="jp-agentlab-faint jp-agentlab-line">
          <Glyph name={lock.waits ? 'waiting' : 'lock'} />
          {lock.owner
            ? lock.waits
              ? trans.__('%1 waits for %2', lock.owner, lock.unit)
              : trans.__('%1 is held by %2 (%3)', lock.unit, lock.owner, modeWord(trans, lock.mode))
            : trans.__('%1 is free', lock.unit)}
        </div>
      ))}
      {approval.input && (
        <details>
          <summary>{trans.__('Input')}</summary>
          <pre tabIndex={0}>{approval.input}</pre>
        </details>
      )}
      {approval.diff && <Diff hash={approval.diff} />}
      {approval.expires > 0 && (
        <div className="jp-agentlab-faint">
          {trans.__('Counts as denied in')} <Left to={approval.expires} />
        </div>
      )}
      <Problem problem={problem} onClose={() => refuse(approval, null)} />
      {approval.kind === 'permission' ? (
        <Permission busy={busy || !props.able} answer={answer} name={approval.agent} />
      ) : (
        <Question approval={approval} busy={busy || !props.able} answer={answer} />
      )}
    </article>
  );
});

/** What may be locked, and is not only the name of something. */
function isUnit(text: string): boolean {
  return /^(file|dir|notebook|proc|port|gpu):/.test(text);
}

function heading(trans: ReturnType<typeof useHost>['trans'], approval: IApprovalView): string {
  if (approval.kind === 'login') {
    return trans.__('must log in');
  }
  return approval.kind === 'question' ? trans.__('asks') : approval.tool ? trans.__('wants %1', approval.tool) : trans.__('wants permission');
}

function Risk(props: { risk: string }): JSX.Element {
  const { trans } = useHost();
  const word = { low: trans.__('low risk'), medium: trans.__('medium risk'), high: trans.__('high risk') }[props.risk] ?? props.risk;
  return (
    <span className={`jp-agentlab-tag jp-agentlab-risk-${props.risk}`}>
      {props.risk !== 'low' && <Glyph name="warning" />}
      {word}
    </span>
  );
}

interface IForm {
  busy: boolean;
  answer: (given: IAnswer) => void;
}

function Permission(props: IForm & { name: string }): JSX.Element {
  const { trans } = useHost();
  const [denying, setDenying] = React.useState(false);
  const [reason, setReason] = React.useState('');
  const allow = (scope: IAnswer['scope'], label: string, title: string, main = false): JSX.Element => (
    <button
      type="button"
      className={`jp-agentlab-button ${main ? 'jp-mod-accept' : ''}`}
      disabled={props.busy}
      title={title}
      onClick={() => props.answer({ status: 'approved', scope })}
    >
      {label}
    </button>
  );
  if (denying) {
    return (
      <form
        className="jp-agentlab-buttons"
        onSubmit={event => {
          event.preventDefault();
          props.answer({ status: 'denied', answer: reason });
        }}
      >
        <input
          autoFocus
          className="jp-agentlab-input"
          value={reason}
          aria-label={trans.__('Reason')}
          placeholder={trans.__('Why? %1 reads it (optional)', props.name)}
          onChange={event => setReason(event.target.value)}
          onKeyDown={event => event.key === 'Escape' && setDenying(false)}
        />
        <button type="submit" className="jp-agentlab-button jp-mod-warn" disabled={props.busy}>
          {trans.__('Deny')}
        </button>
        <button type="button" className="jp-agentlab-button" onClick={() => setDenying(false)}>
          {trans.__('Back')}
        </button>
      </form>
    );
  }
  return (
    <div className="jp-agentlab-buttons" role="group" aria-label={trans.__('Answer')}>
      {allow('once', trans.__('Allow once'), trans.__('Only this time'), true)}
      {allow('session', trans.__('Session'), trans.__('Also whenever this agent asks the same again'))}
      {allow('always', trans.__('Always'), trans.__('Whichever agent asks it in this workspace'))}
      <button type="button" className="jp-agentlab-button" disabled={props.busy} onClick={() => setDenying(true)}>
        {trans.__('Deny…')}
      </button>
    </div>
  );
}

function Question(props: IForm & { approval: IApprovalView }): JSX.Element {
  const { trans } = useHost();
  const [text, setText] = React.useState('');
  const { approval } = props;
  return (
    <>
      {approval.options.length > 0 && (
        <div className="jp-agentlab-buttons" role="group" aria-label={trans.__('Options')}>
          {approval.options.map(option => (
            <button
              key={option.value}
              type="button"
              className="jp-agentlab-button"
              disabled={props.busy}
              onClick={() => props.answer({ status: 'answered', answer: option.value })}
            >
              {option.text}
            </button>
          ))}
        </div>
      )}
      <form
        className="jp-agentlab-buttons"
        onSubmit={event => {
          event.preventDefault();
          props.answer({ status: 'answered', answer: text });
        }}
      >
        <input
          className="jp-agentlab-input"
          value={text}
          aria-label={trans.__('Answer to %1', approval.agent)}
          placeholder={approval.kind === 'login' ? trans.__('Done (no password: answers are in the log)') : trans.__('Answer')}
          onChange={event => setText(event.target.value)}
        />
        <button type="submit" className="jp-agentlab-button jp-mod-accept" disabled={props.busy || !text.trim()}>
          {trans.__('Answer')}
        </button>
        <button
          type="button"
          className="jp-agentlab-button"
          disabled={props.busy}
          title={trans.__('The agent goes on without an answer')}
          onClick={() => props.answer({ status: 'denied' })}
        >
          {trans.__('Refuse')}
        </button>
      </form>
    </>
  );
}
