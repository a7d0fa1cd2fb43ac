"""A copy of the state is the whole state, and a state of its own: keyframes of the past stand on it."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest
from msgspec import Struct
from scenarios import SCENARIOS, Scenario, random_duel
from world import World, folded, stored

from agentlab.core import commands as c
from agentlab.core import events as e
from agentlab.core.fold import apply
from agentlab.core.state import State

LEFT_BEHIND = {"changed", "_spelled", "_places", "ended", "forgotten"}
"""What a copy does not take along: what is remembered to be quick, or for decisions alone."""


def everything(value: Any) -> Any:
    """All that an object holds, however deep, as plain values to compare."""
    if isinstance(value, Struct):
        return type(value).__name__, {name: everything(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: everything(each) for key, each in value.items()}
    if isinstance(value, list | tuple | deque):
        return [everything(each) for each in value]
    if type(value).__module__.startswith("agentlab.core") and not isinstance(value, str):
        names = vars(value) if hasattr(value, "__dict__") else type(value).__slots__
        return {name: everything(getattr(value, name)) for name in names if name not in LEFT_BEHIND}
    return value


def copied_on_the_way(log: list[e.Event], seed: int) -> None:
    """Fold a log, and go on in a copy here and there. What was copied stays what it was."""
    events = [stored(event) for event in log]
    state, left = folded([]), []
    luck = random.Random(seed)
    for number, event in enumerate(events, start=1):
        if luck.random() < 0.1:
            left.append((state, everything(state)))
            state = state.copy()
        apply(state, event)
        if number % 20 == 0:
            assert everything(state) == everything(folded(events[:number]))
    assert everything(state) == everything(folded(events))
    for old, was in left:
        assert everything(old) == was, "what happened to a copy happened to the original"


def worlds_of(story: Scenario, monkeypatch: pytest.MonkeyPatch) -> list[World]:
    made: list[World] = []
    init = World.__init__

    def noted(self: World, *args: Any, **options: Any) -> None:
        made.append(self)
        init(self, *args, **options)

    monkeypatch.setattr(World, "__init__", noted)
    story()
    return made


@pytest.mark.parametrize("story", SCENARIOS, ids=lambda story: story.__name__)
def test_a_scenario_can_be_gone_on_with_in_a_copy(story: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    for world in worlds_of(story, monkeypatch):
        copied_on_the_way(world.log, seed=len(world.log))


@pytest.mark.parametrize("seed", range(4))
def test_a_random_script_can_be_gone_on_with_in_a_copy(seed: int) -> None:
    copied_on_the_way(random_duel(seed, 80).log, seed)


def test_all_that_the_rows_of_an_agent_are_made_of_is_copied() -> None:
    """Each fold that changes something in place, before a copy and after it."""
    world = World()
    agent = world.agent("a")
    world.do(c.RegisterRuntime(runtime_id="local", kind="local", host="h", slots=2, kinds=("script",)))
    world.do(c.Ask(agent=agent, approval="q1", question="May I?", kind="permission", tool="write", units=("file:a",)))
    for n in range(1, 4):
        body = e.ModelCall(provider="p")
        world.do(c.Report(agent=agent, entries=(c.Entry(n=2 * n, ts=n, body=body, tok_in=10, cost=0.1),)))
        world.do(c.SendText(agent=agent, text=f"mail {n}", rid=f"m{n}"))
        world.do(c.SetPlan(agent=agent, steps=(f"step {n}",), units=("file:a",)))
        artifact = e.Artifact(kind="report", hash="0" * 64)
        world.do(c.Report(agent=agent, entries=(c.Entry(n=2 * n + 1, ts=n, body=artifact, name=f"r{n}"),)))
        world.do(c.CreateTask(run_id="r", goal=f"goal {n}"), c.Created)
        granted = world.grant(agent, f"file:f{n}")
        world.do(c.Revoke(ticket=granted.ticket, by="ada"))
    middle = world.state.copy()
    was = everything(middle)
    world.do(c.RuntimeSeen(runtime_id="local", ok=False, reason="ill"))
    world.do(c.Answer(approval="q1", status="approved", by="ada", scope="session"))
    world.do(c.Ask(agent=agent, approval="q2", question="And now?", kind="permission", tool="write", units=("file:b",)))
    world.do(c.Answer(approval="q2", status="denied", by="ada", scope="session"))
    world.finish(agent)
    assert everything(middle) == was
    assert everything(world.state.copy()) == everything(world.state)
    for seed in range(8):
        copied_on_the_way(world.log, seed)


def test_a_question_of_a_copy_is_answered_in_both_places_where_it_stands() -> None:
    world = World()
    world.do(c.Ask(agent=world.agent("a"), approval="q1", question="May I?"))
    copied = world.state.copy()
    assert copied.asked["q1"] is copied.approvals["q1"]
    assert copied.asked["q1"] is not world.state.asked["q1"]


def test_a_copy_does_not_say_that_nobody_wrote_what_it_does_not_know() -> None:
    world = World()
    a, b = world.agent("a"), world.agent("b")
    world.grant(a, "file:x")
    world.release(a)
    chain = world.state.chains("r", ("file:x",))[0]
    assert not world.state.locks.touched(b, chain, world.state.position)
    copied: State = world.state.copy()
    assert copied.locks.touched(b, chain, 0)
    assert not copied.locks.touched(b, chain, copied.position)
