"""The gate: all that the tool host needs of the plane. The real one is `runner.connection`; tests use `testing.gate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from agentlab.core.commands import Granted, Queued
from agentlab.core.events import JSON, AnyBody, Mode, Revocation
from agentlab.core.policy import Rule


@dataclass(frozen=True, kw_only=True)
class Permission:
    """What an agent wants to know or to be allowed. kind: permission | question | login.

    units: work units that it would change or use; what is none is shown as it is. input: the arguments of the tool. diff:
    the unified diff that it would make. timeout: s until it counts as refused; None: as long as it takes.
    """

    kind: str = "permission"
    question: str
    tool: str = ""
    units: tuple[str, ...] = ()
    input: JSON = None
    diff: str | None = None
    options: tuple[str, ...] = ()
    timeout: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was answered. answer: the text, or approved, denied, expired, cancelled where there is none or it was not allowed.
    by: a person, "policy", or "plane" where nobody answered in time. reason: why, for the agent to read."""

    allowed: bool
    answer: str = ""
    scope: str = "once"  # once | session | always
    by: str = ""
    reason: str = ""


class Gate(Protocol):
    @property
    def owner(self) -> str:
        """run/agent"""

    async def claim(
        self,
        units: tuple[str, ...],
        mode: Mode = Mode.EXCLUSIVE,
        *,
        implicit: bool = False,
        yields: bool = False,
        wait: bool = True,
        timeout: float | None = None,
        ttl: float | None = None,
        queued: Callable[[Queued], None] | None = None,
        rid: str = "",
    ) -> Granted:
        """Return when all units (canonical names) are granted. `queued` is called when it has to wait, and on each change of place.

        Raises WouldBlock (more units while holding some, or `wait=False`), AlreadyHeld, NotHeld (`timeout` seconds have
        passed: the ticket is kept, so that asking again for the same units goes on waiting in the same place; the
        text says who holds what). Cancelling the call gives the ticket back. rid: the name of the request; one that was made
        under it already is gone on with, or answered by what it was granted.
        """

    async def release(self, ticket: int | None = None, units: tuple[str, ...] = ()) -> None:
        """Give back a ticket, some units of it, or (None) everything. All records made before are in the log before it."""

    def held(self, unit: str, mode: Mode = Mode.EXCLUSIVE) -> Granted | None:
        """The live grant of this agent that covers `unit`, by local knowledge: leases that may have run out do not count."""

    def grants(self) -> tuple[Granted, ...]: ...

    def keeps(self, ticket: int) -> bool:
        """Whether this grant is this agent's for all that is known here, also where its lease may have run out meanwhile."""

    def revoked(self, units: Iterable[str]) -> Revocation | None:
        """What a person took from this agent that one of these units belongs to, and that it was not told of yet. Told once."""

    def record(self, body: AnyBody, **columns: Any) -> None:
        """Append to the journal. Columns are those of `core.commands.Entry`. In order with claims and releases. Secrets
        bound to this agent are redacted by value, tokens of well-known services by their shape."""

    async def flush(self) -> None:
        """Return when all records so far are durable in the log."""

    async def keep(self, data: bytes) -> str:
        """Store content; its sha256 in hex. Durable before any record made afterwards."""

    def settled(self, data: bytes) -> int:
        """How many bytes of a stream's next piece may be recorded or kept by themselves: a secret may begin in the rest."""

    async def fetch(self, hash: str) -> bytes | None: ...

    async def touched(self, units: tuple[str, ...], since: int) -> tuple[str, ...]:
        """Those of the units that other owners held at any time since log position `since`."""

    async def position(self) -> int:
        """The log position now, for `touched`."""

    async def ask(self, question: str, options: tuple[str, ...] = (), input: JSON = None) -> str:
        """Wait for a person's answer. Raises Refused: it was denied, or never answered."""

    async def approve(self, request: Permission, rules: tuple[Rule, ...] = ()) -> Verdict:
        """Return when a rule, a person or the timeout has decided; never allowed by anything else. A plane that is away is waited
        for; one that will not have this agent any more has not allowed it. Cancelling the call takes the question back.
        rules: the workspace's."""

    async def plan(self, steps: tuple[str, ...], units: tuple[str, ...] = ()) -> None: ...
