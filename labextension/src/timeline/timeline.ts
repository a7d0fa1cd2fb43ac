import { listen, type IHandled } from './hands';
import { paint } from './paint';
import { Parts } from './parts';
import { RULER } from './scale';
import { Sight, type IPlace } from './sight';
import { spanOf, type SpanTable } from './spans';
import { readTheme, type ITheme } from './theme';
import type { IViewport } from './viewport';
import { plain, spanLines, type ITrans } from './words';

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

/**
 * The picture of a run: a lane for each agent, what it did, waited for and held. It knows no framework and no server.
 * The host gives it a table of spans, tells it of changes, and hears of selections.
 */
export class Timeline {
  private readonly _trans: ITrans;
  private readonly _sight: Sight;
  private readonly _parts: Parts;
  private readonly _over = new AbortController();
  private _theme: ITheme | null = null;
  private _frame = 0;

  constructor(
    table: SpanTable,
    private readonly _options: ITimelineOptions = {}
  ) {
    this._trans = _options.trans ?? plain;
    this._sight = new Sight(table, () => _options.now?.() ?? 0);
    this._parts = new Parts(this._trans, this, _options.order !== false);
    this._listen();
    this.changed();
  }

  /** What the host puts on its page. */
  get node(): HTMLElement {
    return this._parts.node;
  }

  /** Look at another table. */
  setTable(table: SpanTable): void {
    this._sight.setTable(table);
    this.changed();
  }

  /** The table has grown, or spans have ended. */
  changed(): void {
    const { _sight: sight, _parts: parts } = this;
    sight.grow();
    parts.scrollBy(sight.layout.height + RULER - sight.height);
    parts.describe(sight.table.lanes.length, sight.table.length);
    this.refresh();
  }

  /** Put the cursor at a place; null: at the end. */
  setCursor(place: IPlace | null): void {
    this._sight.setCursor(place);
    this.refresh();
  }

  /** Choose the span of an event; null: none. It is brought into sight. */
  select(seq: number | null): void {
    const index = seq === null ? -1 : spanOf(this._sight.table, seq);
    if (index !== this._sight.selected) {
      this._sight.selected = index;
      this.reveal();
    }
  }

  /** Bring what is chosen into sight, also where it was chosen already. */
  reveal(): void {
    const { _sight: sight, _parts: parts } = this;
    const row = sight.bring(sight.selected);
    const { scrollTop } = parts.view;
    if (row && (row.top < scrollTop || row.top + 30 > scrollTop + sight.height - RULER)) {
      parts.view.scrollTop = Math.max(0, row.top - (sight.height - RULER) / 2);
    }
    this.refresh();
  }

  /** Which axis: time, or the order of the log. */
  setAxis(name: 'time' | 'order'): void {
    this._sight.setAxis(name);
    this._parts.pressAxis(name);
    this.refresh();
  }

  /** Show everything, now and while it grows. */
  fit(): void {
    this._sight.fit();
    this.refresh();
  }

  /** Closer (below 1) or farther, around `at` (or the selection, or the middle). */
  zoom(factor: number, at?: number): void {
    this._sight.zoom(factor, at);
    this.refresh();
  }

  /** Along by a share of what is seen, or was. */
  pan(share: number, from?: IViewport): void {
    this._sight.pan(share, from);
    this.refresh();
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
    return this._sight.view;
  }

  dispose(): void {
    cancelAnimationFrame(this._frame);
    this._over.abort();
    this.node.remove();
  }

  // --- what it hears -----------------------------------------------------------------------------------------

  private _listen(): void {
    const { _parts: parts, _over: over } = this;
    const { signal } = over;
    listen(parts.canvas, this._handled(), signal);
    const again = (): void => this.refresh();
    parts.canvas.addEventListener('focus', again, { signal });
    parts.canvas.addEventListener('blur', again, { signal });
    parts.view.addEventListener('scroll', again, { signal });
    const resized = new ResizeObserver(() => this._resize());
    resized.observe(parts.view);
    const rethemed = new MutationObserver(() => {
      this._theme = null;
      this.refresh();
    });
    rethemed.observe(document.body, { attributes: true });
    signal.addEventListener('abort', () => [resized, rethemed].forEach(each => each.disconnect()));
  }

  private _handled(): IHandled {
    const { _sight: sight, _parts: parts } = this;
    return {
      sight,
      get scroll() {
        return parts.view.scrollTop;
      },
      zoom: (factor, at) => this.zoom(factor, at),
      pan: (share, from) => this.pan(share, from),
      fit: () => this.fit(),
      choose: index => this._choose(index),
      putCursor: at => this._options.onCursor?.(Math.min(Math.max(at, sight.axis.first()), sight.axis.last()), sight.axis.name),
      point: (index, x, y) => this._point(index, x, y),
      bringIntoSight: () => this.reveal()
    };
  }

  private _choose(index: number): void {
    if (index < 0) {
      return;
    }
    this._sight.selected = index;
    this.refresh();
    this._parts.say(this._lines(index).join(', '));
    this._options.onSelect?.(this._sight.table.seq.at(index));
  }

  private _point(index: number, x: number, y: number): void {
    if (index !== this._sight.hovered) {
      this._sight.hovered = index;
      this.refresh();
    }
    if (index < 0) {
      this._parts.hideTip();
    } else {
      this._parts.showTip(this._lines(index).join('\n'), x, y);
    }
  }

  private _lines(index: number): string[] {
    return spanLines(this._sight.table, index, this._sight.now, this._trans);
  }

  private _resize(): void {
    const { _sight: sight, _parts: parts } = this;
    sight.width = parts.view.clientWidth;
    sight.height = parts.view.clientHeight;
    this._theme = null;
    parts.scrollBy(sight.layout.height + RULER - sight.height);
    this.refresh();
  }

  // --- painting ----------------------------------------------------------------------------------------------

  private _paint(): void {
    const { _sight: sight, _parts: parts, _trans: trans } = this;
    const { canvas } = parts;
    const { width, height, axis } = sight;
    const context = width && height ? canvas.getContext('2d') : null;
    if (!context) {
      return;
    }
    if (!this._theme) {
      this._theme = readTheme(this.node);
      parts.drawLegend(this._theme);
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
    paint(context, {
      table: sight.table, layout: sight.layout, axis, axisName: axis.name === 'time' ? trans.__('time') : trans.__('order of the log'),
      view: sight.view, theme: this._theme, width, height, gutter: sight.gutter, scroll: parts.view.scrollTop,
      cursor: sight.at, selected: sight.selected, hovered: sight.hovered, now: sight.last,
      focused: document.activeElement === canvas && canvas.matches(':focus-visible')
    });
  }
}
