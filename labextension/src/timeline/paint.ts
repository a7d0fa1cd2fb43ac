import { HEIGHT, Track, visible, type IAxis, type ILane, type Layout, type Row } from './layout';
import { perPx, RULER, toX, type IScale } from './scale';
import { Fate, Kind, type SpanTable } from './spans';
import type { ITheme } from './theme';
import { line } from './visible';
import { ticks, timeText } from './viewport';

/** Everything that one picture is made of. Sizes in CSS px. */
export interface IScene extends IScale {
  readonly table: SpanTable;
  readonly layout: Layout;
  readonly axis: IAxis;
  /** What the axis counts, in a word for people. */
  readonly axisName: string;
  readonly theme: ITheme;
  readonly height: number;
  /** px that the lanes are scrolled up. */
  readonly scroll: number;
  /** Where the cursor is on the axis; null: at the end. */
  readonly cursor: number | null;
  readonly selected: number;
  readonly hovered: number;
  /** Where what goes on is drawn to. */
  readonly now: number;
  readonly focused: boolean;
}

/** Draw a scene. Only what is on the screen is looked at, and at most about one box for each px of each row is drawn. */
export function paint(context: CanvasRenderingContext2D, scene: IScene): void {
  const { theme, width, height, gutter } = scene;
  const patterns = new Patterns(context, theme);
  context.fillStyle = theme.background;
  context.fillRect(0, 0, width, height);
  context.save();
  context.beginPath();
  context.rect(0, RULER, width, height - RULER);
  context.clip();
  const lanes = scene.layout.lanes.filter(
    lane => lane.top + lane.height >= scene.scroll && lane.top - scene.scroll <= height - RULER
  );
  lanes.forEach(lane => paintLane(context, scene, lane));
  context.save();
  context.beginPath();
  context.rect(gutter, RULER, width - gutter, height - RULER);
  context.clip();
  paintGrid(context, scene);
  for (const lane of lanes) {
    lane.rows.forEach(row => paintRow(context, scene, row, patterns));
  }
  paintFuture(context, scene);
  outline(context, scene, scene.hovered, theme.faint, 1);
  outline(context, scene, scene.selected, theme.accent, 2);
  context.restore();
  lanes.forEach(lane => paintName(context, scene, lane));
  context.restore();
  paintRuler(context, scene);
}

function paintLane(context: CanvasRenderingContext2D, scene: IScene, lane: ILane): void {
  const y = RULER + lane.top - scene.scroll;
  context.fillStyle = scene.theme.line;
  context.fillRect(0, Math.round(y + lane.height) - 1, scene.width, 1);
}

function paintName(context: CanvasRenderingContext2D, scene: IScene, lane: ILane): void {
  const { theme, gutter } = scene;
  const y = RULER + lane.top - scene.scroll;
  context.fillStyle = theme.background;
  context.fillRect(0, y, gutter - 1, lane.height - 1);
  context.fillStyle = theme.line;
  context.fillRect(gutter - 1, y, 1, lane.height);
  context.font = `${lane.indent ? '' : '600 '}12px ${theme.font}`;
  context.fillStyle = lane.indent ? theme.faint : theme.text;
  context.textBaseline = 'middle';
  const left = 10 + lane.indent * 12;
  const name = line(lane.indent ? `└ ${lane.name.slice(lane.name.lastIndexOf('/') + 1)}` : lane.name, 80);
  context.fillText(cut(context, name, gutter - left - 6), left, Math.max(y + 15, Math.min(y + lane.height / 2, y + 30)));
}

function paintGrid(context: CanvasRenderingContext2D, scene: IScene): void {
  const { view, width, gutter, theme } = scene;
  context.fillStyle = theme.line;
  context.globalAlpha = 0.45;
  for (const mark of ticks(view, width - gutter).marks) {
    context.fillRect(Math.round(toX(scene, mark)), RULER, 1, scene.height);
  }
  context.globalAlpha = 1;
}

function paintRuler(context: CanvasRenderingContext2D, scene: IScene): void {
  const { view, width, gutter, theme, axis } = scene;
  context.fillStyle = theme.background;
  context.fillRect(0, 0, width, RULER);
  context.fillStyle = theme.line;
  context.fillRect(0, RULER - 1, width, 1);
  context.font = `11px ${theme.font}`;
  context.textBaseline = 'middle';
  context.fillStyle = theme.faint;
  context.save();
  context.beginPath();
  context.rect(gutter, 0, width - gutter, RULER);
  context.clip();
  const { step, marks } = ticks(view, width - gutter);
  for (const mark of marks) {
    const x = Math.round(toX(scene, mark));
    context.fillRect(x, RULER - 6, 1, 5);
    context.fillText(axis.name === 'time' ? timeText(mark, step) : mark >= 0 && step >= 1 ? `#${Math.round(mark)}` : '', x + 4, RULER / 2);
  }
  const at = scene.cursor;
  if (at !== null) {
    const x = Math.round(toX(scene, at));
    context.fillStyle = theme.accent;
    context.beginPath();
    context.moveTo(x - 6, 2);
    context.lineTo(x + 7, 2);
    context.lineTo(x + 0.5, 14);
    context.fill();
  }
  context.restore();
  context.fillStyle = theme.faint;
  context.fillText(scene.axisName, 10, RULER / 2);
  if (scene.focused) {
    context.strokeStyle = theme.accent;
    context.lineWidth = 2;
    context.strokeRect(1, 1, width - 2, scene.height - 2);
  }
}

/** What comes after the cursor has not happened yet: it is there, but pale. */
function paintFuture(context: CanvasRenderingContext2D, scene: IScene): void {
  if (scene.cursor === null) {
    return;
  }
  const x = Math.round(toX(scene, scene.cursor));
  context.fillStyle = scene.theme.shade;
  context.fillRect(Math.max(x, scene.gutter), RULER, scene.width, scene.height);
  context.fillStyle = scene.theme.accent;
  context.fillRect(x, RULER, 1, scene.height);
}

function paintRow(context: CanvasRenderingContext2D, scene: IScene, row: Row, patterns: Patterns): void {
  const y = RULER + row.top - scene.scroll;
  const height = HEIGHT[row.track];
  if (y + height < RULER || y > scene.height) {
    return;
  }
  const { axis, view } = scene;
  const each = perPx(scene);
  const [first, last] = visible(axis, row, view.from, view.to);
  const moments = row.track === Track.Moments;
  let place = first;
  while (place < last) {
    const index = row.spans.at(place);
    const x0 = Math.max(toX(scene, axis.start(index)), scene.gutter - 4);
    const x1 = Math.min(toX(scene, Math.min(axis.end(index), scene.now)), scene.width + 4);
    if (x1 - x0 >= 1.5) {
      box(context, scene, index, x0, y, x1 - x0, height, patterns);
      place++;
      continue;
    }
    // Too small to tell apart: everything that begins in this px is one line, as dark as it is full.
    const px = Math.floor(x0);
    const until = axis.start(index) + (px + 1 - x0) * each;
    const next = Math.max(place + 1, gallop(axis, row, place, last, until));
    sliver(context, scene, row, place, next, px, y, height, moments);
    place = next;
  }
}

/** The first place from `from` on whose span begins at or after `until`: steps that double, then a search between. */
function gallop(axis: IAxis, row: Row, from: number, last: number, until: number): number {
  let step = 1;
  let low = from;
  while (low + step < last && axis.start(row.spans.at(low + step)) < until) {
    low += step;
    step *= 2;
  }
  let high = Math.min(low + step, last);
  while (low + 1 < high) {
    const middle = (low + high) >>> 1;
    if (axis.start(row.spans.at(middle)) < until) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return high;
}

/** How many spans of a px are looked at for one that went wrong. */
const LOOKED_AT = 64;

function sliver(
  context: CanvasRenderingContext2D, scene: IScene, row: Row, place: number, next: number, x: number, y: number, height: number,
  moments: boolean
): void {
  const { table, theme } = scene;
  const count = next - place;
  const strides = Math.max(1, Math.ceil(count / LOOKED_AT));
  let kind = table.kind.at(row.spans.at(place));
  let bad = false;
  for (let i = place; i < next; i += strides) {
    const index = row.spans.at(i);
    if (table.fate.at(index) === Fate.Bad || table.kind.at(index) === Kind.Problem) {
      bad = true;
      kind = table.kind.at(index);
    }
  }
  context.globalAlpha = moments || count > 3 ? 1 : 0.55 + 0.15 * count;
  context.fillStyle = theme.kinds[kind]!;
  const wide = moments ? 3 : 1;
  const inset = moments && kind !== Kind.Problem ? 1.5 : 0; // problems stand out
  context.fillRect(x - (moments ? 1 : 0), y + inset, wide, height - 2 * inset);
  if (bad && !moments) {
    context.fillStyle = theme.bad;
    context.fillRect(x, y, wide, 3);
  }
  context.globalAlpha = 1;
}

function box(
  context: CanvasRenderingContext2D, scene: IScene, index: number, x: number, y: number, width: number, height: number,
  patterns: Patterns
): void {
  const { table, theme, axis } = scene;
  const kind = table.kind.at(index) as Kind;
  const round = width > 5 ? 2 : 0;
  const open = axis.end(index) === Infinity;
  context.fillStyle = theme.kinds[kind]!;
  context.globalAlpha = kind === Kind.Hold ? 0.8 : 1;
  context.beginPath();
  context.roundRect(x, y, Math.max(width - 0.5, 1), height, open ? [round, 0, 0, round] : round);
  context.fill();
  const pattern = patterns.of(kind, table.fate.at(index) as Fate);
  if (pattern && width > 3) {
    context.fillStyle = pattern;
    context.fill();
  }
  context.globalAlpha = 1;
  if (table.fate.at(index) === Fate.Bad) {
    context.fillStyle = theme.bad;
    context.fillRect(x, y, Math.max(width - 0.5, 1), 3);
  }
  if (width > 28) {
    const text = labelOf(table, index);
    context.font = `${height > 14 ? 11 : 10}px ${theme.font}`;
    context.textBaseline = 'middle';
    const left = Math.max(x, scene.gutter) + 4;
    const shown = cut(context, text, x + width - left - 4);
    if (pattern && shown) {
      // on a pattern a text needs a ground of its own
      context.fillStyle = theme.kinds[kind]!;
      context.fillRect(left - 2, y + 1, context.measureText(shown).width + 4, height - 2);
    }
    context.fillStyle = theme.onKinds[kind]!;
    context.fillText(shown, left, y + height / 2 + 0.5);
  }
}

/** What stands in a box. */
export function labelOf(table: SpanTable, index: number): string {
  const kind = table.kind.at(index) as Kind;
  const unit = table.shown(table.unit.at(index));
  const label = table.shown(table.label.at(index));
  if (kind === Kind.Wait || kind === Kind.Hold) {
    return unit;
  }
  return kind === Kind.Tool && unit ? `${label} ${unit}` : label;
}

function outline(context: CanvasRenderingContext2D, scene: IScene, index: number, color: string, wide: number): void {
  const row = index < 0 ? undefined : scene.layout.rowOf(index);
  if (!row) {
    return;
  }
  const { axis } = scene;
  const x0 = Math.max(toX(scene, axis.start(index)), scene.gutter - 4);
  const x1 = Math.min(toX(scene, Math.min(axis.end(index), scene.now)), scene.width + 4);
  const y = RULER + row.top - scene.scroll;
  context.strokeStyle = color;
  context.lineWidth = wide;
  const spare = wide / 2 + 0.5;
  context.strokeRect(x0 - spare, y - spare, Math.max(x1 - x0, 3) + 2 * spare, HEIGHT[row.track] + 2 * spare);
}

/** A text that fits, with an ellipsis where it was cut; '' where nothing does. */
function cut(context: CanvasRenderingContext2D, text: string, width: number): string {
  const short = text.length > 200 ? text.slice(0, 200) : text;
  if (width < 12) {
    return '';
  }
  const full = context.measureText(short).width;
  if (full <= width) {
    return short;
  }
  const keep = Math.floor((short.length * width) / full) - 1;
  return keep < 2 ? '' : `${short.slice(0, keep)}…`;
}

/** Hatches, so that nothing is told by colour alone: waits are striped, approvals dotted, what was refused is crossed. */
class Patterns {
  private readonly _made = new Map<string, CanvasPattern | null>();

  constructor(
    private readonly _context: CanvasRenderingContext2D,
    private readonly _theme: ITheme
  ) {}

  of(kind: Kind, fate: Fate): CanvasPattern | null {
    const name = kind === Kind.Wait ? 'stripes' : kind === Kind.Approval ? 'dots' : fate === Fate.Denied ? 'cross' : '';
    if (!name) {
      return null;
    }
    let found = this._made.get(name);
    if (found === undefined) {
      this._made.set(name, (found = this._make(name)));
    }
    return found;
  }

  private _make(name: string): CanvasPattern | null {
    const tile = document.createElement('canvas');
    tile.width = tile.height = 6;
    const context = tile.getContext('2d');
    if (!context) {
      return null;
    }
    context.strokeStyle = context.fillStyle = this._theme.dark ? 'rgba(0,0,0,0.5)' : 'rgba(255,255,255,0.65)';
    context.lineWidth = 1.4;
    if (name === 'dots') {
      context.fillRect(1, 1, 2, 2);
      context.fillRect(4, 4, 2, 2);
    } else {
      context.beginPath();
      for (const [a, b] of [[-3, 3], [0, 6], [3, 9]] as const) {
        context.moveTo(a, 6);
        context.lineTo(b, 0);
        if (name === 'cross') {
          context.moveTo(a, 0);
          context.lineTo(b, 6);
        }
      }
      context.stroke();
    }
    return this._context.createPattern(tile, 'repeat');
  }
}
