import { act, fireEvent, screen, waitFor, within } from '@testing-library/react';
import React from 'react';
import { expect, test, vi } from 'vitest';

import { Agents } from '../../src/sidebar/agents';
import { Announcer } from '../../src/sidebar/announcer';
import { diffLines } from '../../src/sidebar/diff';
import { Approvals } from '../../src/sidebar/approvals';
import { LinkBanner } from '../../src/sidebar/link';
import { Locks } from '../../src/sidebar/locks';
import { Runs } from '../../src/sidebar/runs';
import { Runtimes } from '../../src/sidebar/runtimes';
import { StatusItem } from '../../src/status/item';
import { SpawnBody } from '../../src/spawn/dialog';
import { EMPTY, inRun, missing, ofKind, spawnOf } from '../../src/spawn/draft';
import { releaseText } from '../../src/commands/release';
import { agent, delta } from '../fakes';
import { NOW, change, shown, stage } from '../host';

const offline = { state: 'offline', problem: { code: 'Unreachable', message: 'The server is gone.', next: 'Look.' } } as const;
const waits = { ticket: 3, units: ['file:src/a.py'], position: 2, behind: [{ owner: 'r1/typist' }] };
const question = (key: string, more: object = {}) => ({ approval: key, run_id: 'r1', agent: 'r1/ann', question: 'May I?', kind: 'permission', tool: 'run', status: 'asked', asked: NOW - 5e9, ...more });

test('where nothing is, every section says how something comes there', () => {
  for (const [view, words] of [[<Agents />, '%agent spawn'], [<Approvals />, 'waits here for you'], [<Locks />, 'take locks'], [<Runtimes />, 'agentlab doctor']] as const) {
    const { container, unmount } = shown(stage(), view);
    expect(container.textContent).toContain(words);
    unmount();
  }
});

test('a waiting agent says for what, behind whom and at which place', () => {
  shown(stage({ agents: { 'r1/ann': agent('ann', { status: 'waiting', waits: waits as never }) } }), <Agents />);
  expect(screen.getByRole('row', { name: /ann/ }).textContent).toContain('waits for file:src/a.py · held by typist · 2nd');
});

test('what an agent is called is text, whatever it is', () => {
  const { container } = shown(stage({ agents: { 'r1/x': agent('<img src=x onerror=alert(1)>\u202e', { doing: '\x1b[31m<b>' }) } }), <Agents />);
  expect(container.querySelector('img, b')).toBeNull();
  expect(container.textContent).toContain('\\u202e');
});

test('a press on a button of a row runs its command for that agent', () => {
  const on = stage({ agents: { 'r1/ann': agent('ann'), 'r1/bob': agent('bob', { status: 'paused' }) } });
  shown(on, <Agents />);
  fireEvent.click(screen.getByRole('button', { name: 'Pause ann' }));
  fireEvent.click(screen.getByRole('button', { name: 'Resume bob' }));
  fireEvent.click(screen.getByRole('button', { name: 'Stop ann' }));
  expect(on.ran).toEqual([
    { command: 'agentlab:pause-agent', args: { agent: 'r1/ann' } },
    { command: 'agentlab:resume-agent', args: { agent: 'r1/bob' } },
    { command: 'agentlab:stop-agent', args: { agent: 'r1/ann' } }
  ]);
});

test('an agent that has not begun, or is being stopped, offers no pause', () => {
  const began = ['queued', 'dispatched', 'running', 'waiting', 'blocked', 'idle', 'stopping'];
  shown(stage({ agents: Object.fromEntries(began.map(status => [`r1/${status}`, agent(status, { status })])) }), <Agents />);
  const offered = screen.getAllByRole('button', { name: /^Pause / }).map(button => button.getAttribute('aria-label'));
  expect(offered.sort()).toEqual(['Pause blocked', 'Pause idle', 'Pause running', 'Pause waiting']);
});

test('where there are more runs than are listed, how many agents are not is said', () => {
  const many = Array.from({ length: 53 }, (_, n) => agent('a', { agent: `r${n}/a`, run_id: `r${n}`, status: n < 2 ? 'running' : 'done' }));
  const { container } = shown(stage({ agents: Object.fromEntries(many.map(row => [row.agent as string, row])) }), <Agents />);
  expect(container.querySelectorAll('tr[data-row]').length).toBe(50);
  expect(container.textContent).toContain('The agents of 3 more runs are not listed here (no agent)');
});

test('the caption of a run says who is at work, and who is not', () => {
  const { container } = shown(stage({ agents: { 'r1/a': agent('a'), 'r1/b': agent('b', { status: 'blocked' }), 'r1/c': agent('c', { status: 'paused' }) } }), <Agents />);
  expect(container.querySelector('caption')!.textContent).toContain('3 agents: 1 at work, 1 asks, 1 paused');
});

test('one row is a tab stop, the arrows lead to the others, Enter opens', () => {
  const on = stage({ agents: { 'r1/ann': agent('ann'), 'r1/bob': agent('bob') } });
  const { container } = shown(on, <Agents />);
  const rows = [...container.querySelectorAll<HTMLElement>('tr[data-row]')];
  expect(rows.map(row => row.tabIndex)).toEqual([0, -1]);
  rows[0]!.focus();
  fireEvent.keyDown(rows[0]!, { key: 'ArrowDown' });
  expect(document.activeElement).toBe(rows[1]);
  expect(rows.map(row => row.tabIndex)).toEqual([-1, 0]);
  fireEvent.keyDown(rows[1]!, { key: 'Enter' });
  expect(on.ran).toEqual([{ command: 'agentlab:open-agent', args: { agent: 'r1/bob' } }]);
});

test('rows that are old offer nothing that would act on them', () => {
  const on = stage({ agents: { 'r1/ann': agent('ann') }, approvals: { q: question('q') } });
  const { container } = shown(on, <><Agents /><Approvals /><LinkBanner /></>);
  change(on, delta(2, {}), offline);
  expect(screen.queryByRole('button', { name: 'Stop ann' })).toBeNull();
  expect((screen.getByRole('button', { name: 'Allow once' }) as HTMLButtonElement).disabled).toBe(true);
  expect(container.textContent).toContain('The server is gone.');
  expect(container.textContent).toContain('as of');
});

test('the banner is silent while all is live, and offers to try again when it is not', () => {
  const on = stage();
  const { container } = shown(on, <LinkBanner />);
  expect(container.textContent).toBe('');
  change(on, delta(2, {}), offline);
  fireEvent.click(screen.getByRole('button', { name: 'Try now' }));
  expect(on.ran[0]!.command).toBe('agentlab:reconnect');
});

test('an approval shows all that is needed to answer it', async () => {
  const on = stage({
    approvals: { q: question('q', { input: { command: 'rm -rf build' }, units: ['dir:build'], risk: 'high', risks: ['deletes files'], diff: 'ab'.repeat(32), locks: [{ unit: 'dir:build', owner: 'r1/bob', mode: 'X', waits: false }] }) }
  });
  on.gateway.answers[`GET api/blobs/${'ab'.repeat(32)}`] = () => '-old\n+new\n';
  const { container } = shown(on, <Approvals />);
  for (const words of ['ann', 'wants run', 'high risk', 'deletes files', 'dir:build', 'held by bob (exclusive)', 'rm -rf build']) {
    expect(container.textContent).toContain(words);
  }
  const details = screen.getByText('Difference').closest('details')!;
  details.open = true;
  fireEvent(details, new Event('toggle'));
  await waitFor(() => expect(container.querySelector('.jp-agentlab-added')?.textContent).toContain('+new'));
});

test('allowing and denying are sent as they were pressed, with scope and reason', async () => {
  const on = stage({ approvals: { q: question('q') } });
  on.gateway.answers['POST api/approvals/q'] = () => ({});
  shown(on, <Approvals />);
  await act(async () => void fireEvent.click(screen.getByRole('button', { name: 'Session' })));
  fireEvent.click(screen.getByRole('button', { name: 'Deny…' }));
  fireEvent.change(screen.getByRole('textbox', { name: 'Reason' }), { target: { value: 'too risky' } });
  await act(async () => void fireEvent.click(screen.getByRole('button', { name: 'Deny' })));
  expect(on.gateway.asked.map(one => one.body)).toEqual([
    { status: 'approved', scope: 'session' },
    { status: 'denied', answer: 'too risky' }
  ]);
});

test('a denial that is thought over again goes back to where it came from, and nothing was said', () => {
  const on = stage({ approvals: { q: question('q') } });
  shown(on, <Approvals />);
  fireEvent.click(screen.getByRole('button', { name: 'Deny…' }));
  expect(screen.queryByRole('button', { name: 'Allow once' })).toBeNull();
  fireEvent.click(screen.getByRole('button', { name: 'Back' }));
  expect(screen.getByRole('button', { name: 'Allow once' })).toBeTruthy();
  expect(on.gateway.asked).toEqual([]);
});

test('what nobody holds is said to be free, and of a past answer what it was about', () => {
  const free = question('q', { units: ['file:a.py', 'fs/write'] });
  const past = question('p', { status: 'approved', scope: 'session', by: 'eve', question: 'May it run git push?', answered: NOW });
  const on = stage({ approvals: { q: free, p: past } });
  const { container } = shown(on, <Approvals />);
  expect(container.textContent).toContain('On file:a.py (free), fs/write');
  expect(container.querySelector('.jp-agentlab-past li')!.textContent).toBe('ann May it run git push? · allowed for the session · by eve');
  const held = { ...free, locks: [{ unit: 'file:a.py', owner: 'r1/bob', mode: 'X', waits: false }] };
  change(on, delta(2, { approvals: { q: held } }));
  expect(container.textContent).not.toContain('(free)');
  expect(container.textContent).toContain('file:a.py is held by bob');
});

test('an agent that asks says what', () => {
  const on = stage({ agents: { 'r1/ann': agent('ann', { status: 'blocked', doing: 'run' }) }, approvals: { b: question('b', { question: 'And this?', asked: NOW }), a: question('a') } });
  const { container } = shown(on, <Agents />);
  const said = () => container.querySelector('.jp-agentlab-sub')!.textContent;
  expect(said()).toBe('asks · May I?');
  change(on, delta(2, { approvals: { a: question('a', { status: 'approved' }) } }));
  expect(said()).toBe('asks · And this?');
  change(on, delta(3, { approvals: { b: null }, agents: { 'r1/ann': agent('ann', { doing: 'run' }) } }));
  expect(said()).toBe('running · run');
});

test('a removed line that looks like the head of a difference is a removed line', () => {
  const text = ['--- a/q.sql', '+++ b/q.sql', '@@ -1,3 +1,3 @@', ' select 1;', '--- drop it', '-++ old', '+++ new', '+-- keep it', '\\ No newline at end of file', '--- a/r', '+++ b/r', '@@ -1 +0,0 @@', '-x'].join('\n');
  expect(diffLines(text).map(one => one.kind)).toEqual([
    'head', 'head', 'hunk', 'same', 'removed', 'removed', 'added', 'added', 'same', 'head', 'head', 'hunk', 'removed'
  ]);
  expect(diffLines('--- change x\n-gone\n+come').map(one => one.kind)).toEqual(['head', 'removed', 'added']);
});

test('an agent that joins a run works in the folder of that run', () => {
  const open = [{ name: 'refactor', root: '/w/shop' }];
  const draft = { ...EMPTY, workdir: '/w' };
  expect(inRun(draft, 'refactor', open)).toMatchObject({ run: 'refactor', workdir: '/w/shop' });
  expect(inRun(draft, 'another', open)).toMatchObject({ run: 'another', workdir: '/w' });
});

test('how many events a run has is said when it is over: while it goes on that is old at once', () => {
  const run = { run_id: 'r1', name: 'story', status: 'open', seq: 7, live: 1, started: NOW };
  const on = stage({ runs: { r1: run }, agents: { 'r1/ann': agent('ann') } });
  on.gateway.answers['GET api/runs?limit=200'] = () => [];
  const { container } = shown(on, <Runs />);
  expect(container.textContent).not.toContain('events');
  change(on, delta(2, { runs: { r1: { ...run, status: 'done', live: 0, seq: 12, ended: NOW } } }));
  expect(container.textContent).toContain('12 events');
});

test('who was second in answering is told who was first', async () => {
  const on = stage({ approvals: { q: question('q') } });
  on.gateway.refuse('POST api/approvals/q', 409, 'Refused', 'bob approved this already.');
  shown(on, <Approvals />);
  await act(async () => void fireEvent.click(screen.getByRole('button', { name: 'Always' })));
  expect(screen.getByRole('alert').textContent).toContain('bob approved this already.');
  change(on, delta(2, { approvals: { q: question('q', { status: 'approved', by: 'bob', answered: NOW }) } }));
  expect(screen.getByRole('alert').textContent).toMatch(/Your answer to .* was not taken\. bob approved this already\./); // its question is gone
  fireEvent.click(screen.getByRole('button', { name: 'Dismiss' }));
  expect(screen.queryByRole('alert')).toBeNull();
});

test('when a limit resets is said beside the state, once, in the language and the time zone of the page', () => {
  const hour = 3600e9;
  const limited = agent('ann', { status: 'failed', ended: NOW, resets: NOW + hour, error: 'Too many requests' });
  const on = stage({ agents: { 'r1/ann': limited } });
  const { container } = shown(on, <Agents />);
  const time = new Date((NOW + hour) / 1e6).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const sub = container.querySelector('.jp-agentlab-sub')!.textContent!;
  expect(sub).toMatch(/^failed · its limit resets at /);
  expect(sub).toContain(time);
  expect(sub).toMatch(/ · Too many requests$/);
  change(on, delta(2, { agents: { 'r1/ann': agent('ann', { status: 'failed', ended: NOW, error: 'no luck' }) } }));
  expect(container.querySelector('.jp-agentlab-sub')!.textContent).toBe('failed · no luck');
});

test('a question is answered by an option, by words, or not at all', async () => {
  const on = stage({ approvals: { q: question('q', { kind: 'question', tool: '', options: ['left', 'right'] }) } });
  on.gateway.answers['POST api/approvals/q'] = () => ({});
  shown(on, <Approvals />);
  await act(async () => void fireEvent.click(screen.getByRole('button', { name: 'right' })));
  fireEvent.change(screen.getByRole('textbox'), { target: { value: 'neither' } });
  await act(async () => void fireEvent.click(screen.getByRole('button', { name: 'Answer' })));
  expect(on.gateway.asked.map(one => one.body)).toEqual([{ status: 'answered', answer: 'right' }, { status: 'answered', answer: 'neither' }]);
});

test('a unit shows who holds it and its queue in order, each with what an operator can do', () => {
  const lock = (ticket: number, owner: string, more: object) => ({ ticket, owner: `r1/${owner}`, run_id: 'r1', units: ['file:a'], mode: 'X', granted: NOW, requested: NOW, ttl: 60, expires: NOW + 60e9, ...more });
  const on = stage({ locks: { 1: lock(1, 'ann', { status: 'held', token: 1 }), 3: lock(3, 'cat', { status: 'waiting', position: 2 }), 2: lock(2, 'bob', { status: 'waiting', position: 1 }) } });
  const { container } = shown(on, <Locks />);
  const rows = [...container.querySelectorAll('tr[data-row]')].map(row => row.textContent);
  expect(rows.map(text => /ann|bob|cat/.exec(text ?? '')![0])).toEqual(['ann', 'bob', 'cat']);
  expect(rows[1]).toContain('1st');
  expect([rows[0], rows[1]]).toEqual([expect.stringContaining('lease 1m'), expect.not.stringContaining('lease')]);
  expect(screen.getByTitle(/Renewed while its owner lives; it ends 1 min 00 s after.*was to end at/)).toBeTruthy();
  fireEvent.click(screen.getByRole('button', { name: 'Move cat to the front' }));
  fireEvent.click(screen.getByRole('button', { name: 'Release what ann holds' }));
  expect(on.ran.map(one => [one.command, one.args])).toEqual([
    ['agentlab:bump-ticket', { ticket: 3 }],
    ['agentlab:release-ticket', { ticket: 1 }]
  ]);
});

test('before a release is said what it breaks', () => {
  const { title, body } = releaseText(stage().host.trans, { units: ['file:a'], owner: 'ann', working: true, doing: 'edit file:a', next: ['bob'] }, true);
  expect(title).toBe('Release file:a from ann?');
  expect(body).toContain('ann is at work there (edit file:a)');
  expect(body).toContain('refused');
  expect(body).toContain('bob');
});

test('an ill runtime says why, and which programs it has', () => {
  const { container } = shown(
    stage({ runtimes: { l: { runtime_id: 'l', name: 'box', kind: 'docker', health: 'offline', reason: 'no sign of life for 45 s', slots: 4, used: 1, last_seen: NOW - 100e9, clis: [{ name: 'codex', verdict: 'too old', version: '0.1' }, { name: 'gemini', verdict: 'missing' }] } } }),
    <Runtimes />
  );
  for (const words of ['box', 'offline', 'no sign of life for 45 s', '1 of 4 slots', 'too old', 'Not installed: gemini', '1m']) {
    expect(container.textContent).toContain(words);
  }
});

test('runs are searched, opened, and two of them compared', async () => {
  const on = stage();
  on.gateway.answers['GET api/runs?limit=200'] = () => ['one', 'two', 'three'].map((name, n) => ({ run_id: `r${n}`, name, status: 'done', started: NOW - n * 1e9, ended: NOW })) as never;
  shown(on, <Runs />);
  await screen.findByRole('row', { name: /three/ });
  fireEvent.click(screen.getByRole('button', { name: 'Open run two' }));
  const compare = screen.getByRole('button', { name: 'Compare' }) as HTMLButtonElement;
  fireEvent.click(screen.getByRole('checkbox', { name: /one/ }));
  expect(compare.disabled).toBe(true);
  fireEvent.click(screen.getByRole('checkbox', { name: /three/ }));
  fireEvent.click(compare);
  fireEvent.change(screen.getByRole('searchbox'), { target: { value: 'two' } });
  expect(within(screen.getByRole('table')).queryByText('one')).toBeNull();
  expect(on.ran).toEqual([
    { command: 'agentlab:open-run', args: { run_id: 'r1' } },
    { command: 'agentlab:compare-runs', args: { run_ids: ['r0', 'r2'] } }
  ]);
});

test('what a run used stands in its row as far as anybody told, and nowhere where nobody did', async () => {
  const on = stage({ runs: { r0: { run_id: 'r0', name: 'at work', status: 'open', started: NOW, seq: 3, live: 0, usage: { in: 900, out: 50, cost: 0.5 } } } });
  const ended = { status: 'done', started: NOW - 1e9, ended: NOW, n_events: 9 };
  on.gateway.answers['GET api/runs?limit=200'] = () => [
    { ...ended, run_id: 'r1', name: 'forgotten', usage: { in: 12_000, out: 345, cached: 1e6, cost: 0.0123 } },
    { ...ended, run_id: 'r2', name: 'costless', usage: { in: 0, out: 7 } },
    { ...ended, run_id: 'r3', name: 'silent', usage: null }
  ] as never;
  const { container } = shown(on, <Runs />);
  await screen.findByRole('row', { name: /silent/ });
  const told = [...container.querySelectorAll('tr[data-run]')].map(row => [
    row.querySelector('.jp-agentlab-sub')?.textContent?.split(' · ').slice(2).join(), row.querySelector('.jp-agentlab-cost')?.textContent
  ]);
  expect(told).toEqual([['950 tokens', '$0.50'], ['12.3k tokens', '$0.0123'], ['7 tokens', undefined], ['', undefined]]);
});

test('runs are listed anew when one has ended or is forgotten, once for many', async () => {
  vi.useFakeTimers();
  try {
    const run = (id: string, status: string) => ({ run_id: id, name: id, status, started: NOW, seq: 3, live: status === 'open' ? 1 : 0 });
    const on = stage({ runs: { r1: run('r1', 'open'), r2: run('r2', 'open') } });
    const asked = (): number => on.gateway.asked.length;
    let listed = [{ run_id: 'r1', name: 'r1', status: 'open', started: NOW, live: 1 }];
    on.gateway.answers['GET api/runs?limit=200'] = () => listed as never;
    const { container } = shown(on, <Runs />);
    await act(() => vi.advanceTimersByTimeAsync(0));
    expect(asked()).toBe(1);
    change(on, delta(2, { runs: { r1: run('r1', 'done') } }));
    change(on, delta(3, { runs: { r2: run('r2', 'done') } }));
    listed = ['r1', 'r2'].map(id => ({ run_id: id, name: id, status: 'done', started: NOW, ended: NOW + 5e9, n_events: 9, live: 0 }));
    await act(() => vi.advanceTimersByTimeAsync(3000));
    expect(asked()).toBe(2);
    change(on, delta(4, { runs: { r1: null, r2: null } }));
    const rows = [...container.querySelectorAll('tr[data-run]')].map(row => row.textContent);
    expect(rows).toEqual([expect.stringContaining('done · 9 events'), expect.stringContaining('done · 9 events')]);
    await act(() => vi.advanceTimersByTimeAsync(3000));
    expect(asked()).toBe(3);
  } finally {
    vi.useRealTimers();
  }
});

test('the status bar counts, and leads to the questions where there are some', () => {
  const on = stage({ agents: { a: agent('a'), b: agent('b', { status: 'waiting' }) }, approvals: { q: question('q') } });
  shown(on, <StatusItem />);
  const item = screen.getByRole('button', { name: /2 agents: 1 at work, 1 waits; 1 approval/ });
  fireEvent.click(item);
  expect(on.ran[0]!.command).toBe('agentlab:show-approvals');
  change(on, delta(2, {}), offline);
  expect(screen.getByRole('button', { name: /not connected/ }).textContent).not.toContain('1');
});

test('what is connecting for the first time is not said to be offline', () => {
  const on = stage();
  on.model.view = { ...on.model.view, link: { state: 'connecting' }, asOf: null };
  const { container } = shown(on, <StatusItem />);
  expect(container.textContent).toContain('connecting');
  on.model.view = { ...on.model.view, asOf: NOW / 1e6 };
  change(on, delta(2, {}), { state: 'connecting' });
  expect(container.textContent).toContain('offline');
});

test('why a program will not do stands below it, its command set apart', () => {
  const clis = [{ name: 'gemini', verdict: 'unknown version', reason: 'Reinstall it: `npm install -g x`.' }, { name: 'codex', verdict: 'ok', version: '1', reason: 'nothing' }];
  const { container } = shown(stage({ runtimes: { l: { runtime_id: 'l', name: 'box', kind: 'local', health: 'online', slots: 4, used: 1, clis } } }), <Runtimes />);
  const why = [...container.querySelectorAll('.jp-agentlab-why')];
  expect(why.map(one => one.textContent)).toEqual(['Reinstall it: npm install -g x.']);
  expect(why[0]!.querySelector('code')!.textContent).toBe('npm install -g x');
});

test('changes that matter are read aloud, once, and not those before one looked', () => {
  vi.useFakeTimers();
  try {
    const on = stage({ agents: { 'r1/ann': agent('ann'), 'r1/old': agent('old', { status: 'done' }) } });
    const { container } = shown(on, <Announcer />);
    change(on, delta(2, { agents: { 'r1/ann': agent('ann', { status: 'failed' }) }, approvals: { q: question('q') } }));
    act(() => void vi.advanceTimersByTime(2500));
    expect(container.textContent).toBe('ann: failed. ann asks for an answer');
  } finally {
    vi.useRealTimers();
  }
});

test('a spawn is asked for as it was written, and what is refused is said in the form, which stays', async () => {
  const on = stage({ runtimes: { l: { runtime_id: 'l', health: 'online', kinds: ['script'] } } });
  on.gateway.refuse('POST spawn', 409, 'NameTaken', "The name 'ann' is taken.", 'Choose another.');
  const body = new SpawnBody({ agentlab: on.host.agentlab, trans: on.host.trans, cwd: 'src' });
  expect(await body.submit()).toBe(false);
  expect(on.gateway.asked).toEqual([]); // no task yet
  body.draft = { ...body.draft, task: '- say: hello', workdir: '/w', name: 'ann', claims: 'file:a, dir:b' };
  expect(await body.submit()).toBe(false);
  on.gateway.answers['POST spawn'] = () => ({ agent: 'r1/ann', run_id: 'r1' });
  expect(await body.submit()).toBe(true);
  expect(body.spawned).toEqual({ agent: 'r1/ann', run_id: 'r1' });
  expect(on.gateway.asked.at(-1)).toEqual({ call: 'POST spawn', body: { kind: 'script', task: '- say: hello', workdir: '/w', name: 'ann', claims: ['file:a', 'dir:b'] } });
});

test('the environment of an agent is sent as references, and a value itself is kept back', () => {
  const { trans } = stage().host;
  const draft = { ...EMPTY, kind: 'script', task: 'go', workdir: '/w', env: 'TOKEN\n\n OTHER=env:MINE \nKEY=file:/run/my key\n' };
  expect(missing(draft, trans)).toBe('');
  expect(spawnOf(draft).env).toEqual({ TOKEN: 'env:TOKEN', OTHER: 'env:MINE', KEY: 'file:/run/my key' });
  expect(spawnOf({ ...draft, env: ' ' })).not.toHaveProperty('env');
  for (const wrong of ['TOKEN=hunter2', 'TOKEN=', 'KEY=file:', '1X', 'A B', 'env:TOKEN', 'TOKEN\nKEY=literal']) {
    const said = missing({ ...draft, env: wrong }, trans);
    expect(said).toContain('by reference');
    expect(said).not.toContain('hunter2');
  }
});

test('a program is an agent by its command, and what it may use and spend is sent as it was written', async () => {
  const draft = { ...ofKind(EMPTY, 'cli'), task: 'go', workdir: '/w' };
  expect(missing(draft, stage().host.trans)).toContain('Name the program');
  const full = { ...draft, command: ' my-agent -i ', tools: 'read, edit', rules: 'reject tool=run\n\nask tool=write', minutes: '1.5', tokens: '1000', cost: '0.5', keep: true, waitLimits: true };
  expect(missing(full, stage().host.trans)).toBe('');
  expect(spawnOf(full)).toEqual({
    kind: 'cli', task: 'go', workdir: '/w', boundary: 'native', options: { command: 'my-agent -i' }, tools: ['read', 'edit'],
    permissions: ['reject tool=run', 'ask tool=write'], max_time: 90, max_tokens: 1000, max_cost: 0.5, keep: true, wait_limits: true
  });
  for (const wrong of ['-1', 'many', '0']) {
    expect(missing({ ...full, cost: wrong }, stage().host.trans)).toContain('A limit is a number');
  }
  expect(spawnOf(ofKind(full, 'claude'))).not.toHaveProperty('options'); // its command is the vendor's
  expect(spawnOf(ofKind(full, 'claude'))).not.toHaveProperty('boundary');
});
