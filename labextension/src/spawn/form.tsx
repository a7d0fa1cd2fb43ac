import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import type { IProblem } from '../model/wire';
import type { IKindView } from '../rows/runtimes';
import { line } from '../rows/text';
import { Glyph } from '../ui/glyphs';
import { Advanced } from './advanced';
import { commanded, inRun, ofKind, type IDraft, type IOpenRun } from './draft';
import { fields } from './fields';

/** The form. */
export function SpawnForm(props: {
  draft: IDraft;
  change: (draft: IDraft) => void;
  kinds: readonly IKindView[];
  runs: readonly IOpenRun[];
  problem: IProblem | null;
  busy: boolean;
  trans: TranslationBundle;
}): JSX.Element {
  const { draft, change, busy, kinds, runs, problem, trans } = props;
  const id = React.useId();
  const { text, area, select } = fields({ draft, change, busy, id });
  const hints: Record<string, string> = {
    script: trans.__('- read: notes.md\n- edit: [notes.md, "old", "new"]'),
    python: trans.__('text = tools.read("notes.md")')
  };
  return (
    <div className="jp-agentlab-form" aria-busy={busy}>
      {problem && (
        <div className="jp-agentlab-problem" role="alert">
          <Glyph name="warning" />
          <div>
            <div>{line(problem.message, 1200)}</div>
            {problem.next && <div className="jp-agentlab-faint">{line(problem.next, 600)}</div>}
          </div>
        </div>
      )}
      <div className="jp-agentlab-fields">
        {select('kind', trans.__('Kind'), kinds.map(one => [one.kind, one.note ? `${one.kind} (${one.note})` : one.kind]), event =>
          change(ofKind(draft, event.target.value))
        )}
        {text('name', trans.__('Name'), trans.__('chosen for you'))}
      </div>
      {commanded(draft.kind) &&
        text('command', trans.__('Command'), draft.kind === 'acp' ? 'my-agent --acp' : 'my-agent --interactive')}
      {area('task', trans.__('Task'), hints[draft.kind] ?? trans.__('Add type hints to src/util.py and run the tests'), 5)}
      {text('workdir', trans.__('Folder'), trans.__('an absolute path'))}
      <div className="jp-agentlab-fields">
        {text('run', trans.__('Run'), trans.__('a new one'), { list: `${id}-runs`, onChange: event => change(inRun(draft, event.target.value, runs)) })}
        <datalist id={`${id}-runs`}>
          {runs.map(run => (
            <option key={run.name} value={run.name} />
          ))}
        </datalist>
        {text('claims', trans.__('Claims'), 'file:src/a.py dir:docs proc:test')}
      </div>
      <Advanced draft={draft} change={change} busy={busy} id={id} trans={trans} />
    </div>
  );
}
