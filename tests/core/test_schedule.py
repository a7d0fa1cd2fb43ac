"""In which order crossings are decided: as they come, in turns, or as recorded."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World

from agentlab.core.digest import dhash
from agentlab.core.rows import ENDED
from agentlab.core.schedule import Arrival, Recorded, Schedule, Turns

Crossings = list[tuple[str, str]]


def drained(schedule: Schedule[str]) -> Crossings:
    taken: Crossings = []
    while (crossing := schedule.take()) is not None:
        taken.append(crossing)
    return taken


def turns(*members: str, away: tuple[str, ...] = (), begun: bool = True) -> Turns[str]:
    return Turns(begun=lambda: begun, members=lambda: list(members), away=lambda agent: agent in away)


# --- arrival ---------------------------------------------------------------------------------------------------


def test_arrival_is_the_order_of_asking() -> None:
    schedule: Arrival[str] = Arrival()
    for agent, what in (("b", "1"), ("a", "2"), ("b", "3")):
        schedule.offer(agent, what)
    assert drained(schedule) == [("b", "1"), ("a", "2"), ("b", "3")]


def test_what_was_withdrawn_does_not_arrive() -> None:
    schedule: Arrival[str] = Arrival()
    schedule.offer("a", "1")
    schedule.offer("a", "2")
    schedule.forget("a", "1")
    schedule.forget("a", "never offered")
    assert drained(schedule) == [("a", "2")]


# --- turns -----------------------------------------------------------------------------------------------------


def test_nobody_crosses_before_all_are_there() -> None:
    schedule = turns("a", begun=False)
    schedule.offer("a", "1")
    assert schedule.take() is None


def test_agents_take_turns_in_task_order_whoever_came_first() -> None:
    schedule = turns("a", "b", "c", away=("a", "b", "c"))
    for agent, what in (("c", "c1"), ("b", "b1"), ("b", "b2"), ("a", "a1"), ("a", "a2")):
        schedule.offer(agent, what)
    assert [what for _, what in drained(schedule)] == ["a1", "b1", "c1", "a2", "b2"]


def test_a_busy_agent_is_waited_for_and_an_absent_one_is_not() -> None:
    away = ["b"]
    schedule: Turns[str] = Turns(lambda: True, lambda: ["a", "b", "c"], lambda agent: agent in away)
    schedule.offer("a", "a1")
    schedule.offer("a", "a2")
    assert drained(schedule) == [("a", "a1")], "c is busy, and its turn comes before a's next"
    schedule.offer("c", "c1")
    assert drained(schedule) == [("c", "c1"), ("a", "a2")]
    away.clear()
    schedule.offer("c", "c2")
    assert drained(schedule) == [], "b is back, and its turn comes before c's"


def test_a_turn_that_is_withdrawn_is_waited_for_again() -> None:
    schedule = turns("a", "b")
    schedule.offer("a", "a1")
    schedule.offer("b", "b1")
    schedule.forget("a", "a1")
    schedule.forget("c", "c1")
    assert drained(schedule) == []
    schedule.offer("a", "a2")
    assert drained(schedule) == [("a", "a2"), ("b", "b1")]


def test_agents_may_join_later() -> None:
    members = ["a"]
    schedule: Turns[str] = Turns(lambda: True, lambda: members, lambda agent: False)
    schedule.offer("a", "a1")
    assert drained(schedule) == [("a", "a1")]
    members.append("b")
    schedule.offer("a", "a2")
    assert drained(schedule) == []
    schedule.offer("b", "b1")
    assert drained(schedule) == [("b", "b1"), ("a", "a2")]


def test_a_run_without_agents_has_no_turns() -> None:
    assert turns().take() is None


@given(data=st.data(), lengths=st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_any_timing_of_the_same_agents_gives_the_same_order(data: st.DataObject, lengths: list[int]) -> None:
    """Each agent makes its crossings one after the other and then ends; only when it does so is left to luck."""
    members = [f"a{i}" for i in range(len(lengths))]

    def cross(pick: random.Random) -> Crossings:
        left = {agent: [f"{agent}.{i}" for i in range(n)] for agent, n in zip(members, lengths, strict=True)}
        offered: set[str] = set()
        schedule: Turns[str] = Turns(
            lambda: True, lambda: members, lambda agent: not left[agent] and agent not in offered
        )
        taken: Crossings = []
        while any(left.values()) or offered:
            able = [agent for agent in members if left[agent] and agent not in offered]
            if able:
                agent = pick.choice(able)
                schedule.offer(agent, left[agent].pop(0))
                offered.add(agent)
            while (crossing := schedule.take()) is not None:
                offered.remove(crossing[0])
                taken.append(crossing)
        return taken

    expected = [(a, f"{a}.{i}") for i in range(max(lengths)) for a, n in zip(members, lengths, strict=True) if i < n]
    assert cross(random.Random(data.draw(st.integers(0, 1_000)))) == expected


# --- a whole run in turns --------------------------------------------------------------------------------------

SCRIPTS: dict[str, list[tuple[str, ...]]] = {
    "a": [("claim", "file:x"), ("claim", "file:y"), ("release",), ("claim", "dir:src"), ("release",)],
    "b": [("claim", "file:y"), ("release",), ("claim", "file:x", "file:src/b"), ("release",)],
    "c": [("claim", "file:x"), ("release",), ("claim", "dir:."), ("release",), ("claim", "file:x")],
    "d": [("claim", "dir:src")],
}


def play(seed: int, schedule_of: str) -> tuple[list[str], list[str]]:
    """Four agents at speeds of luck: the order of their crossings, and the dhashes of what came of them. An agent
    goes on when its crossing is answered and its claim granted; its end is a crossing too."""
    luck, world = random.Random(seed), World()
    agents = {world.agent(name): [*script, ("finish",)] for name, script in SCRIPTS.items()}
    start, order = len(world.log), []
    offered: set[str] = set()

    def away(agent: str) -> bool:
        return world.state.agents[agent].status in ENDED or world.state.locks.waiting_of(agent) is not None

    schedule: Schedule[tuple[str, ...]] = (
        Turns(lambda: True, lambda: list(agents), away) if schedule_of == "turns" else Arrival()
    )
    while any(agents.values()) or offered:
        able = [agent for agent, left in agents.items() if left and agent not in offered and not away(agent)]
        if able:
            agent = luck.choice(able)
            offered.add(agent)
            schedule.offer(agent, agents[agent].pop(0))
        world.now += luck.random()
        while (taken := schedule.take()) is not None:
            agent, (verb, *units) = taken
            offered.remove(agent)
            order.append(f"{agent} {verb}")
            if verb == "claim":
                world.claim(agent, *units)
            elif verb == "release":
                world.release(agent)
            else:
                world.finish(agent)
    assert not world.holders()
    return order, [dhash(event) for event in world.log[start:]]


@pytest.mark.parametrize("seed", range(1, 25))
def test_a_run_in_turns_does_not_depend_on_speed(seed: int) -> None:
    assert play(seed, "turns") == play(0, "turns")


def test_the_same_run_as_it_arrives_does() -> None:
    assert len({tuple(play(seed, "arrival")[1]) for seed in range(25)}) > 5


# --- recorded --------------------------------------------------------------------------------------------------


@given(order=st.lists(st.sampled_from("abc"), max_size=12), seed=st.integers(0, 1_000))
def test_a_recorded_order_is_enforced_whatever_the_timing(order: list[str], seed: int) -> None:
    luck, schedule = random.Random(seed), Recorded[str](order)
    left = {agent: [f"{agent}{i}" for i in range(order.count(agent))] for agent in set(order)}
    taken: Crossings = []
    while any(left.values()):
        agent = luck.choice(sorted(agent for agent in left if left[agent]))
        schedule.offer(agent, left[agent].pop(0))
        taken += drained(schedule)
    assert [agent for agent, _ in taken] == order
    for agent in "abc":
        mine = [int(what[1:]) for whose, what in taken if whose == agent]
        assert mine == sorted(mine)


def test_what_comes_after_the_record_arrives_freely() -> None:
    schedule = Recorded[str](["b"])
    schedule.offer("a", "a1")
    assert schedule.take() is None, "the record says that b comes first"
    schedule.offer("b", "b1")
    schedule.offer("c", "c1")
    assert drained(schedule) == [("b", "b1"), ("a", "a1"), ("c", "c1")]


def test_the_record_of_a_run_in_turns_gives_that_run_again() -> None:
    order = [crossing.partition(" ")[0] for crossing in play(0, "turns")[0]]
    schedule = Recorded[int](order)
    for agent in sorted(set(order), reverse=True):
        for i in range(order.count(agent)):
            schedule.offer(agent, i)
    taken = []
    while (crossing := schedule.take()) is not None:
        taken.append(crossing[0])
    assert taken == order


def test_a_crossing_that_was_withdrawn_is_waited_for_again() -> None:
    schedule = Recorded[str](["a", "b"])
    schedule.offer("a", "a1")
    schedule.offer("b", "b1")
    schedule.forget("a", "a1")
    schedule.forget("c", "c1")
    assert schedule.take() is None
    schedule.offer("a", "a2")
    assert drained(schedule) == [("a", "a2"), ("b", "b1")]
