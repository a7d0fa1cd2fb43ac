"""A short, deterministic suite over the whole of the core: what the planted bugs must not survive.

Each scenario is a story with one point, and fails by an exception. `check_scenarios` tells them all, then lets seeded
random scripts run against the oracle.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
from duel import AGENTS, LIMITS, MODES, PRIORITIES, UNITS, Duel
from world import World

from agentlab.core import commands as c
from agentlab.core.digest import dhash
from agentlab.core.events import AgentSpec, FileRead, LockGrant, LockRelease, Message, Mode, ModelCall, Priority, RunEnd
from agentlab.core.turn import Rules
from agentlab.core.units import covers
from agentlab.errors import AlreadyHeld, Forbidden, NameTaken, OutsideWorkspace, Refused, WouldBlock

Scenario = Callable[[], None]
SCENARIOS: list[Scenario] = []


def scenario(story: Scenario) -> Scenario:
    SCENARIOS.append(story)
    return story


def check_scenarios(seeds: int = 6) -> None:
    for story in SCENARIOS:
        story()
    for seed in range(seeds):
        random_duel(seed, 120)


def three(rules: Rules | None = None) -> tuple[World, str, str, str]:
    world = World(rules)
    return world, world.agent("a"), world.agent("b"), world.agent("c")


# --- granting --------------------------------------------------------------------------------------------------


@scenario
def a_file_has_one_writer() -> None:
    world, a, b, _ = three()
    world.grant(a, "file:x")
    assert world.queue(b, "file:x").position == 1
    assert world.holders() == {a: ["file:x"]}


@scenario
def a_directory_and_a_file_in_it_exclude_each_other_both_ways() -> None:
    world, a, b, c_ = three()
    world.grant(a, "dir:src")
    world.queue(b, "file:src/deep/x")
    world.grant(c_, "file:src2")
    world, a, b, c_ = three()
    world.grant(a, "file:src/deep/x")
    world.queue(b, "dir:src")
    world.grant(c_, "dir:src2")


@scenario
def readers_share_and_a_writer_waits_for_all_of_them() -> None:
    world, a, b, c_ = three()
    world.grant(a, "dir:src", mode=Mode.SHARED)
    world.grant(b, "file:src/x", mode=Mode.SHARED)
    world.queue(c_, "file:src/x")
    world.release(b)
    assert c_ not in world.holders(), "the directory's reader still reads"
    world.release(a)
    assert world.holders() == {c_: ["file:src/x"]}


@scenario
def a_reader_with_intent_lets_readers_of_parts_in_and_no_writer() -> None:
    world, a, b, c_ = three()
    world.grant(a, "dir:src", mode=Mode.SHARED_INTENT_EXCLUSIVE)
    world.grant(b, "file:src/x", mode=Mode.SHARED)
    world.queue(c_, "file:src/y")
    world.release(c_)
    world.queue(c_, "dir:src", mode=Mode.SHARED)


@scenario
def two_spellings_are_one_unit() -> None:
    world, a, b, _ = three()
    world.grant(a, "file:src/./a/../café")
    world.queue(b, "file:src//cafe\u0301")


@scenario
def one_file_in_two_nested_workspaces_is_one_unit() -> None:
    world = World()
    world.run("s", "/w/sub")
    a, d = world.agent("a"), world.agent("d", run="s")
    world.grant(a, "file:sub/x")
    world.queue(d, "file:x")


@scenario
def one_path_on_two_hosts_is_two_units() -> None:
    world = World()
    world.run("other", "/w", host="elsewhere")
    a, d = world.agent("a"), world.agent("d", run="other")
    world.grant(a, "file:x")
    world.grant(d, "file:x")


@scenario
def all_or_nothing() -> None:
    world, a, b, c_ = three()
    world.grant(a, "file:x")
    world.queue(b, "file:x", "file:y")
    assert world.holders() == {a: ["file:x"]}, "no part of a claim is granted"
    world.queue(c_, "file:y")  # the place of b counts on the free unit too
    world.release(a)
    assert world.holders() == {b: ["file:x", "file:y"]}


# --- order -----------------------------------------------------------------------------------------------------


@scenario
def nobody_overtakes_an_earlier_request_that_conflicts() -> None:
    world, a, b, c_ = three()
    world.grant(a, "file:x", mode=Mode.SHARED)
    world.queue(b, "file:x")
    world.queue(c_, "file:x", mode=Mode.SHARED)
    assert world.waiters() == [b, c_]
    world.release(a)
    assert world.holders() == {b: ["file:x"]}


@scenario
def an_earlier_request_that_does_not_conflict_is_passed() -> None:
    world, a, b, c_ = three()
    world.grant(a, "file:x")
    world.queue(b, "file:x")
    world.grant(c_, "file:y")


@scenario
def a_higher_class_goes_first_but_only_so_often() -> None:
    world = World(Rules(bypass=2))
    holder, low = world.agent("holder"), world.agent("low")
    world.grant(holder, "file:x")
    world.queue(low, "file:x", priority=Priority.BACKGROUND)
    others = [world.agent(f"n{i}") for i in range(4)]
    for other in others:
        world.queue(other, "file:x", priority=Priority.NORMAL)
    assert world.waiters() == [others[0], others[1], low, others[2], others[3]]
    world.release(holder)
    assert list(world.holders()) == [others[0]]


@scenario
def an_operator_moves_a_waiting_ticket_to_the_front() -> None:
    world, a, b, c_ = three()
    world.grant(a, "file:x")
    world.queue(b, "file:x")
    ticket = world.queue(c_, "file:x").ticket
    world.do(c.Bump(ticket=ticket, by="ada"))
    assert world.waiters() == [c_, b]
    world.release(a)
    assert world.holders() == {c_: ["file:x"]}


@scenario
def a_move_to_the_front_can_be_a_grant() -> None:
    world, a, b, c_ = three()
    world.grant(a, "file:x")
    world.queue(b, "file:x", "file:y")
    ticket = world.queue(c_, "file:y").ticket
    world.do(c.Bump(ticket=ticket, by="ada"))
    assert world.holders() == {a: ["file:x"], c_: ["file:y"]}


# --- releasing -------------------------------------------------------------------------------------------------


@scenario
def a_release_wakes_the_next() -> None:
    world, a, b, c_ = three()
    world.grant(a, "file:x")
    world.queue(b, "file:x")
    world.queue(c_, "file:x")
    world.release(a)
    assert world.holders() == {b: ["file:x"]}
    world.release(b)
    assert world.holders() == {c_: ["file:x"]}


@scenario
def a_part_can_be_given_back() -> None:
    world, a, b, _ = three()
    grant = world.grant(a, "file:x", "dir:src")
    world.queue(b, "file:src/y")
    world.release(a, grant.ticket, units=("dir:src",))
    assert world.holders() == {a: ["file:x"], b: ["file:src/y"]}
    assert world.state.locks.tickets[grant.ticket].token == grant.token


@scenario
def a_wait_that_is_given_up_in_part_is_given_up_and_wakes_everybody_behind_it() -> None:
    world, a, b, c_ = three()
    world.grant(a, "file:x")
    world.queue(b, "file:x", "file:y")
    world.queue(c_, "file:y")
    world.release(b, units=("file:x",))
    assert world.holders() == {a: ["file:x"], c_: ["file:y"]}


@scenario
def a_former_owner_releases_nothing() -> None:
    world, a, b, _ = three()
    first = world.grant(a, "file:x")
    world.queue(b, "file:x")
    world.tick(61)
    second = world.state.locks.held_by(b)[0]
    world.release(a, first.ticket)
    assert world.holders() == {b: ["file:x"]}
    world.refused(c.Release(owner=a, tickets=(second.ticket,)), Forbidden)
    assert world.holders() == {b: ["file:x"]}


@scenario
def the_end_of_a_run_takes_only_what_was_claimed_in_it() -> None:
    world = World()
    world.run("p", "/p")
    world.run("q", "/q")
    world.grant("user:ada", "file:x", run="p")
    world.grant("user:ada", "file:x", run="q")
    world.do(c.EndRun(run_id="p"))
    assert [t.run_id for t in world.state.locks.held_by("user:ada")] == ["q"]
    world.tick(59)
    assert world.holders() == {"user:ada": ["file:x"]}
    world.tick(1)
    assert not world.holders(), "the lease of what is left ends when it would have ended"


@scenario
def the_end_of_a_run_wakes_those_who_waited_for_it() -> None:
    world = World()
    world.run("p", "/w")
    a = world.agent("a")
    world.grant("user:ada", "file:x", run="p")
    world.queue("user:eve", "file:x", run="p")
    world.queue(a, "file:x")
    world.do(c.EndRun(run_id="p"))
    assert world.holders() == {a: ["file:x"]}
    assert len(world.events_of(LockGrant)) == 2, "what ends with the run is not granted on the way"


@scenario
def the_end_of_a_run_gives_back_in_the_order_of_asking() -> None:
    world = World()
    world.run("p", "/p")
    people = [f"user:{name}" for name in ("zoe", "bob", "eve", "ada", "kim", "tom")]
    for number, person in enumerate(people):
        world.grant(person, f"file:{number}", run="p")
    world.do(c.EndRun(run_id="p"))
    assert [event.actor for event in world.events_of(LockRelease)] == people


# --- more later ------------------------------------------------------------------------------------------------


@scenario
def whoever_holds_something_does_not_wait_for_more() -> None:
    world, a, b, _ = three()
    world.grant(a, "file:x")
    world.grant(b, "file:y")
    assert isinstance(world.claim(a, "file:y"), WouldBlock)
    assert world.waiters() == []
    world.grant(a, "file:z")
    assert world.holders() == {a: ["file:x", "file:z"], b: ["file:y"]}


@scenario
def yielding_gives_all_back_and_queues_in_the_old_place() -> None:
    world, a, b, c_ = three()
    first = world.grant(a, "file:x")
    world.grant(b, "file:y")
    world.queue(c_, "file:x", "file:y")
    queued = world.queue(a, "file:y", yields=True)
    assert queued.ticket == first.ticket
    assert world.holders() == {b: ["file:y"]}, "c waits behind the old place of a"
    assert world.waiters() == [a, c_]
    world.release(b)
    assert world.holders() == {a: ["file:x", "file:y"]}
    assert world.state.locks.held_by(a)[0].token > first.token


@scenario
def asking_again_for_what_one_yielded_for_goes_on_waiting() -> None:
    world, a, b, _ = three()
    world.grant(a, "file:x")
    world.grant(b, "file:y")
    queued = world.queue(a, "file:y", yields=True)
    assert world.queue(a, "file:y", yields=True) == queued


@scenario
def a_yield_goes_before_those_who_asked_after_the_old_ticket() -> None:
    world, a, b, c_ = three()
    world.grant(a, "file:x", mode=Mode.SHARED)
    world.grant(b, "file:z")
    world.queue(c_, "file:y", "file:z")
    assert isinstance(world.claim(a, "file:y", mode=Mode.SHARED), WouldBlock)
    world.grant(a, "file:y", mode=Mode.SHARED, yields=True)
    assert world.waiters() == [c_]


@scenario
def a_yield_serves_whoever_is_before_the_old_ticket() -> None:
    world, a, b, c_ = three()
    d, z = world.agent("d"), world.agent("z")
    world.grant(z, "file:q")
    world.queue(b, "file:q", "file:z", priority=Priority.BACKGROUND)
    world.grant(a, "file:x")
    world.grant(c_, "file:y")
    world.queue(d, "file:x", "file:z", priority=Priority.OPERATOR)
    assert world.waiters() == [d, b], "d is before b, and so before a"
    world.queue(a, "file:y", yields=True)
    assert world.holders() == {z: ["file:q"], c_: ["file:y"], d: ["file:x", "file:z"]}
    assert world.waiters() == [b, a]


@scenario
def whoever_shares_a_directory_does_not_write_in_it_under_the_other_reader() -> None:
    world, a, b, _ = three()
    world.grant(a, "dir:src", mode=Mode.SHARED)
    world.grant(b, "dir:src", mode=Mode.SHARED)
    assert isinstance(world.claim(a, "file:src/x"), WouldBlock)
    world.release(b)
    world.grant(a, "file:src/x")


@scenario
def nobody_yields_across_runs() -> None:
    world = World()
    world.run("q", "/q")
    other = world.agent("b", run="q")
    world.grant("user:ada", "file:x", run="r")
    world.grant(other, "file:y")
    assert isinstance(world.claim("user:ada", "file:y", run="q", yields=True), WouldBlock)
    assert world.holders() == {"user:ada": ["file:x"], other: ["file:y"]}


@scenario
def a_wait_in_one_run_is_no_wait_in_another() -> None:
    world = World()
    world.run("q", "/q")
    other = world.agent("b")
    world.grant(other, "file:x")
    world.queue("user:ada", "file:x", run="r")
    reply = world.claim("user:ada", "file:x", run="q")
    assert type(reply) is Refused, reply


@scenario
def a_lock_is_not_upgraded_in_place() -> None:
    world, a, _, _ = three()
    world.grant(a, "file:x", mode=Mode.SHARED)
    assert isinstance(world.claim(a, "file:x"), AlreadyHeld)
    assert isinstance(world.claim(a, "file:x", mode=Mode.SHARED), AlreadyHeld)


@scenario
def a_repeated_claim_gets_the_same_ticket() -> None:
    world, a, b, _ = three()
    first = world.grant(a, "file:x", rid="1")
    assert world.grant(a, "file:x", rid="1") == first
    queued = world.queue(b, "file:x", rid="2")
    assert world.queue(b, "file:x", rid="2") == queued
    assert world.queue(b, "file:x") == queued
    world.release(a)
    late = world.grant(b, "file:x", rid="2")
    assert late.ticket == queued.ticket
    assert len(world.events_of(LockGrant)) == 2


# --- leases ----------------------------------------------------------------------------------------------------


@scenario
def a_lease_ends_exactly_when_it_is_over_and_the_next_is_served() -> None:
    world, a, b, _ = three()
    world.grant(a, "file:x", ttl=10.0)
    world.queue(b, "file:x")
    world.tick(9.999)
    assert world.holders() == {a: ["file:x"]}
    world.tick(0.001)
    assert world.holders() == {b: ["file:x"]}


@scenario
def a_sign_of_life_renews_all_leases_of_its_owner() -> None:
    world, a, _, _ = three()
    world.grant(a, "file:x", ttl=10.0)
    world.grant(a, "file:y", ttl=20.0)
    for _ in range(5):
        world.now += 9.0
        world.renew(a)
        world.tick()
    assert world.holders() == {a: ["file:x", "file:y"]}
    world.tick(10.0)
    assert world.holders() == {a: ["file:y"]}
    world.tick(10.0)
    assert world.holders() == {}


@scenario
def a_renewal_between_the_finding_and_the_expiry_wins() -> None:
    world, a, _, _ = three()
    world.grant(a, "file:x", ttl=10.0)
    world.now += 11.0
    due = world.leases.next_due()
    assert due is not None
    assert due <= world.now
    world.renew(a)
    world.tick()
    assert world.holders() == {a: ["file:x"]}


@scenario
def a_restart_gives_every_live_lease_a_full_term() -> None:
    world, a, b, _ = three()
    world.grant(a, "file:x", ttl=10.0)
    world.queue(b, "file:x", ttl=10.0)
    world.now += 1_000.0
    world.restart()
    world.tick(9.9)
    assert world.holders() == {a: ["file:x"]}
    world.tick(0.1)
    assert world.holders() == {b: ["file:x"]}
    world.tick(10.0)
    assert world.holders() == {}


@scenario
def tokens_rise_over_a_restart() -> None:
    world, a, b, _ = three()
    tokens = [world.grant(a, "file:x").token]
    world.release(a)
    world.restart()
    tokens.append(world.grant(b, "file:x").token)
    world.release(b)
    tokens.append(world.grant(a, "file:x").token)
    assert tokens == sorted(set(tokens))
    assert all(token > 0 for token in tokens)


@scenario
def a_paused_agent_keeps_its_locks_for_so_long() -> None:
    world, a, b, _ = three(LIMITS)
    world.grant(a, "file:x", ttl=1e6)
    world.queue(b, "file:x")
    world.do(c.Signal(agent=a, verb="pause"))
    world.tick(LIMITS.pause_hold)
    assert world.holders() == {a: ["file:x"]}
    world.tick(1.0)
    assert world.holders() == {b: ["file:x"]}


# --- ends ------------------------------------------------------------------------------------------------------


@scenario
def an_agent_that_ends_leaves_no_lock_and_no_wait() -> None:
    world, a, b, c_ = three()
    world.grant(a, "file:x")
    world.queue(b, "file:x")
    world.queue(c_, "file:x")
    world.finish(b, "failed")
    assert world.waiters() == [c_]
    world.finish(a, "failed")
    assert world.holders() == {c_: ["file:x"]}
    assert isinstance(world.claim(a, "file:y"), Refused)


@scenario
def what_others_could_have_written_is_known_afterwards() -> None:
    world, a, b, _ = three()
    start = world.state.position
    world.grant(b, "dir:src")
    touch = c.Touched(owner=a, units=("file:src/x", "file:src2", "dir:."), since=start, run_id="r")
    assert world.do(touch, c.Units).units == ("file:src/x", "dir:.")
    world.release(b)
    assert world.do(touch, c.Units).units == ("file:src/x", "dir:.")
    later = c.Touched(owner=a, units=("file:src/x", "dir:."), since=world.state.position, run_id="r")
    assert world.do(later, c.Units).units == ()
    assert world.do(c.Touched(owner=b, units=("dir:.",), since=start, run_id="r"), c.Units).units == ()


@scenario
def what_was_given_back_in_part_could_have_been_written_until_then() -> None:
    world, a, b, _ = three()
    grant = world.grant(b, "file:x", "file:y")
    before = world.state.position
    world.release(b, grant.ticket, units=("file:x",))
    after = world.state.position
    units = ("file:x", "file:y", "file:z")
    since = [world.do(c.Touched(owner=a, units=units, since=at, run_id="r"), c.Units).units for at in (before, after)]
    assert since == [("file:x", "file:y"), ("file:y",)]


@scenario
def where_nobody_remembers_who_wrote_the_answer_is_yes() -> None:
    world, a, b, _ = three()
    world.state.locks = type(world.state.locks)(remember=2)
    start = world.state.position
    for name in ("x", "y", "z"):
        world.grant(b, f"file:{name}")
        world.release(b)
    ends = [event.id for event in world.events_of(LockRelease)]

    def touched(since: int) -> tuple[str, ...]:
        return world.do(c.Touched(owner=a, units=("file:x", "file:other"), since=since, run_id="r"), c.Units).units

    assert touched(start) == touched(ends[0] - 1) == ("file:x", "file:other")
    assert touched(ends[0]) == (), "of what ended later everything is remembered"


# --- agents and the log ----------------------------------------------------------------------------------------


@scenario
def a_spawn_that_is_repeated_is_one_agent() -> None:
    world = World()
    command = c.Spawn(run_id="r", spec=AgentSpec(kind="script"), rid="once")
    assert world.do(command, c.Spawned) == world.do(command, c.Spawned)
    assert len(world.state.agents) == 1


@scenario
def a_live_name_is_taken_and_a_free_one_is_new() -> None:
    world = World()
    first = world.agent("a")
    world.refused(c.Spawn(run_id="r", spec=AgentSpec(kind="script", name="a")), NameTaken)
    world.finish(first)
    second = world.agent("a")
    world.finish(second)
    assert [first, second, world.agent("a")] == ["r/a", "r/a#2", "r/a#3"]


@scenario
def a_journal_is_logged_once_and_a_forbidden_one_not_at_all() -> None:
    world = World()
    a = world.agent("a")
    one, two = (c.Entry(n=n, ts=n, body=FileRead(path=f"{n}", hash=None)) for n in (1, 2))
    world.do(c.Report(agent=a, entries=(one,)), c.Done)
    world.do(c.Report(agent=a, entries=(one, two, two)), c.Done)
    world.restart()
    world.do(c.Report(agent=a, entries=(one, two)), c.Done)
    assert [e.body.path for e in world.events_of(FileRead)] == ["1", "2"]  # type: ignore[union-attr]
    before = len(world.log)
    lie = c.Entry(n=4, ts=4, body=LockRelease(ticket=1, owner="r/b", units=("file:x",)))
    world.refused(c.Report(agent=a, entries=(c.Entry(n=3, ts=3, body=FileRead(path="3", hash=None)), lie)), Forbidden)
    assert len(world.log) == before


@scenario
def what_is_reported_late_counts_and_changes_no_event_of_the_past() -> None:
    world = World()
    a = world.agent("a")
    call = ModelCall(provider="x")
    world.do(c.Report(agent=a, entries=(c.Entry(n=1, ts=1, tok_in=5, body=call),)), c.Done)
    world.finish(a)
    world.do(c.Report(agent=a, entries=(c.Entry(n=2, ts=2, tok_in=7, body=call),)), c.Done)
    assert world.state.agents[a].usage == world.state.runs["r"].usage == {"in": 12}
    assert [msgspec.json.encode(event) for event in world.log] == world.encoded


@scenario
def what_was_seen_of_an_agent_and_what_it_says_of_itself_are_paid_for_once() -> None:
    world = World()
    a, b = world.agent("a"), world.agent("b")
    for key in (a, b):
        entry = c.Entry(n=1, ts=1, tok_in=5, body=ModelCall(provider="x"))
        world.do(c.Report(agent=key, entries=(entry,)), c.Done)
    world.finish(a, usage={"in": 5.0, "cost": 0.5})
    world.finish(b, usage={"in": 2.0})
    assert world.state.agents[b].usage == {"in": 5}
    assert world.state.runs["r"].usage == {"in": 10, "cost": 0.5}
    world.do(c.EndRun(run_id="r"), c.Done)
    (end,) = world.events_of(RunEnd)
    assert end.body.usage == {"in": 10, "cost": 0.5}  # type: ignore[union-attr]


@scenario
def a_person_stays_in_charge_of_an_agent_that_is_told_to_pause() -> None:
    world = World()
    a = world.agent("a")
    world.do(c.Signal(agent=a, verb="pause"))
    world.do(c.Status(agent=a, status="running"))
    assert world.state.agents[a].status == "paused"
    world.do(c.Signal(agent=a, verb="resume"))
    assert world.state.agents[a].status == "running"


@scenario
def a_run_of_one_agent_ends_with_it() -> None:
    world = World()
    world.run("auto", "/auto", auto_end=True)
    a = world.agent("a", run="auto")
    world.do(c.EndRun(run_id="r"))
    world.refused(c.EndRun(run_id="auto"), Refused)
    world.finish(a, "failed")
    assert (world.state.runs["auto"].status, world.state.runs["r"].status) == ("failed", "done")
    assert world.state.tasks["auto/t1"].status == "failed"


@scenario
def a_unit_outside_of_the_workspace_is_refused() -> None:
    world, a, _, _ = three()
    for unit in ("file:/etc/passwd", "file:../x", "dir:src/../../w2"):
        assert isinstance(world.claim(a, unit), OutsideWorkspace), unit


@scenario
def a_grant_covers_itself_and_what_lies_below_and_no_neighbour() -> None:
    assert covers("dir:src", "file:src/deep/x")
    assert covers("dir:.", "file:src2")
    assert covers("file:x", "notebook:x")
    assert not covers("dir:src", "file:src2/x")
    assert not covers("dir:src/deep", "file:src/x")
    assert not covers("proc:test", "file:test")


@scenario
def an_equal_run_has_equal_dhashes_whatever_else_the_plane_does() -> None:
    def tell(run: str, noise: int) -> list[str]:
        world = World()
        world.now += noise
        for i in range(noise):
            world.run(f"noise{i}", "/w")
        world.run(run, f"/{run}", name="same")
        a, b = world.agent("a", run=run), world.agent("b", run=run)
        world.grant(a, "file:x", "file:z")
        world.claim(a, "file:z")
        world.queue(b, "file:x")
        world.claim(b, "file:y")
        world.do(c.SendText(agent=a, text="hello"))
        world.do(c.Report(agent=a, entries=(c.Entry(n=1, ts=noise, body=Message(role="assistant", text="hi")),)))
        world.finish(a)
        world.finish(b)
        return [dhash(event) for event in world.log if event.run_id == run]

    assert tell("one", 0) == tell("two", 5)


# --- random scripts --------------------------------------------------------------------------------------------


def random_duel(seed: int, steps: int) -> World:
    """A random script against the oracle; the world as it was left."""
    luck, duel = random.Random(seed), Duel()
    few = UNITS[: luck.choice((4, 8, len(UNITS)))]
    for _ in range(steps):
        owner = luck.choice(duel.owners())
        run = luck.choice(duel.runs_of(owner))
        units = tuple(luck.sample(few, luck.choice((1, 1, 2, 3))))
        line = duel.oracle.line
        match luck.choices(
            (
                "claim",
                "release",
                "ticket",
                "units",
                "time",
                "respawn",
                "pause",
                "resume",
                "bump",
                "revoke",
                "close",
                "restart",
                "touched",
            ),
            (45, 7, 12, 7, 8, 3, 2, 4, 4, 2, 1, 2, 5),
        )[0]:
            case "claim":
                duel.claim(
                    owner, run, units, luck.choice(MODES), priority=luck.choice(PRIORITIES), ttl=luck.choice((20.0, 90.0)),
                    yields=luck.random() < 0.3, wait=luck.random() < 0.9,
                )  # fmt: skip
            case "release":
                duel.release(owner)
            case "ticket" if line:
                request = luck.choice(line)
                duel.release(request.owner, (request.ticket,))
            case "units" if line:
                request = luck.choice(line)
                duel.release(request.owner, luck.choice(((), (request.ticket,))), (luck.choice(request.units),))
            case "time":
                for someone in duel.owners():
                    if luck.random() < 0.7:
                        duel.renew(someone)
                duel.advance(luck.choice((5.0, 15.0, 40.0, 120.0)))
                duel.tick()
            case "respawn":
                duel.respawn(luck.choice(AGENTS))
            case "pause":
                duel.pause(duel.names[luck.choice(AGENTS)])
            case "resume":
                duel.resume(duel.names[luck.choice(AGENTS)])
            case "bump" if duel.oracle.waiting():
                duel.bump(luck.choice(duel.oracle.waiting()))
            case "revoke" if line:
                duel.revoke(luck.choice(line))
            case "close":
                duel.close(luck.choice(("p", "q")))
            case "restart":
                duel.restart()
            case "touched":
                duel.touched(owner, run, units, luck.randrange(duel.world.state.position + 1))
    return duel.world
