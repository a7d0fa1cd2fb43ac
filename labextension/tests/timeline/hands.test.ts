import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { Kind, SpanTable, Timeline } from '../../src/timeline';

const [WIDTH, GUTTER] = [1148, 148];

let timeline: Timeline;
let chosen: number[];
let cursors: number[];

/** ann: 1 (0 to 100), 2 (200 to 300), 3 (400 to 500), and in its second row 4 (220 to 240); ben: 5 (410 to 420). */
function table(): SpanTable {
  const made = new SpanTable();
  const add = (seq: number, lane: string, start: number, end: number) => made.add({ kind: Kind.Tool, lane, start, end, seq });
  add(1, 'ann', 0, 100);
  add(2, 'ann', 200, 300);
  add(3, 'ann', 400, 500);
  add(4, 'ann', 220, 240);
  add(5, 'ben', 410, 420);
  return made;
}

beforeEach(() => {
  vi.spyOn(HTMLElement.prototype, 'clientWidth', 'get').mockReturnValue(WIDTH);
  vi.spyOn(HTMLElement.prototype, 'clientHeight', 'get').mockReturnValue(400);
  vi.spyOn(HTMLCanvasElement.prototype, 'getContext').mockReturnValue(null);
  HTMLElement.prototype.setPointerCapture ??= () => undefined;
  const resized: (() => void)[] = [];
  vi.stubGlobal('ResizeObserver', class { constructor(call: () => void) { resized.push(call); } observe(): void {} disconnect(): void {} });
  [chosen, cursors] = [[], []];
  timeline = new Timeline(table(), { onSelect: seq => chosen.push(seq), onCursor: at => cursors.push(Math.round(at)) });
  document.body.append(timeline.node);
  resized.forEach(call => call());
});

afterEach(() => {
  timeline.dispose();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const canvas = () => timeline.node.querySelector('canvas')!;
const key = (name: string, more: KeyboardEventInit = {}) => canvas().dispatchEvent(new KeyboardEvent('keydown', { key: name, bubbles: true, cancelable: true, ...more }));
const pointer = (type: string, x: number, y: number, buttons = 0) =>
  canvas().dispatchEvent(new MouseEvent(type, { clientX: x, clientY: y, button: 0, buttons, bubbles: true }));
/** px of a moment. */
const px = (at: number) => GUTTER + ((at - timeline.viewport.from) / (timeline.viewport.to - timeline.viewport.from)) * (WIDTH - GUTTER);
const length = () => timeline.viewport.to - timeline.viewport.from;
const tip = () => timeline.node.querySelector<HTMLElement>('.agentlab-timeline-tip')!;

test('arrow keys go from span to span of a row, and to the nearest of the next', () => {
  ['ArrowRight', 'ArrowRight', 'ArrowDown', 'ArrowRight', 'ArrowDown', 'ArrowUp', 'ArrowUp', 'End', 'ArrowRight', 'Home', 'ArrowLeft'].forEach(name => key(name));
  expect(chosen).toEqual([1, 2, 4, 5, 4, 2, 3, 1]);
  expect(timeline.node.querySelector('[aria-live]')!.textContent).toContain('ann');
});

test('Enter puts the cursor where the chosen span begins, and keys with a modifier are left to others', () => {
  key('Enter');
  key('End');
  key('Enter');
  expect(cursors).toEqual([400]);
  expect(key('d', { ctrlKey: true })).toBe(true);
  expect(key('d')).toBe(false);
});

test('plus and minus zoom around what is chosen, a and d move, and 0 shows everything', () => {
  const whole = timeline.viewport;
  ['ArrowRight', 'ArrowRight'].forEach(name => key(name));
  const before = px(250);
  key('+');
  expect(length()).toBeCloseTo((whole.to - whole.from) / 1.6);
  expect(px(250)).toBeCloseTo(before);
  const { from } = timeline.viewport;
  key('a');
  expect(timeline.viewport.from).toBeLessThan(from);
  key('0');
  expect(timeline.viewport).toEqual(whole);
});

test('the wheel zooms around the pointer with ctrl, moves with shift, and is left to the page without', () => {
  const wheel = (more: WheelEventInit) => {
    const event = new WheelEvent('wheel', { clientX: 648, clientY: 60, deltaY: 100, cancelable: true, ...more });
    canvas().dispatchEvent(event);
    return event.defaultPrevented;
  };
  const whole = timeline.viewport;
  expect([wheel({}), timeline.viewport]).toEqual([false, whole]);
  expect(wheel({ ctrlKey: true, deltaY: -100 })).toBe(true);
  expect(length()).toBeCloseTo((whole.to - whole.from) * Math.exp(-0.4));
  const { from } = timeline.viewport;
  expect(wheel({ shiftKey: true })).toBe(true);
  expect(timeline.viewport.from).toBeCloseTo(from + length() / 10);
});

test('a click chooses the span under it, and what it is stands beside the pointer', () => {
  pointer('pointermove', px(250), 34);
  expect([tip().hidden, tip().textContent]).toEqual([false, expect.stringContaining('event 2')]);
  pointer('pointerdown', px(250), 34);
  pointer('pointerup', px(250), 34);
  pointer('pointerdown', px(350), 34);
  pointer('pointerup', px(350), 34);
  expect(chosen).toEqual([2]);
  pointer('pointerleave', 0, 0);
  expect(tip().hidden).toBe(true);
});

test('a drag moves the picture and chooses nothing, and on the ruler it moves the cursor', () => {
  const { from } = timeline.viewport;
  const each = length() / (WIDTH - GUTTER);
  pointer('pointerdown', 600, 34);
  pointer('pointermove', 500, 34, 1);
  pointer('pointerup', 500, 34);
  expect(timeline.viewport.from).toBeCloseTo(from + 100 * each);
  pointer('pointermove', 300, 34, 1);
  expect(timeline.viewport.from).toBeCloseTo(from + 100 * each);
  timeline.fit();
  const to = px(300);
  pointer('pointerdown', px(100), 10);
  pointer('pointermove', to, 10, 1);
  pointer('pointerup', to, 10);
  pointer('pointerdown', px(200), 10);
  pointer('pointerup', px(200), 10);
  expect([chosen, cursors]).toEqual([[], [300, 200]]);
});

test('a double click looks closer there', () => {
  const whole = length();
  const at = px(450);
  pointer('dblclick', at, 34);
  expect(length()).toBeCloseTo(whole * 0.4);
  expect(px(450)).toBeCloseTo(at);
});
