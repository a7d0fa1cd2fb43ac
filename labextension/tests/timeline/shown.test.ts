import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { plain, spanLines, Teller, Timeline, type ITrans } from '../../src/timeline';
import { Pen } from './runs';

const HOSTILE = '\u202egnp.exe \u001b[2J\u0007\u200b';
const OBEYED = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u202a-\u202e\u2066-\u2069]/; // eslint-disable-line no-control-regex

/** An agent that is called, does and asks for what a terminal or a browser would obey. */
function hostile(): Teller {
  const pen = new Pen();
  const actor = `eve${HOSTILE}`;
  pen.put(actor, { type: 'tool.call', call: 'c' }, { name: `run${HOSTILE}`, unit: `file:${HOSTILE}` });
  pen.put(actor, { type: 'proc.start', proc: 'p', argv: ['ls', HOSTILE] });
  pen.put(actor, { type: 'lock.grant', ticket: 1, owner: `r1/${actor}`, units: [`file:${HOSTILE}`], mode: 'X', token: 1 });
  pen.put(`${actor}/sub${HOSTILE}`, { type: 'tool.call', call: 'd' }, { name: 'read' });
  pen.now = 1_000;
  pen.put(actor, { type: 'message', role: HOSTILE, text: '' });
  const teller = new Teller();
  pen.events.forEach(event => teller.take(event));
  return teller;
}

describe('what agents wrote', () => {
  let written: string[];

  /** A canvas that only notes its texts. */
  beforeEach(() => {
    written = [];
    const known: Record<string, unknown> = {
      fillText: (text: string) => written.push(text), measureText: (text: string) => ({ width: text.length * 6 }), createPattern: () => null
    };
    const context = new Proxy({}, { get: (_, name: string) => known[name] ?? (() => undefined), set: () => true });
    vi.spyOn(HTMLCanvasElement.prototype, 'getContext').mockReturnValue(context as never);
    vi.spyOn(HTMLElement.prototype, 'clientWidth', 'get').mockReturnValue(1200);
    vi.spyOn(HTMLElement.prototype, 'clientHeight', 'get').mockReturnValue(400);
  });

  afterEach(() => void vi.restoreAllMocks());

  async function painted(trans: ITrans): Promise<Timeline> {
    const resized: (() => void)[] = [];
    vi.stubGlobal('ResizeObserver', class { constructor(call: () => void) { resized.push(call); } observe(): void {} disconnect(): void {} });
    const timeline = new Timeline(hostile().table, { trans });
    document.body.append(timeline.node);
    resized.forEach(call => call());
    await new Promise(resolve => setTimeout(resolve, 60));
    vi.unstubAllGlobals();
    return timeline;
  }

  it('is painted so that it can be seen: boxes and the names of lanes', async () => {
    const timeline = await painted(plain);
    expect(written.join(' ')).toContain('\\u202egnp.exe');
    expect(written.some(text => text.startsWith('eve\\u202e'))).toBe(true);
    expect(written.filter(text => OBEYED.test(text))).toEqual([]);
    timeline.dispose();
  });

  it('is told so that it can be seen: the lines of a tooltip', () => {
    const { table } = hostile();
    for (let i = 0; i < table.length; i++) {
      const lines = spanLines(table, i, 0, plain);
      expect(lines[0]).toContain('eve\\u202egnp.exe');
      expect(lines.filter(each => OBEYED.test(each))).toEqual([]);
    }
  });

  it('the name of the axis is in the language of the page', async () => {
    const timeline = await painted({ __: (text, ...args) => `«${plain.__(text, ...args)}»` });
    expect(written).toContain('«time»');
    timeline.setAxis('order');
    await new Promise(resolve => setTimeout(resolve, 60));
    expect(written).toContain('«order of the log»');
    timeline.dispose();
  });
});
