import { nullTranslator } from '@jupyterlab/translation';
import { expect, test } from 'vitest';

import { AgentlabPanel } from '../src/sidebar/panel';

test('the panel is a region with a name', () => {
  const panel = new AgentlabPanel({ trans: nullTranslator.load('agentlab') });
  expect(panel.node.getAttribute('role')).toBe('region');
  expect(panel.node.getAttribute('aria-label')).toBe('agentlab');
  panel.dispose();
});
