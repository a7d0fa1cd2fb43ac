"""Grants for the length of one call, where the agent claimed nothing itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from agentlab.core.events import Mode
from agentlab.errors import AlreadyHeld, NotHeld, StaleToken, WouldBlock
from agentlab.runner.gate import Gate

from . import waits

T = TypeVar("T")


class Grants:
    """What an agent holds, with implicit claims counted: several calls may stand on one, the last gives it back.

    An agent that holds something is never queued, it is refused. So that its own parallel calls do not bring this
    upon each other, a call that is refused while only implicit grants are held waits for those calls to end.
    """

    def __init__(self, gate: Gate, *, policy: str, hold: float | None) -> None:
        self.gate = gate
        self.policy = policy
        self.hold = hold
        self._door = asyncio.Lock()
        self._users: Counter[int] = Counter()
        self._ended = asyncio.Condition()

    def token(self, unit: str) -> int:
        """The fencing token under which the unit may be changed now. Raises StaleToken: no grant on it is alive."""
        granted = self.gate.held(unit)
        if granted is None:
            self._refuse_revoked((unit,))
            raise StaleToken(
                f"The grant on {unit} has ended meanwhile. Claim it again, read again, then write.", unit=unit
            )
        return granted.token

    @asynccontextmanager
    async def holding(self, units: Iterable[str], mode: Mode = Mode.EXCLUSIVE) -> AsyncIterator[None]:
        """Inside, all units are held: by the agent's own claims, or else by an implicit one."""
        wanted = tuple(dict.fromkeys(units))
        used: set[int] = set()
        try:
            async with self._door:
                missing = self._missing(wanted, mode, used)
                if missing:
                    self._refuse_revoked(missing)
                if missing and self.policy == "explicit":
                    raise NotHeld(
                        f"{', '.join(missing)} is not held by you, and this run wants explicit claims. "
                        f"Call claim({', '.join(map(repr, missing))}) first.",
                        units=list(missing),
                    )
                while missing:
                    claim = partial(
                        self.gate.claim, missing, mode, implicit=True, timeout=self.hold, queued=waits.listener()
                    )
                    granted = await self.patiently(claim)
                    self._use(granted.ticket, used)
                    missing = self._missing(wanted, mode, used)
            yield
        finally:
            await asyncio.shield(self._done(used))

    def _refuse_revoked(self, units: tuple[str, ...]) -> None:
        """Raises StaleToken, once: the agent counted on a grant that a person has taken from it."""
        if (taken := self.gate.revoked(units)) is not None:
            raise StaleToken(
                f"{taken}. Nothing was done. If you still need it, claim it again (you may have to wait), read it again, then write.",
                units=list(taken.units), by=taken.by,
            )  # fmt: skip

    async def patiently(self, claim: Callable[[], Awaitable[T]]) -> T:
        """Make a claim; where only calls of our own that are under way stand against it, again after each of them."""
        while True:
            try:
                return await claim()
            except (WouldBlock, AlreadyHeld):
                mine = {granted.ticket for granted in self.gate.grants()}
                if not mine or not mine <= set(self._users):
                    raise
                await self._end_of(mine)

    async def _end_of(self, tickets: set[int]) -> None:
        async with self._ended:
            await self._ended.wait_for(lambda: tickets.isdisjoint(self._users))

    @asynccontextmanager
    async def seized(self, unit: str) -> AsyncIterator[int]:
        """A unit held for a repair, without waiting; its token. Raises WouldBlock or AlreadyHeld."""
        if granted := self.gate.held(unit):
            yield granted.token
            return
        granted = await self.gate.claim((unit,), implicit=True, wait=False)
        try:
            yield granted.token
        finally:
            await asyncio.shield(self.gate.release(granted.ticket))

    def _missing(self, wanted: tuple[str, ...], mode: Mode, used: set[int]) -> tuple[str, ...]:
        missing = []
        for unit in wanted:
            granted = self.gate.held(unit, mode)
            if granted is None:
                missing.append(unit)
            elif granted.ticket in self._users:
                if self._users[granted.ticket] or granted.ticket in used:
                    self._use(granted.ticket, used)
                else:
                    missing.append(unit)  # it is just being given back
        return tuple(missing)

    def _use(self, ticket: int, used: set[int]) -> None:
        if ticket not in used:
            used.add(ticket)
            self._users[ticket] += 1

    async def _done(self, used: set[int]) -> None:
        for ticket in used:
            self._users[ticket] -= 1
            if self._users[ticket] <= 0:
                await self.gate.release(ticket)
                del self._users[ticket]
        async with self._ended:
            self._ended.notify_all()
