/** The part of time that is on the screen: pure arithmetic. Times are ms since the origin. */
export interface IViewport {
  readonly from: number;
  readonly to: number;
}

/** Never closer than this, ms. */
export const CLOSEST = 0.01;

/** Everything, with a little room at both sides. */
export function fit(first: number, last: number): IViewport {
  const length = Math.max(last - first, 1);
  return { from: first - length * 0.01, to: last + length * 0.02 };
}

/** Closer (factor < 1) or farther, with the moment `at` where it is. Not farther than twice everything. */
export function zoom(view: IViewport, factor: number, at: number, whole: IViewport): IViewport {
  const longest = 2 * (whole.to - whole.from);
  const length = Math.min(Math.max((view.to - view.from) * factor, CLOSEST), longest);
  const share = (at - view.from) / (view.to - view.from);
  return clamp({ from: at - share * length, to: at + (1 - share) * length }, whole);
}

/** Along by a share of what is seen. */
export function pan(view: IViewport, share: number, whole: IViewport): IViewport {
  const by = share * (view.to - view.from);
  return clamp({ from: view.from + by, to: view.to + by }, whole);
}

/** So that a moment (or a span) is seen; unchanged where it is. */
export function reveal(view: IViewport, from: number, to: number): IViewport {
  const length = view.to - view.from;
  if (from >= view.from && to <= view.to) {
    return view;
  }
  if (to - from > length * 0.9) {
    const room = (to - from) * 0.1;
    return { from: from - room, to: to + room };
  }
  const middle = (from + to) / 2;
  return { from: middle - length / 2, to: middle + length / 2 };
}

/** Moved so that it shows nothing but what there is, where that is longer; else all of it. */
export function within(view: IViewport, whole: IViewport): IViewport {
  const length = view.to - view.from;
  const from = Math.max(whole.from, Math.min(view.from, whole.to - length));
  return { from, to: from + length };
}

/** Something of the whole stays in sight. */
function clamp(view: IViewport, whole: IViewport): IViewport {
  const length = view.to - view.from;
  const from = Math.min(Math.max(view.from, whole.from - length * 0.5), whole.to - length * 0.5);
  return { from, to: from + length };
}

const STEPS = [1, 2, 5];

/** The marks of an axis: round times, at least `apart` px from each other. */
export function ticks(view: IViewport, width: number, apart = 90): { step: number; marks: number[] } {
  const least = ((view.to - view.from) * apart) / Math.max(width, 1);
  const step = least < 1000 || !Number.isFinite(least) ? decimal(least || 1) : clockStep(least);
  const marks: number[] = [];
  for (let n = Math.ceil(view.from / step); n * step <= view.to && marks.length < 500; n++) {
    marks.push(n * step);
  }
  return { step, marks };
}

function decimal(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * (STEPS.find(each => each * power >= least) ?? 10);
}

function clockStep(least: number): number {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400].map(s => s * 1000);
  return steps.find(each => each >= least) ?? decimal(least);
}

/** A moment as an axis says it: 0.25 ms, 120 ms, 1.5 s, 2:05, 1:02:05. `step`: how fine. */
export function timeText(ms: number, step = 1): string {
  const sign = ms < 0 ? '−' : '';
  const value = Math.abs(ms);
  if (value === 0) {
    return '0 s';
  }
  if (step < 1000 && value < 1000) {
    return `${sign}${trim(value, digits(step))} ms`;
  }
  if (value < 60_000) {
    return `${sign}${trim(value / 1000, digits(step / 1000))} s`;
  }
  const seconds = step >= 1000 ? Math.round(value / 1000) : Math.floor(value / 1000);
  const rest = step < 1000 ? ((value % 60_000) / 1000 - (seconds % 60)).toFixed(digits(step / 1000)).slice(1) : '';
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (n: number) => String(n).padStart(2, '0');
  return sign + (h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`) + rest;
}

/** How many digits behind the point tell multiples of a step apart. */
function digits(step: number): number {
  return step >= 1 ? 0 : Math.min(9, Math.ceil(-Math.log10(step) - 1e-9));
}

/** A length of time as people say it. */
export function durationText(ms: number): string {
  if (ms < 1) {
    return `${trim(ms * 1000, 0)} µs`;
  }
  if (ms < 1000) {
    return `${trim(ms, ms < 10 ? 1 : 0)} ms`;
  }
  if (ms < 60_000) {
    return `${trim(ms / 1000, 2)} s`;
  }
  const minutes = Math.floor(ms / 60_000);
  const seconds = Math.floor(ms / 1000) % 60;
  return minutes < 60
    ? `${minutes} min ${String(seconds).padStart(2, '0')} s`
    : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

function trim(value: number, digits: number): string {
  return String(Number(value.toFixed(digits)));
}
