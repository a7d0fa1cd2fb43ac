"""What happens on a claim, a release, an expiry: the table of section "Locks" in ARCHITECTURE.md, as code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from agentlab.errors import AgentlabError, AlreadyHeld, BadRequest, Forbidden, NotFound, Refused, WouldBlock, ordinal

from . import modes
from . import units as names
from .commands import AnyReply, Bump, Claim, Done, Granted, Queued, Release, Revoke, Touched, Units
from .events import LockDeny, LockExpire, LockGrant, LockRelease, LockRequest, Mode, Priority, StateSet
from .locks import Ticket, describe, last_key, nodes_of, place_before
from .modes import ASKABLE
from .turn import Turn

_RANK = {Priority.OPERATOR: 0, Priority.NORMAL: 1, Priority.BACKGROUND: 2}


def claim(turn: Turn, c: Claim) -> AnyReply | AgentlabError:
    state, locks = turn.state, turn.state.locks
    turn.run(c.run_id)
    if not c.owner.startswith("user:"):
        turn.live(c.owner)
    if not c.units:
        raise BadRequest("A claim names at least one work unit, for example 'file:src/a.py'.")
    if c.mode not in ASKABLE.values():
        raise BadRequest(f"{c.mode} is an intention, taken by itself. Ask for one of {', '.join(ASKABLE)}.")
    if not 0 < c.ttl < math.inf:
        raise BadRequest(f"A lease of {c.ttl} s would end before it begins. Give ttl in seconds, more than 0.")
    wanted = state.spelled(c.units)
    mine = locks.by_owner.get(c.owner, {})
    for ticket in mine.values() if c.rid else ():
        if ticket.rid == c.rid:
            return _standing(turn, ticket)
    if mine and (waiting := locks.waiting_of(c.owner)) is not None:
        if waiting.run_id == c.run_id and _same_wait(waiting, c, wanted):
            return _standing(turn, waiting)
        raise Refused(
            f"You already wait for {', '.join(waiting.units)} (ticket {waiting.ticket}). One wait at a time: release "
            f"that ticket, or ask for all units in one claim.",
            ticket=waiting.ticket,
        )
    chains, nodes = state.place(c.run_id, wanted, c.mode)
    if mine and (own := locks.overlap(c.owner, chains, c.mode)) is not None:
        return _deny(turn, c, wanted, AlreadyHeld(_already(own, wanted, c.mode), ticket=own.ticket, token=own.token))

    number = state.position + 1
    key, passed = _place(turn, c, nodes, number)
    if not locks.blocked(c.owner, nodes, key):
        if passed:  # a waiting request was passed: that is said, and counted
            _request(turn, c, wanted, number, key, (), passed)
            return _grant(turn, locks.tickets[number])
        return _grant_at_once(turn, c, wanted, number)
    blockers = locks.blockers(c.owner, nodes, key)
    if locks.held_by(c.owner) or not c.wait:
        if not c.yields or not c.wait or any(t.run_id != c.run_id for t in locks.held_by(c.owner)):
            return _deny(turn, c, wanted, _would_block(turn, c, wanted, blockers, nodes), blockers, nodes)
        return _yield(turn, c, wanted)
    _request(turn, c, wanted, number, key, tuple(blockers), passed)
    return _standing(turn, locks.tickets[number])


def release(turn: Turn, c: Release) -> AnyReply:
    locks = turn.state.locks
    mine = locks.by_owner.get(c.owner, {})
    for number in c.tickets:
        ticket = locks.tickets.get(number)
        if ticket is not None and ticket.owner != c.owner:
            raise Forbidden(f"Ticket {number} belongs to {turn.who(ticket.owner, ticket.run_id)}, not to you.")
    wanted = {names.canonical(unit) for unit in c.units}
    freed: dict[str, int] = {}
    for number in c.tickets or tuple(mine):
        ticket = mine.get(number)
        if ticket is None:
            continue
        units = tuple(u for u in ticket.units if not wanted or u in wanted)
        if units:
            give_up(turn, ticket, units, c.reason, freed)
    promote(turn, freed)
    return Done()


def give_up(
    turn: Turn,
    ticket: Ticket,
    units: tuple[str, ...],
    reason: str,
    freed: dict[str, int],
    by: str = "",
    why: str = "",
) -> None:
    """Take units off a ticket, noting in `freed` what others may have now. `promote` afterwards."""
    if not ticket.token:
        reason, units = reason or "cancelled", ticket.units
    if len(units) == len(ticket.units):
        _free(freed, ticket.nodes)
    else:
        chains = [c for u, c in zip(ticket.units, ticket.chains, strict=True) if u in units]
        _free(freed, nodes_of(chains, ticket.mode))
    body = LockRelease(ticket=ticket.ticket, owner=ticket.owner, units=units, reason=reason, by=by, why=why)
    actor = f"user:{by}" if by else _actor(ticket)
    turn.emit(ticket.run_id, actor, body, unit=_unit(units), status=reason or None)


def release_all(turn: Turn, owner: str, reason: str) -> None:
    """Everything of an owner that has gone: its wait and its grants."""
    freed: dict[str, int] = {}
    for ticket in list(turn.state.locks.by_owner.get(owner, {}).values()):
        give_up(turn, ticket, ticket.units, reason, freed)
    promote(turn, freed)
    turn.leases.forget(owner)


def release_run(turn: Turn, run_id: str, reason: str) -> None:
    """Everything that is held or wanted in a run that ends. What its owners have in other runs stays theirs."""
    freed: dict[str, int] = {}
    tickets = [t for t in turn.state.locks.tickets.values() if t.run_id == run_id]
    for ticket in tickets:
        give_up(turn, ticket, ticket.units, reason, freed)
    promote(turn, freed)
    for ticket in tickets:
        if ticket.owner not in turn.state.locks.by_owner:
            turn.leases.forget(ticket.owner)


def expire(turn: Turn, tickets: Iterable[int], reason: str) -> None:
    """Leases have ended. Whoever waits is next; the old owner finds out at its next act, by its token."""
    freed: dict[str, int] = {}
    for number in tickets:
        ticket = turn.state.locks.tickets.get(number)
        if ticket is None or not ticket.token:
            continue
        _free(freed, ticket.nodes)
        body = LockExpire(ticket=number, owner=ticket.owner, units=ticket.units, reason=reason)
        turn.emit(ticket.run_id, _actor(ticket), body, unit=_unit(ticket.units), status=reason)
    promote(turn, freed)


def promote(turn: Turn, freed: Mapping[str, int]) -> None:
    """Grant, in order, what became free."""
    if freed:
        for ticket in turn.state.locks.ready(freed):
            _grant(turn, ticket)


def bump(turn: Turn, c: Bump) -> AnyReply:
    """An operator puts a waiting ticket before all others that it conflicts with."""
    ticket = turn.state.locks.tickets.get(c.ticket)
    if ticket is None or ticket.token:
        raise NotFound(f"Ticket {c.ticket} does not wait (any more).", ticket=c.ticket)
    ahead = turn.state.locks.overtakable(ticket.owner, ticket.nodes)
    if ahead and ahead[-1].key < ticket.key:
        key = list(place_before(ahead[-1].key, turn.state.position + 1))
        turn.emit(
            ticket.run_id, f"user:{c.by}", StateSet(store="queue", key=str(ticket.ticket), after=key, provenance=c.by)
        )
        _grant_if_free(turn, ticket)
    return Done()


def revoke(turn: Turn, c: Revoke) -> AnyReply:
    """An operator takes a ticket away. Its owner is told, and finds out at its next write at the latest, by its token."""
    ticket = turn.state.locks.tickets.get(c.ticket)
    if ticket is None:
        if (gone := turn.state.revocation(c.ticket)) is not None:
            raise NotFound(f"Ticket {c.ticket} is gone: {gone}.", ticket=c.ticket)
        raise NotFound(
            f"There is no ticket {c.ticket} (any more). `%agent locks` lists those there are.", ticket=c.ticket
        )
    freed: dict[str, int] = {}
    give_up(turn, ticket, ticket.units, "operator", freed, by=c.by or "user", why=c.reason)
    promote(turn, freed)
    return Done()


def touched(turn: Turn, c: Touched) -> Units:
    wanted = tuple(names.canonical(unit) for unit in c.units)
    chains = turn.state.chains(c.run_id, wanted)
    hit = (u for u, ch in zip(wanted, chains, strict=True) if turn.state.locks.touched(c.owner, ch, c.since))
    return Units(units=tuple(hit), position=turn.state.position)


# --- the steps -------------------------------------------------------------------------------------------------


def _place(turn: Turn, c: Claim, nodes: Mapping[str, int], number: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The place of a new request, and whom it passes: waiting ones of a lower class, each only so many times."""
    passed: list[Ticket] = []
    for other in turn.state.locks.overtakable(c.owner, nodes):
        if _RANK[other.priority] <= _RANK[c.priority] or other.bypassed >= turn.rules.bypass:
            break
        passed.append(other)
    if not passed:
        return last_key(number), ()
    return place_before(passed[-1].key, number), tuple(t.ticket for t in passed)


def _request(
    turn: Turn,
    c: Claim,
    units: tuple[str, ...],
    number: int,
    key: tuple[int, ...],
    blockers: tuple[Ticket, ...],
    passed: tuple[int, ...],
) -> None:
    _, nodes = turn.state.place(c.run_id, units, c.mode)
    body = LockRequest(
        ticket=number, owner=c.owner, units=units, mode=c.mode, key=key, implicit=c.implicit, priority=c.priority,
        ttl=c.ttl, behind=describe(blockers, nodes), passed=passed, rid=c.rid,
    )  # fmt: skip
    turn.emit(c.run_id, _who(c.owner, c.run_id), body, unit=_unit(units), status="queued")


def _grant(turn: Turn, ticket: Ticket) -> Granted:
    body = LockGrant(
        ticket=ticket.ticket, owner=ticket.owner, units=ticket.units, mode=ticket.mode,
        token=turn.state.position + 1, implicit=ticket.implicit, priority=ticket.priority, ttl=ticket.ttl,
        rid=ticket.rid,
    )  # fmt: skip
    waited = max(0, turn.now.wall - ticket.requested)
    turn.emit(ticket.run_id, _actor(ticket), body, unit=_unit(ticket.units), dur_ns=waited)
    turn.leases.watch(ticket.ticket, ticket.owner, ticket.ttl, turn.now.mono)
    return granted(ticket)


def _grant_if_free(turn: Turn, ticket: Ticket) -> None:
    if not ticket.token and not turn.state.locks.blocked(ticket.owner, ticket.nodes, ticket.key):
        _grant(turn, ticket)


def _grant_at_once(turn: Turn, c: Claim, units: tuple[str, ...], number: int) -> Granted:
    body = LockGrant(
        ticket=number, owner=c.owner, units=units, mode=c.mode, token=number, implicit=c.implicit,
        priority=c.priority, ttl=c.ttl, rid=c.rid,
    )  # fmt: skip
    turn.emit(c.run_id, _who(c.owner, c.run_id), body, unit=_unit(units))
    turn.leases.watch(number, c.owner, c.ttl, turn.now.mono)
    return Granted(ticket=number, token=number, units=units, mode=c.mode, ttl=c.ttl)


def _same_wait(waiting: Ticket, c: Claim, wanted: tuple[str, ...]) -> bool:
    """Whether a claim asks again for what its owner waits for. One that yielded waits for its old units too."""
    if c.yields and set(wanted) <= set(waiting.units):
        return True
    return waiting.mode == c.mode and set(wanted) == set(waiting.units)


def _yield(turn: Turn, c: Claim, wanted: tuple[str, ...]) -> AnyReply:
    """Give everything back and queue for all of it, in the place of the oldest ticket: nobody holds while waiting."""
    locks = turn.state.locks
    held = locks.held_by(c.owner)
    oldest = min(held, key=lambda t: t.key)
    units = tuple(dict.fromkeys([u for t in held for u in t.units] + list(wanted)))
    mode = c.mode if all(t.mode == c.mode for t in held) else Mode.EXCLUSIVE
    freed: dict[str, int] = {}
    for ticket in held:
        give_up(turn, ticket, ticket.units, "yield", freed)
    # The old ticket's place is ahead of everybody who came later: it waits before anything is handed on.
    _, nodes = turn.state.place(c.run_id, units, mode)
    again = Claim(
        owner=c.owner, units=units, mode=mode, run_id=c.run_id, ttl=c.ttl, implicit=c.implicit,
        priority=c.priority, rid=c.rid,
    )  # fmt: skip
    blockers = tuple(locks.blockers(c.owner, nodes, oldest.key))
    _request(turn, again, units, oldest.ticket, oldest.key, blockers, ())
    promote(turn, freed)
    ticket = locks.tickets[oldest.ticket]
    _grant_if_free(turn, ticket)
    return _standing(turn, ticket)


def _deny(
    turn: Turn,
    c: Claim,
    units: tuple[str, ...],
    error: AgentlabError,
    blockers: Iterable[Ticket] = (),
    nodes: Mapping[str, int] | None = None,
) -> AgentlabError:
    """A refusal is part of the record: it is an event and then an error."""
    body = LockDeny(owner=c.owner, units=units, mode=c.mode, reason=str(error), behind=describe(blockers, nodes or {}))
    turn.emit(c.run_id, _who(c.owner, c.run_id), body, unit=_unit(units), status="denied")
    return error


def _standing(turn: Turn, ticket: Ticket) -> AnyReply:
    """How a ticket stands now."""
    if ticket.token:
        return granted(ticket)
    blockers = turn.state.locks.blockers(ticket.owner, ticket.nodes, ticket.key)
    position = 1 + sum(not b.token for b in blockers)
    return Queued(ticket=ticket.ticket, position=position, behind=describe(blockers, ticket.nodes))


def granted(ticket: Ticket) -> Granted:
    return Granted(ticket=ticket.ticket, token=ticket.token, units=ticket.units, mode=ticket.mode, ttl=ticket.ttl)


def _would_block(
    turn: Turn, c: Claim, units: tuple[str, ...], blockers: list[Ticket], nodes: Mapping[str, int]
) -> WouldBlock:
    first = describe(blockers, nodes)[0]
    waiting = sum(b.waits for b in describe(blockers, nodes))
    who = turn.who(first.owner, c.run_id)
    state = f"is wanted by {who}, who asked first" if first.waits else f"is held by {who}"
    place = f"; you would be {ordinal(waiting + 1)} in the queue"
    held = turn.state.locks.held_by(c.owner)
    holding = ", ".join(u for t in held for u in t.units)
    if not held:
        advice = " Claim it with wait=True to queue, or work on something else."
    elif any(t.run_id != c.run_id for t in held):
        advice = f" You hold {holding}, not all of it in this run, so you may not wait for more: release it first."
    else:
        advice = (
            f" You hold {holding}, so you may not wait for more: release it first, or claim again with yields=True to "
            f"give everything back and queue for all of it."
        )
    return WouldBlock(
        f"{first.unit} {state}{place}.{advice}",
        units=list(units), holder=first.owner, position=waiting + 1,
    )  # fmt: skip


def _already(own: Ticket, wanted: tuple[str, ...], mode: Mode) -> str:
    held = ", ".join(own.units)
    if mode is Mode.EXCLUSIVE and own.mode is not Mode.EXCLUSIVE:
        return (
            f"You hold {held} in mode {own.mode.value} (ticket {own.ticket}). A lock is not upgraded in place: release "
            f"it and claim it exclusively, or claim it exclusively from the start."
        )
    return f"You hold {held} already (ticket {own.ticket}, token {own.token}): go ahead and use {', '.join(wanted)}."


def _free(freed: dict[str, int], nodes: Mapping[str, int]) -> None:
    for name, mode in nodes.items():
        freed[name] = modes.join(freed[name], mode) if name in freed else mode


def _actor(ticket: Ticket) -> str:
    return _who(ticket.owner, ticket.run_id)


def _who(owner: str, run_id: str) -> str:
    """The `actor` of an owner's events: the agent's id within its run, or user:NAME."""
    return owner.removeprefix(f"{run_id}/")


def _unit(units: tuple[str, ...]) -> str:
    return units[0] if len(units) == 1 else ", ".join(units)
