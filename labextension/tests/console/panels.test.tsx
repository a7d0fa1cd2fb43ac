/** The console and the comparison as widgets: their titles, what they say while they load, ways from view to view. */
import { InputDialog } from '@jupyterlab/apputils';
import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';
import { act, fireEvent, render, screen, within } from '@testing-library/react';
import * as React from 'react';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { ComparisonPanel } from '../../src/console/comparison';
import { summary } from '../../src/console/compare';
import { EventLog } from '../../src/console/log';
import { ConsolePanel } from '../../src/console/panel';
import { consolePlugin } from '../../src/console/plugin';
import { PANES, RunStore } from '../../src/console/store';
import { Console } from '../../src/console/views/console';
import { ConsoleProvider, untranslated } from '../../src/console/views/context';
import type { IEvent } from '../../src/timeline';
import { FakeGateway } from '../fakes';
import { StillModel } from '../host';
import { Pen } from '../timeline/runs';
import { RunGateway, until } from './plane';

for (const [name, value] of [['clientHeight', 400], ['clientWidth', 800]] as const) {
  Object.defineProperty(HTMLElement.prototype, name, { configurable: true, get: () => value });
}

HTMLCanvasElement.prototype.getContext = () => null;

const trans = nullTranslator.load('agentlab');
const made: { dispose(): void }[] = [];

afterEach(() => made.splice(0).forEach(each => each.dispose()));

const settle = (change: () => void = () => undefined) => act(async () => {
  change();
  await new Promise(resolve => setTimeout(resolve, 150));
});

/** A run of that name in which ann writes files. */
function story(name: string, ...paths: string[]): IEvent[] {
  const pen = new Pen();
  pen.put('user:me', { type: 'run.start', name, root: '/w' });
  paths.forEach(path => pen.put('ann', { type: 'file.write', path, before: null, after: `hash of ${path}`, added: 1, removed: 0 }));
  pen.put('user:me', { type: 'run.end' }, { status: 'done' });
  return pen.events;
}

/** A plane with two runs, of which the second waits for `come`. */
class TwoRuns extends FakeGateway {
  readonly a = new RunGateway(story('first', 'same.py', 'mine.py'), 'a-1');
  readonly b = new RunGateway(story('second', 'same.py'), 'b-2');
  come!: () => void;
  private readonly _come = new Promise<void>(resolve => (this.come = resolve));

  override async request<T>(method: string, path: string): Promise<T> {
    if (path.startsWith('api/runs/b-2')) {
      await this._come;
      return this.b.request(method, path);
    }
    return this.a.request(method, path);
  }
}

describe('the comparison of two runs', () => {
  function compared(): { panel: ComparisonPanel; gateway: TwoRuns; said: () => string } {
    const gateway = new TwoRuns();
    const panel = new ComparisonPanel({ runs: ['a-1', 'b-2'], gateway, trans });
    made.push(panel);
    Widget.attach(panel, document.body);
    return { panel, gateway, said: () => panel.node.textContent ?? '' };
  }

  it('shows no result before both runs are here, and how far each of them is', async () => {
    const { gateway, said, panel } = compared();
    await settle();
    await settle();
    expect(said()).toContain('Reading both logs');
    expect(said()).not.toContain('What the two runs came to');
    expect([...panel.node.querySelectorAll('.jp-agentlab-run-badge')].map(each => each.textContent)).toEqual(['✓ done', '… loading']);
    await settle(() => gateway.come());
    await settle();
    expect(said()).toContain('What the two runs came to');
    expect(said()).toContain('costnot toldnot toldfiles left');
    expect(said()).toContain('mine.py≠ only in A');
    expect(said()).toContain('same.py= same');
  });

  it('says that there is nothing to compare where one of them is not there', async () => {
    const { gateway, said } = compared();
    gateway.b.mood = 'deleted';
    gateway.come();
    await settle();
    await settle();
    expect(said()).toContain('There is nothing to compare');
    expect(said()).toContain("The log has no run 'b-2'.");
    expect(said()).not.toContain('What the two runs came to');
  });

  it('says that a run goes on', async () => {
    const { gateway, said } = compared();
    gateway.b.events.pop();
    gateway.b.status = 'open';
    gateway.come();
    await act(() => until(() => gateway.sockets.length === 1));
    gateway.last.open();
    for (let i = 0; i < 100 && !said().includes('so far'); i++) {
      await settle();
    }
    expect(said()).toContain('what they have come to so far');
  });

  it('is called by the names of the runs', async () => {
    const { gateway, panel } = compared();
    expect(panel.title.label).toBe('a-1 and b-2');
    gateway.come();
    await settle();
    expect(panel.title.label).toBe('first and second');
    expect(panel.runs).toEqual(['a-1', 'b-2']);
  });

  it('sums a log up again only when it has grown', () => {
    const log = new EventLog();
    log.append(story('x', 'a', 'b').slice(0, 3));
    const before = summary(log);
    expect(summary(log)).toBe(before);
    log.append(story('x', 'a', 'b'));
    expect([summary(log) === before, summary(log).events]).toEqual([false, 4]);
  });
});

describe('the console of a run', () => {
  it('is called by the name of the run as soon as it is known', async () => {
    const gateway = new RunGateway(story('nightly\u202e'), 'r1');
    const panel = new ConsolePanel({ run: 'r1', gateway, model: null, trans, insertCode: () => undefined });
    made.push(panel);
    expect([panel.title.label, panel.node.getAttribute('aria-label')]).toEqual(['r1', 'Run r1']);
    Widget.attach(panel, document.body);
    await settle();
    expect([panel.title.label, panel.node.getAttribute('aria-label')]).toEqual(['nightly\\u202e', 'Run nightly\\u202e']);
    expect(panel.title.caption).toBe('nightly\\u202e (r1)');
  });
});

describe('the commands of the console', () => {
  it('an older run is chosen from a list in which nothing is obeyed, and its tab gets its name', async () => {
    const gateway = new RunGateway(story('nightly'), 'r1');
    gateway.answers['GET api/runs?limit=200'] = () => [{ run_id: 'plane' }, { run_id: 'r1', name: 'night\u202ely', status: 'done' }];
    const added: Widget[] = [];
    const commands = new CommandRegistry();
    const shell = { add: (widget: Widget) => { added.push(widget); Widget.attach(widget, document.body); }, activateById: () => undefined };
    const plugin = consolePlugin as unknown as { activate(...args: unknown[]): void };
    plugin.activate({ commands, shell }, { gateway, model: new StillModel() }, null, null, null);
    const ask = vi.spyOn(InputDialog, 'getItem').mockImplementation(async ({ items }) => ({ value: items[0] }) as never);
    await act(() => commands.execute('agentlab:open-run'));
    made.push(...added);
    expect(ask.mock.calls[0]![0].items).toEqual(['night\\u202ely · done · r1']);
    await settle();
    expect(added.map(widget => widget.title.label)).toEqual(['nightly']);
  });
});

describe('the chosen event', () => {
  async function shown(events: IEvent[]): Promise<RunStore> {
    const gateway = new RunGateway(events);
    const store = new RunStore('r1', { gateway });
    made.push(store);
    store.start();
    render(<ConsoleProvider value={{ store, gateway, trans: untranslated, insertCode: () => undefined }}><Console /></ConsoleProvider>);
    await act(() => until(() => store.stage.name === 'ended'));
    await settle();
    return store;
  }

  const ways = () => within(screen.getByRole('complementary')).queryAllByRole('button', { name: /^Show / }).map(each => each.textContent);

  it('leads on to where else it is to be seen', async () => {
    const pen = new Pen();
    pen.put('a', { type: 'tool.call', call: 'c1' }, { span: 'c1', name: 'write' });
    pen.put('a', { type: 'file.write', path: 'x', before: null, after: 'h' }, { parent: 'c1' });
    pen.put('a', { type: 'proc.start', proc: 'p', argv: ['ls'] });
    pen.put('a', { type: 'proc.output', proc: 'p', fd: 1, data: 'hi\n' });
    pen.put('a', { type: 'plan', steps: ['x'], units: [] });
    const store = await shown(pen.events);
    const choose = async (seq: number) => {
      await settle(() => store.select(seq));
      return ways();
    };
    expect(await choose(1)).toEqual(['Show diff', 'Show on the timeline']);
    expect(await choose(2)).toEqual(['Show diff', 'Show on the timeline']);
    expect(await choose(4)).toEqual(['Show output']);
    expect(await choose(5)).toEqual([]);
    await choose(1);
    await settle(() => fireEvent.click(screen.getByRole('button', { name: 'Show diff' })));
    expect([store.pane, store.change]).toEqual(['diffs', 1]);
    await settle(() => fireEvent.click(screen.getByRole('button', { name: 'Show on the timeline' })));
    expect(store.revealed).toEqual({ seq: 1 });
    await choose(4);
    await settle(() => fireEvent.click(screen.getByRole('button', { name: 'Show output' })));
    expect([store.pane, store.process?.command]).toEqual(['output', 'ls']);
  });

  it('and everything else of a run is shown so that nothing in it is obeyed, in any pane', async () => {
    const evil = '\u202egnp.exe\u0007\u001b[2J';
    const pen = new Pen();
    const eve = `eve${evil}`;
    pen.put('user:me', { type: 'run.start', name: evil, root: evil });
    pen.put(eve, { type: 'agent.start', spec: { kind: evil } }, { name: eve, status: evil });
    pen.put(eve, { type: 'plan', steps: [evil], units: [`file:${evil}`] });
    pen.put(eve, { type: 'message', role: evil, text: evil });
    pen.put(eve, { type: 'artifact', kind: evil, hash: 'h' }, { name: evil });
    pen.put(eve, { type: 'proc.start', proc: 'p', argv: [evil] });
    pen.put(eve, { type: 'proc.output', proc: 'p', fd: 1, data: `${evil}\n` });
    pen.put(eve, { type: 'file.write', path: evil, before: null, after: 'h', via: evil });
    pen.put(eve, { type: evil });
    const store = await shown(pen.events);
    const obeyed = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/; // eslint-disable-line no-control-regex
    for (const pane of PANES) {
      for (const seq of [4, 6, 8, 9]) {
        await settle(() => {
          store.setPane(pane);
          store.select(seq);
        });
        const said = [...document.body.querySelectorAll('*')].flatMap(each => [
          ...[...each.childNodes].filter(node => node.nodeType === Node.TEXT_NODE).map(node => node.nodeValue ?? ''),
          ...['title', 'aria-label', 'aria-valuetext', 'placeholder'].map(name => each.getAttribute(name) ?? '')
        ]);
        expect(said.filter(each => obeyed.test(each)), pane).toEqual([]);
      }
    }
    expect(document.body.textContent).toContain('\\u202egnp.exe');
  });
});
