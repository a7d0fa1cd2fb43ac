import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import type { ISpawn } from '../model/actions';
import type { IProblem } from '../model/wire';
import { line } from '../rows/text';
import type { IKindView } from '../rows/runtimes';
import { Glyph } from '../ui/glyphs';

/** What is written in the form. */
export interface IDraft {
  kind: string;
  name: string;
  task: string;
  run: string;
  workdir: string;
  claims: string;
  model: string;
  boundary: string;
  priority: string;
}

/** The draft as it is sent: what is empty is left out. */
export function spawnOf(draft: IDraft): ISpawn {
  const claims = draft.claims.split(/[\s,]+/).filter(Boolean);
  const spawn: Record<string, unknown> = { kind: draft.kind, task: draft.task, workdir: draft.workdir.trim() };
  for (const name of ['name', 'run', 'model'] as const) {
    if (draft[name].trim()) {
      spawn[name] = draft[name].trim();
    }
  }
  if (claims.length) {
    spawn.claims = claims;
  }
  if (draft.boundary !== 'tools') {
    spawn.boundary = draft.boundary;
  }
  if (draft.priority !== 'normal') {
    spawn.priority = draft.priority;
  }
  return spawn as unknown as ISpawn;
}

/** What is missing before anything is asked; '' where nothing is. */
export function missing(draft: IDraft, trans: TranslationBundle): string {
  if (!draft.kind) {
    return trans.__('Choose a kind of agent.');
  }
  if (!draft.task.trim()) {
    return trans.__('Say what the agent is to do.');
  }
  return draft.workdir.trim() ? '' : trans.__('Name the folder that it works in.');
}

/** The form. */
export function SpawnForm(props: {
  draft: IDraft;
  change: (draft: IDraft) => void;
  kinds: readonly IKindView[];
  runs: readonly string[];
  problem: IProblem | null;
  busy: boolean;
  trans: TranslationBundle;
}): JSX.Element {
  const { draft, kinds, runs, problem, trans } = props;
  const id = React.useId();
  const set = (name: keyof IDraft) => (event: React.ChangeEvent<HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement>) =>
    props.change({ ...draft, [name]: event.target.value });
  const field = (name: keyof IDraft, label: string, hint: string, more: React.InputHTMLAttributes<HTMLInputElement> = {}): JSX.Element => (
    <div className="jp-agentlab-field">
      <label htmlFor={`${id}-${name}`}>{label}</label>
      <input id={`${id}-${name}`} className="jp-agentlab-input" value={draft[name]} placeholder={hint} onChange={set(name)} disabled={props.busy} spellCheck={false} autoComplete="off" {...more} />
    </div>
  );
  const select = (name: keyof IDraft, label: string, options: readonly (readonly [string, string])[]): JSX.Element => (
    <div className="jp-agentlab-field">
      <label htmlFor={`${id}-${name}`}>{label}</label>
      <select id={`${id}-${name}`} className="jp-agentlab-input" value={draft[name]} onChange={set(name)} disabled={props.busy}>
        {options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
  const hints: Record<string, string> = {
    script: trans.__('- read: notes.md\n- edit: [notes.md, "old", "new"]'),
    python: trans.__('text = tools.read("notes.md")')
  };
  return (
    <div className="jp-agentlab-form" aria-busy={props.busy}>
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
        {select('kind', trans.__('Kind'), kinds.map(one => [one.kind, one.note ? `${one.kind} (${one.note})` : one.kind]))}
        {field('name', trans.__('Name'), trans.__('chosen for you'))}
      </div>
      <div className="jp-agentlab-field">
        <label htmlFor={`${id}-task`}>{trans.__('Task')}</label>
        <textarea
          id={`${id}-task`}
          className="jp-agentlab-input"
          rows={5}
          value={draft.task}
          placeholder={hints[draft.kind] ?? trans.__('Add type hints to src/util.py and run the tests')}
          onChange={set('task')}
          disabled={props.busy}
        />
      </div>
      {field('workdir', trans.__('Folder'), trans.__('an absolute path'))}
      <div className="jp-agentlab-fields">
        {field('run', trans.__('Run'), trans.__('a new one'), { list: `${id}-runs` })}
        <datalist id={`${id}-runs`}>
          {runs.map(run => (
            <option key={run} value={run} />
          ))}
        </datalist>
        {field('claims', trans.__('Claims'), 'file:src/a.py dir:docs proc:test')}
      </div>
      <details>
        <summary>{trans.__('More')}</summary>
        <div className="jp-agentlab-fields">
          {field('model', trans.__('Model'), trans.__("the agent's own choice"))}
          {select('boundary', trans.__('Boundary'), [
            ['tools', trans.__('tools: every write under a lock')],
            ['native', trans.__("native: the vendor's tools, gated (weaker)")]
          ])}
          {select('priority', trans.__('Priority'), [
            ['normal', trans.__('normal')],
            ['operator', trans.__('operator: before others')],
            ['background', trans.__('background: after others')]
          ])}
        </div>
      </details>
    </div>
  );
}
