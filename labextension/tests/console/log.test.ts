import { describe, expect, it } from 'vitest';

import { codeOf } from '../../src/console/code';
import { compareFiles, summary } from '../../src/console/compare';
import { Filtered, NO_FILTER, type IFilter } from '../../src/console/filter';
import { draw, MOST } from '../../src/console/graph';
import { Output, WIDEST } from '../../src/console/lines';
import { EventLog, processEnd } from '../../src/console/log';
import { covers, planned } from '../../src/console/plan';
import { Player, step } from '../../src/console/player';
import { say } from '../../src/console/say';
import { RunStore } from '../../src/console/store';
import { Pen, run } from '../timeline/runs';
import { RunGateway } from './plane';

function logOf(pen: Pen): EventLog {
  const log = new EventLog();
  log.append(pen.events);
  return log;
}

describe('the log', () => {
  it('takes each event once, whatever comes twice, and remembers what is missing', () => {
    const events = run(50);
    const log = new EventLog();
    expect(log.append(events.slice(0, 20))).toBe(20);
    expect(log.append(events.slice(10, 30))).toBe(10);
    expect(log.gaps).toEqual([]);
    log.append(events.slice(35));
    expect(log.gaps).toEqual([[31, 35]]);
    expect([log.length, log.lastSeq, log.indexOf(36), log.indexOf(33), log.count(33)]).toEqual([45, 50, 30, -1, 30]);
  });

  it('finds the last event at a moment even where clocks disagree', () => {
    const pen = new Pen();
    [0, 100, 40, 200].forEach(now => {
      pen.now = now;
      pen.put('a', { type: 'message', role: 'user', text: 'x' });
    });
    const log = logOf(pen);
    expect([-1, 0, 99, 100, 150, 200, 9e9].map(at => log.seqAt(at))).toEqual([0, 1, 1, 3, 3, 4, 4]);
    expect([1, 2, 3, 4].map(seq => log.timeOf(seq))).toEqual([0, 100, 100, 200]);
  });

  it('keeps an event without a type, and one of a type that nobody knows', () => {
    const log = new EventLog();
    log.append([{ seq: 1, ts: 1, actor: 'a', body: {} }, { seq: 2, ts: 2, actor: 'a', body: { type: 'x.y', deep: [1, { z: '\u001b[31m' }] } }] as never);
    expect(log.length).toBe(2);
    expect(say(log.events[1]!)).toBe('{"deep":[1,{"z":"\\u001b[31m"}]}');
  });

  it('what an agent wrote is shown on one line, and obeyed by nobody', () => {
    const pen = new Pen();
    const event = pen.put('a', { type: 'message', role: 'assistant', text: '\u001b[2J<b>hi</b>\n\u202egnp.exe' });
    expect(say(event)).toBe('assistant: <b>hi</b> \\u202egnp.exe');
  });
});

describe('steps', () => {
  const log = new EventLog();
  log.append(run(400, 4, 2));

  it('go to the next and the previous event, call and grant, and stop at the ends', () => {
    const calls = log.calls.map(index => log.seq.at(index));
    expect(step(log, 1, 1, 'event')).toBe(2);
    expect(step(log, 2, -1, 'event')).toBe(1);
    expect(step(log, 1, -1, 'event')).toBe(1);
    expect(step(log, log.lastSeq, 1, 'event')).toBeNull();
    expect(step(log, null, 1, 'event')).toBeNull();
    expect(step(log, null, -1, 'event')).toBe(log.lastSeq - 1);
    expect(step(log, calls[3]!, 1, 'call')).toBe(calls[4]);
    expect(step(log, calls[3]!, -1, 'call')).toBe(calls[2]);
    expect(step(log, calls[3]! + 1, -1, 'call')).toBe(calls[3]);
    expect(step(log, calls[calls.length - 1]!, 1, 'call')).toBeNull();
    const grant = step(log, calls[3]!, 1, 'grant')!;
    expect(log.event(grant)!.body.type).toBe('lock.grant');
  });

  it('a film goes as fast as it is told, skips what took long, and ends live', () => {
    const pen = new Pen();
    for (const now of [0, 100, 200, 3_600_000, 3_600_050]) {
      pen.now = now;
      pen.put('a', { type: 'message', role: 'user', text: 'x' });
    }
    const film = logOf(pen);
    let cursor: number | null = null;
    const seen: (number | null)[] = [];
    const calls: ((now: number) => void)[] = [];
    const player = new Player(film, () => cursor, seq => seen.push((cursor = seq)), { next: call => calls.push(call), stop: () => calls.splice(0) });
    player.speed = 1;
    player.play();
    for (let now = 0; player.playing && now < 10_000; now += 50) {
      calls.shift()!(now);
    }
    expect(seen).toEqual([1, 2, 3, 4, null]);
    expect(player.playing).toBe(false);
  });

  it('a pause keeps the moment', () => {
    let cursor: number | null = 5;
    const player = new Player(log, () => cursor, seq => (cursor = seq), { next: () => 1, stop: () => undefined });
    player.play();
    expect(player.playing).toBe(true);
    player.pause();
    expect([player.playing, cursor]).toEqual([false, 5]);
  });
});

describe('the filter', () => {
  const log = new EventLog();
  log.append(run(3000, 5, 8));
  const found = (filter: Partial<IFilter>) => {
    const filtered = new Filtered(log, { ...NO_FILTER, ...filter });
    while (!filtered.work(1)) {
      // slice by slice
    }
    return filtered.indexes.map(index => log.events[index]!);
  };

  it('passes exactly what matches, by type, actor, unit and text together', () => {
    expect(found({}).length).toBe(3000);
    expect(found({ types: new Set(['lock.grant', 'lock.request']) }).every(event => event.body.type.startsWith('lock.'))).toBe(true);
    const both = found({ actor: 'agent-2', text: 'PART3', types: new Set(['file.write']) });
    expect(both.length).toBeGreaterThan(0);
    expect(both.every(event => event.actor === 'agent-2' && JSON.stringify(event.body).includes('part3'))).toBe(true);
    expect(found({ unit: 'part3.py' }).length).toBe(log.events.filter(event => JSON.stringify([event.unit, event.body.units, event.body.path]).includes('part3.py')).length);
    expect(found({ text: 'nowhere to be found' })).toEqual([]);
  });

  it('goes on in slices and with what comes later', () => {
    const growing = new EventLog();
    growing.append(run(1000, 3));
    const filtered = new Filtered(growing, { ...NO_FILTER, types: new Set(['tool.call']) });
    let now = 0;
    expect(filtered.work(1, () => now++)).toBe(false);
    while (!filtered.work(1, () => now++)) {
      // more
    }
    const before = filtered.indexes.length;
    growing.append(run(2000, 3).slice(1000));
    filtered.work(1e9);
    expect(before).toBeGreaterThan(0);
    expect(filtered.indexes).toEqual(growing.calls);
  });
});

describe('a process', () => {
  const end = (log: EventLog, count = log.length) => log.processes.map(each => processEnd(log, each, count).how);

  it('of which nothing says that it ended goes with its agent, and with the run', () => {
    const pen = new Pen();
    pen.put('ann', { type: 'proc.start', proc: 'p1', argv: ['sleep', '9'] });
    pen.put('ben', { type: 'proc.start', proc: 'p1', argv: ['sleep', '9'] });
    pen.put('ann', { type: 'agent.end' }, { status: 'failed' });
    pen.put('user:me', { type: 'run.end' }, { status: 'failed' });
    const log = logOf(pen);
    expect([2, 3, 4].map(count => end(log, count))).toEqual([['running', 'running'], ['left', 'running'], ['left', 'left']]);
  });

  it('that said how it ended has ended so, whatever its agent did later', () => {
    const pen = new Pen();
    pen.put('ann', { type: 'proc.start', proc: 'p1', argv: ['false'] });
    pen.put('ann', { type: 'proc.exit', proc: 'p1', signal: 9 });
    pen.put('ann', { type: 'agent.end' }, { status: 'done' });
    expect(end(logOf(pen))).toEqual(['signal']);
  });
});

describe('the output', () => {
  function printed(...data: [string, number?][]): { log: EventLog; output: Output } {
    const pen = new Pen();
    pen.put('a', { type: 'proc.start', proc: 'p1', argv: ['/bin/x', 'y'] });
    data.forEach(([text, fd = 1]) => pen.put('a', { type: 'proc.output', proc: 'p1', fd, data: text }));
    pen.put('a', { type: 'proc.exit', proc: 'p1', code: 2 });
    const log = logOf(pen);
    return { log, output: new Output(log, log.processes[0]!) };
  }

  it('joins pieces to lines, keeps the streams apart, and takes terminal sequences out', () => {
    const { log, output } = printed(['one\ntw'], ['err\n', 2], ['o\n\u001b[31mred\u001b[0m \u0007 10 %\r100 %\nend']);
    output.take(log.length);
    expect(output.lines.map(line => [line.fd, line.text])).toEqual([[1, 'one'], [2, 'err'], [1, 'two'], [1, '100 %']]);
    expect(output.rest.map(line => line.text)).toEqual(['end']);
  });

  it('a line of 1 MB is many rows', () => {
    const { log, output } = printed(['x'.repeat(1_000_000) + '\n']);
    output.take(log.length);
    expect(output.lines.length).toBe(1_000_000 / WIDEST);
    expect(output.lines.slice(1).every(line => line.goesOn)).toBe(true);
  });

  it('is what had been printed at the cursor, and has an end only after it', () => {
    const { log, output } = printed(['one\n'], ['two\n']);
    expect(output.take(2)).toBe(true);
    expect([output.lines.length, processEnd(log, log.processes[0]!, 2)]).toEqual([1, { how: 'running' }]);
    expect(output.take(4)).toBe(true);
    expect([output.lines.length, processEnd(log, log.processes[0]!, 4)]).toEqual([2, { how: 'exit', code: 2 }]);
    expect(output.take(2)).toBe(false);
  });
});

describe('the plan', () => {
  it('says what was written as planned, without a plan, and not yet', () => {
    const pen = new Pen();
    pen.put('a', { type: 'plan', steps: ['one', 'two'], units: ['dir:src', 'file:b.txt'] });
    pen.put('b', { type: 'lock.grant', ticket: 1, owner: 'r/b', units: ['file:c.txt', 'proc:test'], mode: 'X' });
    pen.put('b', { type: 'lock.grant', ticket: 2, owner: 'r/b', units: ['file:d.txt'], mode: 'X', implicit: true });
    for (const [actor, path] of [['a', 'src/x.py'], ['a', 'src/x.py'], ['a', 'src2/y.py'], ['b', 'd.txt']] as const) {
      pen.put(actor, { type: 'file.write', path, before: null, after: 'h' });
    }
    pen.put('b', { type: 'file.write', path: 'z', before: null, after: 'h', via: 'rollback' });
    const { plans, touches } = planned(logOf(pen), pen.events.length);
    expect(plans.map(plan => plan.steps)).toEqual([['one', 'two']]);
    expect(touches.map(({ agent, unit, match, writes }) => [agent, unit, match, writes])).toEqual([
      ['a', 'file:src/x.py', 'as planned', 2],
      ['a', 'file:src2/y.py', 'not planned', 1],
      ['a', 'file:b.txt', 'not yet', 0],
      ['b', 'file:d.txt', 'not planned', 1],
      ['b', 'file:c.txt', 'not yet', 0]
    ]);
    expect(planned(logOf(pen), 1).touches.every(touch => touch.match === 'not yet')).toBe(true);
  });

  it('a folder covers what is in it and not what only begins like it', () => {
    expect([covers('dir:src', 'file:src/a'), covers('dir:src', 'file:src2/a'), covers('dir:.', 'file:a'), covers('file:a', 'file:a')]).toEqual([true, false, true, true]);
  });

  it('is drawn with agents at the left of units, and says what there is no room for', () => {
    const touches = Array.from({ length: MOST + 40 }, (_, i) => ({ agent: `a${i % 3}`, unit: `file:${i}`, match: 'as planned' as const, writes: 1, seq: i }));
    const drawing = draw(touches);
    expect([drawing.edges.length, drawing.left]).toEqual([MOST, 40]);
    const side = (kind: string) => drawing.nodes.filter(node => node.kind === kind).map(node => node.x);
    expect(Math.max(...side('agent'))).toBeLessThan(Math.min(...side('unit')));
    expect(draw([]).nodes).toEqual([]);
  });
});

describe('the code of what is shown', () => {
  const store = () => {
    const made = new RunStore('r1', { gateway: new RunGateway([]) });
    made.log.append(run(200));
    made.stage = { name: 'ended' };
    return made;
  };

  it('asks for what the pane shows at its moment, by the filter', () => {
    const shown = store();
    expect(codeOf(shown)).toBe('import agentlab\n\nrun = agentlab.connect().run_named("r1")\nrun.events()');
    shown.setCursor(40);
    shown.setFilter({ types: new Set(['tool.call', 'lock.grant']), actor: "it's", unit: 'src', text: 'a "b"' });
    expect(codeOf(shown).split('\n').pop()).toBe(
      'run.events(where="seq <= 40", types=["lock.grant", "tool.call"], actor="it\'s", unit="src", text="a \\"b\\"")'
    );
    shown.setPane('state');
    expect(codeOf(shown)).toContain('run.at(40)["tables"]["agents"].values()');
  });
});

describe('two runs', () => {
  it('are compared by what they came to and the files that they left', () => {
    const pens = [new Pen(), new Pen()] as const;
    const put = (pen: Pen, path: string, after: string | null) =>
      pen.put('a', after === null ? { type: 'file.delete', path, before: 'x' } : { type: 'file.write', path, before: null, after });
    put(pens[0], 'same', '1');
    put(pens[0], 'changed', '1');
    put(pens[0], 'mine', '1');
    put(pens[1], 'same', '0');
    put(pens[1], 'same', '1');
    put(pens[1], 'changed', '2');
    put(pens[1], 'gone', null);
    const [a, b] = pens.map(pen => summary(logOf(pen))) as [ReturnType<typeof summary>, ReturnType<typeof summary>];
    expect(compareFiles(a, b).map(({ path, verdict }) => [path, verdict])).toEqual([
      ['changed', 'different'], ['gone', 'only in B'], ['mine', 'only in A'], ['same', 'same']
    ]);
    const made = new EventLog();
    made.append(run(2000, 4, 3));
    const sums = summary(made);
    expect(sums.calls).toBe(made.calls.length);
    expect(sums.waits).toBe(made.events.filter(event => event.body.type === 'lock.request').length);
    expect(sums.waited).toBeGreaterThan(0);
  });

  it('what agents used is counted once: by their calls or by what they say at their end, whichever is more', () => {
    const pen = new Pen();
    for (const name of ['a', 'b', 'c', 'd']) {
      pen.put(name, { type: 'agent.start', spec: { kind: 'acp' } }, { name });
    }
    pen.put('a', { type: 'model.call', provider: 'p' }, { tok_in: 10, tok_out: 5, tok_cache: 90, cost: 0.5 });
    pen.put('a', { type: 'agent.end', usage: { in: 10, out: 5, cached: 90, cost: 0.5 } }, { status: 'done', cost: 0.5 });
    pen.put('b/scout', { type: 'model.call', provider: 'p' }, { tok_in: 100 });
    pen.put('b', { type: 'agent.end', usage: { in: 1, cost: 0.25 } }, { status: 'failed', cost: 0.25 });
    pen.put('b', { type: 'model.call', provider: 'p' }, { tok_in: 7 });
    pen.put('c', { type: 'agent.end', usage: { out: 3 } }, { status: 'done' });
    pen.put('d', { type: 'agent.end' }, { status: 'done' });
    const { tokens, cost } = summary(logOf(pen));
    expect([tokens, cost]).toEqual([125, 0.75]);
  });

  it('what nobody tells is not told, which is not nothing', () => {
    const [scripts, costless] = [new Pen(), new Pen()];
    scripts.put('a', { type: 'agent.start', spec: { kind: 'script' } });
    scripts.put('a', { type: 'agent.end' }, { status: 'done' });
    costless.put('a', { type: 'agent.start', spec: { kind: 'codex' } });
    costless.put('a', { type: 'model.call', provider: 'openai' }, { tok_in: 3, tok_out: 4, cost: null });
    expect([scripts, costless].map(pen => summary(logOf(pen))).map(({ tokens, cost }) => [tokens, cost])).toEqual([[null, null], [7, null]]);
  });
});
