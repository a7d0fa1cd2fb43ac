import React from 'react';

import { agentGroups } from '../rows/agents';
import { approvals } from '../rows/approvals';
import { useHost, useView } from '../ui/host';
import { statusWord, waitWords } from '../ui/words';

const TOLD = new Set(['waiting', 'blocked', 'paused', 'done', 'failed', 'cancelled']);
const PAUSE = 2000; // ms; more would be talked over

/** Says changes aloud that matter: who waits, asks or has ended. For screen readers; nothing of it is seen. */
export function Announcer(): JSX.Element {
  const { trans, settings } = useHost();
  const view = useView();
  const known = React.useRef<Map<string, string> | null>(null);
  const heap = React.useRef<string[]>([]);
  const [said, say] = React.useState('');
  React.useEffect(() => {
    const before = known.current;
    const now = new Map<string, string>();
    for (const group of agentGroups(view.tables)) {
      for (const agent of group.agents) {
        now.set(agent.key, agent.status);
        if (before?.size && before.get(agent.key) !== agent.status && TOLD.has(agent.status)) {
          heap.current.push(`${agent.name}: ${agent.waiting ? waitWords(trans, agent.waiting) : statusWord(trans, agent.status)}`);
        }
      }
    }
    for (const one of approvals(view.tables).open) {
      now.set(one.key, 'asked');
      if (before?.size && !before.has(one.key)) {
        heap.current.push(trans.__('%1 asks for an answer', one.agent));
      }
    }
    known.current = now;
  }, [view.tables, trans]);
  React.useEffect(() => {
    const timer = setInterval(() => {
      if (heap.current.length) {
        say(heap.current.splice(0, 3).join('. '));
        heap.current = [];
      }
    }, PAUSE);
    return () => clearInterval(timer);
  }, []);
  return (
    <div className="jp-agentlab-hidden" aria-live="polite">
      {settings.announce && said}
    </div>
  );
}
