"""What a run has used is what its agents have, as it happens and afterwards: the sum of a list may not need all its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import Watcher, World, folded, stored

from agentlab.core import commands as c
from agentlab.core import usage
from agentlab.core.digest import dhash
from agentlab.core.events import AgentEnd, AgentSpec, ModelCall, RunEnd
from agentlab.core.views import take_changes

COLUMNS = {"in": "tok_in", "out": "tok_out", "cached": "tok_cache", "cost": "cost"}

tokens = st.integers(0, 10**7)
dollars = st.floats(0, 1e4)
amounts = st.fixed_dictionaries({}, optional={"in": tokens, "out": tokens, "cached": tokens, "cost": dollars})
accounts = amounts.map(lambda told: {name: float(much) for name, much in told.items()})  # as the link decodes them
agents = st.sampled_from(("a", "b", "c"))
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("call"), agents, st.sampled_from(("", "scout")), amounts),
        st.tuples(st.just("end"), agents, st.just(""), accounts),
        st.tuples(st.just("restart"), agents, st.just(""), st.just({})),
        st.tuples(st.just("copy"), agents, st.just(""), st.just({})),
    ),
    max_size=30,
)


class Ledger:
    """A run with three agents, and what each said of itself."""

    def __init__(self) -> None:
        self.world = World()
        self.watcher = Watcher(self.world)
        self.keys = {name: self.world.agent(name) for name in "abc"}
        self.calls: dict[str, dict[str, float]] = {name: {} for name in "abc"}  # seen so far
        self.due: dict[str, dict[str, float]] = {name: {} for name in "abc"}  # what is to be paid
        self.over: set[str] = set()
        self.journal = 0

    def call(self, name: str, sub: str, much: Mapping[str, Any]) -> None:
        self.journal += 1
        columns = {COLUMNS[key]: amount for key, amount in much.items()}
        entry = c.Entry(n=self.journal, ts=1, body=ModelCall(provider="p"), actor=sub, **columns)
        self.world.do(c.Report(agent=self.keys[name], entries=(entry,)))
        for key, amount in much.items():
            self.due[name][key] = self.due[name].get(key, 0) + amount

    def end(self, name: str, said: dict[str, float]) -> None:
        self.world.finish(self.keys[name], usage=said)
        if name not in self.over:
            self.over.add(name)
            for key, amount in said.items():
                self.due[name][key] = max(self.due[name].get(key, 0), amount)

    def total(self) -> dict[str, float]:
        names = {key for mine in self.due.values() for key in mine}
        return {key: sum(mine.get(key, 0) for mine in self.due.values()) for key in names}

    def check(self) -> None:
        self.watcher.check()
        state = self.world.state
        assert state.runs["r"].usage == pytest.approx(self.total())
        for name, key in self.keys.items():
            assert state.agents[key].usage == pytest.approx(self.due[name])


@given(happenings)
def test_a_run_has_used_what_its_agents_have(happened: list[tuple[str, str, str, dict[str, float]]]) -> None:
    """By model calls and by their own account at the end, whichever is more; reported late, after a restart, in a copy."""
    ledger = Ledger()
    ledger.check()
    left = []
    for what, name, sub, much in happened:
        match what:
            case "call":
                ledger.call(name, sub, much)
            case "end":
                ledger.end(name, much)
            case "restart":
                ledger.world.restart()
                take_changes(ledger.world.state)
            case "copy":
                left.append((ledger.world.state, dict(ledger.world.state.runs["r"].usage)))
                ledger.world.state = ledger.world.state.copy()
        ledger.check()
    for name in set(ledger.keys) - ledger.over:
        ledger.end(name, {})
    ledger.world.do(c.EndRun(run_id="r"), c.Done)
    ledger.check()
    (end,) = ledger.world.events_of(RunEnd)
    again = folded([stored(event) for event in ledger.world.log])
    assert isinstance(end.body, RunEnd) and end.body.usage == pytest.approx(ledger.total())
    assert stored(end).body.usage == pytest.approx(again.runs["r"].usage)  # type: ignore[union-attr]
    for state, was in left:
        assert state.runs["r"].usage == was, "what happened to a copy happened to the original"


def test_what_nobody_tells_is_not_there_rather_than_nothing() -> None:
    world = World()
    world.finish(world.agent("a"), usage={"in": 5.0, "out": 2.0})
    world.do(c.EndRun(run_id="r"))
    assert world.events_of(RunEnd)[0].body.usage == {"in": 5.0, "out": 2.0}  # type: ignore[union-attr]
    world.run("scripts", "/s")
    world.finish(world.agent("b", run="scripts"))
    world.do(c.EndRun(run_id="scripts"))
    assert world.events_of(RunEnd)[1].body.usage == {}  # type: ignore[union-attr]


def test_calls_of_a_turn_that_was_not_closed_are_paid_for_too() -> None:
    """Its agent tells of the turns before only."""
    world = World()
    a = world.agent("a")
    for n, much in enumerate((10, 90), start=1):
        entry = c.Entry(n=n, ts=n, body=ModelCall(provider="p"), tok_in=much)
        world.do(c.Report(agent=a, entries=(entry,)))
    world.finish(a, "failed", usage={"in": 10.0, "cost": 0.25})
    assert world.events_of(AgentEnd)[0].body.usage == {"in": 100, "cost": 0.25}  # type: ignore[union-attr]
    assert world.state.runs["r"].usage == {"in": 100, "cost": 0.25}


def test_a_run_that_ends_with_its_last_agent_knows_what_that_one_used() -> None:
    world = World()
    world.run("auto", "/auto", auto_end=True)
    first, last = world.agent("a", run="auto"), world.agent("b", run="auto")
    world.finish(first, usage={"cost": 0.5})
    world.finish(last, usage={"cost": 0.25})
    assert world.events_of(RunEnd)[0].body.usage == {"cost": 0.75}  # type: ignore[union-attr]


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -1.0])
def test_what_is_no_amount_is_not_counted_and_does_not_break_the_log(nonsense: float) -> None:
    world = World()
    a = world.agent("a")
    world.do(c.Report(agent=a, entries=(c.Entry(n=1, ts=1, body=ModelCall(provider="p"), tok_in=3, cost=nonsense),)))
    world.finish(a, usage={"in": 4.0, "cost": nonsense})
    world.do(c.EndRun(run_id="r"))
    for event in (*world.events_of(AgentEnd), *world.events_of(RunEnd)):
        assert stored(event).body.usage == {"in": 4.0}  # type: ignore[union-attr]


def test_an_agent_of_the_same_name_adds_to_its_run() -> None:
    world = World()
    for _ in range(3):
        world.finish(world.agent("a"), usage={"out": 2.0})
    assert world.state.runs["r"].usage == {"out": 6.0}


def test_what_was_used_does_not_make_another_run_of_it() -> None:
    world = World()
    hashes = []
    for run, cost in (("x", 1.0), ("y", 2.0)):
        world.run(run, f"/{run}", name="same", auto_end=True)
        agent = world.do(c.Spawn(run_id=run, spec=AgentSpec(kind="script", name="a")), c.Spawned).agent
        world.finish(agent, usage={"cost": cost})
        hashes.append([dhash(event) for event in world.log if event.run_id == run and event.type == "run.end"])
    assert hashes[0] == hashes[1] and len(hashes[0]) == 1


def test_amounts_are_added_and_compared_by_name() -> None:
    assert usage.plus({"in": 1, "cost": 0.5}, {"in": 2, "out": 3}) == {"in": 3, "cost": 0.5, "out": 3}
    assert usage.more({"in": 1, "cost": 0.5}, {"in": 2, "out": 3}) == {"in": 2, "cost": 0.5, "out": 3}
    assert usage.beyond({"in": 5, "cost": 0.5}, {"in": 2, "out": 3}) == {"in": 3, "cost": 0.5}
