"""The past, from the log: the state of a run as it was, and what its agents said."""

from __future__ import annotations

from agentlab.core.state import State
from agentlab.core.transcript import log_lines
from agentlab.errors import NotFound
from agentlab.store.base import Store


async def state_at(store: Store, run_id: str, seq: int | None = None) -> State:
    """The fold of a run's events up to `seq` (its end where None). Raises NotFound: the log has no such run."""
    state = State()
    async for events in store.run_events(run_id, until=seq):
        for event in events:
            state.apply(event)
    if not state.position:
        raise NotFound(f"The log has no run {run_id!r}.", run=run_id)
    state.changed.clear()
    return state


async def logs(
    store: Store, run_id: str, agent_id: str, since: int = 0, tail: int | None = None
) -> tuple[list[str], int]:
    """The lines of an agent after seq `since` (the last `tail` of them), and the seq up to which the log was read."""
    lines: list[str] = []
    async for batch in store.run_events(run_id, since=since):
        lines += log_lines(batch, agent_id)
        since = batch[-1].seq
        if tail is not None and len(lines) > 4 * tail:
            lines = lines[-tail:] if tail else []
    return (lines[-tail:] if tail else []) if tail is not None else lines, since
