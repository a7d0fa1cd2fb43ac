"""A gate without a plane: real exclusion between agents of one test, everything in memory.

plane = MemoryPlane()
a, b = plane.gate("a"), plane.gate("b")
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, TypeVar

from agentlab.core.commands import Entry, Granted, Queued
from agentlab.core.events import JSON, AnyBody, Blocker, Body, Mode, Revocation
from agentlab.core.locks import who
from agentlab.core.policy import Rule
from agentlab.core.units import covers
from agentlab.errors import AlreadyHeld, NotHeld, WouldBlock, ordinal
from agentlab.runner.gate import Permission, Verdict

B = TypeVar("B", bound=Body)


@dataclass(frozen=True)
class Ticket:
    """A claim: waiting while `token` is 0."""

    number: int
    owner: str
    units: tuple[str, ...]
    mode: Mode
    ttl: float = 60.0
    implicit: bool = False
    token: int = 0

    def conflicts(self, other: Ticket) -> bool:
        if self.owner == other.owner or self.mode == other.mode == Mode.SHARED:
            return False
        return any(covers(a, b) or covers(b, a) for a in self.units for b in other.units)

    def granted(self) -> Granted:
        return Granted(ticket=self.number, token=self.token, units=self.units, mode=self.mode, ttl=self.ttl)


@dataclass
class Tenure:
    """Who held what from one log position to another (None: still)."""

    owner: str
    units: tuple[str, ...]
    begin: int
    end: int | None = None


@dataclass
class MemoryPlane:
    """What the gates of one test share: the lock table in ticket order, the blobs, the log position.

    Its run has a name of its own: processes are marked with run/agent, and other tests may have an agent `a` too.
    """

    run_id: str = field(default_factory=lambda: f"run-{secrets.token_hex(6)}")
    position: int = 0
    blobs: dict[str, bytes] = field(default_factory=dict)
    answers: deque[str] = field(default_factory=deque)
    tickets: dict[int, Ticket] = field(default_factory=dict)
    tenures: dict[int, Tenure] = field(default_factory=dict)
    asked: list[Permission] = field(default_factory=list)
    verdicts: deque[Verdict] = field(default_factory=deque)
    taken: dict[str, list[Revocation]] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _numbers: int = 0
    _tokens: int = 0

    def gate(self, name: str) -> MemoryGate:
        return MemoryGate(self, f"{self.run_id}/{name}")

    def of(self, owner: str) -> list[Ticket]:
        return [t for t in self.tickets.values() if t.owner == owner and t.token]

    def blockers(self, ticket: Ticket) -> list[Ticket]:
        """Those that hold, or wait ahead for, what the ticket wants."""
        return [t for t in self.tickets.values() if (t.token or t.number < ticket.number) and t.conflicts(ticket)]

    def queue(self, owner: str, units: tuple[str, ...], mode: Mode, ttl: float, implicit: bool) -> Ticket:
        self._numbers += 1
        ticket = Ticket(self._numbers, owner, units, mode, ttl, implicit)
        self.tickets[ticket.number] = ticket
        self.settle()
        return self.tickets[ticket.number]

    def settle(self) -> None:
        """Grant all that can be granted, in ticket order."""
        for number, ticket in sorted(self.tickets.items()):
            if not ticket.token and not self.blockers(ticket):
                self._tokens += 1
                self.position += 1
                self.tickets[number] = replace(ticket, token=self._tokens)
                if ticket.mode == Mode.EXCLUSIVE:
                    self.tenures[number] = Tenure(ticket.owner, ticket.units, self.position)

    async def answer(self, verdict: Verdict) -> None:
        """Answer the question that waits, or the next one."""
        self.verdicts.append(verdict)
        async with self.changed:
            self.changed.notify_all()

    async def revoke(self, number: int, by: str = "somebody", why: str = "") -> None:
        """Take a ticket from its owner, as an operator does."""
        ticket = self.tickets[number]
        if ticket.token:
            self.taken.setdefault(ticket.owner, []).append(Revocation(number, ticket.units, by, why))
        await self.drop(number)

    async def drop(self, number: int, units: tuple[str, ...] = ()) -> None:
        """End a ticket or some units of it, as a release or an expiry does. Also of one that still waits."""
        ticket = self.tickets.pop(number, None)
        if ticket is None:
            return
        self.position += 1
        left = tuple(u for u in ticket.units if units and u not in units)
        if left:
            self.tickets[number] = replace(ticket, units=left)
        elif number in self.tenures:
            self.tenures[number].end = self.position
        self.settle()
        async with self.changed:
            self.changed.notify_all()


class MemoryGate:
    """One agent's gate. What it recorded is in `entries`; `of(FileWrite)` picks bodies."""

    def __init__(self, plane: MemoryPlane, owner: str) -> None:
        self.plane = plane
        self.entries: list[Entry] = []
        self._owner = owner

    @property
    def owner(self) -> str:
        return self._owner

    def of(self, kind: type[B]) -> list[B]:
        return [entry.body for entry in self.entries if isinstance(entry.body, kind)]

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
        rid: str = "",  # of a request made elsewhere, of which there are none here
    ) -> Granted:
        await asyncio.sleep(0)
        if yields:
            for held in self.plane.of(self.owner):
                units = tuple(dict.fromkeys(held.units + units))
                await self.plane.drop(held.number)
        ticket = self._waiting(units, mode) or self._enqueue(units, mode, ttl, implicit, wait)
        if not ticket.token and queued:
            queued(self._place(ticket))
        try:
            async with asyncio.timeout(timeout):
                return await self._granted(ticket.number)
        except TimeoutError:
            place = self._place(ticket)
            raise NotHeld(
                f"{', '.join(units)} is held by {_names(self.plane.blockers(ticket), self.plane.run_id)}; you are {ordinal(place.position)} "
                f"in the queue. Ask again to go on waiting, or do something else."
            ) from None
        except asyncio.CancelledError:
            await self.plane.drop(ticket.number)
            raise

    async def release(self, ticket: int | None = None, units: tuple[str, ...] = ()) -> None:
        await asyncio.sleep(0)
        for held in self.plane.of(self.owner):
            if ticket in (None, held.number) and (not units or set(units) & set(held.units)):
                await self.plane.drop(held.number, units)

    def held(self, unit: str, mode: Mode = Mode.EXCLUSIVE) -> Granted | None:
        for ticket in self.plane.of(self.owner):
            if mode == Mode.EXCLUSIVE != ticket.mode:
                continue
            if any(covers(own, unit) for own in ticket.units):
                return ticket.granted()
        return None

    def grants(self) -> tuple[Granted, ...]:
        return tuple(ticket.granted() for ticket in self.plane.of(self.owner))

    def keeps(self, ticket: int) -> bool:
        return any(held.number == ticket for held in self.plane.of(self.owner))

    def revoked(self, units: Iterable[str]) -> Revocation | None:
        wanted, mine = tuple(units), self.plane.taken.get(self.owner, [])
        for taken in mine:
            if any(covers(own, unit) or covers(unit, own) for own in taken.units for unit in wanted):
                mine.remove(taken)
                return taken
        return None

    def record(self, body: AnyBody, **columns: Any) -> None:
        self.plane.position += 1
        self.entries.append(Entry(n=len(self.entries) + 1, ts=self.plane.position, body=body, **columns))

    async def flush(self) -> None:
        return

    async def keep(self, data: bytes) -> str:
        hash = sha256(data).hexdigest()
        self.plane.blobs[hash] = data
        return hash

    def settled(self, data: bytes) -> int:
        return len(data)

    async def fetch(self, hash: str) -> bytes | None:
        return self.plane.blobs.get(hash)

    async def touched(self, units: tuple[str, ...], since: int) -> tuple[str, ...]:
        others = [t for t in self.plane.tenures.values() if t.owner != self.owner and (t.end is None or t.end >= since)]
        return tuple(u for u in units if any(covers(own, u) for t in others for own in t.units))

    async def position(self) -> int:
        return self.plane.position

    async def ask(self, question: str, options: tuple[str, ...] = (), input: JSON = None) -> str:
        return self.plane.answers.popleft()

    async def approve(self, request: Permission, rules: tuple[Rule, ...] = ()) -> Verdict:
        """The next of the plane's `verdicts`, once there is one: nothing is allowed by itself."""
        self.plane.asked.append(request)
        async with self.plane.changed:
            await self.plane.changed.wait_for(lambda: self.plane.verdicts)
        return self.plane.verdicts.popleft()

    async def plan(self, steps: tuple[str, ...], units: tuple[str, ...] = ()) -> None:
        from agentlab.core.events import PlanSet

        self.record(PlanSet(steps=steps, units=units))

    def _waiting(self, units: tuple[str, ...], mode: Mode) -> Ticket | None:
        for ticket in self.plane.tickets.values():
            if (ticket.owner, ticket.units, ticket.mode, ticket.token) == (self.owner, units, mode, 0):
                return ticket
        return None

    def _enqueue(self, units: tuple[str, ...], mode: Mode, ttl: float | None, implicit: bool, wait: bool) -> Ticket:
        held = self.plane.of(self.owner)
        if again := [u for u in units if any(u in ticket.units for ticket in held)]:
            raise AlreadyHeld(f"You hold {', '.join(again)} already. Go on, or release it first.", units=again)
        probe = Ticket(self.plane._numbers + 1, self.owner, units, mode)
        blockers = self.plane.blockers(probe)
        if blockers and (held or not wait):
            raise WouldBlock(
                f"{', '.join(units)} is held by {_names(blockers, self.plane.run_id)}, and you "
                + ("hold other units. Release them first, or claim with yields=True." if held else "would not wait."),
                units=list(units),
            )
        return self.plane.queue(self.owner, units, mode, ttl or 60.0, implicit)

    async def _granted(self, number: int) -> Granted:
        async with self.plane.changed:
            await self.plane.changed.wait_for(
                lambda: number not in self.plane.tickets or self.plane.tickets[number].token
            )
        if number not in self.plane.tickets:
            raise NotHeld("The ticket is gone: it was released or has expired.")
        return self.plane.tickets[number].granted()

    def _place(self, ticket: Ticket) -> Queued:
        blockers = self.plane.blockers(ticket)
        behind = tuple(Blocker(t.owner, t.units[0], t.number, waits=not t.token) for t in blockers)
        return Queued(ticket=ticket.number, position=1 + sum(b.waits for b in behind), behind=behind)


def _names(tickets: Iterable[Ticket], run_id: str) -> str:
    return ", ".join(dict.fromkeys(who(t.owner, run_id) for t in tickets))
