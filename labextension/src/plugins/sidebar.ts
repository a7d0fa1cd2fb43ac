import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { AgentlabPanel } from '../sidebar/panel';

/** The sidebar. */
export const sidebarPlugin: JupyterFrontEndPlugin<void> = {
  id: 'agentlab:sidebar',
  description: 'Agents, locks and queues, approvals, runtimes and runs, in the left sidebar.',
  autoStart: true,
  optional: [ITranslator, ILayoutRestorer],
  activate: (app: JupyterFrontEnd, translator: ITranslator | null, restorer: ILayoutRestorer | null) => {
    const trans = (translator ?? nullTranslator).load('agentlab');
    const panel = new AgentlabPanel({ trans });
    app.shell.add(panel, 'left', { rank: 550 });
    restorer?.add(panel, panel.id);
  }
};
