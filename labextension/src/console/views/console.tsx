import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { PANES, type Pane } from '../store';
import { useConsole, useStore } from './context';
import { Detail } from './detail';
import { DiffsView } from './diffs';
import { EventsView } from './events';
import { Header, Problems } from './header';
import { MessagesView } from './messages';
import { OutputView } from './output';
import { PlanView } from './plan';
import { Scrubber } from './scrubber';
import { ArtifactsView, StateView, TasksView } from './tables';
import { TimelineView } from './timeline';

const VIEWS: Readonly<Record<Pane, () => JSX.Element>> = {
  events: EventsView, diffs: DiffsView, output: OutputView, messages: MessagesView, plan: PlanView, tasks: TasksView, artifacts: ArtifactsView,
  state: StateView
};

/** A run from its first event to its last. */
export function Console(): JSX.Element {
  const { trans } = useConsole();
  const store = useStore();
  const [share, setShare] = React.useState(42);
  const View = VIEWS[store.pane];
  if (store.stage.name === 'failed') {
    return <div className="jp-agentlab-console-body"><Header /><Problems /></div>;
  }
  return (
    <div className="jp-agentlab-console-body" onKeyDown={event => keys(event, store)}>
      <Header />
      <Problems />
      <Scrubber />
      <div className="jp-agentlab-console-top" style={{ flexBasis: `${share}%` }}><TimelineView /></div>
      <Splitter share={share} move={setShare} />
      <Tabs />
      <div className="jp-agentlab-console-bottom">
        <div className="jp-agentlab-run-pane" role="tabpanel" id={`${store.run}-pane`} aria-label={paneName(store.pane, trans)}><View /></div>
        <Detail />
      </div>
    </div>
  );
}

function Tabs(): JSX.Element {
  const { trans } = useConsole();
  const store = useStore();
  const { log, count } = store;
  const counts: Partial<Record<Pane, number>> = {
    events: count, diffs: log.until(log.files, count).length, output: log.processes.filter(each => each.start < count).length,
    messages: log.until(log.messages, count).length, artifacts: log.until(log.artifacts, count).length
  };
  const move = (event: React.KeyboardEvent, by: number) => {
    event.preventDefault();
    const next = PANES[(PANES.indexOf(store.pane) + by + PANES.length) % PANES.length]!;
    store.setPane(next);
    (event.currentTarget.querySelector(`[data-pane="${next}"]`) as HTMLElement | null)?.focus();
  };
  return (
    <div
      className="jp-agentlab-run-tabs" role="tablist" aria-label={trans.__('Parts of the run')}
      onKeyDown={event => event.key === 'ArrowRight' ? move(event, 1) : event.key === 'ArrowLeft' ? move(event, -1) : undefined}
    >
      {PANES.map(pane => (
        <button
          key={pane} role="tab" data-pane={pane} aria-selected={pane === store.pane} aria-controls={`${store.run}-pane`} tabIndex={pane === store.pane ? 0 : -1}
          onClick={() => store.setPane(pane)}
        >
          {paneName(pane, trans)}{counts[pane] ? <span className="jp-agentlab-run-count">{counts[pane]!.toLocaleString()}</span> : null}
        </button>
      ))}
    </div>
  );
}

function paneName(pane: Pane, trans: TranslationBundle): string {
  const names: Record<Pane, string> = {
    events: trans.__('Events'), diffs: trans.__('Diffs'), output: trans.__('Output'), messages: trans.__('Messages'), plan: trans.__('Plan'), tasks: trans.__('Tasks'), artifacts: trans.__('Artifacts'),
    state: trans.__('State')
  };
  return names[pane];
}

const [LEAST, MOST] = [15, 75]; // %

function Splitter({ share, move }: { share: number; move: (share: number) => void }): JSX.Element {
  const { trans } = useConsole();
  const set = (value: number) => move(Math.min(Math.max(value, LEAST), MOST));
  return (
    <div
      className="jp-agentlab-run-splitter" role="separator" aria-orientation="horizontal" aria-label={trans.__('Height of the timeline')} tabIndex={0}
      aria-valuenow={Math.round(share)} aria-valuemin={LEAST} aria-valuemax={MOST}
      onKeyDown={event => {
        const by = event.key === 'ArrowUp' ? -4 : event.key === 'ArrowDown' ? 4 : 0;
        if (by) {
          event.preventDefault();
          set(share + by);
        }
      }}
      onPointerDown={event => {
        const box = event.currentTarget.parentElement!.getBoundingClientRect();
        const [begin, at] = [share, event.clientY];
        const handle = event.currentTarget;
        handle.setPointerCapture(event.pointerId);
        const drag = (to: PointerEvent) => set(begin + ((to.clientY - at) / box.height) * 100);
        const drop = () => {
          handle.removeEventListener('pointermove', drag);
          handle.removeEventListener('pointerup', drop);
        };
        handle.addEventListener('pointermove', drag);
        handle.addEventListener('pointerup', drop);
      }}
    />
  );
}

function keys(event: React.KeyboardEvent, store: ReturnType<typeof useStore>): void {
  const target = event.target as HTMLElement;
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName)) {
    return;
  }
  const acts: Record<string, () => void> = { '[': () => store.step(-1), ']': () => store.step(1) };
  if (target.tagName !== 'BUTTON') {
    acts[' '] = () => store.togglePlay();
  }
  const act = acts[event.key];
  if (act) {
    event.preventDefault();
    event.stopPropagation();
    act();
  }
}
