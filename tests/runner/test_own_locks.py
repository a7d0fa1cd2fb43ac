"""An agent that holds a unit and asks for it again gets it, or hears why not. It never waits for itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fake_plane import FakePlane
from toolbox import ENV, until

from agentlab.core.events import AgentSpec
from agentlab.errors import AgentlabError, AlreadyHeld, Refused, WouldBlock
from agentlab.runner.connection import PlaneGate
from agentlab.runner.tools import ToolHost

PATIENCE = 60.0  # s; nobody else holds anything, so whoever waits so long waits for itself

HELD: dict[str, dict[str, Any]] = {
    f"{units[0]} {mode}": {"units": units, "mode": mode}
    for units in (["file:src/a.txt"], ["dir:src"], ["proc:test"], ["dir:."], ["file:src/a.txt", "proc:test"])
    for mode in ("exclusive", "shared")
}

ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    f"claim {units[0]} {mode}{' yields' if yields else ''}": ("claim", {"units": units, "mode": mode, "yields": yields})
    for units in (["file:src/a.txt"], ["dir:src"], ["dir:."], ["proc:test"], ["file:src/a.txt", "file:b.txt"])
    for mode in ("exclusive", "shared")
    for yields in (False, True)
} | {
    "write": ("write", {"path": "src/a.txt", "data": "2\n", "overwrite": True}),
    "edit": ("edit", {"path": "src/a.txt", "old": "1", "new": "2"}),
    "multi_edit": ("multi_edit", {"path": "src/a.txt", "edits": [{"old": "1", "new": "2"}]}),
    "delete": ("delete", {"path": "src/a.txt"}),
    "move": ("move", {"path": "src/a.txt", "to": "b.txt"}),
    "run": ("run", {"argv": ["true"]}),
    "run test": ("run", {"argv": ["true"], "unit": "proc:test"}),
    "run writes": ("run", {"argv": ["true"], "writes": ["src/", "b.txt"]}),
    "background": ("run", {"argv": ["true"], "background": True, "unit": "proc:test", "writes": ["src/"]}),
    "read": ("read", {"path": "src/a.txt"}),
}  # fmt: skip


@pytest.fixture
def plane(plane: FakePlane) -> FakePlane:
    (plane.root / "src").mkdir()
    (plane.root / "src" / "a.txt").write_text("1\n")
    return plane


Agent = Callable[[str], Any]


@pytest.fixture
async def agent(plane: FakePlane) -> AsyncIterator[Agent]:
    """A tool host under the real rules."""
    made: list[tuple[ToolHost, PlaneGate]] = []

    async def agent(name: str) -> ToolHost:
        gate = PlaneGate(plane.hire(name))
        await gate.start()
        host = ToolHost(plane.root, gate, home=plane.home, env=ENV, spec=AgentSpec(kind="script"))
        made.append((host, gate))
        return host

    yield agent
    for host, gate in made:
        await host.close()
        await gate.close()


async def outcome(host: ToolHost, name: str, args: dict[str, Any], **who: Any) -> str:
    """ok, or the kind of refusal. Fails where it waits."""
    try:
        async with asyncio.timeout(PATIENCE):
            await host.call(name, args, **who)
    except AgentlabError as error:
        return type(error).__name__
    except TimeoutError:
        pytest.fail(f"{name} {args} waits for its own agent")
    return "ok"


async def nothing_is_left(host: ToolHost, plane: FakePlane) -> None:
    """All that is held can be given back, and then nothing is held or waited for."""
    for job in list(host._background._jobs):
        await host.stop(job)
    await host.release()
    await until(lambda: not plane.state.locks.tickets)


@pytest.mark.parametrize("held", HELD)
async def test_asking_again_is_answered(plane: FakePlane, agent: Agent, held: str) -> None:
    host = await agent("a")
    outcomes = {}
    for asked, (name, args) in ASKED.items():
        (plane.root / "src/a.txt").write_text("1\n")
        (plane.root / "b.txt").unlink(missing_ok=True)
        await host.read("src/a.txt")
        assert await outcome(host, "claim", HELD[held]) == "ok"
        outcomes[asked] = await outcome(host, name, args)
        await nothing_is_left(host, plane)
    known = {"ok", "AlreadyHeld", "WouldBlock"}
    assert set(outcomes.values()) <= known, outcomes
    assert outcomes["run"] == outcomes["read"] == "ok"
    if HELD[held]["mode"] == "exclusive" and held != "proc:test exclusive":
        assert outcomes["write"] == outcomes["multi_edit"] == outcomes["run writes"] == "ok", "what is held is held"
    if held == "file:src/a.txt exclusive":
        assert outcomes["claim dir:src exclusive"] == "ok", "a wider claim adds to it"
        assert outcomes["claim file:src/a.txt exclusive"] == "AlreadyHeld"
    if HELD[held]["mode"] == "shared":
        assert outcomes[f"claim {HELD[held]['units'][0]} exclusive"] == "AlreadyHeld", "there is no upgrade"


@pytest.mark.parametrize("seed", range(6))
async def test_calls_beside_each_other_do_not_wait_for_each_other_for_ever(
    plane: FakePlane, agent: Agent, seed: int
) -> None:
    host = await agent("a")
    luck = random.Random(seed)
    calls = [
        ("run", {"argv": ["sleep", "0.3"], "unit": "proc:test", "writes": ["src/"]}),
        *luck.sample(list(ASKED.values()), 7),
    ]
    luck.shuffle(calls)
    who = [{"actor": luck.choice([None, "sub"])} for _ in calls]
    found = await asyncio.gather(
        *(outcome(host, name, args, **one) for (name, args), one in zip(calls, who, strict=True))
    )
    assert "ok" in found
    await nothing_is_left(host, plane)


@pytest.mark.parametrize("first", ["write", "run writes", "run test", "claim dir:src shared"])
async def test_a_subagent_asks_for_what_its_parent_holds(plane: FakePlane, agent: Agent, first: str) -> None:
    host = await agent("a")
    await host.claim("dir:src", "proc:test")
    assert await outcome(host, *ASKED[first], actor="sub") in ("ok", "AlreadyHeld")
    await nothing_is_left(host, plane)


async def test_one_that_others_wait_for_is_refused_more_and_not_queued_behind_them(
    plane: FakePlane, agent: Agent
) -> None:
    host, other = await agent("a"), await agent("b")
    await host.claim("file:src/a.txt")
    waiting = asyncio.ensure_future(other.claim("dir:src"))
    await until(lambda: len(plane.state.locks.tickets) == 2)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(WouldBlock, match="b"):
            await host.claim("dir:src")
        with pytest.raises(AlreadyHeld):
            await host.claim("file:src/a.txt")
        await host.edit("src/a.txt", "1", "2")
    await host.release()
    await waiting


async def test_a_command_in_the_background_makes_its_agent_no_waiter(plane: FakePlane, agent: Agent) -> None:
    host, other = await agent("a"), await agent("b")
    await host.start(["sleep", "1011"], unit="proc:test", writes=["src/"])
    await other.claim("file:b.txt")
    for name, args in (
        ("claim", {"units": ["dir:."]}),
        ("claim", {"units": ["file:b.txt", "dir:src"]}),
        ("claim", {"units": ["proc:test"]}),
        ("write", {"path": "b.txt", "data": "x"}),
        ("run", {"argv": ["true"], "writes": ["b.txt"]}),
    ):
        assert await outcome(host, name, args) in ("WouldBlock", "AlreadyHeld")
    assert await outcome(host, *ASKED["write"]) == "ok"
    assert await outcome(host, *ASKED["run test"]) == "ok"
    with pytest.raises(Refused, match="runs in the background"):
        await host.claim("file:b.txt", yields=True)
    await other.release()
    await nothing_is_left(host, plane)
