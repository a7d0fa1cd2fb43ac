import React from 'react';

import { runtimes, type ICliView, type IRuntimeView } from '../rows/runtimes';
import { Glyph } from '../ui/glyphs';
import { useHost, useView } from '../ui/host';
import { Age, Empty, Words, useRoving } from '../ui/parts';
import { healthWord } from '../ui/words';

/** Places where agents run, and how they are. */
export function Runtimes(): JSX.Element {
  const { trans } = useHost();
  const view = useView();
  const all = React.useMemo(() => runtimes(view.tables), [view.tables]);
  const { active, onKeyDown, onFocus } = useRoving(all.map(runtime => runtime.key));
  if (!all.length) {
    return <Empty title={trans.__('No runtime is known.')}><Words text={trans.__('The plane registers this machine when it starts. If that lasts, `agentlab doctor` says why.')} /></Empty>;
  }
  return (
    <div onKeyDown={onKeyDown} onFocus={onFocus}>
      {all.map(runtime => (
        <Runtime key={runtime.key} runtime={runtime} active={runtime.key === active} />
      ))}
    </div>
  );
}

const Runtime = React.memo(function Runtime(props: { runtime: IRuntimeView; active: boolean }): JSX.Element {
  const { trans } = useHost();
  const { runtime } = props;
  const found = runtime.clis.filter(cli => !cli.missing);
  const missing = runtime.clis.filter(cli => cli.missing);
  const online = runtime.health === 'online';
  return (
    <article
      className="jp-agentlab-runtime"
      aria-label={trans.__('Runtime %1', runtime.name)}
      data-row={runtime.key}
      tabIndex={props.active ? 0 : -1}
    >
      <header className="jp-agentlab-line">
        <Glyph name={online ? 'server' : 'warning'} className={online ? 'jp-agentlab-state-done' : 'jp-agentlab-state-failed'} />
        <span className="jp-agentlab-strong" title={runtime.host}>
          {runtime.name}
        </span>
        <span className="jp-agentlab-faint">
          {runtime.kind !== runtime.name && `${runtime.kind} · `}
          {healthWord(trans, runtime.health)}
        </span>
        <span className="jp-agentlab-numbers" title={trans.__('Last seen')}>
          {runtime.lastSeen > 0 && !online && <Age from={runtime.lastSeen} label={trans.__('Last seen')} />}
        </span>
      </header>
      <div className="jp-agentlab-slots">
        <meter
          min={0}
          max={Math.max(runtime.slots, 1)}
          value={runtime.used}
          aria-label={trans.__('Slots of %1 in use', runtime.name)}
        />
        <span className="jp-agentlab-faint">{trans.__('%1 of %2 slots in use', runtime.used, runtime.slots)}</span>
      </div>
      {!online && (
        <div className="jp-agentlab-wrong">
          {runtime.reason || trans.__('No sign of life.')} {trans.__('Agents there go on by themselves; new ones go elsewhere.')}
        </div>
      )}
      {found.length > 0 && (
        <table className="jp-agentlab-table jp-agentlab-clis">
          <caption className="jp-agentlab-hidden">{trans.__('Agent programs')}</caption>
          <thead className="jp-agentlab-hidden">
            <tr>
              <th scope="col">{trans.__('Program')}</th>
              <th scope="col">{trans.__('Version')}</th>
              <th scope="col">{trans.__('Verdict')}</th>
            </tr>
          </thead>
          <tbody>
            {found.map(cli => (
              <Cli key={cli.name} cli={cli} />
            ))}
          </tbody>
        </table>
      )}
      {missing.length > 0 && <div className="jp-agentlab-faint">{trans.__('Not installed: %1', missing.map(cli => cli.name).join(', '))}</div>}
    </article>
  );
});

function Cli(props: { cli: ICliView }): JSX.Element {
  const { cli } = props;
  return (
    <>
      <tr title={[cli.path, cli.reason].filter(Boolean).join('\n')}>
        <th scope="row">{cli.name}</th>
        <td className="jp-agentlab-faint">{cli.version}</td>
        <td>
          <span className="jp-agentlab-line">
            <Glyph name={cli.ok ? 'done' : 'warning'} className={cli.ok ? 'jp-agentlab-state-done' : 'jp-agentlab-state-waiting'} />
            {cli.verdict}
          </span>
        </td>
      </tr>
      {!cli.ok && cli.reason && (
        <tr>
          <td colSpan={3} className="jp-agentlab-why">
            <Words text={cli.reason} />
          </td>
        </tr>
      )}
    </>
  );
}
