import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { addIcon, refreshIcon } from '@jupyterlab/ui-components';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { agentlabIcon } from '../icons';
import { Actions } from '../model/actions';
import { problemIn } from '../model/problems';
import { rowsOf } from '../model/model';
import type { IAgentView } from '../rows/agents';
import { consequence } from '../rows/locks';
import type { AgentlabPanel } from '../sidebar/panel';
import { spawnDialog } from '../spawn/dialog';
import type { IAgentlab } from '../tokens';
import { fresh } from '../ui/host';
import { CommandIDs } from './ids';
import { releaseText } from './release';
import { Targets } from './targets';

/** What commands need. */
export interface ICommandsOptions {
  app: JupyterFrontEnd;
  agentlab: IAgentlab;
  panel: AgentlabPanel;
  trans: TranslationBundle;
}

/** Register all commands. What they raise is told as a notification, and raised on. */
export function addCommands({ app, agentlab, panel, trans }: ICommandsOptions): void {
  const { commands } = app;
  const { model } = agentlab;
  const actions = new Actions(agentlab.gateway);
  const targets = new Targets(app, model, trans);

  const show = (): void => app.shell.activateById(panel.id);
  const told = async (work: Promise<unknown>): Promise<void> => {
    try {
      await work;
    } catch (error) {
      const problem = problemIn(error);
      Notification.error([problem.message, problem.next].filter(Boolean).join('\n'), { autoClose: 10_000 });
    }
  };

  commands.addCommand(CommandIDs.showPanel, {
    label: trans.__('Show Agents, Locks and Approvals'),
    caption: trans.__('Show the sidebar of agentlab'),
    icon: agentlabIcon,
    execute: show
  });
  commands.addCommand(CommandIDs.showApprovals, {
    label: trans.__('Answer Approvals'),
    caption: trans.__('Go to the oldest question of an agent'),
    execute: () => {
      show();
      panel.reveal('approvals');
    }
  });
  commands.addCommand(CommandIDs.reconnect, {
    label: trans.__('Connect to the Plane Again'),
    icon: refreshIcon,
    execute: () => model.reconnect()
  });
  commands.addCommand(CommandIDs.spawnAgent, {
    label: args => (args.isLauncher ? trans.__('Agent') : trans.__('Spawn an Agent…')),
    caption: trans.__('Start a coding agent in a folder, under locks'),
    icon: args => (args.isPalette ? undefined : args.isLauncher ? agentlabIcon : addIcon),
    execute: async args => {
      const spawned = await spawnDialog({ agentlab, trans, cwd: typeof args.cwd === 'string' ? args.cwd : '' });
      if (spawned) {
        show();
      }
      return spawned;
    }
  });

  const agentCommand = (
    id: string,
    label: string,
    fits: (agent: IAgentView) => boolean,
    execute: (agent: string, args: ReadonlyPartialJSONObject) => Promise<unknown>
  ): void => {
    commands.addCommand(id, {
      label,
      isEnabled: args => targets.agents(args).some(fits),
      execute: async args => {
        const agent = targets.agent(args) ?? (await targets.chooseAgent(label, fits));
        if (agent !== null) {
          await told(execute(agent, args));
        }
      }
    });
  };
  // As the verbs in its row: nothing is asked of an agent of which only an old row is known.
  const now = (fits: (agent: IAgentView) => boolean) => (agent: IAgentView) => fresh(model.view) && fits(agent);
  const live = now(agent => agent.live);

  agentCommand(CommandIDs.sendText, trans.__('Send Agent a Message…'), live, async (agent, args) => {
    const given = typeof args.text === 'string' ? args.text : null;
    const ask = { title: trans.__('Message to %1', nameOf(agent)), okLabel: trans.__('Send'), label: trans.__('It is taken up when the agent is next ready for it.') };
    const text = given ?? (await InputDialog.getText(ask)).value;
    if (text?.trim()) {
      await actions.send(agent, text);
    }
  });
  agentCommand(CommandIDs.interruptAgent, trans.__('Interrupt Agent'), live, agent => actions.signal(agent, 'interrupt'));
  agentCommand(CommandIDs.pauseAgent, trans.__('Pause Agent'), now(agent => agent.pausable), agent => actions.signal(agent, 'pause'));
  agentCommand(CommandIDs.resumeAgent, trans.__('Resume Agent'), now(agent => agent.status === 'paused'), agent => actions.signal(agent, 'resume'));
  agentCommand(CommandIDs.stopAgent, trans.__('Stop Agent'), live, agent => actions.signal(agent, 'stop'));
  agentCommand(CommandIDs.killAgent, trans.__('Kill Agent…'), live, async agent => {
    const { button } = await showDialog({
      title: trans.__('Kill %1?', nameOf(agent)),
      body: trans.__('Its processes end at once, without a chance to tidy up; then its locks are free. Stop asks first, and kills only if that does not help.'),
      buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: trans.__('Kill') })]
    });
    if (button.accept) {
      await actions.kill(agent);
    }
  });
  agentCommand(CommandIDs.openAgent, trans.__('Open Run of Agent'), () => commands.hasCommand(CommandIDs.openRun), async agent => {
    const [run_id] = agent.split('/');
    if (run_id && commands.hasCommand(CommandIDs.openRun)) {
      await commands.execute(CommandIDs.openRun, { run_id, agent });
    }
  });

  const ticketCommand = (id: string, label: string, held: boolean, execute: (ticket: number) => Promise<unknown>): void => {
    commands.addCommand(id, {
      label,
      isEnabled: args => {
        const row = rowsOf(model.view, 'locks').get(String(targets.ticket(args) ?? ''));
        return fresh(model.view) && row !== undefined && Boolean(row.token) === held;
      },
      execute: async args => {
        const ticket = targets.ticket(args);
        if (ticket !== null) {
          await told(execute(ticket));
        }
      }
    });
  };
  const revoke = async (ticket: number): Promise<void> => {
    const found = consequence(model.view.tables, ticket);
    const held = Boolean(rowsOf(model.view, 'locks').get(String(ticket))?.token);
    if (found === null) {
      return; // it is gone already
    }
    const { title, body, verb } = releaseText(trans, found, held);
    const { value, button } = await InputDialog.getText({ title, label: body, okLabel: verb, placeholder: trans.__('Why? The agent reads it (optional)') });
    if (button.accept) {
      await actions.revoke(ticket, value ?? '');
    }
  };
  ticketCommand(CommandIDs.bumpTicket, trans.__('Move to the Front of the Queue'), false, ticket => actions.bump(ticket));
  ticketCommand(CommandIDs.cancelTicket, trans.__('Take Out of the Queue…'), false, revoke);
  ticketCommand(CommandIDs.releaseTicket, trans.__('Release Lock…'), true, revoke);

  let current = fresh(model.view);
  model.changed.connect((_, view) => {
    if (fresh(view) !== current) {
      current = !current;
      commands.notifyCommandChanged(); // menus look when they are opened, the palette only when it is told
    }
  });
}

function nameOf(agent: string): string {
  return agent.slice(agent.lastIndexOf('/') + 1);
}
