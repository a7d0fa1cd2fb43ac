"""A runtime: a place where runners are started. It knows nothing of agents, locks or logs."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from agentlab.core.commands import CLI


class Launch(Struct, frozen=True, kw_only=True):
    """All that a runner needs to find the plane and prove who it is. Handed over on its standard input, never in argv."""

    agent: str  # run/agent
    token: str  # narrow: this agent only
    address: str  # unix:/path or ws://host:port/link
    root: str  # workspace
    home: str  # $AGENTLAB_HOME: journals, fences
    secrets: dict[str, str] = {}  # environment of the agent, resolved
    heartbeat: float = 15.0  # s
    log: str = ""  # file that a runner which was started ahead writes its words to from now on

    def __repr__(self) -> str:  # token and secrets stay out of logs and tracebacks
        return f"Launch(agent={self.agent!r}, address={self.address!r}, root={self.root!r})"


class Place(Struct, frozen=True, kw_only=True):
    """Where a runner is: enough to find it again after the plane was restarted. Kept in the log as JSON."""

    runtime: str
    id: str  # local: "pid:start time"; docker: container id; kubernetes: namespace/pod
    pid: int = 0
    agent: str = ""  # run/agent: whose log and which marked processes are its


class Ended(Struct, frozen=True, kw_only=True):
    """How a runner ended. Neither code nor signal: it is gone and nobody saw how."""

    code: int | None = None
    signal: int | None = None
    reason: str = ""
    last_lines: str = ""  # of its standard error


class Stats(Struct, frozen=True, kw_only=True):
    """Of a runner's whole process tree. cpu: s since start; rss: bytes; processes: how many."""

    cpu: float
    rss: int
    processes: int


class Runtime(Protocol):
    id: str
    kind: str
    host: str
    slots: int

    async def start(self, launch: Launch) -> Place:
        """Start a runner and return where it is. Raises Unavailable (full, engine down: nothing was started),
        BadRequest (the launch can never work here). Never blocks on the agent's readiness."""

    async def poll(self, place: Place) -> Ended | None:
        """None while it runs. Of a place that was never, or is long gone: `Ended` without code."""

    async def wait(self, place: Place) -> Ended:
        """Return when it has ended. Costs nothing while waiting, works for places of an earlier plane."""

    async def stop(self, place: Place, *, grace: float = 5.0) -> None:
        """TERM, after `grace` seconds KILL, to the whole tree, descendants in sessions of their own included.
        Returns when it is seen empty. Of something gone: nothing to do."""

    async def pause(self, place: Place) -> None:
        """Freeze the agent's tree, not the runner: it goes on renewing leases and listening."""

    async def resume(self, place: Place) -> None: ...

    async def logs(self, place: Place, tail: int | None = None) -> str:
        """What the runner itself wrote to standard error; for when an agent does not come up."""

    async def stats(self, place: Place) -> Stats: ...

    async def reap(self, agent: str) -> int:
        """Kill whatever is left of an agent whose runner is gone; the number of processes killed."""

    async def detect(self) -> tuple[CLI, ...]:
        """The agent programs here: path, version, verdict, and why where it is not ok."""

    async def health(self) -> str:
        """'' when it can start runners, else why not, for people. That its slots are taken is no illness."""

    async def close(self) -> None:
        """Let go of it. What runs goes on running."""
