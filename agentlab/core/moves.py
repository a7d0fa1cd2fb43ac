"""An agent comes into another status, and its task with it."""

from __future__ import annotations

from . import runs
from .events import AgentState
from .rows import Agent
from .turn import Turn


def move(
    turn: Turn,
    agent: Agent,
    status: str,
    *,
    reason: str = "",
    runtime: str | None = None,
    place: str | None = None,
    pid: int | None = None,
    vendor_session: str | None = None,
) -> None:
    body = AgentState(
        was=agent.status, reason=reason, runtime=runtime, place=place, pid=pid, vendor_session=vendor_session
    )
    if status != agent.status:
        turn.leases.since[agent.agent] = turn.now.mono
    turn.emit(agent.run_id, agent.agent_id, body, task_id=agent.task_id, name=agent.name, status=status)


def go_on(turn: Turn, agent: Agent, reason: str = "") -> None:
    """An agent was resumed or answered: it runs, unless it still waits for an answer."""
    asks = turn.state.asked_by(agent.agent)
    status, reason = ("blocked", asking(asks[0].question)) if asks else ("running", reason)
    if (status, reason) != (agent.status, agent.reason):
        move(turn, agent, status, reason=reason)
    runs.move_task(turn, agent.run_id, agent.task_id, status, agent.agent_id)


def asking(question: str) -> str:
    """Why an agent is blocked that has asked this."""
    return f"asks: {question[:200]}"
