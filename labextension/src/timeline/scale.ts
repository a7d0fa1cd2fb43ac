import type { IViewport } from './viewport';

/** px of the ruler at the top. */
export const RULER = 24;

/** How the axis lies on the screen. Sizes in CSS px. */
export interface IScale {
  readonly view: IViewport;
  readonly width: number;
  /** Width of the names at the left. */
  readonly gutter: number;
}

/** px of a moment. */
export function toX({ view, width, gutter }: IScale, at: number): number {
  return gutter + ((at - view.from) / (view.to - view.from)) * (width - gutter);
}

/** The moment at a px. */
export function toAxis(scale: IScale, x: number): number {
  const { view, gutter } = scale;
  return view.from + (x - gutter) * perPx(scale);
}

/** How much of the axis is in one px. */
export function perPx({ view, width, gutter }: IScale): number {
  return (view.to - view.from) / Math.max(width - gutter, 1);
}
