"""The runtime in memory keeps the promises that tests of the plane rest on."""

from __future__ import annotations

import asyncio

import pytest

from agentlab.errors import NotFound, Unavailable
from agentlab.runtimes.base import Launch, Runtime
from agentlab.testing.runtime import FakeRuntime


def launch(agent: str) -> Launch:
    return Launch(agent=agent, token="t", address="unix:/x", root="/", home="/")


async def test_it_is_a_runtime() -> None:
    runtime: Runtime = FakeRuntime()
    place = await runtime.start(launch("run/a"))
    assert (await runtime.stats(place)).processes == 1
    assert await runtime.health() == "" and await runtime.detect()
    await runtime.close()


async def test_a_staged_end_reaches_all_who_wait() -> None:
    runtime = FakeRuntime()
    place = await runtime.start(launch("run/a"))
    assert await runtime.poll(place) is None
    waiting = [asyncio.create_task(runtime.wait(place)) for _ in range(2)]
    await asyncio.sleep(0)
    runtime.end("run/a", code=3, last_lines="one\ntwo")
    assert [end.code for end in await asyncio.gather(*waiting)] == [3, 3]
    assert await runtime.logs(place, tail=1) == "two"


async def test_it_is_full_until_one_is_stopped() -> None:
    runtime = FakeRuntime(slots=1)
    place = await runtime.start(launch("run/a"))
    with pytest.raises(Unavailable):
        await runtime.start(launch("run/b"))
    await runtime.stop(place)
    assert (await runtime.wait(place)).signal == 15
    await runtime.start(launch("run/b"))
    assert runtime.living == ["run/b"]


async def test_a_newer_place_of_an_agent_is_not_the_older_one() -> None:
    runtime = FakeRuntime()
    old = await runtime.start(launch("run/a"))
    runtime.kill("run/a")
    new = await runtime.start(launch("run/a"))
    assert await runtime.poll(new) is None and runtime.adopt(new)
    end = await runtime.wait(old)
    assert (end.code, end.signal) == (None, None)


async def test_what_was_asked_is_remembered_in_order() -> None:
    runtime = FakeRuntime(refusal=Unavailable("the engine is down"))
    with pytest.raises(Unavailable, match="engine"):
        await runtime.start(launch("run/a"))
    runtime.refusal = None
    place = await runtime.start(launch("run/a"))
    await runtime.pause(place)
    assert runtime.runner("run/a").paused
    await runtime.resume(place)
    runtime.leftovers["run/a"] = 2
    assert await runtime.reap("run/a") == 2 and await runtime.reap("run/a") == 0
    assert [verb for verb, _ in runtime.calls] == ["start", "start", "pause", "resume", "reap", "reap"]


def test_a_runner_that_was_never_started_is_named() -> None:
    with pytest.raises(NotFound, match="run/a"):
        FakeRuntime().end("run/a")
