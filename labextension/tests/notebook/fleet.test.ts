import { afterEach, describe, expect, it, vi } from 'vitest';

import widget from '../../src/notebook/fleet';
import { unpack } from '../../src/timeline/spans';
import { Timeline } from '../../src/timeline/timeline';

HTMLCanvasElement.prototype.getContext = () => null;

type Render = ReturnType<typeof widget>['render'];
type State = Parameters<Render>[0]['model'] extends { get(name: 'state'): infer S } ? S : never;

/** A kernel's half of the widget. */
class Model {
  readonly sent: unknown[] = [];
  private readonly _listeners = new Map<string, Set<() => void>>();

  constructor(readonly traits: Record<string, unknown>) {}

  get(name: string): never {
    return this.traits[name] as never;
  }

  set(name: string, value: unknown): void {
    this.traits[name] = value;
    this._listeners.get(`change:${name}`)?.forEach(call => call());
  }

  on(name: string, call: () => void): void {
    this._listeners.set(name, (this._listeners.get(name) ?? new Set()).add(call));
  }

  off(name: string, call: () => void): void {
    this._listeners.get(name)?.delete(call);
  }

  send(message: unknown): void {
    this.sent.push(message);
  }

  get heard(): number {
    return [...this._listeners.values()].reduce((sum, each) => sum + each.size, 0);
  }
}

const agent = (name: string, more: object = {}) => ({
  key: `r/${name}`, name, kind: 'script', icon: '▶', status: 'running', what: '', holds: '', usage: '', time: '', live: true, ...more
});

const state = (...agents: object[]) =>
  ({
    title: 'Run r', note: '%agent stop NAME does the same', total: agents.length, more: '',
    ended: agents.filter(each => !(each as { live: boolean }).live).length,
    waiting: agents.filter(each => (each as { status: string }).status === 'waiting').length, agents
  }) as unknown as State;

/** The columns of two spans, as the kernel packs them. */
function packed(): DataView {
  const data = new ArrayBuffer(3 + 68); // not at the beginning of its buffer, as it comes over the wire
  const view = new DataView(data, 3);
  [0, 500, 4500, NaN].forEach((value, i) => view.setFloat64(8 * i, value, true));
  [0, 1, 7, 8, 0, 1, 2, 0].forEach((value, i) => view.setUint32(32 + 4 * i, value, true));
  [4, 1, 2, 0].forEach((value, i) => view.setUint8(64 + i, value));
  return view;
}

afterEach(() => document.body.replaceChildren());

/** As anywidget hands it over: another object each time. */
const proxied = (model: Model) => ({
  get: (name: string) => model.get(name), send: (message: unknown) => model.send(message),
  on: (name: string, call: () => void) => model.on(name, call), off: (name: string, call: () => void) => model.off(name, call)
});

const widgets = new WeakMap<Model, ReturnType<typeof widget>>();

function shown(model: Model): { el: HTMLElement; undo: () => void } {
  const el = document.body.appendChild(document.createElement('div'));
  const made = widgets.get(model) ?? widget();
  widgets.set(model, made);
  return { el, undo: made.render({ model: proxied(model) as never, el }) };
}

describe('the widget of a fleet', () => {
  it('asks for a stop, then for one at once, and says which command does the same', () => {
    const model = new Model({ state: state(agent('ann')), picture: null, spans: null });
    const { el } = shown(model);
    const button = () => el.querySelector<HTMLButtonElement>('button.agentlab-stop')!;
    button().click();
    expect(model.sent).toEqual([{ do: 'stop', agent: 'r/ann' }]);
    expect(button().disabled).toBe(true);
    model.set('state', state(agent('ann', { status: 'stopping', icon: '■' })));
    expect([button().disabled, button().textContent]).toEqual([false, 'Stop now']);
    button().click();
    expect(model.sent[1]).toEqual({ do: 'stop now', agent: 'r/ann' });
    model.set('state', state(agent('ann', { status: 'cancelled', live: false })));
    expect(button().hidden).toBe(true);
    expect(el.textContent).toContain('%agent stop NAME');
    expect(el.querySelector('[aria-live]')!.textContent).toBe('1 of 1 ended');
  });

  it('keeps rows and focus while agents come, change and go', () => {
    const model = new Model({ state: state(agent('ann'), agent('bob')), picture: null, spans: null });
    const { el } = shown(model);
    const rows = () => [...el.querySelectorAll('tbody tr')];
    const bob = rows()[1]!;
    const button = bob.querySelector('button')!;
    button.focus();
    model.set('state', state(agent('cho'), agent('ann'), agent('bob', { what: 'waits for file:x', status: 'waiting' })));
    expect(rows()[2]).toBe(bob);
    expect(rows().map(row => row.querySelector('th')!.textContent)).toEqual(['cho', 'ann', 'bob']);
    expect(el.querySelector('[aria-live]')!.textContent).toContain('1 waiting');
    model.set('state', state(agent('bob')));
    expect(rows()).toEqual([bob]);
    expect(document.activeElement).toBe(button);
  });

  it('says of when it is while nothing is heard, offers no stop, and comes back by itself', () => {
    const model = new Model({ state: state(agent('ann')), picture: null, spans: null, lost: 0 });
    const { el } = shown(model);
    const button = el.querySelector<HTMLButtonElement>('button.agentlab-stop')!;
    const lost = new Date(2026, 0, 2, 3, 4, 5);
    model.set('lost', lost.getTime());
    expect(el.querySelector('[aria-live]')!.textContent).toContain(`as of ${lost.toLocaleTimeString()}`);
    expect([button.hidden, el.querySelector('.agentlab-lost .agentlab-fleet-rows') !== null]).toEqual([true, true]);
    model.set('lost', 0);
    expect(el.querySelector('[aria-live]')!.textContent).toBe('0 of 1 ended');
    expect([button.hidden, el.querySelector('.agentlab-lost')]).toEqual([false, null]);
  });

  it('has ages and open spans that grow with the clock of the kernel, without a change of any row', () => {
    const model = new Model({ state: state(agent('ann', { time: '1.0 s' }), agent('bob', { time: '2.0 s', live: false, status: 'done' })), picture: null, spans: null });
    const { el, undo } = shown(model);
    const ages = () => [...el.querySelectorAll('tbody tr')].map(row => row.querySelectorAll('td')[5]!.textContent);
    expect(ages()).toEqual(['1.0 s', '2.0 s']);
    model.set('picture', { lanes: ['a', 'b'], texts: ['', 'python', 'file:x'], origin: 1_700_000_000_000 });
    model.set('spans', packed());
    const changed = vi.spyOn(Timeline.prototype, 'changed');
    model.set('clock', { now: 1_700_000_090_000, ages: { 'r/ann': '1 min 30 s' } });
    const timeline = changed.mock.contexts[0] as Timeline;
    changed.mockRestore();
    expect(ages()).toEqual(['1 min 30 s', '2.0 s']);
    expect(timeline.viewport.to).toBeCloseTo(90_000 * 1.02); // all of it, with a little room
    undo();
  });

  it('says of when it is when its kernel is gone without a word, and comes back with it', () => {
    vi.useFakeTimers();
    const told = new Date(2026, 0, 2, 3, 4, 5);
    const model = new Model({ state: state(agent('ann')), picture: null, spans: null, lost: 0, clock: { now: told.getTime(), ages: { 'r/ann': '9 s' } } });
    const { el, undo } = shown(model);
    const said = () => el.querySelector('[aria-live]')!.textContent;
    const pale = () => [el.querySelector('.agentlab-lost') !== null, el.querySelector<HTMLButtonElement>('button.agentlab-stop')!.hidden];
    for (let second = 0; second < 30; second++) {
      vi.advanceTimersByTime(1000);
      model.set('clock', { now: told.getTime(), ages: { 'r/ann': '9 s' } });
    }
    expect([said(), pale()]).toEqual(['0 of 1 ended', [false, false]]);
    vi.advanceTimersByTime(20_000);
    expect([said(), pale()]).toEqual([expect.stringContaining(`as of ${told.toLocaleTimeString()}: the kernel says nothing`), [true, true]]);
    expect(el.querySelector('tbody tr')!.textContent).toContain('9 s');
    model.set('clock', { now: told.getTime() + 60_000, ages: {} });
    expect([said(), pale()]).toEqual(['0 of 1 ended', [false, false]]);
    model.set('state', state(agent('ann', { live: false, status: 'done' })));
    vi.advanceTimersByTime(60_000);
    expect(said()).toBe('1 of 1 ended'); // nobody lives: the kernel has nothing to say
    undo();
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  it('breaks no word of a narrow column, whatever stands beside it', () => {
    const { el } = shown(new Model({ state: state(agent('x'.repeat(60), { what: 'y'.repeat(200) })), picture: null, spans: null }));
    const breaks = [...el.querySelectorAll('tbody :is(th, td)')].map(cell => cell.classList.contains('agentlab-long'));
    expect(breaks).toEqual([true, false, false, true, true, false, false, false]);
  });

  it('counts all agents, and says how many are not listed', () => {
    const many = { ...(state(agent('ann')) as object), total: 251, ended: 250, waiting: 3, more: 'and 250 more' } as unknown as State;
    const { el } = shown(new Model({ state: many, picture: null, spans: null, lost: 0 }));
    expect(el.querySelector('[aria-live]')!.textContent).toBe('250 of 251 ended, 3 waiting');
    expect(el.querySelector('progress')!.max).toBe(251);
    expect(el.textContent).toContain('and 250 more');
  });

  it('is the same, with its focus, when its output is rendered again, and another one beside it', () => {
    const model = new Model({ state: state(agent('ann')), picture: null, spans: null, lost: 0 });
    const first = shown(model);
    const box = first.el.firstElementChild!;
    const button = first.el.querySelector('button')!;
    button.focus();
    first.el.remove();
    const second = shown(model);
    expect(second.el.firstElementChild).toBe(box);
    expect(document.activeElement).toBe(button);
    const beside = shown(model);
    expect(beside.el.firstElementChild).not.toBe(box);
    first.undo(); // late: it is elsewhere by now
    expect(second.el.firstElementChild).toBe(box);
    second.undo();
    beside.undo();
    expect(model.heard).toBe(0);
  });

  it('sets every text as text', () => {
    const evil = '<img src=x onerror=alert(1)>';
    const { el } = shown(new Model({ state: state(agent(evil, { what: evil, holds: evil, kind: evil })), picture: null, spans: null }));
    expect(el.querySelector('img')).toBeNull();
    expect(el.textContent).toContain(evil);
  });

  it('draws the spans that the kernel packed, and lets go of everything when it is taken away', () => {
    const table = unpack(packed().buffer.slice(3) as ArrayBuffer, ['a', 'b'], ['', 'python', 'file:x']);
    expect([table.length, table.lanes, table.end.at(0), table.isOpen(1), table.fate.at(0), table.seq.at(1)]).toEqual([2, ['a', 'b'], 4500, true, 2, 8]);
    expect(table.texts.text(table.unit.at(0))).toBe('file:x');
    const model = new Model({ state: state(), picture: null, spans: null });
    const { el, undo } = shown(model);
    expect(el.querySelector('canvas')).toBeNull();
    model.set('picture', { lanes: ['a', 'b'], texts: ['', 'python', 'file:x'] });
    model.set('spans', packed());
    expect(el.querySelector('canvas')!.getAttribute('aria-label')).toContain('2 lanes and 2 spans');
    model.set('spans', packed());
    expect(el.querySelectorAll('canvas').length).toBe(1);
    undo();
    expect([el.childElementCount, model.heard]).toEqual([0, 0]);
  });
});
