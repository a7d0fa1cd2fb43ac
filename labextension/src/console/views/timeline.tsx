import * as React from 'react';

import { Timeline } from '../../timeline';
import { useConsole } from './context';

/** How often a growing picture is laid out and painted anew, ms. */
const BEAT = 100;
/** How often what goes on without an event grows, ms. */
const SECOND = 1000;

/** The timeline of the run in its host: the store tells it, it tells the store. */
export function TimelineView(): JSX.Element {
  const { store, trans } = useConsole();
  const host = React.useRef<HTMLDivElement>(null);
  React.useEffect(() => {
    const { log } = store;
    const timeline = new Timeline(log.teller.table, {
      trans,
      now: () => store.elapsed,
      onSelect: seq => store.select(seq, true),
      onCursor: (at, axis) => store.setCursor(axis === 'order' ? Math.round(at) : log.seqAt(at))
    });
    host.current!.append(timeline.node);
    let [length, last] = [-1, 0];
    let cursor: number | null = null;
    let revealed = store.revealed;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const grow = () => {
      timer = undefined;
      length = log.length;
      last = performance.now();
      timeline.changed();
    };
    const heard = () => {
      if (log.length !== length) {
        timer ??= setTimeout(grow, Math.max(0, last + BEAT - performance.now()));
      }
      if (store.cursor !== cursor) {
        cursor = store.cursor;
        timeline.setCursor(cursor === null ? null : { seq: cursor, time: log.timeOf(cursor) });
      }
      timeline.select(store.selected);
      if (store.revealed !== revealed) {
        revealed = store.revealed;
        timeline.reveal();
        host.current?.scrollIntoView?.({ block: 'nearest' });
      }
    };
    let reached = store.elapsed;
    const beat = setInterval(() => {
      if (!document.hidden && store.elapsed > reached) {
        reached = store.elapsed;
        timeline.changed();
      }
    }, SECOND);
    heard();
    const unlisten = store.changed.listen(heard);
    return () => {
      unlisten();
      clearTimeout(timer);
      clearInterval(beat);
      timeline.dispose();
    };
  }, [store]);
  return <div className="jp-agentlab-console-timeline" ref={host} />;
}
