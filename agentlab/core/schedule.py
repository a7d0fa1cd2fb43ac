"""In which order the crossings of a run's agents are decided. A crossing is a claim, a release, or the agent's end:
whatever takes a lock or gives it back.

`arrival`: as they come; the order is in the log. `turns`: agents take turns in task order, so that the order depends on
what each does and not on how fast. `recorded`: the order of an earlier run is enforced, for replay.

A schedule only holds crossings back. It keeps nothing across a restart of the plane: runners repeat what was not
answered, and are held back again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Schedule(Protocol[T]):
    def offer(self, agent: str, crossing: T) -> None:
        """An agent is at the boundary, and waits there."""

    def take(self) -> tuple[str, T] | None:
        """The next crossing that may be decided now, and whose it is. Ask again after it was decided."""

    def forget(self, agent: str, crossing: T) -> None:
        """A crossing was withdrawn by its agent."""


class Arrival(Generic[T]):
    def __init__(self) -> None:
        self._queue: deque[tuple[str, T]] = deque()

    def offer(self, agent: str, crossing: T) -> None:
        self._queue.append((agent, crossing))

    def take(self) -> tuple[str, T] | None:
        return self._queue.popleft() if self._queue else None

    def forget(self, agent: str, crossing: T) -> None:
        if (agent, crossing) in self._queue:
            self._queue.remove((agent, crossing))


class Turns(Generic[T]):
    """One crossing each, in turn. An agent that ended, or that waits in a queue for a lock, is passed over; one that
    is busy is waited for: that is the price of an order that does not depend on timing.

    `begun`: whether all agents are there. `members`: the agents in task order. `away`: whether an agent can make no
    crossing now (it has ended, or waits for a grant).
    """

    def __init__(
        self, begun: Callable[[], bool], members: Callable[[], list[str]], away: Callable[[str], bool]
    ) -> None:
        self._begun, self._members, self._away = begun, members, away
        self._waiting: dict[str, deque[T]] = {}
        self._last = -1  # index of the member whose turn was last

    def offer(self, agent: str, crossing: T) -> None:
        self._waiting.setdefault(agent, deque()).append(crossing)

    def take(self) -> tuple[str, T] | None:
        if not self._begun():
            return None
        members = self._members()
        for step in range(1, len(members) + 1):
            index = (self._last + step) % len(members)
            agent = members[index]
            if queue := self._waiting.get(agent):
                self._last = index
                return agent, queue.popleft()
            if not self._away(agent):
                return None
        return None

    def forget(self, agent: str, crossing: T) -> None:
        queue = self._waiting.get(agent)
        if queue and crossing in queue:
            queue.remove(crossing)

    def held_back(self) -> list[T]:
        """All that wait for their turn."""
        return [crossing for queue in self._waiting.values() for crossing in queue]


class Recorded(Generic[T]):
    """The order of a record: `order` names the agent of each crossing. What comes after the record's end arrives freely."""

    def __init__(self, order: Iterable[str]) -> None:
        self._order = deque(order)
        self._waiting: dict[str, deque[T]] = {}

    def offer(self, agent: str, crossing: T) -> None:
        self._waiting.setdefault(agent, deque()).append(crossing)

    def take(self) -> tuple[str, T] | None:
        if self._order:
            queue = self._waiting.get(self._order[0])
            return (self._order.popleft(), queue.popleft()) if queue else None
        for agent, queue in self._waiting.items():
            if queue:
                return agent, queue.popleft()
        return None

    def forget(self, agent: str, crossing: T) -> None:
        queue = self._waiting.get(agent)
        if queue and crossing in queue:
            queue.remove(crossing)
