"""The lock table: who owns what, who waits for what, and in which order.

Tickets hang on the nodes of their units' hierarchies: in the mode asked for on the last node, as intentions above.
A waiting ticket may be granted exactly when nothing that conflicts with it is held by somebody else, and nothing that
conflicts with it waits ahead of it. As tickets get all their units or none, and nobody waits while holding, no cycle
of waits can exist.

This is the mechanism alone. Which events follow from a claim is decided in `core.claims`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from operator import attrgetter

from msgspec import Struct

from . import modes
from .events import Blocker, Mode, Priority
from .units import Chain

Nodes = dict[str, int]
"""Node -> mode (an index of `core.modes`) that a ticket needs there."""


class Ticket(Struct, kw_only=True):
    """A claim in the table. `token` 0: it waits. `key` orders the waiting; see `place_before`."""

    ticket: int
    owner: str
    run_id: str
    units: tuple[str, ...]
    mode: Mode
    key: tuple[int, ...]
    chains: tuple[Chain, ...]
    nodes: Nodes
    token: int = 0
    implicit: bool = False
    priority: Priority = Priority.NORMAL
    ttl: float = 60.0
    requested: int = 0  # ns since the epoch
    granted: int | None = None
    bypassed: int = 0
    rid: str = ""


class Ended(Struct, frozen=True):
    """An exclusive grant that has ended: for `touched`."""

    position: int
    owner: str
    nodes: tuple[str, ...]


def nodes_of(chains: Iterable[Chain], mode: Mode) -> Nodes:
    """What a ticket over these chains needs on each node."""
    leaf = modes.INDEX[mode]
    above = modes.ABOVE[leaf]
    nodes: Nodes = {}
    for chain in chains:
        own = dict.fromkeys(chain, above)
        own[chain[-1]] = leaf
        if not nodes:
            nodes = own
            continue
        for node, mode_there in own.items():
            nodes[node] = modes.join(nodes[node], mode_there) if node in nodes else mode_there
    return nodes


def last_key(ticket: int) -> tuple[int, ...]:
    """The place behind everybody who asked before."""
    return (ticket, 0)


def place_before(other: tuple[int, ...], ticket: int) -> tuple[int, ...]:
    """The place directly before `other`, behind those who were put there earlier. Keys sort as places do:
    (6, 0) < (7, -1, 9, 0) < (7, -1, 12, 0) < (7, 0)."""
    return (*other[:-1], -1, ticket, 0)


class _Node:
    """Who is at a node, by mode. A mode that nobody has or wants there is not in it."""

    __slots__ = ("held", "waiting")

    def __init__(self) -> None:
        self.held: dict[int, dict[str, int]] = {}  # mode -> owner -> how many tickets
        self.waiting: dict[int, list[Ticket]] = {}  # mode -> tickets by key

    def empty(self) -> bool:
        return not self.held and not self.waiting


_by_key = attrgetter("key")


class LockTable:
    def __init__(self, remember: int = 20_000) -> None:
        self.tickets: dict[int, Ticket] = {}
        self.by_owner: dict[str, dict[int, Ticket]] = {}
        self.ended: deque[Ended] = deque(maxlen=remember)
        self.forgotten = 0  # grants that ended up to this log position may be missing in `ended`
        self._nodes: dict[str, _Node] = {}
        self._waiting = 0  # tickets that hang without a token: mostly none, and then much need not be looked for

    # --- asking ------------------------------------------------------------------------------------------------

    def blocked(self, owner: str, nodes: Mapping[str, int], key: tuple[int, ...]) -> bool:
        """Whether a request of this owner, at this place in the order, has to wait."""
        for name, mode in nodes.items():
            node = self._nodes.get(name)
            if node is None:
                continue
            conflicts = modes.CONFLICTS[mode]
            for other, held in node.held.items():
                if other in conflicts and (len(held) > 1 or owner not in held):
                    return True
            for other, queue in node.waiting.items():
                if other in conflicts:
                    for waiter in queue:
                        if waiter.key >= key:
                            break
                        if waiter.owner != owner:
                            return True
        return False

    def blockers(self, owner: str, nodes: Mapping[str, int], key: tuple[int, ...]) -> list[Ticket]:
        """Everybody in the way, holders first, then those who wait ahead, each in order."""
        found: dict[int, Ticket] = {}
        for name, mode in nodes.items():
            node = self._nodes.get(name)
            if node is None:
                continue
            for other in modes.CONFLICTS[mode]:
                for holder in node.held.get(other, ()):
                    if holder != owner:
                        for t in self.by_owner[holder].values():
                            if t.token and t.nodes.get(name) == other:
                                found[t.ticket] = t
                for waiter in node.waiting.get(other, ()):
                    if waiter.key >= key:
                        break
                    if waiter.owner != owner:
                        found[waiter.ticket] = waiter
        return sorted(found.values(), key=lambda t: (t.token == 0, t.key))

    def overtakable(self, owner: str, nodes: Mapping[str, int]) -> list[Ticket]:
        """The waiting tickets that conflict with this request, last first."""
        if not self._waiting:
            return []
        found: dict[int, Ticket] = {}
        for name, mode in nodes.items():
            node = self._nodes.get(name)
            if node is not None:
                for other in modes.CONFLICTS[mode]:
                    found |= {w.ticket: w for w in node.waiting.get(other, ()) if w.owner != owner}
        return sorted(found.values(), key=_by_key, reverse=True)

    def ready(self, freed: Mapping[str, int]) -> Iterator[Ticket]:
        """The waiting tickets that can be granted now that `freed` was given up, in order. Grant each before the next."""
        if not self._waiting:
            return
        waiting: dict[int, Ticket] = {}
        for name, mode in freed.items():
            node = self._nodes.get(name)
            if node is None:
                continue
            for other in modes.CONFLICTS[mode]:
                queue = node.waiting.get(other, [])
                # Those behind the first exclusive waiter of a node conflict with it: they cannot be next.
                waiting |= {t.ticket: t for t in (queue[:1] if other >= modes.SIX else queue)}
        for ticket in sorted(waiting.values(), key=_by_key):
            if not self.blocked(ticket.owner, ticket.nodes, ticket.key):
                yield ticket

    def held_by(self, owner: str) -> list[Ticket]:
        return [t for t in self.by_owner.get(owner, {}).values() if t.token]

    def waiting_of(self, owner: str) -> Ticket | None:
        return next((t for t in self.by_owner.get(owner, {}).values() if not t.token), None)

    def overlap(self, owner: str, chains: Iterable[Chain], mode: Mode) -> Ticket | None:
        """A ticket by which `owner` owns one of these units already: the unit itself in any mode, or a directory
        above it in a mode that is enough."""
        wanted = modes.INDEX[mode]
        held = [(t, {c[-1] for c in t.chains}) for t in self.held_by(owner)]
        for chain in chains:
            for t, leaves in held:
                if chain[-1] in leaves:
                    return t
                if modes.includes(modes.INDEX[t.mode], wanted) and not leaves.isdisjoint(chain):
                    return t
        return None

    def touched(self, owner: str, chain: Chain, since: int) -> bool:
        """Whether somebody else could write the unit of this chain, or a part of it, at any time since the log position
        `since`. Where that is not known any more, yes."""
        for name in chain:
            node = self._nodes.get(name)
            if node is not None:
                # A write below the unit shows as an intention on the unit itself.
                for mode in (modes.X, modes.SIX, modes.IX) if name == chain[-1] else (modes.X, modes.SIX):
                    if any(holder != owner for holder in node.held.get(mode, ())):
                        return True
        on, below = set(chain), chain[-1].rstrip("/") + "/"
        for ended in reversed(self.ended):
            if ended.position <= since:
                return False
            if ended.owner != owner and any(name in on or name.startswith(below) for name in ended.nodes):
                return True
        return since < self.forgotten

    # --- changing ----------------------------------------------------------------------------------------------

    def add(self, ticket: Ticket) -> None:
        """Put a ticket in the table: held if it has a token, else waiting at its key."""
        self.tickets[ticket.ticket] = ticket
        self.by_owner.setdefault(ticket.owner, {})[ticket.ticket] = ticket
        self._hang(ticket)

    def grant(self, ticket: Ticket, token: int) -> None:
        self._unhang(ticket)
        ticket.token = token
        self._hang(ticket)

    def remove(self, ticket: Ticket, position: int = 0) -> None:
        self._unhang(ticket)
        self._remember(ticket, ticket.chains, position)
        del self.tickets[ticket.ticket]
        mine = self.by_owner[ticket.owner]
        del mine[ticket.ticket]
        if not mine:
            del self.by_owner[ticket.owner]

    def shrink(self, ticket: Ticket, units: tuple[str, ...], position: int = 0) -> None:
        """Take some units off a ticket; the rest stays as it was."""
        keep = [i for i, unit in enumerate(ticket.units) if unit not in units]
        gone = [c for i, c in enumerate(ticket.chains) if i not in keep]
        self._unhang(ticket)
        self._remember(ticket, gone, position)
        ticket.chains = tuple(ticket.chains[i] for i in keep)
        ticket.units = tuple(ticket.units[i] for i in keep)
        ticket.nodes = nodes_of(ticket.chains, ticket.mode)
        self._hang(ticket)

    def copy(self, position: int) -> LockTable:
        """The same tickets in a table of its own, as of log position `position`. Which grants have ended is left behind:
        that is much, and only decisions ask for it (`touched` says yes)."""
        new = LockTable(self.ended.maxlen or 1)
        for ticket in self.tickets.values():
            new.add(copy(ticket))
        new.forgotten = position
        return new

    def move(self, ticket: Ticket, key: tuple[int, ...]) -> None:
        """Give a waiting ticket another place."""
        self._unhang(ticket)
        ticket.key = key
        self._hang(ticket)

    def _remember(self, ticket: Ticket, chains: Iterable[Chain], position: int) -> None:
        if ticket.token and modes.INDEX[ticket.mode] >= modes.SIX:
            if len(self.ended) == self.ended.maxlen:
                self.forgotten = self.ended[0].position
            self.ended.append(Ended(position, ticket.owner, tuple([c[-1] for c in chains])))

    def _hang(self, ticket: Ticket) -> None:
        owner = ticket.owner
        self._waiting += not ticket.token
        for name, mode in ticket.nodes.items():
            node = self._nodes.get(name)
            if node is None:
                node = self._nodes[name] = _Node()
            if ticket.token:
                held = node.held.get(mode)
                if held is None:
                    held = node.held[mode] = {}
                held[owner] = held.get(owner, 0) + 1
            else:
                insort(node.waiting.setdefault(mode, []), ticket, key=_by_key)

    def _unhang(self, ticket: Ticket) -> None:
        owner = ticket.owner
        self._waiting -= not ticket.token
        for name, mode in ticket.nodes.items():
            node = self._nodes[name]
            if ticket.token:
                held = node.held[mode]
                if held[owner] > 1:
                    held[owner] -= 1
                    continue
                del held[owner]
                if held:
                    continue
                del node.held[mode]
            else:
                queue = node.waiting[mode]
                del queue[bisect_left(queue, ticket.key, key=_by_key)]
                if queue:
                    continue
                del node.waiting[mode]
            if node.empty():
                del self._nodes[name]

    @property
    def node_count(self) -> int:
        """How many nodes exist: none may be left when no ticket is."""
        return len(self._nodes)


def who(owner: str, run_id: str) -> str:
    """An owner as people and agents of this run call it."""
    return owner.removeprefix(f"{run_id}/").removeprefix("user:")


def describe(tickets: Iterable[Ticket], nodes: Mapping[str, int]) -> tuple[Blocker, ...]:
    """Blockers for people: each with the unit of it that is in the way."""
    return tuple(
        Blocker(owner=t.owner, unit=_meeting_unit(t, nodes), ticket=t.ticket, waits=not t.token) for t in tickets
    )


def _meeting_unit(ticket: Ticket, nodes: Mapping[str, int]) -> str:
    for unit, chain in zip(ticket.units, ticket.chains, strict=True):
        own = nodes_of((chain,), ticket.mode)
        if any(name in nodes and mode in modes.CONFLICTS[nodes[name]] for name, mode in own.items()):
            return unit
    return ticket.units[0]
