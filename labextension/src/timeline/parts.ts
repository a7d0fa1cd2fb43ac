import { CSS } from './style';
import type { ITheme } from './theme';
import { kindNames, type ITrans } from './words';

/** What the buttons of the bar do. */
export interface IActs {
  zoom(factor: number): void;
  pan(share: number): void;
  fit(): void;
  setAxis(name: 'time' | 'order'): void;
}

/** The elements of a timeline: the bar with its legend, the canvas over what scrolls, the tooltip, and what is said aloud. */
export class Parts {
  readonly node = part('div', 'agentlab-timeline');
  readonly view = part('div', 'agentlab-timeline-view');
  readonly canvas = document.createElement('canvas');
  private readonly _spacer = document.createElement('div');
  private readonly _tip = part('div', 'agentlab-timeline-tip');
  private readonly _said = part('div', 'agentlab-timeline-unseen');
  private readonly _legend = part('div', 'agentlab-timeline-legend');
  private readonly _axes: HTMLButtonElement[];

  /** `order`: whether there is an axis of order. */
  constructor(
    private readonly _trans: ITrans,
    acts: IActs,
    order: boolean
  ) {
    const trans = _trans;
    this._axes = [
      axis('time', trans.__('Time'), trans.__('The axis is time'), acts),
      axis('order', trans.__('Order'), trans.__('The axis is the order of the log: idle time takes no room'), acts)
    ];
    this.pressAxis('time');
    const bar = part('div', 'agentlab-timeline-bar');
    bar.setAttribute('role', 'toolbar');
    bar.setAttribute('aria-label', trans.__('Timeline'));
    bar.append(
      button('−', trans.__('Zoom out (-)'), () => acts.zoom(1.6)),
      button('+', trans.__('Zoom in (+)'), () => acts.zoom(1 / 1.6)),
      button(trans.__('Fit'), trans.__('Show everything (0)'), () => acts.fit()),
      button('◂', trans.__('Earlier (a)'), () => acts.pan(-0.3)),
      button('▸', trans.__('Later (d)'), () => acts.pan(0.3)),
      ...(order ? this._axes : []),
      this._legend
    );
    this._legend.setAttribute('aria-hidden', 'true');
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute('role', 'application');
    this.canvas.setAttribute('aria-roledescription', trans.__('timeline'));
    this._tip.hidden = true;
    this._said.setAttribute('aria-live', 'polite');
    const style = document.createElement('style');
    style.textContent = CSS;
    this.view.append(this.canvas, this._spacer);
    this.node.append(style, bar, this.view, this._tip, this._said);
  }

  /** Which axis is shown as chosen. */
  pressAxis(name: 'time' | 'order'): void {
    this._axes.forEach(each => each.setAttribute('aria-pressed', String(each.value === name)));
  }

  /** What the picture is, for those who do not see it. */
  describe(lanes: number, spans: number): void {
    this.canvas.setAttribute(
      'aria-label',
      this._trans.__(
        'Timeline of %1 lanes and %2 spans. Arrow keys go from span to span, plus and minus zoom, a and d move, Enter puts the cursor. The table of events says the same in words.',
        lanes,
        spans
      )
    );
  }

  say(text: string): void {
    this._said.textContent = text;
  }

  /** How much there is to scroll beyond what is seen, px. */
  scrollBy(height: number): void {
    this._spacer.style.height = `${Math.max(0, height)}px`;
  }

  hideTip(): void {
    this._tip.hidden = true;
  }

  /** The tooltip beside a point of the picture, within the node. */
  showTip(text: string, x: number, y: number): void {
    const tip = this._tip;
    tip.textContent = text;
    tip.hidden = false;
    const top = this.view.offsetTop + y + 18;
    tip.style.left = `${Math.max(4, Math.min(x + 12, this.view.clientWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${top + tip.offsetHeight > this.node.clientHeight ? Math.max(2, top - 30 - tip.offsetHeight) : top}px`;
  }

  drawLegend(theme: ITheme): void {
    const names = kindNames(this._trans);
    const shown = [0, 1, 2, 3, 4, 5];
    this._legend.replaceChildren(
      ...shown.map(kind => {
        const item = document.createElement('span');
        const swatch = document.createElement('i');
        const stripes = theme.dark ? 'rgba(0,0,0,.5)' : 'rgba(255,255,255,.65)';
        swatch.style.cssText = `width:14px;height:10px;border-radius:2px;background:${theme.kinds[kind]}`;
        if (kind === 3) {
          swatch.style.backgroundImage = `repeating-linear-gradient(135deg, transparent 0 2px, ${stripes} 2px 3.5px)`;
        } else if (kind === 5) {
          swatch.style.backgroundImage = `radial-gradient(${stripes} 1px, transparent 1.3px)`;
          swatch.style.backgroundSize = '4px 4px';
        }
        item.append(swatch, names[kind]!);
        return item;
      })
    );
  }
}

function part(tag: 'div', name: string): HTMLDivElement {
  const made = document.createElement(tag);
  made.className = name;
  return made;
}

function axis(value: 'time' | 'order', label: string, title: string, acts: IActs): HTMLButtonElement {
  const made = button(label, title, () => acts.setAxis(value));
  made.value = value;
  return made;
}

function button(label: string, title: string, act: () => void): HTMLButtonElement {
  const made = document.createElement('button');
  made.type = 'button';
  made.textContent = label;
  made.title = title;
  made.setAttribute('aria-label', title);
  made.addEventListener('click', act);
  return made;
}
