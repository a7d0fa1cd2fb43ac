import { Layout, orderAxis, spanAt, timeAxis, type IAxis, type Row } from './layout';
import { perPx, RULER, toAxis, type IScale } from './scale';
import type { SpanTable } from './spans';
import { fit, pan, reveal, within, zoom, type IViewport } from './viewport';

/** A place in the log: on either axis. */
export interface IPlace {
  readonly seq: number;
  readonly time: number;
}

const GUTTER = 148;
const NEAR = 4; // px that a click may miss by

/** What of a run is looked at, and what is chosen in it: there is no page in it. Sizes in CSS px. */
export class Sight implements IScale {
  layout: Layout;
  axis: IAxis;
  view: IViewport = { from: 0, to: 1 };
  /** Whether everything is shown, also while it grows. */
  fits = true;
  cursor: IPlace | null = null;
  /** The span that is chosen, and that which is pointed at; -1: none. */
  selected = -1;
  hovered = -1;
  width = 0;
  height = 0;

  constructor(
    public table: SpanTable,
    private readonly _now: () => number
  ) {
    this.layout = new Layout(table);
    this.axis = timeAxis(table);
  }

  /** Look at another table, along the same axis. */
  setTable(table: SpanTable): void {
    this.table = table;
    this.layout = new Layout(table);
    this.selected = this.hovered = -1;
    this._along(this.axis.name);
  }

  setAxis(name: 'time' | 'order'): void {
    this._along(name);
    this.fit();
  }

  private _along(name: 'time' | 'order'): void {
    this.axis = name === 'time' ? timeAxis(this.table) : orderAxis(this.table);
  }

  /** The table has grown, or spans have ended. */
  grow(): void {
    this.layout.take();
    if (this.fits) {
      this.view = this.whole;
    }
  }

  setCursor(place: IPlace | null): void {
    this.cursor = place;
    if (place && !this.fits) {
      const at = this._on(place);
      this.view = this._seen(at, at);
    }
  }

  /** Where the cursor is on the axis; null: at the end. */
  get at(): number | null {
    return this.cursor && this._on(this.cursor);
  }

  private _on(place: IPlace): number {
    return this.axis.name === 'time' ? place.time : place.seq;
  }

  // --- how far, and where ------------------------------------------------------------------------------------

  fit(): void {
    this.fits = true;
    this.view = this.whole;
  }

  zoom(factor: number, at = this._centre): void {
    this.look(zoom(this.view, factor, at, this.whole));
  }

  /** Along by a share of what is seen, `from` where it was. */
  pan(share: number, from = this.view): void {
    this.look(pan(from, share, this.whole));
  }

  look(view: IViewport): void {
    this.view = view;
    this.fits = false;
  }

  /** Have a span on the part of the axis that is seen. Its row, which may still have to be scrolled to. */
  bring(index: number): Row | undefined {
    const row = index < 0 ? undefined : this.layout.rowOf(index);
    if (row) {
      const view = this._seen(this.axis.start(index), Math.min(this.axis.end(index), this.axis.last()));
      if (view !== this.view) {
        this.look(view);
      }
    }
    return row;
  }

  /** What is seen, so that a part of the axis is; the same where it is already. */
  private _seen(from: number, to: number): IViewport {
    const view = reveal(this.view, from, to);
    return view === this.view ? view : within(view, this.whole);
  }

  get now(): number {
    return Math.max(this._now(), this.table.last);
  }

  /** What goes on reaches to here, on the axis. */
  get last(): number {
    return this.axis.name === 'time' ? this.now : this.axis.last();
  }

  get whole(): IViewport {
    return fit(Math.min(this.axis.first(), this.last), this.last);
  }

  /** The middle of what is chosen, where it is seen; else that of what is seen. */
  private get _centre(): number {
    const { from, to } = this.view;
    const index = this.selected;
    if (index >= 0) {
      const middle = (this.axis.start(index) + Math.min(this.axis.end(index), this.axis.last())) / 2;
      if (middle >= from && middle <= to) {
        return middle;
      }
    }
    return (from + to) / 2;
  }

  // --- what is where -----------------------------------------------------------------------------------------

  get gutter(): number {
    return Math.min(GUTTER, Math.round(this.width * 0.3));
  }

  /** The span at a point of the picture, whose lanes are scrolled up by `scroll`; -1: there is none. */
  spanAt(x: number, y: number, scroll: number): number {
    const row = this._rowAt(y, scroll);
    return row && x >= this.gutter ? spanAt(this.axis, row, toAxis(this, x), NEAR * perPx(this)) : -1;
  }

  private _rowAt(y: number, scroll: number): Row | undefined {
    const at = y - RULER + scroll;
    const lane = y < RULER ? undefined : this.layout.lanes.find(each => at >= each.top && at < each.top + each.height);
    return [...(lane?.rows ?? [])].reverse().find(row => row.top <= at + 1);
  }
}
