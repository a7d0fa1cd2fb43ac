"""The definition of an agent: what a spawn asks for, what the log keeps of it, and what its runner is hired with."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct

from .modes import Mode

JSON = Any
"""A value that JSON can hold: tool arguments, outputs of agents. Their shape is the agents' business, not ours."""


class Priority(StrEnum):
    OPERATOR = "operator"
    NORMAL = "normal"
    BACKGROUND = "background"


class Budget(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an agent may use up before it is stopped; None = as much as it takes."""

    tokens: int | None = None  # in and out, of all its turns; what is read from a vendor's cache does not count
    cost: float | None = None  # USD, where the vendor tells it
    time: float | None = None  # s at work; pauses and waiting for follow-ups do not count


class AgentSpec(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The definition of an agent: everything needed to start the same one again. Secrets only by reference."""

    kind: str  # script, python, claude, ...
    name: str | None = None  # chosen by the plane where None: kind-1, kind-2, ...
    role: str = ""
    model: str | None = None
    instructions: str = ""  # appended to the system prompt where the kind has one
    tools: tuple[str, ...] | None = None  # names of our tools that it may use; None = all
    permissions: tuple[str, ...] = ()
    memory: str = "none"  # memory scope: none | session | project | global
    task: JSON = None  # prompt, code, or list of steps, by kind
    claims: tuple[str, ...] = ()  # units taken before the first action, all or none
    claims_mode: Mode = Mode.EXCLUSIVE
    claims_policy: str | None = None  # implicit | explicit; None = the run's
    ttl: float = 60.0  # s; the lease: how long its grants live without a sign of life
    env: dict[str, str] = {}  # name -> reference (env:NAME, file:/path) or "literal:***" (the value is not logged)
    boundary: str = "tools"
    priority: Priority = Priority.NORMAL
    runtime: str | None = None  # id of a runtime; None = whichever has a free slot first
    resume: str | None = None  # the vendor's session id to go on from
    budget: Budget = Budget()
    retries: int = 1  # of a prompt that failed for a reason that may be gone in a while, and before any tool had run
    wait_limits: bool = False  # wait for a vendor's rate limit or quota to reset, instead of failing
    keep: bool = False  # stay for follow-ups when the task is done, until it is stopped
    options: dict[str, JSON] = {}  # of the driver


GO_ON = "Go on where you stopped."
"""The task of an agent that goes on in an earlier one's session and is told nothing more."""
