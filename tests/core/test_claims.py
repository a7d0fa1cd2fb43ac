"""The lock table, row by row: what is logged, and what the one who asks is told. (What is granted: `scenarios.py`.)"""

from __future__ import annotations

import math

import pytest
from world import World

from agentlab.core import commands as c
from agentlab.core.events import LockDeny, LockExpire, LockGrant, LockRelease, LockRequest, Mode, Priority
from agentlab.core.views import tables
from agentlab.errors import AlreadyHeld, BadRequest, Forbidden, NotFound, OutsideWorkspace, Refused, WouldBlock


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def a(world: World) -> str:
    return world.agent("a")


@pytest.fixture
def b(world: World) -> str:
    return world.agent("b")


@pytest.fixture
def d(world: World) -> str:
    return world.agent("d")


# --- names, containment, modes ---------------------------------------------------------------------------------


def test_a_grant_names_its_units_in_their_one_spelling(world: World, a: str) -> None:
    assert world.grant(a, "file:src/./x", "file:src//x", "port:08000").units == ("file:src/x", "port:8000")


def test_a_unit_that_leads_out_of_the_workspace_is_refused_and_says_so(world: World, a: str) -> None:
    text = world.refused(c.Claim(owner=a, units=("file:../x",), run_id="r"), OutsideWorkspace)
    assert text == "'file:../x' leads out of the workspace."


def test_a_waiter_is_told_by_whom_for_what_and_its_place(world: World, a: str, b: str, d: str) -> None:
    world.grant(a, "dir:src", "file:y")
    first = world.queue(b, "file:src/x")
    second = world.queue(d, "file:z", "file:src/x")
    assert (first.position, second.position) == (1, 2)
    assert [(k.owner, k.unit, k.waits) for k in first.behind] == [(a, "dir:src", False)]
    assert [(k.owner, k.unit, k.waits) for k in second.behind] == [(a, "dir:src", False), (b, "file:src/x", True)]


def test_the_unit_named_as_in_the_way_is_the_one_that_is(world: World, a: str, b: str) -> None:
    world.grant(a, "dir:src", "dir:lib", mode=Mode.SHARED_INTENT_EXCLUSIVE)
    queued = world.queue(b, "file:src/x", "dir:lib", mode=Mode.SHARED)
    assert [k.unit for k in queued.behind] == ["dir:lib"], "a reader of src/x is not in the way of an intent on src"


def test_the_three_modes_and_no_other_can_be_asked_for(world: World, a: str) -> None:
    for mode in (Mode.SHARED, Mode.EXCLUSIVE, Mode.SHARED_INTENT_EXCLUSIVE):
        world.grant(a, f"file:{mode.value}", mode=mode)
    text = world.refused(c.Claim(owner=a, units=("dir:x",), mode=Mode.INTENT_EXCLUSIVE, run_id="r"), BadRequest)
    assert text == "IX is an intention, taken by itself. Ask for one of shared, exclusive, shared_exclusive."


# --- several units, more later ---------------------------------------------------------------------------------


def test_several_units_are_one_request_and_one_grant(world: World, a: str) -> None:
    world.grant(a, "file:x", "file:y", "proc:test")
    (grant,) = world.events_of(LockGrant)
    assert grant.body.units == ("file:x", "file:y", "proc:test")  # type: ignore[union-attr]
    assert (grant.actor, grant.unit) == ("a", "file:x, file:y, proc:test")
    assert world.events_of(LockRequest) == [], "what was free has no request of its own"


def test_a_claim_without_units_is_no_claim(world: World, a: str) -> None:
    text = world.refused(c.Claim(owner=a, units=(), run_id="r"), BadRequest)
    assert text == "A claim names at least one work unit, for example 'file:src/a.py'."


def test_a_refused_extension_names_the_holder_the_place_and_the_two_ways_on(world: World, a: str, b: str) -> None:
    world.grant(a, "file:x")
    world.grant(b, "file:y")
    text = world.refused(c.Claim(owner=b, units=("file:x",), run_id="r"), WouldBlock)
    assert text == (
        "file:x is held by a; you would be 1st in the queue. You hold file:y, so you may not wait for more: release it "
        "first, or claim again with yields=True to give everything back and queue for all of it."
    )


def test_a_refusal_behind_others_counts_them_and_names_the_first_in_the_way(
    world: World, a: str, b: str, d: str
) -> None:
    world.grant(a, "file:x")
    world.queue(b, "file:x")
    world.queue(d, "file:x")
    refused = world.claim("user:ada", "file:x", wait=False)
    assert isinstance(refused, WouldBlock)
    assert str(refused) == (
        "file:x is held by a; you would be 3rd in the queue. Claim it with wait=True to queue, or work on something else."
    )
    assert refused.data == {"units": ["file:x"], "holder": "r/a", "position": 3}


def test_a_unit_that_is_free_but_wanted_says_who_asked_first(world: World, a: str, b: str, d: str) -> None:
    world.grant(a, "file:x")
    world.queue(b, "file:x", "file:y")
    text = world.refused(c.Claim(owner=d, units=("file:y",), run_id="r", wait=False), WouldBlock)
    assert text.startswith("file:y is wanted by b, who asked first; you would be 2nd in the queue.")


def test_whoever_holds_in_another_run_is_told_to_release_not_to_yield(world: World, a: str) -> None:
    world.run("q", "/q")
    world.grant("user:ada", "file:y", run="q")
    world.grant(a, "file:x")
    for yields in (False, True):
        refused = world.claim("user:ada", "file:x", yields=yields)
        assert isinstance(refused, WouldBlock)
        assert str(refused).endswith(
            "You hold file:y, not all of it in this run, so you may not wait for more: release it first."
        )


def test_a_refusal_is_in_the_log_with_its_text_and_those_in_the_way(world: World, a: str, b: str) -> None:
    world.grant(a, "file:x")
    refused = world.claim(b, "file:x", wait=False)
    (denied,) = world.events_of(LockDeny)
    assert (denied.actor, denied.unit, denied.status) == ("b", "file:x", "denied")
    assert isinstance(denied.body, LockDeny)
    assert denied.body.reason == str(refused)
    assert [k.owner for k in denied.body.behind] == [a]


def test_a_yield_is_logged_as_release_request_and_grant_under_one_ticket(world: World, a: str, b: str) -> None:
    first = world.grant(a, "file:x")
    world.grant(b, "file:y")
    world.queue(a, "file:y", yields=True)
    world.release(b)
    mine = [e for e in world.log if getattr(e.body, "ticket", 0) == first.ticket]
    assert [(e.type, e.status) for e in mine] == [
        ("lock.grant", None),
        ("lock.release", "yield"),
        ("lock.request", "queued"),
        ("lock.grant", None),
    ]


def test_a_yield_for_what_is_free_gives_nothing_back(world: World, a: str) -> None:
    first = world.grant(a, "file:x")
    second = world.grant(a, "file:y", yields=True)
    assert first.ticket != second.ticket
    assert world.events_of(LockRelease) == []


def test_a_yield_over_different_modes_queues_for_ownership(world: World, a: str, b: str) -> None:
    world.grant(a, "file:x", mode=Mode.SHARED)
    world.grant(b, "file:y")
    world.queue(a, "file:y", yields=True)
    (ticket,) = (t for t in world.state.locks.tickets.values() if t.owner == a)
    assert (ticket.mode, ticket.units) == (Mode.EXCLUSIVE, ("file:x", "file:y"))


def test_what_one_holds_already_is_no_second_grant(world: World, a: str) -> None:
    grant = world.grant(a, "dir:src")
    refused = world.claim(a, "file:src/x")
    assert isinstance(refused, AlreadyHeld)
    assert str(refused) == (
        f"You hold dir:src already (ticket {grant.ticket}, token {grant.token}): go ahead and use file:src/x."
    )
    assert refused.data == {"ticket": grant.ticket, "token": grant.token}


def test_an_upgrade_in_place_is_refused_with_the_way_to_do_it(world: World, a: str) -> None:
    grant = world.grant(a, "file:x", mode=Mode.SHARED)
    text = world.refused(c.Claim(owner=a, units=("file:x",), run_id="r"), AlreadyHeld)
    assert text == (
        f"You hold file:x in mode S (ticket {grant.ticket}). A lock is not upgraded in place: release it and claim it "
        f"exclusively, or claim it exclusively from the start."
    )


def test_a_reader_with_intent_may_own_a_part(world: World, a: str) -> None:
    world.grant(a, "dir:src", mode=Mode.SHARED_INTENT_EXCLUSIVE)
    world.grant(a, "file:src/x")


def test_one_waits_for_one_thing_at_a_time(world: World, a: str, b: str) -> None:
    world.grant(a, "file:x")
    ticket = world.queue(b, "file:x").ticket
    text = world.refused(c.Claim(owner=b, units=("file:y",), run_id="r"), Refused)
    assert text == (
        f"You already wait for file:x (ticket {ticket}). One wait at a time: release that ticket, or ask for all units "
        f"in one claim."
    )


def test_asking_again_in_another_order_is_the_same_wait(world: World, a: str, b: str) -> None:
    world.grant(a, "file:x")
    ticket = world.queue(b, "file:x", "file:y").ticket
    assert world.queue(b, "file:y", "file:x").ticket == ticket
    assert type(world.claim(b, "file:y", "file:x", mode=Mode.SHARED)) is Refused


# --- implicit claims -------------------------------------------------------------------------------------------


def test_an_implicit_claim_is_recorded_as_such(world: World, a: str, b: str) -> None:
    world.grant(a, "file:x", implicit=True)
    world.queue(b, "file:x", implicit=True)
    bodies = [e.body for e in world.log if e.type in ("lock.grant", "lock.request")]
    assert [body.implicit for body in bodies] == [True, True]  # type: ignore[union-attr]
    assert {row["implicit"] for row in tables(world.state)["locks"].values()} == {True}


# --- order and priorities --------------------------------------------------------------------------------------


def test_a_ticket_is_its_log_position(world: World, a: str, b: str) -> None:
    granted = world.grant(a, "file:x")
    queued = world.queue(b, "file:x")
    assert [e.id for e in world.log if e.type in ("lock.grant", "lock.request")] == [granted.ticket, queued.ticket]


def test_a_pass_is_in_the_log_with_those_who_were_passed(world: World, a: str, b: str, d: str) -> None:
    world.grant(a, "file:x")
    low = world.queue(b, "file:x", priority=Priority.BACKGROUND)
    world.queue(d, "file:x")
    passed = [e.body.passed for e in world.events_of(LockRequest)]  # type: ignore[union-attr]
    assert passed == [(), (low.ticket,)]
    assert tables(world.state)["locks"][str(low.ticket)]["bypassed"] == 1


def test_a_bump_is_in_the_log_with_who_did_it(world: World, a: str, b: str, d: str) -> None:
    world.grant(a, "file:x")
    world.queue(b, "file:x")
    ticket = world.queue(d, "file:x").ticket
    world.do(c.Bump(ticket=ticket, by="ada"))
    assert (world.log[-1].type, world.log[-1].actor) == ("state", "user:ada")
    world.do(c.Bump(ticket=ticket, by="ada"))
    assert len([e for e in world.log if e.type == "state"]) == 1, "who is first already is not moved"


def test_a_bump_of_what_does_not_wait_says_so(world: World, a: str) -> None:
    ticket = world.grant(a, "file:x").ticket
    for number in (ticket, 999):
        assert f"Ticket {number} does not wait (any more)." == world.refused(c.Bump(ticket=number), NotFound)


def test_a_revoked_ticket_goes_to_the_next_and_the_log_says_who_took_it_and_why(
    world: World, a: str, b: str, d: str
) -> None:
    ticket = world.grant(a, "file:x", "file:y").ticket
    world.queue(b, "file:x")
    world.do(c.Revoke(ticket=ticket, by="ada", reason="a is stuck"))
    assert world.holders() == {b: ["file:x"]}
    (event,) = world.events_of(LockRelease)
    assert (event.actor, event.status, event.body.owner) == ("user:ada", "operator", a)  # type: ignore[union-attr]
    taken = world.state.revoked_from(a)
    assert [str(r) for r in taken] == ["file:x, file:y was revoked by ada: a is stuck"]
    text = world.refused(c.Revoke(ticket=ticket, by="eve"), NotFound)
    assert text == f"Ticket {ticket} is gone: file:x, file:y was revoked by ada: a is stuck."
    assert "There is no ticket 999" in world.refused(c.Revoke(ticket=999), NotFound)
    hired = world.do(c.Ready(agent=a), c.Hired)
    assert hired.revoked == taken, "a runner that was away hears of it"


def test_a_waiting_ticket_and_a_persons_can_be_revoked(world: World, a: str, b: str, d: str) -> None:
    held = world.grant("user:ada", "file:x").ticket
    waiting = world.queue(a, "file:x").ticket
    world.queue(b, "file:x")
    world.do(c.Revoke(ticket=waiting, by="eve"))
    assert world.waiters() == [b]
    world.do(c.Revoke(ticket=held, by="eve"))
    assert world.holders() == {b: ["file:x"]}


def test_what_is_remembered_of_revocations_is_bounded_and_goes_with_the_run(world: World, a: str) -> None:
    for _ in range(40):
        world.do(c.Revoke(ticket=world.grant(a, "file:x").ticket, by="ada"))
    assert len(world.state.revoked_from(a)) == 32
    world.finish(a)
    world.do(c.EndRun(run_id="r"))
    world.state.forget_run("r")
    assert world.state.revoked_from(a) == ()


# --- leases ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ttl", [0.0, -1.0, math.inf, math.nan])
def test_a_lease_that_never_begins_or_never_ends_is_refused(world: World, a: str, ttl: float) -> None:
    text = world.refused(c.Claim(owner=a, units=("file:x",), run_id="r", ttl=ttl), BadRequest)
    assert text.endswith("Give ttl in seconds, more than 0.")
    assert world.ask(c.Spawn(run_id="r", spec=c.AgentSpec(kind="script", ttl=ttl))).code == "BadRequest"


def test_a_lease_may_be_shorter_than_a_second(world: World, a: str) -> None:
    assert world.grant(a, "file:x", ttl=0.25).ttl == 0.25
    world.tick(0.25)
    assert world.holders() == {}


def test_an_expiry_is_an_event_before_the_next_grant(world: World, a: str, b: str) -> None:
    world.grant(a, "file:x")
    world.queue(b, "file:x")
    world.tick(60.0)
    assert [(e.type, e.actor, e.status) for e in world.log[-2:]] == [
        ("lock.expire", "a", "lease"),
        ("lock.grant", "b", None),
    ]


def test_a_paused_holder_is_shown_and_its_loss_has_a_reason(world: World, a: str) -> None:
    ticket = world.grant(a, "file:x", ttl=1e6).ticket
    world.do(c.Signal(agent=a, verb="pause"))
    assert tables(world.state)["locks"][str(ticket)]["status"] == "paused"
    world.tick(1801.0)
    (lost,) = world.events_of(LockExpire)
    assert lost.status == "pause"


# --- release ---------------------------------------------------------------------------------------------------


def test_a_release_of_what_is_gone_is_no_error_and_no_event(world: World, a: str) -> None:
    grant = world.grant(a, "file:x")
    world.release(a, grant.ticket)
    before = len(world.log)
    world.release(a, grant.ticket)
    world.release(a, 999)
    world.release(a)
    assert len(world.log) == before


def test_a_release_of_somebody_elses_ticket_is_forbidden_and_changes_nothing(world: World, a: str, b: str) -> None:
    mine, theirs = world.grant(a, "file:x"), world.grant(b, "file:y")
    text = world.refused(c.Release(owner=a, tickets=(mine.ticket, theirs.ticket)), Forbidden)
    assert text == f"Ticket {theirs.ticket} belongs to b, not to you."
    assert world.holders() == {a: ["file:x"], b: ["file:y"]}


def test_a_release_of_units_takes_only_those(world: World, a: str) -> None:
    world.grant(a, "file:x", "file:y")
    world.grant(a, "file:z")
    world.release(a, units=("file:./x", "file:z"))
    assert world.holders() == {a: ["file:y"]}
    assert [e.body.units for e in world.events_of(LockRelease)] == [("file:x",), ("file:z",)]  # type: ignore[union-attr]


def test_a_wait_that_is_given_up_says_cancelled(world: World, a: str, b: str) -> None:
    world.grant(a, "file:x")
    world.queue(b, "file:x")
    world.release(b)
    (gone,) = world.events_of(LockRelease)
    assert (gone.actor, gone.status) == ("b", "cancelled")


# --- who may ask -----------------------------------------------------------------------------------------------


def test_an_agent_that_has_ended_gets_nothing(world: World, a: str) -> None:
    world.finish(a)
    text = world.refused(c.Claim(owner=a, units=("file:x",), run_id="r"), Refused)
    assert text == "Agent 'a' has ended (done). Spawn it again, or resume its session with `resume=`."


def test_nobody_claims_in_a_run_that_is_over_or_unknown(world: World) -> None:
    world.do(c.EndRun(run_id="r"))
    ended = world.refused(c.Claim(owner="user:ada", units=("file:x",), run_id="r"), Refused)
    assert ended == "Run 'r' (r) has ended (done); start a new one."
    unknown = world.refused(c.Claim(owner="user:ada", units=("file:x",), run_id="s"), NotFound)
    assert unknown == "There is no run 's'. `%agent runs` lists those there are."
    assert "no agent" in world.refused(c.Claim(owner="s/a", units=("file:x",), run_id="plane"), NotFound)


def test_people_hold_locks_as_agents_do(world: World, a: str) -> None:
    world.grant("user:ada", "file:x")
    queued = world.queue(a, "file:x")
    assert [k.owner for k in queued.behind] == ["user:ada"]
    assert world.events_of(LockGrant)[0].actor == "user:ada"
    text = world.refused(c.Claim(owner=world.agent("e"), units=("file:x",), run_id="r", wait=False), WouldBlock)
    assert text.startswith("file:x is held by ada; you would be 2nd in the queue.")


# --- what is shown ---------------------------------------------------------------------------------------------


def test_rows_say_who_waits_for_whom_at_which_place(world: World, a: str, b: str) -> None:
    world.grant(a, "dir:src")
    ticket = world.queue(b, "file:src/x").ticket
    shown = tables(world.state)
    assert shown["agents"][a]["holds"] == ["dir:src"]
    row = shown["agents"][b]
    assert row["status"] == "waiting"
    assert row["waits"] == {
        "ticket": ticket, "units": ["file:src/x"], "position": 1,
        "behind": [{"owner": a, "unit": "dir:src", "ticket": shown["agents"][b]["waits"]["behind"][0]["ticket"]}],
    }  # fmt: skip
    lock = shown["locks"][str(ticket)]
    assert (lock["status"], lock["position"], lock["token"], lock["granted"]) == ("waiting", 1, None, None)
    world.release(a)
    row = tables(world.state)["agents"][b]
    assert (row["status"], row["waits"], row["holds"]) == ("running", None, ["file:src/x"])


def test_a_grant_after_a_wait_says_how_long_it_took(world: World, a: str, b: str) -> None:
    world.grant(a, "file:x")
    world.queue(b, "file:x")
    world.now += 2.5
    world.release(a)
    assert world.log[-1].dur_ns == 2_500_000_000
