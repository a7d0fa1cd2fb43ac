"""A driver: how a runner talks with one kind of agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from agentlab import kinds
from agentlab.core import vendors
from agentlab.core.events import JSON, AgentSpec

if TYPE_CHECKING:
    from agentlab.config import Network
    from agentlab.runner.gate import Gate
    from agentlab.runner.model_proxy import ModelProxy
    from agentlab.runner.tools import ToolHost
    from agentlab.sandbox import Sandbox


@dataclass(frozen=True)
class Context:
    """What a driver is given. `env` is the complete environment of the agent, secrets resolved and pins in place."""

    agent: str  # run/agent
    spec: AgentSpec
    root: Path  # the workspace
    private: Path  # a directory of this agent alone, 0700, outside the workspace
    shared: Path  # a directory of all agents of this kind, 0700: sessions to be resumed, whatever outlives one agent
    tools: ToolHost
    gate: Gate
    env: dict[str, str] = field(repr=False)
    models: ModelProxy | None = None  # records what a program and its model say to each other
    sandbox: Sandbox | None = None  # of its commands, and of a program that keeps its own tools
    network: Network = "all"  # what such a program reaches


@dataclass(frozen=True)
class Turn:
    """How one prompt ended. status: done | failed | cancelled."""

    status: str
    output: JSON = None
    error: str = ""
    reason: str = ""  # class of failure: auth, quota, rate_limit, network, process, missing, version, no_output, ...
    usage: dict[str, float] = field(default_factory=dict)  # in, out, cached (tokens), cost (USD): of this turn
    vendor_session: str | None = None
    exit_code: int | None = None
    last_lines: str = ""
    resets: float | None = None  # s since the epoch: when the limit that it ran into resets, where the vendor says so


class Driver(Protocol):
    """One agent, from `start` to `close`. All methods are called from the runner's event loop.

    `boundaries`: those that it can hold; an agent that asks for another one is refused before it is made. A driver of a vendor
    has a `session` too: that in which it is, as soon as it is known, for one whose runner dies in the middle of a turn.
    """

    boundaries: ClassVar[frozenset[str]]

    def __init__(self, context: Context) -> None: ...

    async def start(self) -> None:
        """Make it ready to be prompted. Raises BadRequest (the task or an option makes no sense), Unavailable (an extra,
        a program or a login is missing: the text says how to get it), AgentFailed (it did not come up)."""

    async def prompt(self, task: JSON) -> Turn:
        """One turn, to its end. Failures of the agent are a `Turn`, not an exception. Cancelling it interrupts the agent."""

    async def interrupt(self) -> None:
        """End the current turn soon, as cancelled; the agent stays ready for the next prompt."""

    async def freeze(self) -> None:
        """Stop the agent where it is (its process tree, or before its next step), until `thaw`."""

    async def thaw(self) -> None: ...

    async def close(self, *, now: bool = False) -> None:
        """End the agent. No process of it is left afterwards. `now`: without asking it first."""

    def processes(self) -> list[int]:
        """Pids of the roots of its process trees, for pause and stats."""


def driver_of(spec: AgentSpec) -> type[Driver]:
    """The class that drives this agent. Raises BadRequest: there is none, or it cannot hold the boundary."""
    found: type[Driver] = kinds.load(spec.kind)
    vendors.check_boundary(spec.kind, spec.boundary, found.boundaries, spec.options)
    return found
