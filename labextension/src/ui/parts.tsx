import React from 'react';

import type { IProblem } from '../model/wire';
import { line, shortSpan, span } from '../rows/text';
import { Glyph } from './glyphs';
import { timeOf, useHost } from './host';

/** A button with a picture; its label is its tooltip, and read aloud. */
export function IconButton(props: {
  glyph: string;
  label: string;
  onClick: (event: React.MouseEvent) => void;
  disabled?: boolean;
  tabIndex?: number;
  className?: string;
}): JSX.Element {
  return (
    <button
      type="button"
      className={`jp-agentlab-iconButton ${props.className ?? ''}`}
      title={props.label}
      aria-label={props.label}
      disabled={props.disabled}
      tabIndex={props.tabIndex}
      onClick={event => {
        event.stopPropagation();
        props.onClick(event);
      }}
    >
      <Glyph name={props.glyph} />
    </button>
  );
}

const listeners = new Set<() => void>();
let ticking: ReturnType<typeof setInterval> | undefined;

function onSecond(listener: () => void): () => void {
  listeners.add(listener);
  ticking ??= setInterval(() => document.hidden || listeners.forEach(one => one()), 1000);
  return () => {
    listeners.delete(listener);
    if (!listeners.size) {
      clearInterval(ticking);
      ticking = undefined;
    }
  };
}

/** How long it is since `from` (until `to`), ns of the plane. It goes on by itself. */
export function Age(props: { from: number; to?: number; label?: string }): JSX.Element | null {
  const host = useHost();
  const [, again] = React.useReducer((n: number) => n + 1, 0);
  const over = Boolean(props.to);
  React.useEffect(() => (over ? undefined : onSecond(again)), [over]);
  if (!props.from) {
    return null;
  }
  const seconds = ((props.to || timeOf(host)) - props.from) / 1e9;
  const whole = span(seconds);
  return (
    <span className="jp-agentlab-age" title={props.label ? `${props.label}: ${whole}` : whole}>
      {shortSpan(seconds)}
    </span>
  );
}

/** How long it is until `to`, ns of the plane. */
export function Left(props: { to: number }): JSX.Element {
  const host = useHost();
  const [, again] = React.useReducer((n: number) => n + 1, 0);
  React.useEffect(() => onSecond(again), []);
  return <>{shortSpan((props.to - timeOf(host)) / 1e9)}</>;
}

/** A text in which commands stand between backquotes, as the plane and the CLI write them. */
export function Words(props: { text: string }): JSX.Element {
  const parts = props.text.split('`');
  return <>{parts.length % 2 ? parts.map((part, at) => (at % 2 ? <code key={at}>{part}</code> : part)) : props.text}</>;
}

/** What is wrong, and what to do. */
export function Problem(props: { problem: IProblem | null; onClose?: () => void }): JSX.Element | null {
  const { trans } = useHost();
  const { problem } = props;
  if (!problem) {
    return null;
  }
  return (
    <div className="jp-agentlab-problem" role="alert">
      <Glyph name="warning" />
      <div>
        <div>
          <Words text={line(problem.message, 1000)} />
        </div>
        {problem.next && (
          <div className="jp-agentlab-faint">
            <Words text={line(problem.next, 1000)} />
          </div>
        )}
      </div>
      {props.onClose && <IconButton glyph="failed" label={trans.__('Dismiss')} onClick={props.onClose} />}
    </div>
  );
}

/** The widths of a table's columns, by what is in them. */
export function Columns(props: { of: readonly string[] }): JSX.Element {
  return (
    <colgroup>
      {props.of.map(name => (
        <col key={name} className={`jp-agentlab-col-${name}`} />
      ))}
    </colgroup>
  );
}

/** Where there is nothing: what would be here, and how it comes here. Reached with Tab: it may have to be scrolled. */
export function Empty(props: { title: string; children?: React.ReactNode }): JSX.Element {
  return (
    <div className="jp-agentlab-empty" tabIndex={0}>
      <div>{props.title}</div>
      {props.children && <div className="jp-agentlab-faint">{props.children}</div>}
    </div>
  );
}

/** One row of a list is reached with Tab, the others from there with the arrow keys. */
export interface IRoving {
  readonly active: string | undefined;
  readonly onKeyDown: (event: React.KeyboardEvent) => void;
  readonly onFocus: (event: React.FocusEvent) => void;
}

/** Keys of a list of rows, which carry `data-row`. */
export function useRoving(keys: readonly string[]): IRoving {
  const [chosen, choose] = React.useState<string>();
  const active = chosen !== undefined && keys.includes(chosen) ? chosen : keys[0];
  const onFocus = (event: React.FocusEvent): void => {
    const row = (event.target as HTMLElement).closest<HTMLElement>('[data-row]');
    if (row?.dataset.row && row.dataset.row !== chosen) {
      choose(row.dataset.row);
    }
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    const at = keys.indexOf(target.closest<HTMLElement>('[data-row]')?.dataset.row ?? '');
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: keys.length - 1 }[event.key];
    if (at < 0 || to === undefined || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) {
      return;
    }
    const key = keys[Math.max(0, Math.min(keys.length - 1, to))]!;
    const rows = event.currentTarget.querySelectorAll<HTMLElement>('[data-row]');
    Array.from(rows)
      .find(row => row.dataset.row === key)
      ?.focus();
    event.preventDefault();
    event.stopPropagation();
  };
  return { active, onKeyDown, onFocus };
}

/** Open the context menu of what a button belongs to, below the button. */
export function openMenu(event: React.MouseEvent): void {
  const box = event.currentTarget.getBoundingClientRect();
  event.currentTarget.dispatchEvent(
    new MouseEvent('contextmenu', { bubbles: true, cancelable: true, clientX: box.left, clientY: box.bottom })
  );
}
