import { readFileSync } from 'node:fs';

import { afterEach, expect, test, vi } from 'vitest';

// @ts-expect-error: plain JavaScript, as anywidget loads it
import widget from '../../../agentlab/notebook/widget.js';
import { agentWords, offerAgentWords, PLACE } from '../../src/notebook/agent';
import { plain } from '../../src/timeline/words';

const STATE = { name: 'ann', kind: 'script', icon: '▶', status: 'running', what: '', usage: '', time: '', stopping: false, question: null };

/** A kernel's half of the widget. */
function model(traits: Record<string, unknown>) {
  const heard = new Map<string, Set<() => void>>();
  return {
    get: (name: string) => traits[name],
    on: (name: string, call: () => void) => heard.set(name, (heard.get(name) ?? new Set()).add(call)),
    off: (name: string, call: () => void) => heard.get(name)?.delete(call),
    send: () => undefined,
    set: (name: string, value: unknown) => {
      traits[name] = value;
      heard.get(`change:${name}`)?.forEach(call => call());
    }
  };
}

const place = () => document.body.appendChild(document.createElement('div'));

afterEach(() => {
  document.body.replaceChildren();
  delete (globalThis as { [PLACE]?: unknown })[PLACE];
});

test('the view of an agent says of when it is while nothing is heard, and offers nothing', () => {
  const told = model({ state: STATE, problem: '', lost: 0 });
  const el = place();
  widget().render({ model: told, el });
  const stop = el.querySelector('button')!;
  expect([stop.hidden, el.textContent]).toEqual([false, expect.not.stringContaining('as of')]);
  const lost = new Date(2026, 0, 2, 3, 4, 5);
  told.set('lost', lost.getTime());
  expect([stop.hidden, el.textContent]).toEqual([true, expect.stringContaining(`as of ${lost.toLocaleTimeString()}`)]);
  told.set('lost', 0);
  expect([stop.hidden, el.textContent]).toEqual([false, expect.not.stringContaining('as of')]);
});

test('the view of an agent grows older with the clock of its kernel, and says of when it is when that is gone', () => {
  vi.useFakeTimers();
  const now = new Date(2026, 0, 2, 3, 4, 5);
  const told = model({ state: { ...STATE, status: 'waiting', icon: '⧗', time: '1.0 s' }, problem: '', lost: 0, clock: null });
  const el = place();
  const undo = widget().render({ model: told, el });
  const stop = el.querySelector('button')!;
  expect(el.textContent).toMatch(/◔ waiting.*1\.0 s/);
  told.set('clock', { now: now.getTime(), age: '9.0 s' });
  expect(el.textContent).toContain('9.0 s');
  vi.advanceTimersByTime(12_000);
  expect(stop.hidden).toBe(false);
  vi.advanceTimersByTime(12_000);
  expect([stop.hidden, el.textContent]).toEqual([true, expect.stringContaining(`as of ${now.toLocaleTimeString()}: the kernel says nothing`)]);
  told.set('clock', { now: now.getTime() + 60_000, age: '1 min 09 s' });
  expect([stop.hidden, el.textContent]).toEqual([false, expect.not.stringContaining('as of')]);
  undo();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

test('an output that is rendered again shows the same view, with its focus', () => {
  const { render } = widget();
  const told = model({ state: STATE, problem: '', lost: 0 });
  const [first, second] = [place(), place()];
  render({ model: told, el: first });
  const stop = first.querySelector('button')!;
  stop.focus();
  first.remove();
  render({ model: told, el: second });
  expect([second.contains(stop), document.activeElement]).toEqual([true, stop]);
});

test('the view of an agent speaks the language of the page, and an agent its own', () => {
  const loud = { __: (text: string) => text.toUpperCase() };
  const buttons = [
    { label: 'Allow once', status: 'approved', scope: 'once', answer: '' },
    { label: 'Deny', status: 'answered', scope: 'once', answer: 'Deny' }
  ];
  const question = { approval: 'q', question: 'Deny it?', about: '', call: '', note: '', buttons };
  const render = () => {
    const el = place();
    widget().render({ model: model({ state: { ...STATE, question }, problem: '', lost: 1 }), el });
    const view = el.firstElementChild!;
    return [...[...el.querySelectorAll('button')].map(each => each.textContent), view.getAttribute('aria-label'), /running|RUNNING/.exec(el.textContent!)![0]];
  };
  expect(render()).toEqual(['Stop', 'Allow once', 'Deny', 'agent ann', 'running']);
  offerAgentWords(loud);
  expect(render()).toEqual(['STOP', 'ALLOW ONCE', 'Deny', 'AGENT ann', 'RUNNING']);
});

test('each word that it says is one that a language pack can have', () => {
  const said = readFileSync('../agentlab/notebook/widget.js', 'utf8').matchAll(/\bword\(([^)]*)\)/g);
  const texts = [...said].flatMap(([, given]) => [...given!.matchAll(/"([^"]+)"/g)].map(([, text]) => text!));
  expect(texts.length).toBeGreaterThan(6);
  expect(texts.filter(text => !(text in agentWords(plain)))).toEqual([]);
});
