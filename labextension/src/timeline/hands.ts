import { perPx, RULER, toAxis } from './scale';
import type { Sight } from './sight';
import { along, across, edge } from './steps';

/** What hands can ask for. */
export interface IHandled {
  readonly sight: Sight;
  /** px that the lanes are scrolled up. */
  readonly scroll: number;
  zoom(factor: number, at?: number): void;
  pan(share: number, from?: Sight['view']): void;
  fit(): void;
  /** Choose a span; -1: none is meant. */
  choose(index: number): void;
  putCursor(at: number): void;
  /** A span is pointed at, at this point; -1: none. */
  point(index: number, x: number, y: number): void;
  bringIntoSight(): void;
}

/** What pointer, wheel and keys do to a picture, until the signal says so. */
export function listen(canvas: HTMLCanvasElement, to: IHandled, signal: AbortSignal): void {
  canvas.addEventListener('wheel', event => turn(event, to), { passive: false, signal });
  canvas.addEventListener('pointerdown', event => press(event, canvas, to), { signal });
  canvas.addEventListener('pointermove', event => hover(event, canvas, to), { signal });
  canvas.addEventListener('pointerleave', () => to.point(-1, 0, 0), { signal });
  canvas.addEventListener('dblclick', event => to.zoom(0.4, toAxis(to.sight, event.offsetX)), { signal });
  canvas.addEventListener('keydown', event => key(event, to), { signal });
}

function turn(event: WheelEvent, to: IHandled): void {
  const { sight } = to;
  const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
  if (event.ctrlKey || event.metaKey) {
    event.preventDefault();
    to.zoom(Math.exp(event.deltaY * unit * 0.004), toAxis(sight, event.offsetX));
  } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    event.preventDefault();
    to.pan(((event.deltaX || event.deltaY) * unit) / Math.max(sight.width - sight.gutter, 1));
  } // else the lanes scroll, or the page does
}

/** On the ruler the cursor is drawn along, elsewhere the picture; a click that does not move chooses. */
function press(event: PointerEvent, canvas: HTMLCanvasElement, to: IHandled): void {
  if (event.button !== 0) {
    return;
  }
  const { sight } = to;
  const { offsetX: x0, offsetY: y0, clientX } = event;
  const scrubs = y0 < RULER && x0 >= sight.gutter;
  const begin = sight.view;
  const each = perPx(sight);
  let moved = false;
  const done = new AbortController();
  const { signal } = done;
  canvas.setPointerCapture(event.pointerId);
  const move = (now: PointerEvent): void => {
    moved ||= Math.abs(now.clientX - clientX) > 3;
    if (scrubs) {
      to.putCursor(toAxis(sight, x0 + now.clientX - clientX));
    } else if (moved) {
      to.point(-1, 0, 0);
      to.pan((-(now.clientX - clientX) * each) / (begin.to - begin.from), begin);
    }
  };
  const up = (): void => {
    done.abort();
    if (scrubs && !moved) {
      to.putCursor(toAxis(sight, x0));
    } else if (!moved) {
      to.choose(sight.spanAt(x0, y0, to.scroll));
    }
  };
  canvas.addEventListener('pointermove', move, { signal });
  canvas.addEventListener('pointerup', up, { signal });
  canvas.addEventListener('pointercancel', up, { signal });
}

function hover(event: PointerEvent, canvas: HTMLCanvasElement, to: IHandled): void {
  if (event.buttons) {
    return;
  }
  const { offsetX: x, offsetY: y } = event;
  canvas.style.cursor = y < RULER ? 'col-resize' : 'default';
  to.point(to.sight.spanAt(x, y, to.scroll), x, y);
}

function key(event: KeyboardEvent, to: IHandled): void {
  if (event.ctrlKey || event.metaKey || event.altKey) {
    return;
  }
  const { sight } = to;
  const keys: Record<string, () => void> = {
    '+': () => to.zoom(1 / 1.6), '=': () => to.zoom(1 / 1.6), w: () => to.zoom(1 / 1.6),
    '-': () => to.zoom(1.6), s: () => to.zoom(1.6),
    a: () => to.pan(-0.2), d: () => to.pan(0.2), '0': () => to.fit(), f: () => to.fit(),
    ArrowRight: () => to.choose(along(sight, 1)), ArrowLeft: () => to.choose(along(sight, -1)),
    ArrowDown: () => to.choose(across(sight, 1)), ArrowUp: () => to.choose(across(sight, -1)),
    Home: () => to.choose(edge(sight, true)), End: () => to.choose(edge(sight, false)),
    Enter: () => sight.selected >= 0 && to.putCursor(sight.axis.start(sight.selected))
  };
  const act = keys[event.key];
  if (act) {
    event.preventDefault();
    event.stopPropagation();
    act();
    to.bringIntoSight();
  }
}
