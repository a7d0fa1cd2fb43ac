import type { ILabShell, JupyterFrontEnd } from '@jupyterlab/application';
import { SplitPanel, TabPanel, type Widget } from '@lumino/widgets';

const ROOM = 240; // px; of less, nobody sees a run

/** Where a page has room for runs: JupyterLab in its main area; Notebook 7, whose main area has its one document and takes nothing else, below that. */
export class Place {
  constructor(
    private readonly _shell: JupyterFrontEnd.IShell,
    private readonly _lab: ILabShell | null
  ) {}

  /** Put it there, before all others. False: this page has no such area. */
  add(widget: Widget): boolean {
    void this._shell.add(widget, this._lab ? 'main' : 'down');
    this.show(widget);
    return this._lab !== null || widget.parent !== null; // JupyterLab may take it a little later, as its layout is restored
  }

  /** Bring what is there to the front. */
  show(widget: Widget): void {
    this._shell.activateById(widget.id);
    const tabs = widget.parent?.parent;
    if (!this._lab && tabs instanceof TabPanel) {
      unfold(tabs, widget);
    }
  }
}

/** What Notebook leaves to us: which of the tabs is in front, and that they have more than the height of their titles. */
function unfold(tabs: TabPanel, widget: Widget): void {
  tabs.currentWidget = widget;
  const split = tabs.parent;
  if (split instanceof SplitPanel && tabs.stackedPanel.node.clientHeight < ROOM) {
    split.setRelativeSizes(split.widgets.map(() => 1));
  }
}
