import { ReactWidget, SidePanel, Toolbar } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import type { AccordionPanel } from '@lumino/widgets';
import React from 'react';

import { CommandIDs } from '../commands/ids';
import { agentlabIcon } from '../icons';
import { rowsOf } from '../model/model';
import { approvals } from '../rows/approvals';
import { totals } from '../rows/totals';
import type { IView } from '../tokens';
import { Host, fresh, type IHost } from '../ui/host';
import { IconButton } from '../ui/parts';
import { Agents } from './agents';
import { Announcer } from './announcer';
import { Approvals } from './approvals';
import { LinkBanner } from './link';
import { Locks } from './locks';
import { Runs } from './runs';
import { Runtimes } from './runtimes';

const BADGE = 'agentlab-badge'; // becomes `data-agentlab-badge`

const INSIDE = ['[data-row][tabindex="0"]', '[tabindex="0"], button:not(:disabled), input:not(:disabled)']; // where the keyboard begins

const SIZES = [5, 5, 4, 2, 3]; // of the sections, to each other

/** A React view below the host. */
export class HostWidget extends ReactWidget {
  private _host: IHost;

  constructor(
    host: IHost,
    private readonly _view: JSX.Element
  ) {
    super();
    this._host = host;
  }

  /** The host is another one: settings have changed. */
  set host(host: IHost) {
    this._host = host;
    this.update();
  }

  protected render(): JSX.Element {
    return <Host.Provider value={this._host}>{this._view}</Host.Provider>;
  }
}

/** A part of the sidebar that folds. */
export class Section extends HostWidget {
  readonly toolbar = new Toolbar();

  constructor(host: IHost, name: string, label: string, view: JSX.Element) {
    super(host, view);
    this.addClass('jp-agentlab-section');
    this.addClass(`jp-agentlab-section-${name}`);
    this.title.label = label;
    this.node.setAttribute('role', 'group');
    this.node.setAttribute('aria-label', label);
  }

  /** A button in the title. */
  addTool(host: IHost, glyph: string, label: string, onClick: () => void): void {
    this.toolbar.addItem(glyph, new HostWidget(host, <IconButton glyph={glyph} label={label} onClick={onClick} />));
  }
}

/** The sidebar: what waits for an answer first, then agents, locks, runtimes, runs. */
export class AgentlabPanel extends SidePanel {
  private readonly _sections: { section: Section; label: string; count: (view: IView) => number }[];
  private readonly _banner: HostWidget;
  private _sizes: readonly number[] = SIZES;
  private _host: IHost;

  constructor(host: IHost) {
    super();
    const { trans } = host;
    this._host = host;
    this.id = 'agentlab-panel';
    this.addClass('jp-agentlab-panel');
    this.title.icon = agentlabIcon;
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'agentlab');
    this._banner = new HostWidget(
      host,
      (
        <>
          <LinkBanner />
          <Announcer />
        </>
      )
    );
    this._banner.addClass('jp-agentlab-header');
    this.header.addWidget(this._banner);
    const section = (name: string, label: string, view: JSX.Element, count: (view: IView) => number): Section => {
      const made = new Section(host, name, label, view);
      this._sections.push({ section: made, label, count });
      this.addWidget(made);
      return made;
    };
    this._sections = [];
    const agents = section('agents', trans.__('Agents'), <Agents />, view => totals(view.tables).agents.live);
    agents.addTool(host, 'add', trans.__('Spawn an agent'), () => void host.run(CommandIDs.spawnAgent));
    section('approvals', trans.__('Approvals'), <Approvals />, view => approvals(view.tables, 0).open.length);
    section('locks', trans.__('Locks and queues'), <Locks />, view => rowsOf(view, 'locks').size);
    section('runtimes', trans.__('Runtimes'), <Runtimes />, view => rowsOf(view, 'runtimes').size);
    section('runs', trans.__('Runs'), <Runs />, () => 0);
    const content = this.content as AccordionPanel;
    content.expansionToggled.connect(this._share, this);
    content.handleMoved.connect(this._dragged, this);
    this._share();
    this._title();
    host.agentlab.model.changed.connect(this._changed, this);
    this._changed();
  }

  /** The host is another one: settings have changed. */
  set host(host: IHost) {
    this._host = host;
    this._banner.host = host;
    for (const { section } of this._sections) {
      section.host = host;
    }
  }

  /** Unfold a section and put the focus into it. */
  reveal(name: string): void {
    const content = this.content as AccordionPanel;
    const at = this._sections.findIndex(({ section }) => section.hasClass(`jp-agentlab-section-${name}`));
    if (at >= 0) {
      content.expand(at);
      const { section } = this._sections[at]!;
      section.node.querySelector<HTMLElement>('button, input, [tabindex="0"]')?.focus();
    }
  }

  /** Who comes here by a command or a key goes on by keys: in the first section that is open and has something in it. */
  protected onActivateRequest(msg: Message): void {
    super.onActivateRequest(msg);
    if (this.node.contains(document.activeElement)) {
      return;
    }
    const opened = this._sections.filter(({ section }) => section.isVisible);
    const found = INSIDE.flatMap(inside => opened.map(({ section }) => section.node.querySelector<HTMLElement>(inside))).find(Boolean);
    (found ?? this.node.querySelector<HTMLElement>('.lm-AccordionPanel-title[tabindex="0"]'))?.focus();
  }

  /** The room is shared by the sections that are open. Lumino gives it to the last of them, and not back when others open again. */
  private _share(): void {
    (this.content as AccordionPanel).setRelativeSizes(this._sections.map(({ section }, at) => (section.isHidden ? 0 : this._sizes[at]!)));
  }

  /** What a person drew is how it is shared from now on. */
  private _dragged(): void {
    const sizes = (this.content as AccordionPanel).relativeSizes();
    const open = this._sections.map(({ section }) => !section.isHidden);
    const sum = (of: readonly number[]): number => of.reduce((all, one, at) => all + (open[at] ? one : 0), 0);
    const scale = sum(this._sizes) / (sum(sizes) || 1);
    this._sizes = this._sizes.map((size, at) => (open[at] ? sizes[at]! * scale : size));
  }

  dispose(): void {
    this._host.agentlab.model.changed.disconnect(this._changed, this);
    super.dispose();
  }

  private _changed(): void {
    const { trans, agentlab } = this._host;
    const { view } = agentlab.model;
    for (const { section, label, count } of this._sections) {
      const n = count(view);
      const title = n ? `${label} (${n})` : label;
      if (section.title.label !== title) {
        section.title.label = title;
      }
    }
    this.toggleClass('jp-mod-stale', !fresh(view));
    const old = !fresh(view) && view.asOf !== null;
    const label = old ? trans.__('agentlab, as of %1', new Date(view.asOf!).toLocaleTimeString()) : 'agentlab';
    if (this.node.getAttribute('aria-label') !== label) {
      this.node.setAttribute('aria-label', label); // it is pale for those who see it
    }
    this.toggleClass('jp-mod-none', view.asOf === null); // nothing is known, and so nothing is said to be empty
    this._title();
  }

  private _title(): void {
    const { trans, agentlab } = this._host;
    const asked = approvals(agentlab.model.view.tables, 0).open.length;
    const badge = asked > 99 ? '99+' : asked ? String(asked) : '';
    if (this.title.dataset[BADGE] !== badge) {
      this.title.dataset = { [BADGE]: badge };
      this.title.caption = asked
        ? trans._n('agentlab: %1 question waits for an answer', 'agentlab: %1 questions wait for an answer', asked)
        : trans.__('agentlab: agents, locks, approvals, runtimes, runs');
    }
  }
}
