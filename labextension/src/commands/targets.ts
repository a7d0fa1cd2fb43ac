import type { JupyterFrontEnd } from '@jupyterlab/application';
import { InputDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { rowsOf } from '../model/model';
import { agentGroups, agentView, type IAgentView } from '../rows/agents';
import type { IModel } from '../tokens';
import { statusWord } from '../ui/words';

/**
 * What a command is about: its argument; in a context menu (`pointed`) what that was opened on; else what a person chooses. JupyterLab
 * remembers where the last context menu was opened: the main menu and the palette must not go by that.
 */
export class Targets {
  constructor(
    private readonly _app: JupyterFrontEnd,
    private readonly _model: IModel,
    private readonly _trans: TranslationBundle
  ) {}

  /** The key of the agent that is named or pointed at. */
  agent(args: ReadonlyPartialJSONObject): string | null {
    return typeof args.agent === 'string' ? args.agent : this._pointed(args, 'agent');
  }

  /** The agents that may be meant: the one that is named or pointed at, as long as it has a row, else all. */
  agents(args: ReadonlyPartialJSONObject): IAgentView[] {
    const rows = rowsOf(this._model.view, 'agents');
    const key = this.agent(args);
    const row = key === null ? undefined : rows.get(key);
    return (key === null && !args.pointed ? [...rows.values()] : row ? [row] : []).map(agentView);
  }

  /** The ticket that is named or pointed at. */
  ticket(args: ReadonlyPartialJSONObject): number | null {
    const found = typeof args.ticket === 'number' ? args.ticket : Number(this._pointed(args, 'ticket') ?? NaN);
    return Number.isFinite(found) ? found : null;
  }

  /** Ask which of the agents is meant; null: none. */
  async chooseAgent(title: string, fits: (agent: IAgentView) => boolean): Promise<string | null> {
    const agents = agentGroups(this._model.view.tables, { ended: false })
      .flatMap(group => group.agents.map(agent => ({ agent, group })))
      .filter(({ agent }) => fits(agent));
    if (!agents.length) {
      await InputDialog.getItem({ title, items: [this._trans.__('There is no agent for that now.')], label: '' });
      return null;
    }
    const items = agents.map(({ agent, group }) => `${agent.name} · ${group.name} · ${statusWord(this._trans, agent.status)}`);
    const { value } = await InputDialog.getItem({ title, items, label: this._trans.__('Agent') });
    const at = value === null ? -1 : items.indexOf(value);
    return agents[at]?.agent.key ?? null;
  }

  private _pointed(args: ReadonlyPartialJSONObject, what: string): string | null {
    const node = args.pointed ? this._app.contextMenuHitTest(one => one.dataset[what] !== undefined) : undefined;
    return node?.dataset[what] ?? null;
  }
}
