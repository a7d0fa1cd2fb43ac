"""Who has shown a sign of life, and when: all that decides about expiry and is not in the log.

Times are seconds of a monotonic clock that goes on while the machine sleeps. An expiry that was found due is looked at
again when it is carried out, so a renewal that came in between always wins.
"""

from __future__ import annotations

import heapq

from .locks import LockTable


class Leases:
    def __init__(self) -> None:
        self.seen: dict[str, float] = {}  # owner or runtime -> last sign of life
        self.since: dict[str, float] = {}  # agent -> when it came into the status that it is in
        self._due: list[tuple[float, int]] = []  # heap of (deadline at the time of pushing, ticket)

    def renew(self, owner: str, now: float) -> None:
        self.seen[owner] = now

    def watch(self, ticket: int, owner: str, ttl: float, now: float) -> None:
        """A grant begins: it is a sign of life too."""
        self.seen[owner] = now
        heapq.heappush(self._due, (now + ttl, ticket))

    def restart(self, locks: LockTable, now: float) -> None:
        """The plane was away, which is no fault of the owners: every live lease gets a full new term."""
        self._due.clear()
        for ticket in locks.tickets.values():
            if ticket.token:
                self.watch(ticket.ticket, ticket.owner, ticket.ttl, now)

    def compact(self, locks: LockTable) -> None:
        """Forget the deadlines of tickets that were given back long before."""
        self._due = [(deadline, number) for deadline, number in self._due if number in locks.tickets]
        heapq.heapify(self._due)

    def left(self, owner: str, ttl: float, now: float) -> float:
        """Seconds until a lease of this owner ends."""
        return self.seen.get(owner, now) + ttl - now

    def next_due(self) -> float | None:
        """When to look again, at the earliest; None: nothing is leased."""
        return self._due[0][0] if self._due else None

    def expired(self, locks: LockTable, now: float) -> list[int]:
        """The tickets whose lease has ended by now. Those that were renewed since are put back with their new deadline."""
        gone: list[int] = []
        while self._due and self._due[0][0] <= now:
            _, number = heapq.heappop(self._due)
            ticket = locks.tickets.get(number)
            if ticket is None or not ticket.token:
                continue
            deadline = self.seen.get(ticket.owner, now) + ticket.ttl
            if deadline <= now:
                gone.append(number)
            else:
                heapq.heappush(self._due, (deadline, number))
        return gone

    def forget(self, owner: str) -> None:
        self.seen.pop(owner, None)
        self.since.pop(owner, None)
