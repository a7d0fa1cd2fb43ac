import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ITranslator } from '@jupyterlab/translation';

import { PlaneClock } from '../model/clock';
import { Gateway } from '../model/gateway';
import { AgentlabModel } from '../model/model';
import { offerAgentWords } from '../notebook/agent';
import { offer } from '../timeline/words';
import { IAgentlab } from '../tokens';
import { bundleOf, words } from '../translation';

/** The rows of agentlab and the way to its plane, for all other plugins. */
export const modelPlugin: JupyterFrontEndPlugin<IAgentlab> = {
  id: 'agentlab:model',
  description: 'The rows of agentlab and the way to its plane.',
  autoStart: true,
  provides: IAgentlab,
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, translator: ITranslator | null): IAgentlab => {
    words.trans = bundleOf(translator);
    offer(words.trans);
    offerAgentWords(words.trans);
    const clock = new PlaneClock();
    const gateway = new Gateway(app.serviceManager.serverSettings, date => clock.answered(date));
    const model = new AgentlabModel(gateway, clock);
    void app.started.then(() => model.reconnect()); // not before the page is there: nothing here is worth a slower start
    return { model, gateway };
  }
};
