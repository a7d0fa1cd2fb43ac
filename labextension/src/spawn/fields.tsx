import React from 'react';

import type { IDraft } from './draft';

/** What a field of the form needs. */
export interface IField {
  readonly draft: IDraft;
  readonly change: (draft: IDraft) => void;
  readonly busy: boolean;
  readonly id: string;
}

type Texts = { [name in keyof IDraft]: IDraft[name] extends string ? name : never }[keyof IDraft];
type Switches = Exclude<keyof IDraft, Texts>;

/** Makers of fields with their labels, over one draft. */
export function fields({ draft, change, busy, id }: IField) {
  const common = (name: keyof IDraft) => ({ id: `${id}-${name}`, className: 'jp-agentlab-input', disabled: busy });
  const set = (name: Texts) => (event: React.ChangeEvent<HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement>) =>
    change({ ...draft, [name]: event.target.value });
  const labelled = (name: keyof IDraft, label: string, what: JSX.Element): JSX.Element => (
    <div className="jp-agentlab-field">
      <label htmlFor={`${id}-${name}`}>{label}</label>
      {what}
    </div>
  );
  return {
    text: (name: Texts, label: string, hint: string, more: React.InputHTMLAttributes<HTMLInputElement> = {}): JSX.Element =>
      labelled(name, label, <input {...common(name)} value={draft[name]} placeholder={hint} onChange={set(name)} spellCheck={false} autoComplete="off" {...more} />),
    area: (name: Texts, label: string, hint: string, rows: number): JSX.Element =>
      labelled(name, label, <textarea {...common(name)} rows={rows} value={draft[name]} placeholder={hint} onChange={set(name)} />),
    select: (name: Texts, label: string, options: readonly (readonly [string, string])[], onChange = set(name)): JSX.Element =>
      labelled(
        name,
        label,
        <select {...common(name)} value={draft[name]} onChange={onChange}>
          {options.map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
      ),
    check: (name: Switches, label: string): JSX.Element => (
      <label className="jp-agentlab-check">
        <input type="checkbox" checked={draft[name]} disabled={busy} onChange={event => change({ ...draft, [name]: event.target.checked })} /> {label}
      </label>
    )
  };
}
