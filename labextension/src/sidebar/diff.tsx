import React from 'react';

import { block } from '../rows/text';
import { useAsking, useHost } from '../ui/host';
import { Problem } from '../ui/parts';

const LINES = 2000;

/** A unified diff out of the store, fetched when it is opened. What is added and removed says so by sign, and by colour. */
export function Diff(props: { hash: string }): JSX.Element {
  const { agentlab, trans } = useHost();
  const { busy, problem, ask } = useAsking();
  const [text, setText] = React.useState<string | null>(null);
  const load = (event: React.SyntheticEvent<HTMLDetailsElement>): void => {
    if (event.currentTarget.open && text === null && !busy) {
      void ask(async () => setText(await agentlab.gateway.text(`api/blobs/${props.hash}`, 400_000)));
    }
  };
  return (
    <details onToggle={load}>
      <summary>{trans.__('Difference')}</summary>
      {busy && <div className="jp-agentlab-faint">{trans.__('Fetching…')}</div>}
      <Problem problem={problem} />
      {text !== null && <DiffText text={text} />}
    </details>
  );
}

/** The lines of a unified diff. */
export function DiffText(props: { text: string }): JSX.Element {
  const { trans } = useHost();
  const lines = React.useMemo(() => block(props.text).split('\n'), [props.text]);
  return (
    <pre className="jp-agentlab-diff" tabIndex={0} aria-label={trans.__('Difference')}>
      {lines.slice(0, LINES).map((one, at) => (
        <span key={at} className={lineClass(one)}>
          {one}
          {'\n'}
        </span>
      ))}
      {lines.length > LINES && trans._n('… %1 more line', '… %1 more lines', lines.length - LINES)}
    </pre>
  );
}

function lineClass(one: string): string {
  if (/^(\+\+\+|---|diff |index )/.test(one)) {
    return 'jp-agentlab-faint';
  }
  return one.startsWith('+') ? 'jp-agentlab-added' : one.startsWith('-') ? 'jp-agentlab-removed' : one.startsWith('@@') ? 'jp-agentlab-hunk' : '';
}
