import type { TranslationBundle } from '@jupyterlab/translation';
import { SidePanel } from '@jupyterlab/ui-components';

import { agentlabIcon } from '../icons';

/** The sidebar: one section below the other, each can be folded. */
export class AgentlabPanel extends SidePanel {
  constructor(options: AgentlabPanel.IOptions) {
    super();
    this.id = 'agentlab-panel';
    this.addClass('jp-agentlab-panel');
    this.title.icon = agentlabIcon;
    this.title.caption = options.trans.__('Agents, locks, approvals, runtimes, runs');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', options.trans.__('agentlab'));
  }
}

/** What the panel is made of. */
export namespace AgentlabPanel {
  /** What it needs. */
  export interface IOptions {
    trans: TranslationBundle;
  }
}
