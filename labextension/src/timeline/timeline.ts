import { spanOf, type SpanTable } from './spans';
import { Layout, orderAxis, spanAt, timeAxis, type IAxis, type Row } from './layout';
import { paint, RULER, toAxis, type IScene } from './paint';
import { CSS } from './style';
import { readTheme, type ITheme } from './theme';
import { fit, pan, reveal, zoom, type IViewport } from './viewport';
import { kindNames, plain, spanLines, type ITrans } from './words';

/** A place in the log: on either axis. */
export interface IPlace {
  readonly seq: number;
  readonly time: number;
}

/** What a host may say and hear. */
export interface ITimelineOptions {
  readonly trans?: ITrans;
  /** A span was chosen. */
  readonly onSelect?: (seq: number) => void;
  /** The cursor was put somewhere: a seq on the axis of order, ms on that of time. */
  readonly onCursor?: (at: number, axis: 'time' | 'order') => void;
  /** False: there is no axis of order, because the host knows no seqs of ends. */
  readonly order?: boolean;
  /** ms since the origin that open spans reach to; without it the last event. */
  readonly now?: () => number;
}

const GUTTER = 148;
const NEAR = 4; // px that a click may miss by

/**
 * The picture of a run: a lane for each agent, what it did, waited for and held. It knows no framework and no server.
 * The host gives it a table of spans, tells it of changes, and hears of selections.
 */
export class Timeline {
  readonly node = document.createElement('div');
  private readonly _view = document.createElement('div');
  private readonly _canvas = document.createElement('canvas');
  private readonly _spacer = document.createElement('div');
  private readonly _tip = document.createElement('div');
  private readonly _said = document.createElement('div');
  private readonly _legend = document.createElement('div');
  private readonly _axisButtons: HTMLButtonElement[] = [];
  private readonly _undo: (() => void)[] = [];
  private readonly _trans: ITrans;
  private _layout: Layout;
  private _axis: IAxis;
  private _viewport: IViewport = { from: 0, to: 1 };
  private _fits = true;
  private _theme: ITheme | null = null;
  private _cursor: IPlace | null = null;
  private _selected = -1;
  private _hovered = -1;
  private _width = 0;
  private _height = 0;
  private _frame = 0;

  constructor(
    private _table: SpanTable,
    private readonly _options: ITimelineOptions = {}
  ) {
    this._trans = _options.trans ?? plain;
    this._layout = new Layout(_table);
    this._axis = timeAxis(_table);
    this._build();
    this._listen();
    this.changed();
  }

  /** Look at another table. */
  setTable(table: SpanTable): void {
    const name = this._axis.name;
    this._table = table;
    this._layout = new Layout(table);
    this._selected = this._hovered = -1;
    this._axis = name === 'time' ? timeAxis(table) : orderAxis(table);
    this.changed();
  }

  /** The table has grown, or spans have ended. */
  changed(): void {
    this._layout.take();
    this._spacer.style.height = `${Math.max(0, this._layout.height + RULER - this._height)}px`;
    if (this._fits) {
      this._viewport = this._whole();
    }
    this._describe();
    this.refresh();
  }

  /** Put the cursor at a place; null: at the end. */
  setCursor(place: IPlace | null): void {
    this._cursor = place;
    if (place && !this._fits) {
      const at = this._axis.name === 'time' ? place.time : place.seq;
      this._viewport = reveal(this._viewport, at, at);
    }
    this.refresh();
  }

  /** Choose the span of an event; null: none. It is brought into sight. */
  select(seq: number | null): void {
    const index = seq === null ? -1 : spanOf(this._table, seq);
    if (index !== this._selected) {
      this._selected = index;
      this._bringIntoSight(index);
      this.refresh();
    }
  }

  /** Bring what is chosen into sight, also where it was chosen already. */
  reveal(): void {
    this._bringIntoSight(this._selected);
    this.refresh();
  }

  /** Which axis: time, or the order of the log. */
  setAxis(name: 'time' | 'order'): void {
    this._axis = name === 'time' ? timeAxis(this._table) : orderAxis(this._table);
    this._axisButtons.forEach(button => button.setAttribute('aria-pressed', String(button.value === name)));
    this.fit();
  }

  /** Show everything, now and while it grows. */
  fit(): void {
    this._fits = true;
    this._viewport = this._whole();
    this.refresh();
  }

  /** Closer (below 1) or farther, around `at` (or the selection, or the middle). */
  zoom(factor: number, at?: number): void {
    this._look(zoom(this._viewport, factor, at ?? this._centre(), this._whole()));
  }

  /** Along by a share of what is seen. */
  pan(share: number): void {
    this._look(pan(this._viewport, share, this._whole()));
  }

  /** Paint anew with the next frame. */
  refresh(): void {
    this._frame ||= requestAnimationFrame(() => {
      this._frame = 0;
      this._paint();
    });
  }

  /** The part of the axis that is on the screen. */
  get viewport(): IViewport {
    return this._viewport;
  }

  dispose(): void {
    cancelAnimationFrame(this._frame);
    this._undo.forEach(each => each());
    this.node.remove();
  }

  // --- the parts ---------------------------------------------------------------------------------------------

  private _build(): void {
    const trans = this._trans;
    const { node } = this;
    node.className = 'agentlab-timeline';
    const style = document.createElement('style');
    style.textContent = CSS;
    const bar = document.createElement('div');
    bar.className = 'agentlab-timeline-bar';
    bar.setAttribute('role', 'toolbar');
    bar.setAttribute('aria-label', trans.__('Timeline'));
    bar.append(
      button('−', trans.__('Zoom out (-)'), () => this.zoom(1.6)),
      button('+', trans.__('Zoom in (+)'), () => this.zoom(1 / 1.6)),
      button(trans.__('Fit'), trans.__('Show everything (0)'), () => this.fit()),
      button('◂', trans.__('Earlier (a)'), () => this.pan(-0.3)),
      button('▸', trans.__('Later (d)'), () => this.pan(0.3))
    );
    for (const [value, label, title] of [
      ['time', trans.__('Time'), trans.__('The axis is time')],
      ['order', trans.__('Order'), trans.__('The axis is the order of the log: idle time takes no room')]
    ] as const) {
      const made = button(label, title, () => this.setAxis(value));
      made.value = value;
      made.setAttribute('aria-pressed', String(value === 'time'));
      this._axisButtons.push(made);
    }
    bar.append(...(this._options.order === false ? [] : this._axisButtons), this._legend);
    this._legend.className = 'agentlab-timeline-legend';
    this._legend.setAttribute('aria-hidden', 'true');
    const { _canvas: canvas, _view: view } = this;
    view.className = 'agentlab-timeline-view';
    canvas.tabIndex = 0;
    canvas.setAttribute('role', 'application');
    canvas.setAttribute('aria-roledescription', trans.__('timeline'));
    this._tip.className = 'agentlab-timeline-tip';
    this._tip.hidden = true;
    this._said.className = 'agentlab-timeline-unseen';
    this._said.setAttribute('aria-live', 'polite');
    view.append(canvas, this._spacer);
    node.append(style, bar, view, this._tip, this._said);
  }

  private _describe(): void {
    const { _table: table } = this;
    this._canvas.setAttribute(
      'aria-label',
      this._trans.__(
        'Timeline of %1 lanes and %2 spans. Arrow keys go from span to span, plus and minus zoom, a and d move, Enter puts the cursor. The table of events says the same in words.',
        table.lanes.length,
        table.length
      )
    );
  }

  private _listen(): void {
    const canvas = this._canvas;
    const on = <K extends keyof HTMLElementEventMap>(
      target: HTMLElement, name: K, call: (event: HTMLElementEventMap[K]) => void, options?: AddEventListenerOptions
    ) => {
      target.addEventListener(name, call, options);
      this._undo.push(() => target.removeEventListener(name, call, options));
    };
    on(canvas, 'wheel', event => this._wheel(event), { passive: false });
    on(canvas, 'pointerdown', event => this._press(event));
    on(canvas, 'pointermove', event => this._hover(event));
    on(canvas, 'pointerleave', () => this._setHovered(-1));
    on(canvas, 'keydown', event => this._key(event));
    on(canvas, 'dblclick', event => this.zoom(0.4, toAxis(this._scene(), event.offsetX)));
    on(canvas, 'focus', () => this.refresh());
    on(canvas, 'blur', () => this.refresh());
    on(this._view, 'scroll', () => this.refresh());
    const resized = new ResizeObserver(() => this._resize());
    resized.observe(this._view);
    this._undo.push(() => resized.disconnect());
    const rethemed = new MutationObserver(() => {
      this._theme = null;
      this.refresh();
    });
    rethemed.observe(document.body, { attributes: true });
    this._undo.push(() => rethemed.disconnect());
  }

  private _resize(): void {
    this._width = this._view.clientWidth;
    this._height = this._view.clientHeight;
    this._theme = null;
    this._spacer.style.height = `${Math.max(0, this._layout.height + RULER - this._height)}px`;
    this.refresh();
  }

  // --- painting ----------------------------------------------------------------------------------------------

  private _paint(): void {
    const { _canvas: canvas, _width: width, _height: height } = this;
    const context = width && height ? canvas.getContext('2d') : null;
    if (!context) {
      return;
    }
    if (!this._theme) {
      this._theme = readTheme(this.node);
      this._drawLegend(this._theme);
    }
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w || canvas.height !== h) {
      canvas.width = w;
      canvas.height = h;
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint(context, this._scene());
  }

  private _scene(): IScene {
    const { _axis: axis, _cursor: cursor, _table: table } = this;
    const trans = this._trans;
    return {
      table, axis, axisName: axis.name === 'time' ? trans.__('time') : trans.__('order of the log'), layout: this._layout, view: this._viewport, theme: (this._theme ??= readTheme(this.node)),
      width: this._width, height: this._height, gutter: this._gutter(), scroll: this._view.scrollTop,
      cursor: cursor && (axis.name === 'time' ? cursor.time : cursor.seq),
      selected: this._selected, hovered: this._hovered,
      now: axis.name === 'time' ? this._now() : axis.last(),
      focused: document.activeElement === this._canvas && this._canvas.matches(':focus-visible')
    };
  }

  private _drawLegend(theme: ITheme): void {
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

  // --- looking -----------------------------------------------------------------------------------------------

  private _now(): number {
    return Math.max(this._options.now?.() ?? 0, this._table.last);
  }

  private _whole(): IViewport {
    const last = this._axis.name === 'time' ? this._now() : this._axis.last();
    return fit(Math.min(this._axis.first(), last), last);
  }

  private _gutter(): number {
    return Math.min(GUTTER, Math.round(this._width * 0.3));
  }

  private _centre(): number {
    const { from, to } = this._viewport;
    const index = this._selected;
    if (index >= 0) {
      const middle = (this._axis.start(index) + Math.min(this._axis.end(index), this._axis.last())) / 2;
      if (middle >= from && middle <= to) {
        return middle;
      }
    }
    return (from + to) / 2;
  }

  private _look(view: IViewport): void {
    this._viewport = view;
    this._fits = false;
    this.refresh();
  }

  private _bringIntoSight(index: number): void {
    const row = index < 0 ? undefined : this._layout.rowOf(index);
    if (!row) {
      return;
    }
    const end = Math.min(this._axis.end(index), this._axis.last());
    const view = reveal(this._viewport, this._axis.start(index), end);
    if (view !== this._viewport) {
      this._look(view);
    }
    const { scrollTop } = this._view;
    if (row.top < scrollTop || row.top + 30 > scrollTop + this._height - RULER) {
      this._view.scrollTop = Math.max(0, row.top - (this._height - RULER) / 2);
    }
  }

  // --- hands -------------------------------------------------------------------------------------------------

  private _wheel(event: WheelEvent): void {
    const scene = this._scene();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoom(Math.exp(event.deltaY * unit * 0.004), toAxis(scene, event.offsetX));
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      this.pan(((event.deltaX || event.deltaY) * unit) / Math.max(scene.width - scene.gutter, 1));
    } // else the lanes scroll, or the page does
  }

  private _press(event: PointerEvent): void {
    if (event.button !== 0) {
      return;
    }
    const { offsetX: x0, offsetY: y0, clientX } = event;
    const scrubs = y0 < RULER && x0 >= this._gutter();
    const begin = this._viewport;
    const perPx = (begin.to - begin.from) / Math.max(this._width - this._gutter(), 1);
    let moved = false;
    this._canvas.setPointerCapture(event.pointerId);
    const move = (to: PointerEvent) => {
      moved ||= Math.abs(to.clientX - clientX) > 3;
      if (scrubs) {
        this._putCursor(toAxis(this._scene(), x0 + to.clientX - clientX));
      } else if (moved) {
        this._setHovered(-1);
        this._look(pan(begin, (-(to.clientX - clientX) * perPx) / (begin.to - begin.from), this._whole()));
      }
    };
    const up = () => {
      this._canvas.removeEventListener('pointermove', move);
      this._canvas.removeEventListener('pointerup', up);
      this._canvas.removeEventListener('pointercancel', up);
      if (scrubs && !moved) {
        this._putCursor(toAxis(this._scene(), x0));
      } else if (!moved) {
        this._choose(this._spanAt(x0, y0));
      }
    };
    this._canvas.addEventListener('pointermove', move);
    this._canvas.addEventListener('pointerup', up);
    this._canvas.addEventListener('pointercancel', up);
  }

  private _putCursor(at: number): void {
    this._options.onCursor?.(Math.min(Math.max(at, this._axis.first()), this._axis.last()), this._axis.name);
  }

  private _choose(index: number): void {
    if (index < 0) {
      return;
    }
    this._selected = index;
    this.refresh();
    this._said.textContent = this._lines(index).join(', ');
    this._options.onSelect?.(this._table.seq.at(index));
  }

  private _lines(index: number): string[] {
    return spanLines(this._table, index, this._now(), this._trans);
  }

  private _spanAt(x: number, y: number): number {
    const scene = this._scene();
    const row = this._rowAt(y);
    if (!row || x < scene.gutter) {
      return -1;
    }
    const slack = NEAR * ((scene.view.to - scene.view.from) / Math.max(scene.width - scene.gutter, 1));
    return spanAt(this._axis, row, toAxis(scene, x), slack);
  }

  private _rowAt(y: number): Row | undefined {
    const at = y - RULER + this._view.scrollTop;
    const lane = y < RULER ? undefined : this._layout.lanes.find(each => at >= each.top && at < each.top + each.height);
    return [...(lane?.rows ?? [])].reverse().find(row => row.top <= at + 1);
  }

  private _hover(event: PointerEvent): void {
    if (event.buttons) {
      return;
    }
    const { offsetX: x, offsetY: y } = event;
    this._canvas.style.cursor = y < RULER ? 'col-resize' : 'default';
    const index = this._spanAt(x, y);
    this._setHovered(index);
    if (index >= 0) {
      const tip = this._tip;
      tip.textContent = this._lines(index).join('\n');
      tip.hidden = false;
      const top = this._view.offsetTop + y + 18;
      tip.style.left = `${Math.max(4, Math.min(x + 12, this._width - tip.offsetWidth - 8))}px`;
      tip.style.top = `${top + tip.offsetHeight > this.node.clientHeight ? Math.max(2, top - 30 - tip.offsetHeight) : top}px`;
    }
  }

  private _setHovered(index: number): void {
    if (index < 0) {
      this._tip.hidden = true;
    }
    if (index !== this._hovered) {
      this._hovered = index;
      this.refresh();
    }
  }

  // --- keys --------------------------------------------------------------------------------------------------

  private _key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const keys: Record<string, () => void> = {
      '+': () => this.zoom(1 / 1.6), '=': () => this.zoom(1 / 1.6), w: () => this.zoom(1 / 1.6),
      '-': () => this.zoom(1.6), s: () => this.zoom(1.6),
      a: () => this.pan(-0.2), d: () => this.pan(0.2), '0': () => this.fit(), f: () => this.fit(),
      ArrowRight: () => this._step(1), ArrowLeft: () => this._step(-1),
      ArrowDown: () => this._stepRow(1), ArrowUp: () => this._stepRow(-1),
      Home: () => this._choose(this._edge(true)), End: () => this._choose(this._edge(false)),
      Enter: () => this._selected >= 0 && this._putCursor(this._axis.start(this._selected))
    };
    const act = keys[event.key];
    if (act) {
      event.preventDefault();
      event.stopPropagation();
      act();
      this._bringIntoSight(this._selected);
    }
  }

  private _edge(first: boolean): number {
    const row = (this._layout.rowOf(this._selected) ?? this._rows()[0])?.spans;
    return row?.length ? row.at(first ? 0 : row.length - 1) : -1;
  }

  private _rows(): Row[] {
    return this._layout.lanes.flatMap(lane => lane.rows);
  }

  /** To the next span of the row. */
  private _step(by: number): void {
    const row = this._layout.rowOf(this._selected);
    if (!row) {
      return this._choose(this._edge(by > 0));
    }
    for (let place = 0; place < row.spans.length; place++) {
      if (row.spans.at(place) === this._selected) {
        const next = place + by;
        return next >= 0 && next < row.spans.length ? this._choose(row.spans.at(next)) : undefined;
      }
    }
  }

  /** To the nearest span of the next row. */
  private _stepRow(by: number): void {
    const rows = this._rows();
    const row = this._layout.rowOf(this._selected);
    const next = row ? rows[rows.indexOf(row) + by] : rows[0];
    if (next?.spans.length) {
      const at = row ? this._axis.start(this._selected) : this._viewport.from;
      const nearest = spanAt(this._axis, next, at, Infinity);
      this._choose(nearest >= 0 ? nearest : next.spans.at(0));
    }
  }
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
