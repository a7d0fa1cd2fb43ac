import React from 'react';

/** Shapes on a grid of 16, filled with the colour of the text around them. */
const PATHS: Record<string, string> = {
  queued: 'M3 6.5a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3zm5 0a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3zm5 0a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3z',
  running: 'M4.5 2.8v10.4c0 .6.6.9 1.1.6l8-5.2a.7.7 0 0 0 0-1.2l-8-5.2c-.5-.3-1.1 0-1.1.6z',
  waiting: 'M3.5 1.5h9V3h-.8c-.1 2.1-1.2 3.7-2.7 5 1.5 1.3 2.6 2.9 2.7 5h.8v1.5h-9V13h.8c.1-2.1 1.2-3.7 2.7-5-1.5-1.3-2.6-2.9-2.7-5h-.8zM5.8 3c.1 1.7.9 2.9 2.2 4 1.3-1.1 2.1-2.3 2.2-4zm0 10h4.4c-.1-1.3-.8-2.1-2.2-3-1.4.9-2.1 1.7-2.2 3z',
  blocked: 'M8 1.2a6.8 6.8 0 1 1 0 13.6A6.8 6.8 0 0 1 8 1.2zm0 1.5a5.3 5.3 0 1 0 0 10.6A5.3 5.3 0 0 0 8 2.7zm-.8 8h1.6v1.6H7.2zM8 3.9c1.5 0 2.5.9 2.5 2.2 0 1-.5 1.5-1.2 2-.5.4-.6.6-.6 1.1v.4H7.2v-.6c0-.9.3-1.4 1-1.9.5-.4.8-.6.8-1.1S8.6 5.2 8 5.2s-1 .4-1.1 1H5.5C5.6 4.8 6.6 3.9 8 3.9z',
  paused: 'M4 2.5h2.8v11H4zm5.2 0H12v11H9.2z',
  idle: 'M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zM8 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8z',
  stopping: 'M3.5 3.5h9v9h-9zM5 5v6h6V5z',
  done: 'M13.5 4.3 6.3 11.9 2.5 8.2l1.1-1.1 2.7 2.6 6.1-6.5z',
  failed: 'm3.9 2.9 4.1 4 4.1-4 1 1-4 4.1 4 4.1-1 1-4.1-4-4.1 4-1-1 4-4.1-4-4.1z',
  cancelled: 'M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8zm-3.7 3.6a4.7 4.7 0 0 0 6.3 6.3zm7.4 5.2A4.7 4.7 0 0 0 5.4 4.3z',
  unknown: 'M8 5.5a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5z',
  add: 'M7.25 2.5h1.5v4.75h4.75v1.5H8.75v4.75h-1.5V8.75H2.5v-1.5h4.75z',
  send: 'M2 2.6 14.5 8 2 13.4V9.3L9.5 8 2 6.7z',
  interrupt: 'M9.3 1 3.5 9h3.7L6.3 15 12.5 6.6H8.6z',
  stop: 'M3.5 3.5h9v9h-9z',
  open: 'M3 3h4.5v1.5h-3v7h7v-3H13V13H3zm6-1h5v5h-1.5V4.6L8 9.1 6.9 8l4.5-4.5H9z',
  more: 'M8 2a1.4 1.4 0 1 1 0 2.8A1.4 1.4 0 0 1 8 2zm0 4.6a1.4 1.4 0 1 1 0 2.8 1.4 1.4 0 0 1 0-2.8zm0 4.6a1.4 1.4 0 1 1 0 2.8 1.4 1.4 0 0 1 0-2.8z',
  bump: 'M8 2.2 13 7.3l-1.1 1.1-3.1-3.2V13.5H7.2V5.2L4.1 8.4 3 7.3z',
  lock: 'M8 1.5c2 0 3.4 1.4 3.4 3.4v1.6h1.1v7.5h-9V6.5h1.1V4.9c0-2 1.4-3.4 3.4-3.4zM8 3C6.8 3 6.1 3.7 6.1 4.9v1.6h3.8V4.9C9.9 3.7 9.2 3 8 3zM5 8v4.5h6V8z',
  release: 'M8 1.5c1.9 0 3.3 1.3 3.4 3.1H9.9C9.8 3.6 9.1 3 8 3 6.8 3 6.1 3.7 6.1 4.9v1.6h6.4V14h-9V6.5h1.1V4.9c0-2 1.4-3.4 3.4-3.4zM5 8v4.5h6V8z',
  warning: 'M8 1.5 15 14H1zm0 3.1L3.6 12.5h8.8zM7.3 7h1.4v3H7.3zm0 3.6h1.4V12H7.3z',
  server: 'M2 2.5h12v4.6H2zm0 6.4h12v4.6H2zM3.5 4v1.6h9V4zm0 6.4V12h9v-1.6z',
  refresh: 'M8 2.5c1.5 0 2.9.6 3.9 1.6l1.6-1.6v4.7H8.8l2-2A4 4 0 1 0 12 8h1.5A5.5 5.5 0 1 1 8 2.5z',
  compare: 'M2 3h5v10H2zm1.5 1.5v7h2v-7zM9 3h5v10H9zm1.5 1.5v7h2v-7z',
  person: 'M8 2a2.8 2.8 0 1 1 0 5.6A2.8 2.8 0 0 1 8 2zM2.5 13.7c0-3 2.3-4.9 5.5-4.9s5.5 1.9 5.5 4.9z'
};

const ALIASES: Record<string, string> = { dispatched: 'queued', open: 'running', held: 'lock', asked: 'blocked', approved: 'done', denied: 'failed', answered: 'done', expired: 'cancelled' };

/** A small picture beside a word that says the same. */
export const Glyph = React.memo(function Glyph(props: { name: string; className?: string }): JSX.Element {
  const path = PATHS[props.name] ?? PATHS.unknown;
  return (
    <svg className={`jp-agentlab-glyph ${props.className ?? ''}`} viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" focusable="false">
      <path d={path} fill="currentColor" fillRule="evenodd" />
    </svg>
  );
});

/** The picture of a state; its colour is that of the state too. */
export function StateGlyph(props: { status: string }): JSX.Element {
  const alias = ALIASES[props.status] ?? props.status;
  return <Glyph name={alias in PATHS ? alias : 'unknown'} className={`jp-agentlab-state-${alias in PATHS ? alias : 'unknown'}`} />;
}
