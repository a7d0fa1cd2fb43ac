import * as React from 'react';

import { line } from '../../timeline/visible';
import { processEnd } from '../log';
import { Output } from '../lines';
import { endedBadly, endWords } from '../words';
import { useConsole, useStore } from './context';
import { Rows } from './rows';

/** What processes printed, as far as the cursor. */
export function OutputView(): JSX.Element {
  const { trans } = useConsole();
  const store = useStore();
  const { log } = store;
  const processes = log.processes.filter(each => each.start < store.count);
  const process = store.process && store.process.start < store.count ? store.process : processes[processes.length - 1];
  return (
    <div className="jp-agentlab-run-split">
      <div className="jp-agentlab-run-side">
        <div className="jp-agentlab-run-side-head"><span className="jp-agentlab-run-faint">{trans._n('%1 process', '%1 processes', processes.length)}</span></div>
        <Rows
          count={processes.length} height={38} label={trans.__('Processes')} current={process ? processes.indexOf(process) : -1}
          onMove={index => store.select(log.events[processes[index]!.start]!.seq)}
          render={index => {
            const each = processes[index]!;
            const end = processEnd(log, each, store.count);
            return (
              <span className={`jp-agentlab-run-process${endedBadly(end) ? ' jp-mod-bad' : ''}`}>
                <code>{line(each.command, 120)}</code>
                <span className="jp-agentlab-run-faint">{line(each.actor, 40)} · {endWords(trans, end, store.cursor !== null || store.isCurrent)}</span>
              </span>
            );
          }}
        />
      </div>
      <div className="jp-agentlab-run-main">
        {process ? <Text key={`${process.actor} ${process.start}`} output={new Output(log, process)} />
          : <p className="jp-agentlab-run-empty">{trans.__('No process had been started at this moment.')}</p>}
      </div>
    </div>
  );
}

function Text({ output: fresh }: { output: Output }): JSX.Element {
  const { trans, gateway } = useConsole();
  const store = useStore();
  const kept = React.useRef(fresh);
  const [whole, setWhole] = React.useState<{ hash: string; text: string } | null>(null);
  if (!kept.current.take(store.count)) {
    kept.current = new Output(store.log, kept.current.process);
    kept.current.take(store.count);
  }
  const output = kept.current;
  const lines = [...output.lines, ...output.rest];
  const current = store.selected === null ? -1 : lines.findIndex(each => each.seq === store.selected);
  const hash = output.cut[output.cut.length - 1];
  const shownLines = whole ? whole.text.split('\n') : null;
  return (
    <div className="jp-agentlab-run-output">
      <Rows
        count={shownLines ? shownLines.length : lines.length} height={18} label={trans.__('Output of %1', line(output.process.command, 80))} current={current}
        tail={store.cursor === null && current < 0}
        onMove={shownLines ? undefined : index => store.select(lines[index]!.seq)}
        render={index => {
          if (shownLines) {
            return <code>{line(shownLines[index]!, 2000)}</code>;
          }
          const each = lines[index]!;
          return <code className={each.fd === 2 ? 'jp-mod-stderr' : ''}>{each.fd === 2 ? <i title={trans.__('standard error')}>2│</i> : <i> │</i>}{each.goesOn ? '↳ ' : ''}{each.text}</code>;
        }}
      />
      {hash && (
        <div className="jp-agentlab-run-events-foot jp-agentlab-run-faint">
          {trans.__('Only the beginning of what was printed is in the log.')}{' '}
          <button className="jp-agentlab-run-button" onClick={() => whole ? setWhole(null) : void gateway.text(`api/blobs/${hash}`, 8_000_000).then(text => setWhole({ hash, text }), () => undefined)}>
            {whole ? trans.__('Show the beginning') : trans.__('Show all of the last piece')}
          </button>
        </div>
      )}
    </div>
  );
}
