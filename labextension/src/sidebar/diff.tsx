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
  const lines = React.useMemo(() => diffLines(block(props.text)), [props.text]);
  return (
    <pre className="jp-agentlab-diff" tabIndex={0} aria-label={trans.__('Difference')}>
      {lines.slice(0, LINES).map((one, at) => (
        <span key={at} className={CLASSES[one.kind]}>
          {one.text}
          {'\n'}
        </span>
      ))}
      {lines.length > LINES && trans._n('… %1 more line', '… %1 more lines', lines.length - LINES)}
    </pre>
  );
}

const CLASSES = { head: 'jp-agentlab-faint', hunk: 'jp-agentlab-hunk', added: 'jp-agentlab-added', removed: 'jp-agentlab-removed', same: '' } as const;

/** The lines, and what each is. Within a hunk `--- x` is no head: it is `-- x` that was removed. */
export function diffLines(text: string): { text: string; kind: keyof typeof CLASSES }[] {
  let [olds, news] = [0, 0]; // lines that are left of the hunk
  return text.split('\n').map(line => {
    const hunk = /^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@/.exec(line);
    if (hunk) {
      [olds, news] = [Number(hunk[1] ?? 1), Number(hunk[2] ?? 1)];
      return { text: line, kind: 'hunk' };
    }
    const within = olds > 0 || news > 0;
    if (!within && /^(\+\+\+|---|diff |index )/.test(line)) {
      return { text: line, kind: 'head' };
    }
    const [added, removed] = [line.startsWith('+'), line.startsWith('-')];
    if (within && !line.startsWith('\\')) {
      olds -= added ? 0 : 1;
      news -= removed ? 0 : 1;
    }
    return { text: line, kind: added ? 'added' : removed ? 'removed' : line.startsWith('@@') ? 'hunk' : 'same' };
  });
}
