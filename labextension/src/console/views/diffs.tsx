import * as React from 'react';

import { number, text, type IEvent } from '../../timeline/events';
import { line } from '../../timeline/visible';
import { useConsole, useStore } from './context';
import { Rows } from './rows';

type Item = { readonly group: string } | { readonly index: number };

/** What was written: the changes as far as the cursor, by file or by agent, and the chosen one side by side. */
export function DiffsView(): JSX.Element {
  const { trans } = useConsole();
  const store = useStore();
  const [by, setBy] = React.useState<'file' | 'agent'>('file');
  const { log } = store;
  const changes = log.until(log.files, store.count);
  const items = React.useMemo(() => grouped(changes, index => (by === 'file' ? pathOf(log.events[index]!) : log.events[index]!.actor)), [changes, changes.length, by]);
  const current = items.findIndex(item => 'index' in item && item.index === store.change);
  const event = store.change !== null && store.change < store.count ? log.events[store.change] : undefined;
  return (
    <div className="jp-agentlab-run-split">
      <div className="jp-agentlab-run-side">
        <div className="jp-agentlab-run-side-head">
          <label className="jp-agentlab-run-faint">
            {trans.__('by')}{' '}
            <select value={by} onChange={change => setBy(change.target.value as 'file' | 'agent')}>
              <option value="file">{trans.__('file')}</option>
              <option value="agent">{trans.__('agent')}</option>
            </select>
          </label>
          <span className="jp-agentlab-run-faint">{trans._n('%1 change', '%1 changes', changes.length)}</span>
        </div>
        <Rows
          count={items.length} height={22} label={trans.__('Changes of files')} current={current}
          onMove={index => {
            const item = items[index]!;
            const change = 'index' in item ? item : items[index + 1];
            if (change && 'index' in change) {
              store.select(log.events[change.index]!.seq);
            }
          }}
          render={index => {
            const item = items[index]!;
            return 'group' in item ? <strong>{line(item.group, 80)}</strong> : <Change event={log.events[item.index]!} by={by} />;
          }}
        />
      </div>
      <div className="jp-agentlab-run-main">
        {event ? <Diff key={event.seq} event={event} />
          : <p className="jp-agentlab-run-empty">{changes.length ? trans.__('Choose a change to see it side by side.') : trans.__('Nothing had been written at this moment.')}</p>}
      </div>
    </div>
  );
}

function Change({ event, by }: { event: IEvent; by: 'file' | 'agent' }): JSX.Element {
  const { body } = event;
  const what = body.type === 'file.write' ? `+${number(body, 'added')} −${number(body, 'removed')}` : body.type.slice(5);
  return (
    <span className="jp-agentlab-run-change">
      <span className="jp-agentlab-run-faint jp-agentlab-run-number">#{event.seq}</span>
      <span>{line(by === 'file' ? event.actor : pathOf(event), 60)}</span>
      <span className="jp-agentlab-run-number">{what}</span>
      <span className="jp-agentlab-run-faint">{text(body, 'via') === 'tool' ? '' : line(text(body, 'via'), 20)}</span>
    </span>
  );
}

const LARGEST = 1_000_000;

type Sides = { before: string; after: string } | { said: string };

function Diff({ event }: { event: IEvent }): JSX.Element {
  const { gateway, trans } = useConsole();
  const host = React.useRef<HTMLDivElement>(null);
  const [sides, setSides] = React.useState<Sides | null>(null);
  const { body } = event;
  React.useEffect(() => {
    const over = new AbortController();
    const get = (hash: unknown) => (typeof hash === 'string' && hash ? gateway.text(`api/blobs/${hash}`, LARGEST, over.signal) : Promise.resolve(''));
    const after = body.type === 'file.write' ? body.after : body.type === 'file.rename' ? body.before : null;
    if (body.stored === false) {
      setSides({ said: trans.__('This content was larger than the log takes: only its hash is known.') });
      return;
    }
    Promise.all([get(body.before), get(after)]).then(
      ([a, b]) => !over.signal.aborted && setSides(binary(a) || binary(b) ? { said: trans.__('This is no text: %1 bytes now.', number(body, 'size')) } : { before: a, after: b }),
      error => !over.signal.aborted && setSides({ said: trans.__('The content cannot be had: %1', error instanceof Error ? error.message : String(error)) })
    );
    return () => over.abort();
  }, [event]);
  React.useEffect(() => {
    if (!sides || 'said' in sides || !host.current) {
      return;
    }
    let dispose: (() => void) | null = null;
    let gone = false;
    void import('../merge').then(({ sideBySide }) => {
      if (!gone && host.current) {
        dispose = sideBySide(host.current, sides.before, sides.after, trans);
      }
    });
    return () => {
      gone = true;
      dispose?.();
    };
  }, [sides]);
  const renamed = body.type === 'file.rename' ? ` → ${text(body, 'to')}` : '';
  return (
    <div className="jp-agentlab-run-diff">
      <div className="jp-agentlab-run-diff-head">
        <strong>{line(pathOf(event) + renamed, 200)}</strong>
        <span className="jp-agentlab-run-faint">
          {line(event.actor, 40)} · #{event.seq} · {body.type === 'file.delete' ? trans.__('deleted') : `+${number(body, 'added')} −${number(body, 'removed')}`}
          {body.before === null || body.before === undefined ? ` · ${trans.__('new file')}` : ''}
        </span>
      </div>
      {sides && 'said' in sides ? <p className="jp-agentlab-run-empty">{line(sides.said, 400)}</p> : <div className="jp-agentlab-run-merge" ref={host} aria-busy={!sides} />}
    </div>
  );
}

const pathOf = (event: IEvent): string => text(event.body, 'path') || (event.unit ?? '');
const binary = (content: string): boolean => content.slice(0, 8000).includes('\0');

/** Changes below what they have in common, the newest group last. */
function grouped(changes: readonly number[], keyOf: (index: number) => string): Item[] {
  const groups = new Map<string, number[]>();
  for (const index of changes) {
    const key = keyOf(index);
    const known = groups.get(key);
    known ? known.push(index) : groups.set(key, [index]);
  }
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([group, all]) => [{ group }, ...all.map(index => ({ index }))]);
}
