import type { IEvent } from '../timeline/events';
import { merged, type Usage } from '../rows/usage';

/** What the agents of a log used up: as `agentlab.core.usage` has it, by their model calls or by what they say at their end, whichever is more. */
export function spent(events: readonly IEvent[]): Usage {
  const agents = new Map<string, Usage>();
  for (const event of events) {
    const { actor, body } = event;
    const agent = agents.has(actor) ? actor : actor.slice(0, Math.max(0, actor.lastIndexOf('/'))); // a subagent's is its agent's
    const known = agents.get(agent) ?? {};
    if (body.type === 'agent.start') {
      agents.set(actor, {});
    } else if (body.type === 'model.call') {
      const columns = { in: event.tok_in, out: event.tok_out, cached: event.tok_cache, cost: event.cost };
      agents.set(agent, merged(known, amounts(columns), (a, b) => a + b));
    } else if (body.type === 'agent.end') {
      agents.set(agent, merged(known, amounts(body.usage), Math.max));
    }
  }
  return [...agents.values()].reduce((sum, each) => merged(sum, each, (a, b) => a + b), {});
}

function amounts(told: unknown): Usage {
  const entries = told && typeof told === 'object' ? Object.entries(told) : [];
  return Object.fromEntries(entries.filter((entry): entry is [string, number] => typeof entry[1] === 'number' && entry[1] >= 0));
}
