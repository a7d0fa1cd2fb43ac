import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator } from '@jupyterlab/translation';

import { addCommands } from '../commands';
import { CommandIDs } from '../commands/ids';
import { AgentlabModel } from '../model/model';
import { translated } from '../schema';
import { DEFAULTS, settingsOf, type ISettings } from '../settings';
import { AgentlabPanel } from '../sidebar/panel';
import { addStatus } from '../status';
import { IAgentlab } from '../tokens';
import { bundleOf } from '../translation';
import type { IHost } from '../ui/host';

const ID = 'agentlab:plugin';
const MENU = '@jupyterlab/mainmenu-extension:plugin';

const PALETTE = [
  CommandIDs.showPanel, CommandIDs.spawnAgent, CommandIDs.sendText, CommandIDs.interruptAgent, CommandIDs.pauseAgent,
  CommandIDs.resumeAgent, CommandIDs.stopAgent, CommandIDs.killAgent, CommandIDs.showApprovals, CommandIDs.reconnect
];

/**
 * The main menu is there, or will not be. It is made of the schemas that are loaded by then, and looks out for more when it has been made: what
 * is loaded in between, as ours may be, which waits for its translation, is not in it (in Notebook 7 it never was).
 */
async function menuMade(app: JupyterFrontEnd, registry: ISettingRegistry): Promise<void> {
  await Promise.all([app.started, app.restored]);
  await registry.load(MENU).catch(() => undefined);
}

/** The sidebar with its commands, settings and the item of the status bar. Menus and keys are in `schema/plugin.json`. */
export const sidebarPlugin: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Agents, locks and queues, approvals, runtimes and runs, in the left sidebar.',
  autoStart: true,
  requires: [IAgentlab],
  optional: [ITranslator, ISettingRegistry, ICommandPalette, ILauncher, IStatusBar, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    agentlab: IAgentlab,
    translator: ITranslator | null,
    registry: ISettingRegistry | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    statusBar: IStatusBar | null,
    restorer: ILayoutRestorer | null
  ) => {
    const trans = bundleOf(translator);
    const { commands } = app;
    const hostOf = (settings: ISettings): IHost => ({
      agentlab,
      trans,
      settings,
      run: (command, args) => commands.execute(command, args),
      has: command => commands.hasCommand(command)
    });
    const panel = new AgentlabPanel(hostOf(DEFAULTS));
    app.shell.add(panel, 'left', { rank: 550, type: 'Agents' });
    restorer?.add(panel, panel.id);
    addCommands({ app, agentlab, panel, trans });

    const category = trans.__('Agents');
    for (const command of PALETTE) {
      palette?.addItem({ command, category, args: { isPalette: true } });
    }
    launcher?.add({ command: CommandIDs.spawnAgent, category: trans.__('Other'), args: { isLauncher: true }, rank: 40 });
    const status = statusBar ? addStatus(statusBar, hostOf(DEFAULTS)) : null;

    let current = DEFAULTS;
    const apply = (settings: ISettings): void => {
      current = settings;
      const host = hostOf(settings);
      panel.host = host;
      status?.take(host);
      if (agentlab.model instanceof AgentlabModel) {
        agentlab.model.pause = settings.refresh;
      }
    };
    if (registry) {
      registry.transform(ID, { fetch: plugin => ({ ...plugin, schema: translated(plugin.schema, trans) }) });
      menuMade(app, registry).then(() => registry.load(ID)).then(
        loaded => {
          const take = (): void => apply(settingsOf(loaded.composite));
          loaded.changed.connect(take);
          take();
        },
        (error: unknown) => console.error('The settings of agentlab could not be read; the defaults hold.', error)
      );
    }
    // What other plugins bring (the run console) is there when everything has started: buttons for it appear then.
    void app.restored.then(() => apply(current));
  }
};
