import * as React from 'react';

import { timeText } from '../../timeline/viewport';
import { SPEEDS, type Stride } from '../player';
import { isOpen } from '../store';
import { useConsole, useStore } from './context';

/** From now to any moment of the run: a slider, steps, and a film. */
export function Scrubber(): JSX.Element {
  const { trans } = useConsole();
  const store = useStore();
  const { log, player, cursor } = store;
  const live = isOpen(store.stage);
  const at = store.at;
  const strides: [Stride, string][] = [
    ['event', trans.__('event')],
    ['call', trans.__('tool call')],
    ['grant', trans.__('lock grant')]
  ];
  const place = trans.__('event %1 of %2, %3', at, log.lastSeq, timeText(log.timeOf(at), 1));
  return (
    <div className="jp-agentlab-run-scrubber" role="group" aria-label={trans.__('Moment of the run')}>
      <Button label="|◂" title={trans.__('To the beginning')} act={() => store.setCursor(1)} />
      <Button label="◂" title={trans.__('Step back ([)')} act={() => store.step(-1)} />
      <Button
        label={player.playing ? '❚❚' : '▶'} title={player.playing ? trans.__('Pause (space)') : trans.__('Play (space)')}
        act={() => store.togglePlay()}
      />
      <Button label="▸" title={trans.__('Step forward (])')} act={() => store.step(1)} disabled={cursor === null} />
      <Button
        label={live ? trans.__('Live') : '▸|'} title={live ? trans.__('Follow what happens') : trans.__('To the end')} pressed={cursor === null}
        act={() => store.setCursor(null)}
      />
      <label className="jp-agentlab-run-faint">
        {trans.__('step')}{' '}
        <select value={store.stride} onChange={event => store.setStride(event.target.value as Stride)}>
          {strides.map(([value, word]) => <option key={value} value={value}>{word}</option>)}
        </select>
      </label>
      <label className="jp-agentlab-run-faint">
        {trans.__('speed')}{' '}
        <select value={player.speed} onChange={event => { player.speed = Number(event.target.value); store.changed.emit(); }}>
          {SPEEDS.map(each => <option key={each} value={each}>{each}×</option>)}
        </select>
      </label>
      <input
        type="range" min={log.length ? log.seq.at(0) : 0} max={Math.max(log.lastSeq, 1)} step={1} value={at} disabled={!log.length}
        aria-label={trans.__('Event that is looked at')} aria-valuetext={place}
        onChange={event => store.setCursor(Number(event.target.value))}
      />
      <output className="jp-agentlab-run-scrubber-place">{log.length ? place : ''}</output>
    </div>
  );
}

function Button(props: { label: string; title: string; act: () => void; disabled?: boolean; pressed?: boolean }): JSX.Element {
  const { label, title, act, disabled, pressed } = props;
  return (
    <button className="jp-agentlab-run-button" title={title} aria-label={title} onClick={act} disabled={disabled} aria-pressed={pressed}>
      {label}
    </button>
  );
}
