import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import { fields, type IField } from './fields';

/** What most agents need not be told: folded. */
export function Advanced(props: IField & { trans: TranslationBundle }): JSX.Element {
  const { draft, trans } = props;
  const { text, area, select, check } = fields(props);
  const tools = ['tools', trans.__('tools: every write under a lock')] as const;
  const native = ['native', trans.__("native: the vendor's tools, gated (weaker)")] as const;
  return (
    <details>
      <summary>{trans.__('Advanced')}</summary>
      <div className="jp-agentlab-fields">
        {text('model', trans.__('Model'), trans.__("the agent's own choice"))}
        {select('boundary', trans.__('Boundary'), draft.kind === 'cli' ? [native] : [tools, native])}
        {select('priority', trans.__('Priority'), [
          ['normal', trans.__('normal')],
          ['operator', trans.__('operator: before others')],
          ['background', trans.__('background: after others')]
        ])}
        {select('claimsMode', trans.__('Claims are taken'), [
          ['exclusive', trans.__('exclusively: to write')],
          ['shared', trans.__('shared: to read')]
        ])}
        {text('tools', trans.__('Tools'), trans.__('all, or some: read, search'))}
        {text('minutes', trans.__('At most, minutes at work'), trans.__('no limit'), { inputMode: 'decimal' })}
        {text('tokens', trans.__('At most, tokens'), trans.__('no limit'), { inputMode: 'numeric' })}
        {text('cost', trans.__('At most, USD'), trans.__('no limit'), { inputMode: 'decimal' })}
        {area('rules', trans.__('Rules, one a line'), "approve tool=run command='pytest*'", 2)}
        {area('env', trans.__('Environment by reference, one a line'), 'API_TOKEN\nKEY=file:/run/secrets/key', 2)}
        {area('instructions', trans.__('Instructions beside the task'), trans.__('added to its system prompt'), 2)}
      </div>
      {check('keep', trans.__('Stays for follow-ups when the task is done'))}
      {check('waitLimits', trans.__("Waits for a vendor's limit to reset instead of failing"))}
    </details>
  );
}
