"""Runtimes, and what the passing of time does: to them, to agents that nobody takes, and to runs that nobody watches."""

from __future__ import annotations

from typing import Any

import pytest
from world import World

from agentlab.core import commands as c
from agentlab.core.events import AgentEnd, AgentSpec, StateSet
from agentlab.core.turn import Rules
from agentlab.core.views import take_changes
from agentlab.errors import BadRequest, NotFound, Refused

RULES = Rules()


@pytest.fixture
def world() -> World:
    return World(RULES)


def register(world: World, runtime_id: str = "local", **options: Any) -> None:
    row = {"kind": "local", "host": "h", "slots": 2, "kinds": ("script", "python"), **options}
    world.do(c.RegisterRuntime(runtime_id=runtime_id, **row), c.Done)


def status(world: World, runtime_id: str = "local") -> str:
    return world.state.runtimes[runtime_id].status


# --- registering -----------------------------------------------------------------------------------------------


def test_a_runtime_is_logged_once_however_often_it_registers(world: World) -> None:
    for _ in range(3):
        world.now += 10.0
        register(world)
    assert len(world.events_of(StateSet)) == 1
    register(world, slots=3)
    assert len(world.events_of(StateSet)) == 2
    assert world.state.runtimes["local"].slots == 3


def test_a_runtime_keeps_the_day_of_its_first_registration(world: World) -> None:
    register(world)
    first = world.state.runtimes["local"].registered
    world.now += 10.0
    register(world, slots=5)
    assert world.state.runtimes["local"].registered == first


def test_a_runtime_without_slots_is_refused(world: World) -> None:
    text = world.refused(c.RegisterRuntime(runtime_id="x", kind="local", host="h", slots=0), BadRequest)
    assert text == "A runtime with 0 slots can run nothing."
    register(world, slots=1)


def test_an_unknown_kind_of_agent_is_refused_with_those_that_exist(world: World) -> None:
    register(world)
    text = world.refused(c.Spawn(run_id="r", spec=AgentSpec(kind="gpt")), BadRequest)
    assert text.startswith("There is no agent kind 'gpt' here. Kinds: python, script. More come with extras")


def test_an_unknown_runtime_is_refused_with_those_that_exist(world: World) -> None:
    register(world)
    text = world.refused(c.Spawn(run_id="r", spec=AgentSpec(kind="script", runtime="moon")), NotFound)
    assert text == "There is no runtime 'moon'. Runtimes: local."


def test_its_row_changes_with_each_slot_that_is_taken_or_given_back(world: World) -> None:
    register(world)
    world.run("r", "/w")
    take_changes(world.state)
    agent = world.agent("a")
    assert "local" in take_changes(world.state)["runtimes"]
    world.finish(agent)
    assert "local" in take_changes(world.state)["runtimes"]


# --- health ----------------------------------------------------------------------------------------------------


def test_a_silent_runtime_goes_offline_and_a_heartbeat_brings_it_back(world: World) -> None:
    register(world)
    world.tick(RULES.offline)
    assert status(world) == "online"
    world.tick(1.0)
    assert status(world) == "offline"
    world.do(c.RuntimeSeen(runtime_id="local"))
    assert status(world) == "online"


def test_a_heartbeat_that_changes_nothing_is_not_logged(world: World) -> None:
    register(world)
    before = len(world.log)
    for _ in range(20):
        world.now += RULES.offline - 1
        world.do(c.RuntimeSeen(runtime_id="local"))
        world.tick()
    assert len(world.log) == before


def test_a_runtime_may_say_that_it_is_not_well(world: World) -> None:
    register(world)
    world.do(c.RuntimeSeen(runtime_id="local", ok=False, reason="the engine is down"))
    assert (status(world), world.state.runtimes["local"].reason) == ("offline", "the engine is down")
    world.do(c.RuntimeSeen(runtime_id="local", ok=False, reason="the disk is full"))
    assert world.state.runtimes["local"].reason == "the disk is full"


def test_a_restart_is_no_silence_of_the_runtime(world: World) -> None:
    register(world)
    world.now += 1e5
    world.restart()
    world.tick()
    assert status(world) == "online"
    world.tick(RULES.offline + 1)
    assert status(world) == "offline"


def test_a_runtime_that_was_lost_long_ago_is_forgotten_unless_it_has_agents(world: World) -> None:
    register(world)
    register(world, "other")
    a = world.agent("a")
    world.tick(RULES.offline + 1)
    world.tick(RULES.gc)
    assert set(world.state.runtimes) == {"local", "other"}
    world.tick(1.0)
    assert list(world.state.runtimes) == ["local"], "its agent is not forgotten"
    assert "other" not in world.leases.seen
    world.finish(a)
    world.tick()
    assert not world.state.runtimes


def test_a_runtime_with_agents_is_not_removed(world: World) -> None:
    register(world)
    a = world.agent("a")
    text = world.refused(c.ForgetRuntime(runtime_id="local"), Refused)
    assert text == "Runtime 'local' still has agents: a. Stop them first."
    world.finish(a)
    world.do(c.ForgetRuntime(runtime_id="local"))
    assert not world.state.runtimes
    for command in (c.ForgetRuntime(runtime_id="local"), c.RuntimeSeen(runtime_id="local")):
        assert world.refused(command, NotFound) == "There is no runtime 'local'."


# --- what is overdue -------------------------------------------------------------------------------------------


def spawn(world: World, name: str) -> str:
    return world.do(c.Spawn(run_id="r", spec=AgentSpec(kind="script", name=name)), c.Spawned).agent


def test_an_agent_that_no_runtime_takes_fails_in_the_end(world: World) -> None:
    a = spawn(world, "a")
    world.tick(RULES.queued)
    assert world.state.agents[a].status == "queued"
    world.tick(1.0)
    (end,) = world.events_of(AgentEnd)
    assert isinstance(end.body, AgentEnd)
    assert (end.status, end.body.reason) == ("failed", "queue_timeout")
    assert end.body.error == "No runtime had a free slot within 7200 s."


def test_an_agent_whose_runner_does_not_come_up_fails(world: World) -> None:
    a = spawn(world, "a")
    world.now += 100.0
    world.do(c.Dispatch(agent=a, runtime_id="local"))
    world.tick(RULES.dispatched)
    assert world.state.agents[a].status == "dispatched", "the time counts from its dispatch"
    world.tick(1.0)
    agent = world.state.agents[a]
    assert (agent.status, agent.reason) == ("failed", "dispatch_timeout")
    assert agent.error == "Its runner did not come up within 300 s."


def test_a_runner_that_comes_up_too_late_is_told_that_it_is_over(world: World) -> None:
    a = spawn(world, "a")
    world.do(c.Dispatch(agent=a, runtime_id="local"))
    world.tick(RULES.dispatched + 1)
    assert "has ended (failed)" in world.refused(c.Ready(agent=a), Refused)


def test_a_restart_of_the_plane_starts_these_times_anew(world: World) -> None:
    a = spawn(world, "a")
    world.now += RULES.queued
    world.restart()
    world.tick(RULES.queued)
    assert world.state.agents[a].status == "queued"
    world.tick(1.0)
    assert world.state.agents[a].status == "failed"


def test_a_running_agent_is_never_overdue(world: World) -> None:
    a = world.agent("a")
    world.tick(1e6)
    assert world.state.agents[a].status == "running"


# --- runs that nobody watches ----------------------------------------------------------------------------------


def test_a_run_whose_session_is_gone_ends_after_a_while_without_agents(world: World) -> None:
    world.run("s", "/s", session_id="kernel")
    world.leases.renew("session:kernel", world.now)
    world.now += RULES.idle_run
    world.tick()
    assert world.state.runs["s"].status == "open"
    world.tick(1.0)
    run = world.state.runs["s"]
    assert (run.status, run.reason) == ("done", "nothing happened and its session is gone")
    assert world.state.runs["plane"].status == "open", "the plane's own run stays"


def test_a_session_that_is_alive_keeps_its_runs(world: World) -> None:
    world.run("s", "/s", session_id="kernel")
    world.now += 10 * RULES.idle_run
    world.leases.renew("session:kernel", world.now)
    world.tick()
    assert world.state.runs["s"].status == "open"


def test_a_run_with_a_live_agent_is_not_idle(world: World) -> None:
    world.agent("a")
    world.tick(10 * RULES.idle_run)
    assert world.state.runs["r"].status == "open"


def test_a_restart_gives_sessions_the_time_to_come_back(world: World) -> None:
    world.run("s", "/s", session_id="kernel")
    world.now += 10 * RULES.idle_run
    world.restart()
    world.tick()
    assert world.state.runs["s"].status == "open"
    world.tick(RULES.idle_run + 1)
    assert world.state.runs["s"].status == "done"


def test_a_run_in_which_something_happened_lately_is_not_idle_whoever_is_gone(world: World) -> None:
    world.run("s", "/s", session_id="kernel")
    world.tick()
    world.now += RULES.idle_run
    world.do(c.CreateTask(run_id="s", goal="more"))
    world.tick(RULES.idle_run - 1)
    assert world.state.runs["s"].status == "open"
    world.tick(2.0)
    assert world.state.runs["s"].status == "done"
