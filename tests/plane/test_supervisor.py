"""From queued to running, and what is left when a runner dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agentlab.core import commands as c
from agentlab.core.events import Message, Priority
from agentlab.errors import Forbidden, Refused, Unavailable
from agentlab.link import messages as m
from agentlab.link.client import LinkClient, hello

from .conftest import Lab, until

Open = Callable[[], Awaitable[Lab]]


async def test_a_spawned_agent_is_started_with_a_token_of_its_own(lab: Lab) -> None:
    await lab.run()
    agent = await lab.spawn("a", secrets={"KEY": "s3cret"}, env={"KEY": "env:KEY"})
    await until(lambda: agent in lab.runtime.runners)
    launch = lab.runtime.runners[agent].launch
    assert launch.secrets == {"KEY": "s3cret"}
    runner = await LinkClient.connect(launch.address, hello(launch.token, "runner"))
    hired = await runner.request(c.Ready(agent=agent))
    assert isinstance(hired, c.Hired)
    assert (hired.root, hired.agent_id, lab.status(agent)) == (str(lab.root), "a", "running")
    await runner.close()


async def test_secrets_are_nowhere_in_the_home(lab: Lab) -> None:
    await lab.run()
    await lab.spawn("a", secrets={"KEY": "s3cret-value"}, env={"KEY": "env:KEY"})
    await until(lambda: lab.runtime.runners)
    for path in lab.plane.home.rglob("*"):
        if path.is_file():
            assert b"s3cret-value" not in path.read_bytes(), path


async def test_more_agents_than_slots_wait_and_the_important_ones_go_first(lab: Lab) -> None:
    lab.runtime.slots = 1
    await until(lambda: lab.plane.engine.state.runtimes)
    await lab.client.request(
        c.RegisterRuntime(runtime_id="fake", kind="fake", host="nowhere", slots=1, kinds=("script",))
    )
    await lab.run()
    first = await lab.spawn("first")
    await until(lambda: first in lab.runtime.runners)
    low = await lab.spawn("low", priority=Priority.BACKGROUND)
    high = await lab.spawn("high", priority=Priority.OPERATOR)
    assert lab.status(low) == lab.status(high) == "queued"
    runner = await lab.runner(first)
    await runner.request(c.Finish(agent=first, status="done"))
    lab.runtime.end(first)
    await until(lambda: high in lab.runtime.runners)
    assert low not in lab.runtime.runners


async def test_a_killed_runner_frees_its_locks_and_the_run_says_why(lab: Lab) -> None:
    await lab.run()
    a, b = await lab.spawn("a"), await lab.spawn("b")
    ra, rb = await lab.runner(a), await lab.runner(b)
    await ra.request(c.Claim(owner=a, units=("file:x",), run_id="r1"))
    queued = await rb.request(c.Claim(owner=b, units=("file:x",), run_id="r1"))
    assert isinstance(queued, c.Queued)
    waiting = rb.send(m.WaitTicket(ticket=queued.ticket, timeout=30))
    lab.runtime.kill(a)
    granted = await waiting
    assert isinstance(granted, c.Granted)
    assert lab.status(a) == "failed"
    assert "signal 9" in lab.plane.engine.state.agents[a].error
    reaped, ended = lab.runtime.calls.index(("reap", a)), lab.plane.engine.state.agents[a].ended
    assert reaped >= 0 and ended is not None


async def test_what_a_killed_runner_had_not_sent_is_read_from_its_journal(lab: Lab) -> None:
    from agentlab.link.journal import Journal, path_of

    await lab.run()
    agent = await lab.spawn("a")
    runner = await lab.runner(agent)
    journal = Journal(path_of(lab.plane.home, agent))
    for n in (1, 2, 3):
        journal.append(c.Entry(n=n, ts=n, body=Message(role="assistant", text=f"word {n}")))
    await runner.request(
        c.Report(agent=agent, entries=(c.Entry(n=1, ts=1, body=Message(role="assistant", text="word 1")),))
    )
    lab.runtime.kill(agent)
    await until(lambda: lab.status(agent) == "failed")
    lines = (await lab.client.request(m.GetLogs(agent=agent))).data  # type: ignore[union-attr]
    assert [line.split("assistant: ")[1] for line in lines if "word" in line] == ["word 1", "word 2", "word 3"]


async def test_a_start_that_fails_ends_the_agent_with_the_reason(lab: Lab) -> None:
    lab.runtime.refusal = Unavailable("the engine is down")
    await lab.run()
    agent = await lab.spawn("a")
    await until(lambda: lab.status(agent) == "failed")
    assert "the engine is down" in lab.plane.engine.state.agents[agent].error


async def test_a_next_plane_finds_running_agents_again_and_ends_those_that_died(open_lab: Open) -> None:
    lab = await open_lab()
    await lab.run()
    alive, dead = await lab.spawn("alive"), await lab.spawn("dead")
    runner = await lab.runner(alive)
    await lab.runner(dead)
    await runner.request(c.Claim(owner=alive, units=("file:x",), run_id="r1"))
    await lab.close()  # type: ignore[attr-defined]
    lab.runtime.kill(dead)
    lab = await open_lab()
    await until(lambda: lab.status(dead) == "failed")
    assert lab.status(alive) == "running"
    runner = await LinkClient.connect(lab.plane.server.address, hello(lab.token(alive), "runner"))
    hired = await runner.request(c.Ready(agent=alive, pid=1))
    assert isinstance(hired, c.Hired)
    assert [g.units for g in hired.grants] == [("file:x",)]
    lab.runtime.kill(alive)
    await until(lambda: lab.status(alive) == "failed")
    await runner.close()


async def test_stopping_asks_first_and_kills_what_does_not_listen(lab: Lab) -> None:
    await lab.run()
    agent = await lab.spawn("a")
    told: asyncio.Queue[m.Message] = asyncio.Queue()
    await lab.runner(agent, on_message=told.put_nowait)
    await until(lambda: lab.plane.engine.state.agents[agent].place)
    await lab.client.request(c.Signal(agent=agent, verb="stop", by="ada"))
    assert (await asyncio.wait_for(told.get(), 10)).verb == "stop"
    await until(lambda: lab.status(agent) == "cancelled")
    assert ("stop", agent) in lab.runtime.calls
    assert "ada" in lab.plane.engine.state.agents[agent].error


async def test_messages_that_a_runner_missed_are_in_the_answer_to_its_ready(lab: Lab) -> None:
    await lab.run()
    agent = await lab.spawn("a")
    await lab.client.request(c.SendText(agent=agent, text="look here"))
    await until(lambda: agent in lab.runtime.runners)
    runner = await LinkClient.connect(lab.plane.server.address, hello(lab.token(agent), "runner"))
    hired = await runner.request(c.Ready(agent=agent))
    assert isinstance(hired, c.Hired)
    assert [mail.text for mail in hired.mail] == ["look here"]
    await runner.close()


async def test_an_agent_may_act_for_itself_alone(lab: Lab) -> None:
    await lab.run()
    await lab.run("r2")
    a, b = await lab.spawn("a"), await lab.spawn("b")
    runner = await lab.runner(a)
    for foreign in (
        c.Claim(owner=b, units=("file:x",), run_id="r1"),
        c.Claim(owner=a, units=("file:x",), run_id="r2"),
        c.Finish(agent=b, status="done"),
        c.Signal(agent=b, verb="kill"),
        c.Spawn(run_id="r1", spec=c.AgentSpec(kind="script")),
        m.GetState(),
        m.Admin(verb="stop"),
        m.Renew(owner=b),
    ):
        with pytest.raises(Forbidden):
            await runner.request(foreign)


async def test_tokens_that_are_wrong_foreign_or_of_an_ended_agent_open_nothing(lab: Lab) -> None:
    await lab.run()
    agent = await lab.spawn("a")
    runner = await lab.runner(agent)
    good = lab.token(agent)
    for bad in ("", "x", good[:-1], "r1/b" + good[4:], good.upper()):
        with pytest.raises(Forbidden):
            await lab.connect(bad or "-")
    await runner.request(c.Finish(agent=agent, status="done"))
    with pytest.raises(Forbidden, match="has ended"):
        await lab.connect(good)


async def test_a_run_with_live_agents_does_not_end_and_names_them(lab: Lab) -> None:
    await lab.run()
    await lab.spawn("busy")
    with pytest.raises(Refused, match="busy"):
        await lab.client.request(c.EndRun(run_id="r1"))
