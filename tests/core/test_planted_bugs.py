"""The catalogue of planted bugs: mistakes that lock services are known to have made, and a few of our own.

Each is planted into the running core, and the scenarios must notice. A bug that survives is a hole in the tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from scenarios import check_scenarios

from agentlab.core import agents, claims, digest, fold, leases, locks, modes, runs, runtimes, state, turn, units, usage
from agentlab.core import events as e
from agentlab.core.state import State
from agentlab.errors import WouldBlock

Plant = Callable[[pytest.MonkeyPatch], None]
CATALOGUE: dict[str, Plant] = {}


def bug(plant: Plant) -> Plant:
    CATALOGUE[plant.__name__] = plant
    return plant


def nothing(*_: Any, **__: Any) -> None: ...


# --- who gets it -----------------------------------------------------------------------------------------------


@bug
def grant_despite_conflict(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(locks.LockTable, "blocked", lambda self, owner, nodes, key: False)


@bug
def overtaking_of_an_earlier_conflicting_request(patch: pytest.MonkeyPatch) -> None:
    real = locks.LockTable.blocked
    patch.setattr(locks.LockTable, "blocked", lambda self, owner, nodes, key: real(self, owner, nodes, (0,)))


@bug
def waiting_for_later_requests_too(patch: pytest.MonkeyPatch) -> None:
    real = locks.LockTable.blocked
    patch.setattr(locks.LockTable, "blocked", lambda self, owner, nodes, key: real(self, owner, nodes, (10**12,)))


def _conflicts(patch: pytest.MonkeyPatch, *compatible: tuple[int, int]) -> None:
    table = [list(row) for row in modes.CONFLICTS]
    for a, b in compatible:
        table[a].remove(b)
        if a != b:
            table[b].remove(a)
    patch.setattr(modes, "CONFLICTS", tuple(map(tuple, table)))


@bug
def a_reader_of_a_directory_lets_writers_of_files_in(patch: pytest.MonkeyPatch) -> None:
    _conflicts(patch, (modes.S, modes.IX))


@bug
def a_writer_of_a_directory_lets_readers_of_files_in(patch: pytest.MonkeyPatch) -> None:
    _conflicts(patch, (modes.X, modes.IS))


@bug
def two_readers_with_intent_at_once(patch: pytest.MonkeyPatch) -> None:
    _conflicts(patch, (modes.SIX, modes.SIX))


@bug
def intent_and_reader_with_intent_at_once(patch: pytest.MonkeyPatch) -> None:
    _conflicts(patch, (modes.SIX, modes.IX))


@bug
def readers_exclude_readers(patch: pytest.MonkeyPatch) -> None:
    table = list(modes.CONFLICTS)
    table[modes.S] = (*table[modes.S], modes.S)
    patch.setattr(modes, "CONFLICTS", tuple(table))


@bug
def readers_leave_no_mark_on_directories(patch: pytest.MonkeyPatch) -> None:
    for module in (locks, claims, state):
        real = locks.nodes_of

        def nodes_of(chains: Any, mode: e.Mode, real: Any = real) -> dict[str, int]:
            chains = list(chains)
            return real(((chain[-1],) for chain in chains), mode) if mode is e.Mode.SHARED else real(chains, mode)

        patch.setattr(module, "nodes_of", nodes_of)


@bug
def only_the_first_unit_of_a_claim_is_locked(patch: pytest.MonkeyPatch) -> None:
    real = locks.nodes_of
    for module in (locks, claims, state):
        patch.setattr(module, "nodes_of", lambda chains, mode: real(list(chains)[:1], mode))


@bug
def joining_two_modes_keeps_the_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(modes, "join", lambda a, b: a)


# --- names -----------------------------------------------------------------------------------------------------


@bug
def two_spellings_are_two_units(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(units, "canonical", lambda unit: unit)


@bug
def two_unicode_spellings_are_two_units(patch: pytest.MonkeyPatch) -> None:
    class Identity:
        normalize = staticmethod(lambda form, text: text)

    patch.setattr(units, "unicodedata", Identity)


@bug
def src_is_a_prefix_of_src2(patch: pytest.MonkeyPatch) -> None:
    real = units.chain
    patch.setattr(state, "chain", lambda unit, host, root: real(unit.replace("src2", "src/2"), host, root))


@bug
def dir_src_covers_src2(patch: pytest.MonkeyPatch) -> None:
    import scenarios

    def covers(held: str, wanted: str) -> bool:
        outer, inner = units.path_of(held), units.path_of(wanted)
        return outer is not None and inner is not None and (outer == "." or inner.startswith(outer))

    patch.setattr(scenarios, "covers", covers)


@bug
def nested_workspaces_do_not_meet(patch: pytest.MonkeyPatch) -> None:
    real = units.chain
    patch.setattr(state, "chain", lambda unit, host, root: tuple(f"{root}|{n}" for n in real(unit, host, root)))


@bug
def all_hosts_are_one(patch: pytest.MonkeyPatch) -> None:
    real = units.chain
    patch.setattr(state, "chain", lambda unit, host, root: real(unit, "h", root))


@bug
def dot_dot_leads_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(units, "_relative", lambda path, unit: path)


# --- order -----------------------------------------------------------------------------------------------------


@bug
def bypass_is_unbounded(patch: pytest.MonkeyPatch) -> None:
    real = claims._place

    def place(t: turn.Turn, *args: Any) -> Any:
        rules, t.rules = t.rules, msgspec.structs.replace(t.rules, bypass=10**9)
        try:
            return real(t, *args)
        finally:
            t.rules = rules

    patch.setattr(claims, "_place", place)


@bug
def bypasses_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    real = claims._request
    patch.setattr(claims, "_request", lambda *args: real(*args[:-1], ()))


@bug
def classes_are_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(claims, "_place", lambda t, c, nodes, number: (locks.last_key(number), ()))


@bug
def an_equal_class_may_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(claims, "_RANK", dict.fromkeys(e.Priority, 0) | {e.Priority.OPERATOR: -1, e.Priority.BACKGROUND: 0})


@bug
def a_yield_loses_its_place(patch: pytest.MonkeyPatch) -> None:
    real = claims._request

    def request(t: turn.Turn, c: Any, names: Any, number: int, key: Any, *rest: Any) -> None:
        again = number <= t.state.position
        real(t, c, names, number, locks.last_key(t.state.position + 1) if again else key, *rest)

    patch.setattr(claims, "_request", request)


@bug
def a_bump_changes_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(locks.LockTable, "move", nothing)


@bug
def a_bump_does_not_grant(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(claims, "_grant_if_free", nothing)


@bug
def a_bump_goes_behind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(claims, "place_before", lambda other, ticket: (*other[:-1], 1, ticket, 0))


@bug
def the_queue_shown_has_holders_only(patch: pytest.MonkeyPatch) -> None:
    real = locks.LockTable.blockers
    patch.setattr(locks.LockTable, "blockers", lambda self, owner, nodes, key: real(self, owner, nodes, (0,)))


# --- waking ----------------------------------------------------------------------------------------------------


@bug
def release_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(claims, "promote", nothing)


@bug
def release_wakes_one_only(patch: pytest.MonkeyPatch) -> None:
    real = locks.LockTable.ready
    patch.setattr(locks.LockTable, "ready", lambda self, freed: itertools.islice(real(self, freed), 1))


@bug
def release_wakes_all_at_once(patch: pytest.MonkeyPatch) -> None:
    real = locks.LockTable.ready

    def ready(self: locks.LockTable, freed: Any) -> Iterator[locks.Ticket]:
        return iter([t for t in real(self, freed) for t in self.tickets.values() if not t.token])

    patch.setattr(locks.LockTable, "ready", ready)


@bug
def a_wait_that_is_given_up_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    real = claims._free
    waits: list[bool] = []
    give_up = claims.give_up

    def watched(t: turn.Turn, ticket: locks.Ticket, *args: Any) -> None:
        waits.append(not ticket.token)
        give_up(t, ticket, *args)
        waits.pop()

    patch.setattr(claims, "give_up", watched)
    patch.setattr(claims, "_free", lambda freed, nodes: None if waits and waits[-1] else real(freed, nodes))


@bug
def a_wait_that_is_given_up_in_part_wakes_some(patch: pytest.MonkeyPatch) -> None:
    def give_up(t: turn.Turn, ticket: locks.Ticket, some: tuple[str, ...], reason: str, freed: dict[str, int]) -> None:
        chains = [c for u, c in zip(ticket.units, ticket.chains, strict=True) if u in some]
        claims._free(freed, locks.nodes_of(chains, ticket.mode))
        gone = some if ticket.token else ticket.units
        body = e.LockRelease(ticket=ticket.ticket, owner=ticket.owner, units=gone, reason=reason)
        t.emit(ticket.run_id, claims._actor(ticket), body)

    patch.setattr(claims, "give_up", give_up)


@bug
def an_expiry_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    real, promote = claims.expire, claims.promote

    def expire(*args: Any) -> None:
        claims.promote = nothing
        try:
            real(*args)
        finally:
            claims.promote = promote

    patch.setattr(runtimes, "expire", expire)


# --- leases ----------------------------------------------------------------------------------------------------


@bug
def expiry_without_a_second_look(patch: pytest.MonkeyPatch) -> None:
    def expired(self: leases.Leases, table: locks.LockTable, now: float) -> list[int]:
        gone = [number for deadline, number in self._due if deadline <= now]
        self._due = [due for due in self._due if due[0] > now]
        return gone

    patch.setattr(leases.Leases, "expired", expired)


@bug
def an_expired_lease_is_never_reclaimed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(leases.Leases, "expired", lambda self, table, now: [])


@bug
def a_renewed_lease_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    real = leases.Leases.expired

    def expired(self: leases.Leases, table: locks.LockTable, now: float) -> list[int]:
        found = real(self, table, now)
        self._due = [due for due in self._due if due[0] <= now]
        return found

    patch.setattr(leases.Leases, "expired", expired)


@bug
def a_lease_lapses_early(patch: pytest.MonkeyPatch) -> None:
    real = leases.Leases.expired
    patch.setattr(leases.Leases, "expired", lambda self, table, now: real(self, table, now + 0.5))


@bug
def a_lease_lapses_late(patch: pytest.MonkeyPatch) -> None:
    real = leases.Leases.expired
    patch.setattr(leases.Leases, "expired", lambda self, table, now: real(self, table, now - 0.5))


@bug
def a_renewal_is_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(leases.Leases, "renew", nothing)


@bug
def a_restart_forgets_the_leases(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(leases.Leases, "restart", nothing)


@bug
def a_restart_ends_the_leases(patch: pytest.MonkeyPatch) -> None:
    real = leases.Leases.restart
    patch.setattr(leases.Leases, "restart", lambda self, table, now: real(self, table, now - 1_000.0))


@bug
def a_pause_keeps_its_locks_for_ever(patch: pytest.MonkeyPatch) -> None:
    real = claims.expire
    patch.setattr(runtimes, "expire", lambda t, which, reason: real(t, which, reason) if reason != "pause" else None)


# --- fencing and ends ------------------------------------------------------------------------------------------


@bug
def tokens_are_used_again_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    real = turn.Turn.emit

    def emit(self: turn.Turn, run_id: str, actor: str, body: Any, **columns: Any) -> e.Event:
        if isinstance(body, e.LockGrant):
            count = self.state.__dict__.setdefault("count", itertools.count(1))
            body = msgspec.structs.replace(body, token=next(count))
        return real(self, run_id, actor, body, **columns)

    patch.setattr(turn.Turn, "emit", emit)


@bug
def a_yield_keeps_its_token(patch: pytest.MonkeyPatch) -> None:
    real = turn.Turn.emit

    def emit(self: turn.Turn, run_id: str, actor: str, body: Any, **columns: Any) -> e.Event:
        if isinstance(body, e.LockGrant):
            body = msgspec.structs.replace(body, token=body.ticket)
        return real(self, run_id, actor, body, **columns)

    patch.setattr(turn.Turn, "emit", emit)


@bug
def a_former_owner_releases_its_successor(patch: pytest.MonkeyPatch) -> None:
    def release(t: turn.Turn, c: Any) -> Any:
        freed: dict[str, int] = {}
        for number in c.tickets or tuple(t.state.locks.by_owner.get(c.owner, {})):
            ticket = t.state.locks.tickets.get(number)
            if ticket is not None:
                some = tuple(u for u in ticket.units if not c.units or u in c.units)
                if some:
                    claims.give_up(t, ticket, some, c.reason, freed)
        claims.promote(t, freed)
        return claims.Done()

    patch.setattr(claims, "release", release)


@bug
def a_part_given_back_is_everything(patch: pytest.MonkeyPatch) -> None:
    real = claims.give_up
    patch.setattr(
        claims, "give_up", lambda t, ticket, some, reason, freed: real(t, ticket, ticket.units, reason, freed)
    )


@bug
def a_waiter_outlives_its_owner(patch: pytest.MonkeyPatch) -> None:
    real = claims.release_all

    def release_all(t: turn.Turn, owner: str, reason: str) -> None:
        if t.state.locks.waiting_of(owner) is None:
            real(t, owner, reason)

    patch.setattr(agents, "release_all", release_all)


@bug
def a_lock_outlives_its_owner(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(agents, "release_all", nothing)


@bug
def the_end_of_a_run_takes_all_that_its_people_have(patch: pytest.MonkeyPatch) -> None:
    def release_run(t: turn.Turn, run_id: str, reason: str) -> None:
        for owner in sorted({ticket.owner for ticket in t.state.locks.tickets.values() if ticket.run_id == run_id}):
            claims.release_all(t, owner, reason)

    patch.setattr(runs, "release_run", release_run)


@bug
def the_end_of_a_run_forgets_who_was_seen(patch: pytest.MonkeyPatch) -> None:
    real = claims.release_run

    def release_run(t: turn.Turn, run_id: str, reason: str) -> None:
        owners = [ticket.owner for ticket in t.state.locks.tickets.values() if ticket.run_id == run_id]
        real(t, run_id, reason)
        for owner in owners:
            t.leases.forget(owner)

    patch.setattr(runs, "release_run", release_run)


@bug
def hold_and_wait(patch: pytest.MonkeyPatch) -> None:
    real = claims._deny

    def deny(t: turn.Turn, c: Any, names: Any, error: Any, blockers: Any = (), nodes: Any = None) -> Any:
        if not isinstance(error, WouldBlock) or not c.wait:
            return real(t, c, names, error, blockers, nodes)
        number = t.state.position + 1
        claims._request(t, c, names, number, locks.last_key(number), tuple(blockers), ())
        return claims._standing(t, t.state.locks.tickets[number])

    patch.setattr(claims, "_deny", deny)


@bug
def a_yield_keeps_what_it_holds(patch: pytest.MonkeyPatch) -> None:
    real = claims.give_up

    def give_up(t: turn.Turn, ticket: Any, some: Any, reason: str, freed: Any) -> None:
        if reason != "yield":
            real(t, ticket, some, reason, freed)

    patch.setattr(claims, "give_up", give_up)


@bug
def a_lock_is_upgraded_in_place(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(locks.LockTable, "overlap", lambda self, owner, chains, mode: None)


@bug
def a_yield_asked_again_is_refused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(claims, "_same_wait", lambda waiting, c, wanted: waiting.units == wanted and waiting.mode == c.mode)


# --- repeats ---------------------------------------------------------------------------------------------------


def _without_rid(real: Any) -> Any:
    return lambda t, c: real(t, msgspec.structs.replace(c, rid=""))


@bug
def a_retry_repeats_a_claim(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(claims, "claim", _without_rid(claims.claim))


@bug
def a_retry_repeats_a_spawn(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(agents, "spawn", _without_rid(agents.spawn))


@bug
def a_retry_repeats_a_report(patch: pytest.MonkeyPatch) -> None:
    real = agents.report

    def report(t: turn.Turn, c: Any) -> Any:
        t.state.journals[c.agent] = 0
        return real(t, c)

    patch.setattr(agents, "report", report)


@bug
def a_forbidden_report_is_half_done(patch: pytest.MonkeyPatch) -> None:
    real, check = turn.Turn.emit, agents._check_reported

    def emit(self: turn.Turn, run_id: str, actor: str, body: Any, **columns: Any) -> e.Event:
        if "span" in columns:
            check(body)
        return real(self, run_id, actor, body, **columns)

    patch.setattr(agents, "_check_reported", nothing)
    patch.setattr(turn.Turn, "emit", emit)


@bug
def a_name_is_used_twice_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(agents, "ENDED", frozenset({"running", "queued", "done", "failed", "cancelled"}))


@bug
def an_agent_outvotes_its_person(patch: pytest.MonkeyPatch) -> None:
    def status(t: turn.Turn, c: Any) -> Any:
        agents._move(t, t.live(c.agent), c.status)
        return claims.Done()

    patch.setattr(agents, "status", status)


# --- the fold and the log --------------------------------------------------------------------------------------


@bug
def decide_writes_beside_the_log(patch: pytest.MonkeyPatch) -> None:
    real = claims._grant

    def grant(t: turn.Turn, ticket: locks.Ticket) -> Any:
        ticket.bypassed = 0
        return real(t, ticket)

    patch.setattr(claims, "_grant", grant)


@bug
def apply_reads_what_is_not_in_the_log(patch: pytest.MonkeyPatch) -> None:
    real, folds = fold._lock_grant, itertools.count()

    def grant(state: State, event: e.Event, body: e.LockGrant) -> None:
        real(state, event, body)
        state.locks.tickets[body.ticket].granted = next(folds)

    patch.setitem(fold._FOLDS, e.LockGrant, grant)


@bug
def seqs_have_gaps(patch: pytest.MonkeyPatch) -> None:
    real = fold.apply

    def apply(state: State, event: e.Event) -> None:
        real(state, event)
        if event.type == "lock.deny":
            state.runs[event.run_id].seq += 1

    patch.setattr(fold, "apply", apply)


@bug
def ids_are_used_twice(patch: pytest.MonkeyPatch) -> None:
    real = fold.apply

    def apply(state: State, event: e.Event) -> None:
        real(state, event)
        if event.type == "lock.deny":
            state.position -= 1

    patch.setattr(fold, "apply", apply)


@bug
def nodes_are_left_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(locks._Node, "empty", lambda self: False)


@bug
def late_reports_rewrite_the_end(patch: pytest.MonkeyPatch) -> None:
    """Counted in place: in what an event and other rows hold too."""
    real = fold._agent_end

    def end(state: State, event: e.Event, body: e.AgentEnd) -> None:
        real(state, event, body)
        agent = fold._actor(state, event)
        if agent is not None:
            agent.usage = body.usage

    def call(state: State, event: e.Event, body: e.ModelCall) -> None:
        agent = fold._actor(state, event)
        if agent is not None:
            agent.usage.update(usage.plus(agent.usage, usage.of_call(event)))

    patch.setitem(fold._FOLDS, e.AgentEnd, end)
    patch.setitem(fold._FOLDS, e.ModelCall, call)


@bug
def a_run_pays_twice_for_what_was_seen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(usage, "beyond", lambda now, before: now)


@bug
def an_agent_that_ends_takes_back_what_was_seen(patch: pytest.MonkeyPatch) -> None:
    for module in (agents, usage):
        patch.setattr(module, "more", lambda seen, said: said)


@bug
def queues_change_unseen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fold, "_lock_changed", lambda state, ticket, owner: state.changed.add(("locks", str(ticket))))


@bug
def the_dhash_knows_the_run(patch: pytest.MonkeyPatch) -> None:
    real = digest.projection
    patch.setattr(digest, "projection", lambda event: real(msgspec.structs.replace(event, run_id="")))


@bug
def the_dhash_knows_the_tickets(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(digest, "fields_of", lambda body: body.__struct_fields__)


@bug
def others_writes_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(locks.LockTable, "_remember", nothing)


@bug
def writes_below_a_directory_are_not_seen(patch: pytest.MonkeyPatch) -> None:
    real = locks.LockTable.touched

    def touched(self: locks.LockTable, owner: str, chain: Any, since: int) -> bool:
        leaf = chain[-1]
        for node in [name for name in self._nodes if name == leaf]:
            if any(holder != owner for holder in self._nodes[node].held[modes.IX]):
                return False
        return real(self, owner, chain, since)

    patch.setattr(locks.LockTable, "touched", touched)


@bug
def what_was_forgotten_counts_as_untouched(patch: pytest.MonkeyPatch) -> None:
    real = locks.LockTable.touched

    def touched(self: locks.LockTable, *args: Any) -> bool:
        self.forgotten = 0
        return real(self, *args)

    patch.setattr(locks.LockTable, "touched", touched)


def test_the_scenarios_pass_where_nothing_is_planted() -> None:
    check_scenarios()


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_scenarios_notice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    CATALOGUE[name](monkeypatch)
    with pytest.raises(Exception):  # noqa: B017, PT011 - a planted bug may also break the core so that it raises
        check_scenarios()
