"""What this agent holds, by its own clock.

A lease is counted from when its request was *sent*, so it always ends here before it ends in the plane. One that
may have run out does not count, but comes back when the plane says that it is still held.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import msgspec

from agentlab.core import units
from agentlab.core.commands import Granted
from agentlab.core.events import Mode


class LocalLeases:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._grants: dict[int, Granted] = {}
        self._since: dict[int, float] = {}  # ticket -> when its lease was last known to begin
        self._suspended = False

    def add(self, granted: Granted, since: float) -> None:
        self._grants[granted.ticket] = granted
        self._since[granted.ticket] = since

    def drop(self, ticket: int, some: tuple[str, ...] = ()) -> None:
        """It is not held any more, or some of its units are not."""
        granted = self._grants.get(ticket)
        if granted is None:
            return
        left = tuple(unit for unit in granted.units if some and unit not in some)
        if left:
            self._grants[ticket] = msgspec.structs.replace(granted, units=left)
        else:
            del self._grants[ticket], self._since[ticket]

    def tickets(self) -> frozenset[int]:
        """All that is known of, leases that may have run out included."""
        return frozenset(self._grants)

    def renewed(self, held: Iterable[Granted], known: frozenset[int], sent: float) -> list[Granted]:
        """The plane said what was held when it read a request sent at `sent`. Of the tickets that were known at that
        time, those that it did not name are lost, and returned."""
        named = {granted.ticket for granted in held}
        for ticket in known & named & self.tickets():
            self._since[ticket] = max(self._since[ticket], sent)
        lost = [self._grants[ticket] for ticket in sorted(known - named) if ticket in self._grants]
        for granted in lost:
            self.drop(granted.ticket)
        return lost

    def live(self) -> tuple[Granted, ...]:
        return () if self._suspended else tuple(g for g in self._grants.values() if self._alive(g))

    def in_doubt(self) -> bool:
        """Something is held of which the lease may have run out."""
        return not all(self._alive(granted) for granted in self._grants.values())

    def held(self, unit: str, mode: Mode = Mode.EXCLUSIVE) -> Granted | None:
        """The live grant that covers the unit: an exclusive one, or for Mode.SHARED any."""
        for granted in self.live():
            strong = mode is Mode.SHARED or granted.mode is Mode.EXCLUSIVE
            if strong and any(units.covers(mine, unit) for mine in granted.units):
                return granted
        return None

    def left(self, ticket: int) -> float:
        """Seconds that a lease is sure to live."""
        return self._since[ticket] + self._grants[ticket].ttl - self.clock() if ticket in self._grants else 0.0

    def shortest(self) -> float | None:
        """The shortest term of all that is held, in seconds."""
        return min((granted.ttl for granted in self._grants.values()), default=None)

    def suspend(self) -> None:
        """From now on nothing counts as held: all of it is about to be given back."""
        self._suspended = True

    def restore(self) -> None:
        self._suspended = False

    def _alive(self, granted: Granted) -> bool:
        return self.clock() < self._since[granted.ticket] + granted.ttl
