"""One turn of the core: a command is looked at, events are chosen, each takes effect before the next is chosen."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from agentlab.errors import NotFound, Refused

from . import fold
from .events import AnyBody, Event
from .leases import Leases
from .locks import who
from .policy import Rule
from .rows import ENDED, Agent, Run
from .state import State

PLANE = "plane"
"""Actor of what the plane does by itself, and id of the run that holds what belongs to no run."""


class Instant(Struct, frozen=True):
    """Now. `wall`: ns since the epoch, for people. `mono`: s, for leases; it never jumps."""

    wall: int
    mono: float


class Rules(Struct, frozen=True, kw_only=True):
    """The numbers that decisions depend on. Seconds; see `agentlab.config.Limits` for what they mean."""

    bypass: int = 8
    offline: float = 150.0
    gc: float = 7 * 86400.0
    dispatched: float = 300.0
    queued: float = 7200.0
    idle_run: float = 7200.0
    pause_hold: float = 1800.0
    policy: tuple[Rule, ...] = ()  # the home's
    remembered: tuple[Rule, ...] = ()  # answers of people that were to be remembered


class Turn:
    def __init__(self, state: State, leases: Leases, now: Instant, rules: Rules) -> None:
        self.state = state
        self.leases = leases
        self.now = now
        self.rules = rules
        self.events: list[Event] = []

    def emit(
        self, run_id: str, actor: str, body: AnyBody, *, ts: int = 0, session_id: str | None = None, **columns: Any
    ) -> Event:
        """Choose an event: it is numbered, applied, and part of the answer."""
        run = self.state.runs.get(run_id)
        event = Event(
            id=self.state.position + 1,
            run_id=run_id,
            seq=run.seq + 1 if run else 1,
            ts=ts or self.now.wall,
            session_id=session_id or (run.session_id if run else None) or None,
            actor=actor,
            body=body,
            **columns,
        )
        fold.apply(self.state, event)
        self.events.append(event)
        return event

    def run(self, run_id: str) -> Run:
        """An open run. Raises NotFound, Refused (it has ended)."""
        run = self.state.runs.get(run_id)
        if run is None:
            raise NotFound(f"There is no run {run_id!r}. `%agent runs` lists those there are.", run=run_id)
        if run.status != "open":
            raise Refused(f"Run {run.name!r} ({run_id}) has ended ({run.status}); start a new one.", run=run_id)
        return run

    def agent(self, key: str) -> Agent:
        agent = self.state.agents.get(key)
        if agent is None:
            raise NotFound(f"There is no agent {key!r}. `%agent ps` lists those there are.", agent=key)
        return agent

    def live(self, key: str) -> Agent:
        """An agent that has not ended. Raises NotFound, Refused."""
        agent = self.agent(key)
        if agent.status in ENDED:
            raise Refused(
                f"Agent {agent.name!r} has ended ({agent.status}). Spawn it again, or resume its session with "
                f"`resume=`{f' {agent.vendor_session}' if agent.vendor_session else ''}.",
                agent=key,
            )
        return agent

    def who(self, owner: str, run_id: str) -> str:
        """An owner as people of this run call it."""
        return who(owner, run_id)
