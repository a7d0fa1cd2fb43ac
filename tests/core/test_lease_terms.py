"""Leases: when they end, who renews them, and what a restart does. Times are seconds."""

from __future__ import annotations

import pytest
from world import World

from agentlab.core import commands as c
from agentlab.core.leases import Leases
from agentlab.core.locks import LockTable


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_due_where_nothing_is_leased() -> None:
    leases = Leases()
    assert leases.next_due() is None
    assert leases.expired(LockTable(), 1e9) == []


def test_the_next_look_is_at_the_earliest_deadline(world: World) -> None:
    world.grant(world.agent("a"), "file:x", ttl=60.0)
    world.grant(world.agent("b"), "file:y", ttl=10.0)
    assert world.leases.next_due() == world.now + 10.0


def test_the_time_left_counts_from_the_last_sign_of_life(world: World) -> None:
    a = world.agent("a")
    world.grant(a, "file:x", ttl=60.0)
    world.now += 20.0
    assert world.leases.left(a, 60.0, world.now) == 40.0
    world.renew(a)
    assert world.leases.left(a, 60.0, world.now) == 60.0


def test_a_report_is_a_sign_of_life(world: World) -> None:
    a = world.agent("a")
    world.grant(a, "file:x", ttl=10.0)
    world.now += 9.0
    world.do(c.Report(agent=a, entries=()))
    world.tick(9.0)
    assert world.holders() == {a: ["file:x"]}


def test_a_lease_is_looked_at_again_at_its_new_deadline(world: World) -> None:
    a = world.agent("a")
    world.grant(a, "file:x", ttl=10.0)
    world.now += 4.0
    world.renew(a)
    world.tick(6.0)
    assert world.leases.next_due() == world.now + 4.0
    world.tick(4.0)
    assert world.holders() == {}


def test_a_long_sleep_of_the_plane_ends_what_nobody_renewed_at_its_first_tick(world: World) -> None:
    a, b = world.agent("a"), world.agent("b")
    world.grant(a, "file:x")
    world.grant(b, "file:y")
    world.now += 1e6
    world.renew(b)
    world.tick()
    assert world.holders() == {b: ["file:y"]}


def test_a_grant_from_the_queue_has_a_full_term_however_long_it_waited(world: World) -> None:
    a, b = world.agent("a"), world.agent("b")
    world.grant(a, "file:x", ttl=1e6)
    world.queue(b, "file:x", ttl=10.0)
    world.now += 1e5
    world.release(a)
    world.tick(9.9)
    assert world.holders() == {b: ["file:x"]}
    world.tick(0.1)
    assert world.holders() == {}


def test_a_wait_has_no_lease(world: World) -> None:
    a, b = world.agent("a"), world.agent("b")
    world.grant(a, "file:x", ttl=1e9)
    world.queue(b, "file:x", ttl=1.0)
    world.tick(1e6)
    assert world.waiters() == [b]


def test_a_lease_after_a_yield_is_a_new_one(world: World) -> None:
    a, b = world.agent("a"), world.agent("b")
    world.grant(a, "file:x", ttl=10.0)
    world.grant(b, "file:y", ttl=1e6)
    world.queue(a, "file:y", yields=True, ttl=30.0)
    world.now += 15.0
    world.release(b)
    world.tick(15.0)
    assert world.holders() == {a: ["file:x", "file:y"]}, "the deadline of the old grant is of no account"
    world.tick(15.0)
    assert world.holders() == {}


def test_the_clock_of_a_new_machine_may_begin_anywhere(world: World) -> None:
    a = world.agent("a")
    world.grant(a, "file:x", ttl=10.0)
    world.now = 3.0  # the monotonic clock begins anew with the machine
    world.restart()
    world.tick(9.0)
    assert world.holders() == {a: ["file:x"]}
    world.tick(1.0)
    assert world.holders() == {}


def test_a_restart_forgets_deadlines_of_before(world: World) -> None:
    a, b = world.agent("a"), world.agent("b")
    world.grant(a, "file:x", ttl=10.0)
    world.grant(b, "file:y", ttl=50.0)
    world.leases.restart(world.state.locks, world.now + 1_000.0)
    assert world.leases.next_due() == world.now + 1_010.0
    assert world.leases.expired(world.state.locks, world.now + 1_009.0) == []


def test_people_are_forgotten_with_the_last_thing_that_they_held(world: World) -> None:
    for run in ("p", "q"):
        world.run(run, f"/{run}")
        world.grant("user:ada", "file:x", run=run)
    world.do(c.EndRun(run_id="p"))
    assert "user:ada" in world.leases.seen
    world.do(c.EndRun(run_id="q"))
    assert "user:ada" not in world.leases.seen


def test_whoever_ends_is_forgotten(world: World) -> None:
    a = world.agent("a")
    world.grant(a, "file:x")
    world.finish(a)
    assert a not in world.leases.seen
    assert a not in world.leases.since
    world.do(c.Report(agent=a, entries=()))
    assert a not in world.leases.seen, "a late report does not bring it back"
