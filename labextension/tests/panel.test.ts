import type { Signal } from '@lumino/signaling';
import { Widget, type AccordionPanel } from '@lumino/widgets';
import { fireEvent, screen } from '@testing-library/react';
import { expect, test } from 'vitest';

import { AgentlabPanel } from '../src/sidebar/panel';
import { change, stage } from './host';
import { agent, delta } from './fakes';

test('the panel is a region with a name and its sections', () => {
  const panel = new AgentlabPanel(stage().host);
  expect(panel.node.getAttribute('role')).toBe('region');
  expect(panel.node.getAttribute('aria-label')).toBe('agentlab');
  expect(panel.widgets.map(widget => widget.title.label)).toEqual(['Agents', 'Approvals', 'Locks and queues', 'Runtimes', 'Runs']);
  panel.dispose();
});

test('open questions are a badge on the tab, and in its tooltip', () => {
  const on = stage({ approvals: {} });
  const panel = new AgentlabPanel(on.host);
  expect(panel.title.dataset['agentlab-badge']).toBe('');
  const asked = { approval: 'q', run_id: 'r1', agent: 'r1/a', question: '?', status: 'asked' };
  change(on, delta(2, { approvals: { q1: asked, q2: { ...asked, approval: 'q2' }, q3: { ...asked, status: 'denied' } } }));
  expect(panel.title.dataset['agentlab-badge']).toBe('2');
  expect(panel.title.caption).toContain('2 questions');
  change(on, delta(3, { approvals: { q1: null, q2: null } }));
  expect(panel.title.dataset['agentlab-badge']).toBe('');
  panel.dispose();
});

test('sections count what is in them, and live agents only', () => {
  const on = stage({ agents: { 'r1/a': agent('a'), 'r1/b': agent('b', { status: 'done' }) } });
  const panel = new AgentlabPanel(on.host);
  expect(panel.widgets[0]!.title.label).toBe('Agents (1)');
  panel.dispose();
});

test('rows that are not current are shown as old, and where nothing was ever known nothing is said to be empty', () => {
  const on = stage();
  const panel = new AgentlabPanel(on.host);
  expect(panel.hasClass('jp-mod-stale')).toBe(false);
  change(on, delta(2, {}), { state: 'offline', problem: { code: 'Unreachable', message: 'gone', next: '' } });
  expect(panel.hasClass('jp-mod-stale')).toBe(true);
  expect(panel.node.getAttribute('aria-label')).toContain('as of');
  expect(panel.hasClass('jp-mod-none')).toBe(false);
  on.model.view = { ...on.model.view, asOf: null };
  change(on, delta(2, {}), { state: 'offline', problem: { code: 'PlaneUnavailable', message: 'none', next: '' } });
  expect(panel.hasClass('jp-mod-none')).toBe(true);
  panel.dispose();
});

test('who comes to the panel by a command is in its first row, and stays where they are when they are in it', async () => {
  const on = stage({ agents: { 'r1/a': agent('a') } });
  const panel = new AgentlabPanel(on.host);
  Widget.attach(panel, document.body);
  await screen.findByText('a');
  panel.activate();
  await new Promise(resolve => setTimeout(resolve));
  expect((document.activeElement as HTMLElement).dataset.agent).toBe('r1/a');
  const button = screen.getByRole('button', { name: 'Stop a' });
  button.focus();
  panel.activate();
  await new Promise(resolve => setTimeout(resolve));
  expect(document.activeElement).toBe(button);
  panel.dispose();
});

test('sections that fold and open again have the room that they had', () => {
  const panel = new AgentlabPanel(stage().host);
  Widget.attach(panel, document.body);
  const content = panel.content as AccordionPanel;
  const sizes = () => content.relativeSizes().map(size => Math.round(size * 100));
  const before = sizes();
  [0, 2, 3, 4].forEach(at => content.collapse(at));
  expect(sizes()).toEqual([0, 100, 0, 0, 0]);
  [4, 0, 3, 2].forEach(at => content.expand(at));
  expect(sizes()).toEqual(before);
  expect(Math.min(...before)).toBeGreaterThan(9);
  content.setRelativeSizes([1, 1, 1, 1, 6]); // as a drag of a handle does
  (content.handleMoved as Signal<AccordionPanel, void>).emit(undefined);
  content.collapse(0);
  content.expand(0);
  expect(sizes()).toEqual([10, 10, 10, 10, 60]);
  panel.dispose();
});

test('a new agent is one press away', async () => {
  const on = stage();
  const panel = new AgentlabPanel(on.host);
  Widget.attach(panel, document.body);
  fireEvent.click(await screen.findByLabelText('Spawn an agent'));
  expect(on.ran).toEqual([{ command: 'agentlab:spawn-agent', args: undefined }]);
  panel.dispose();
});
