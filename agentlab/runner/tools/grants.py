"""Grants for the length of one call, where the agent claimed nothing itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TypeVar

from agentlab.core.events import Mode
from agentlab.errors import AlreadyHeld, NotHeld, Refused, StaleToken, WouldBlock
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
        self._pins: dict[str, frozenset[int]] = {}  # what stays until it ends -> the tickets that it stands on
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
    async def holding(self, units: Iterable[str], mode: Mode = Mode.EXCLUSIVE) -> AsyncIterator[frozenset[int]]:
        """Inside, all units are held: by the agent's own claims, or else by an implicit one. The tickets that they are held by."""
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
            held = (self.gate.held(unit, mode) for unit in wanted)
            yield frozenset(granted.ticket for granted in held if granted is not None)
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
            except (WouldBlock, AlreadyHeld) as refused:
                mine = {granted.ticket for granted in self.gate.grants()}
                if not mine or not mine <= set(self._users):
                    raise
                if stays := self.pinned(mine):
                    raise type(refused)(
                        f"{refused} You hold it, or something else, for {_all_of(stays)}, which runs in the background: end that "
                        "with stop(id), or try again when it has ended.",
                        **refused.data,
                    ) from None
                await self._end_of(mine)

    @contextmanager
    def pinning(self, tickets: frozenset[int], by: str) -> Iterator[None]:
        """Inside, these tickets are not given back by the agent."""
        self._pins[by] = tickets
        try:
            yield
        finally:
            del self._pins[by]

    def pinned(self, tickets: Iterable[int]) -> list[str]:
        """What stands on any of these tickets and goes on."""
        wanted = frozenset(tickets)
        return [by for by, held in self._pins.items() if held & wanted]

    async def release(self, ticket: int | None, units: tuple[str, ...]) -> None:
        """Give back what the agent claimed. Raises Refused: a command in the background stands on it."""
        grants = self.gate.grants()
        meant = [g for g in grants if ticket in (None, g.ticket) and (not units or set(units) & set(g.units))]
        if not (stays := self.pinned(granted.ticket for granted in meant)):
            await self.gate.release(ticket, units)
            return
        everything = ticket is None and not units
        for granted in meant if everything else ():
            if not self._users[granted.ticket] and not self.pinned([granted.ticket]):
                await self.gate.release(granted.ticket)
        kept = [g for g in meant if self.pinned([g.ticket]) and not self._users[g.ticket]]
        if kept or not everything:
            names = ", ".join(unit for granted in kept or meant for unit in granted.units)
            raise Refused(
                f"{names} was not released: {_all_of(stays)} runs in the background and stands on it. End it with "
                f"stop(id) first{', the rest is released' if everything else ''}.",
                units=[unit for granted in kept for unit in granted.units],
            )

    def check_yields(self) -> None:
        """Raises Refused: not all that the agent holds can be given back."""
        if stays := self.pinned(granted.ticket for granted in self.gate.grants()):
            raise Refused(
                f"To yield is to give back everything, and {_all_of(stays)} runs in the background. End it with stop(id) first."
            )

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


def _all_of(names: Iterable[str]) -> str:
    return ", ".join(names)
