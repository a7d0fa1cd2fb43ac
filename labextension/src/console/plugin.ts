import { ILabShell, ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Clipboard, ICommandPalette, InputDialog, MainAreaWidget, Notification, WidgetTracker } from '@jupyterlab/apputils';
import { ITranslator, type TranslationBundle } from '@jupyterlab/translation';
import type { Widget } from '@lumino/widgets';

import { CommandIDs } from '../commands/ids';
import { agentlabIcon } from '../icons';
import type { IRunListing } from '../model/wire';
import { line } from '../timeline/visible';
import { IAgentlab } from '../tokens';
import { bundleOf } from '../translation';
import { codeOf } from './code';
import type { ComparisonPanel } from './comparison';
import { Place } from './place';
import type { RunStore } from './store';

/** Runs in the main area, or below it: their timeline, what was written, printed and said, at any moment. */
export const consolePlugin: JupyterFrontEndPlugin<void> = {
  id: 'agentlab:console',
  description: 'Runs in the main area: timeline, diffs, output, messages, plan, events, at any moment.',
  autoStart: true,
  requires: [IAgentlab],
  optional: [ITranslator, ILayoutRestorer, ICommandPalette, ILabShell],
  activate: (
    app: JupyterFrontEnd,
    agentlab: IAgentlab,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    lab: ILabShell | null
  ) => {
    const trans = bundleOf(translator);
    const { commands } = app;
    const place = new Place(app.shell, lab);
    const open = new WidgetTracker<MainAreaWidget<Widget>>({ namespace: 'agentlab-console' });
    const compared = new WidgetTracker<MainAreaWidget<Widget>>({ namespace: 'agentlab-comparison' });

    const show = (id: string, tracker: WidgetTracker<MainAreaWidget<Widget>>, make: () => Widget) => {
      const there = tracker.find(widget => widget.id === id);
      if (there) {
        place.show(there);
        return there;
      }
      const content = make();
      const widget = new MainAreaWidget({ content }); // it takes over the title of its content, now and later
      widget.id = id;
      widget.title.icon = agentlabIcon;
      widget.title.closable = true;
      widget.toolbar.hide();
      void tracker.add(widget);
      widget.title.changed.connect(() => void tracker.save(widget));
      if (!place.add(widget)) {
        widget.dispose();
        Notification.error(trans.__('This page has no room for a run. JupyterLab and Notebook have.'), { autoClose: 10_000 });
        return undefined;
      }
      return widget;
    };

    commands.addCommand(CommandIDs.openRun, {
      label: args => (args.name ? trans.__('Open run %1', line(String(args.name), 60)) : trans.__('Open Run…')),
      caption: trans.__('Show a run: its timeline, what was written, printed and said, at any moment'),
      icon: args => (args.isPalette ? undefined : agentlabIcon),
      execute: async args => {
        const run = typeof args.run_id === 'string' ? args.run_id : await chooseRun(agentlab, trans);
        if (!run) {
          return undefined;
        }
        const name = typeof args.name === 'string' ? args.name : (agentlab.model.view.tables.get('runs')?.get(run)?.name as string | undefined);
        const { ConsolePanel } = await import('./panel'); // not before it is needed: a page starts without it
        return show(`agentlab-run-${run}`, open, () => new ConsolePanel({
          run, name, trans, gateway: agentlab.gateway, model: agentlab.model, insertCode: store => void insert(app, store, trans)
        }));
      }
    });
    commands.addCommand(CommandIDs.compareRuns, {
      label: trans.__('Compare Two Runs…'),
      caption: trans.__('Two runs side by side: what they came to and which files they left'),
      icon: args => (args.isPalette ? undefined : agentlabIcon),
      execute: async args => {
        const given = Array.isArray(args.run_ids) ? args.run_ids.map(String) : [];
        const a = given[0] ?? (await chooseRun(agentlab, trans));
        const b = given[1] ?? (a && (await chooseRun(agentlab, trans)));
        if (!a || !b) {
          return undefined;
        }
        const { ComparisonPanel: Panel } = await import('./comparison');
        const id = `agentlab-compare-${a}-${b}`;
        return show(id, compared, () => new Panel({ runs: [a, b], gateway: agentlab.gateway, trans }));
      }
    });
    [CommandIDs.openRun, CommandIDs.compareRuns].forEach(command => palette?.addItem({ command, category: trans.__('Agents'), args: { isPalette: true } }));

    if (restorer) {
      const run = (widget: Widget) => widget.id.replace('agentlab-run-', '');
      void restorer.restore(open, {
        command: CommandIDs.openRun, args: widget => ({ run_id: run(widget), name: widget.title.label }), name: run
      });
      void restorer.restore(compared, {
        command: CommandIDs.compareRuns, args: widget => ({ run_ids: [...(widget.content as ComparisonPanel).runs] }), name: widget => widget.id
      });
    }
  }
};

async function chooseRun(agentlab: IAgentlab, trans: TranslationBundle): Promise<string | null> {
  try {
    const runs = (await agentlab.gateway.request<IRunListing[]>('GET', 'api/runs?limit=200')).filter(run => run.run_id !== 'plane');
    if (!runs.length) {
      Notification.info(trans.__('There is no run yet. Spawn an agent and there will be one.'));
      return null;
    }
    const items = runs.map(run => [run.name, run.status, run.run_id].map(each => line(each ?? '', 60)).join(' · '));
    const { value } = await InputDialog.getItem({ title: trans.__('Which run?'), items, current: 0 });
    return value ? (runs[items.indexOf(value)]?.run_id ?? null) : null;
  } catch (error) {
    Notification.error(line(error instanceof Error ? error.message : String(error), 400));
    return null;
  }
}

/** Into the notebook that was used last, by JupyterLab's own command; where none is open, to the clipboard. */
async function insert(app: JupyterFrontEnd, store: RunStore, trans: TranslationBundle): Promise<void> {
  const code = codeOf(store);
  const notebook = [...app.shell.widgets('main')].some(widget => widget.node.querySelector('.jp-Notebook') !== null || widget.hasClass('jp-NotebookPanel'));
  if (notebook && app.commands.hasCommand('notebook:insert-cell-below')) {
    await app.commands.execute('notebook:insert-cell-below', { activate: false });
    await app.commands.execute('notebook:replace-selection', { text: code, activate: false });
    Notification.success(trans.__('The code is in a new cell of the notebook that was used last.'), { autoClose: 3000 });
  } else {
    Clipboard.copyToSystem(code);
    Notification.info(trans.__('No notebook is open: the code is in the clipboard.'), { autoClose: 5000 });
  }
}
