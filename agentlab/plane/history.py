"""The past, from the log: the state of a run as it was, and what its agents said."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from agentlab.core import events as e
from agentlab.core.state import State
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


def log_lines(events: Iterable[e.Event], agent_id: str) -> list[str]:
    """What an agent (its subagents included) and its processes said, as lines with the time (UTC) in front."""
    lines: list[str] = []
    for event in events:
        if event.actor != agent_id and not event.actor.startswith(f"{agent_id}/"):
            continue
        text = _text(event)
        if text:
            at = datetime.fromtimestamp(event.ts / 1e9, UTC).strftime("%H:%M:%S.%f")[:-3]
            lines += [f"{at} {line}" for line in text.rstrip("\n").split("\n")]
    return lines


def _text(event: e.Event) -> str:
    match event.body:
        case e.Message(role=role, text=text):
            return f"{role}: {text}"
        case e.ProcStart(argv=argv):
            return f"$ {' '.join(argv)}"
        case e.ProcOutput(data=data):
            return data
        case e.ProcExit(code=code, signal=signal):
            return f"exit {code}" if signal is None else f"killed by signal {signal}"
        case e.ToolResult(error=error) if error:
            return f"{event.name}: {event.status}: {error}"
        case e.Error(message=message):
            return f"error: {message}"
        case e.Guard(rule=rule, detail=detail):
            return f"{rule}: {event.status}: {detail}"
        case e.LockRequest(units=units, behind=behind) if behind:
            return f"waits for {', '.join(units)} behind {behind[0].owner}"
        case e.LockDeny(reason=reason):
            return f"refused: {reason}"
        case e.AgentEnd(error=error):
            return f"{event.status}{f': {error}' if error else ''}"
    return ""


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
