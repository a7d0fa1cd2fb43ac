"""What every runtime promises, as tests. Give it a factory, and pytest runs the promises against your runtime:

    class TestMine(RuntimeSuite):
        @pytest.fixture
        def make(self, tmp_path):
            return lambda *, slots=4: MyRuntime(slots=slots, command=ACTOR, home=tmp_path / "home")

Each call of the factory is a plane that was started anew over the same place. The runtime must start `ACTOR` where it
would start the runner, and the actor must see `Launch.root` under the same path as the tests do (a mount will do).
"""

from __future__ import annotations

import asyncio
import fcntl
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import msgspec
import pytest
import pytest_asyncio

from agentlab.errors import BadRequest, Unavailable
from agentlab.runtimes.base import Ended, Launch, Place, Runtime

ACTOR = (sys.executable, "-P", "-m", "agentlab.testing.actor")
PATIENCE = 30.0  # s that anything may take on a busy machine


class Make(Protocol):
    def __call__(self, *, slots: int = 4) -> Runtime: ...


class Workspace:
    """Where one actor lives, and what it lets us see of itself."""

    def __init__(self, root: Path, agent: str, words: str) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.launch = Launch(
            agent=agent,
            token="a-narrow-token",  # noqa: S106 - of nothing
            address="unix:/nowhere",
            root=str(root),
            home=str(root.parent),
            secrets={"ACTOR": words, "KEY": "a-secret-value"},
        )

    def ticks(self, who: str) -> int:
        path = self.root / f"{who}.tick"
        return path.stat().st_size if path.exists() else 0

    def lives(self, who: str) -> bool:
        with (self.root / f"{who}.life").open("a") as life:
            try:
                fcntl.flock(life, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    async def ticking(self, who: str = "runner", more: int = 2) -> None:
        """Return when it has gone on."""
        goal = self.ticks(who) + more
        await until(lambda: self.ticks(who) >= goal)


async def until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - what happens in other processes wakes nobody here
            await asyncio.sleep(0.01)


class Stage:
    """Starts actors and leaves none behind. Their run's name is its own: agents are told apart on the whole machine."""

    def __init__(self, runtime: Runtime, folder: Path) -> None:
        self.runtime = runtime
        self.run = f"run-{secrets.token_hex(4)}"
        self._folder = folder
        self._places: list[Place] = []

    def workspace(self, words: str = "", name: str = "a") -> Workspace:
        return Workspace(self._folder / name, f"{self.run}/{name}", words)

    async def start(self, words: str = "", name: str = "a") -> tuple[Place, Workspace]:
        workspace = self.workspace(words, name)
        place = await self.runtime.start(workspace.launch)
        self._places.append(place)
        return place, workspace

    async def act(self, words: str = "", name: str = "a") -> tuple[Place, Workspace]:
        """Start one and see it at work."""
        place, workspace = await self.start(words, name)
        await workspace.ticking()
        return place, workspace

    async def end(self, place: Place) -> Ended:
        async with asyncio.timeout(PATIENCE):
            return await self.runtime.wait(place)

    async def clear(self) -> None:
        for place in self._places:
            await self.runtime.stop(place, grace=0)
            await self.runtime.reap(place.agent)


class RuntimeSuite:
    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError("A runtime's tests say how it is made.")

    @pytest_asyncio.fixture
    async def runtime(self, make: Make) -> AsyncIterator[Runtime]:
        runtime = make()
        yield runtime
        await runtime.close()

    @pytest_asyncio.fixture
    async def stage(self, runtime: Runtime, tmp_path: Path) -> AsyncIterator[Stage]:
        stage = Stage(runtime, tmp_path / "workspaces")
        yield stage
        await stage.clear()

    # start

    async def test_a_started_runner_is_handed_the_whole_launch(self, stage: Stage) -> None:
        _, workspace = await stage.act()
        handed = msgspec.msgpack.decode((workspace.root / "launch").read_bytes(), type=Launch)
        assert handed == workspace.launch

    async def test_a_long_environment_is_handed_over_too(self, stage: Stage) -> None:
        workspace = stage.workspace()
        workspace.launch = msgspec.structs.replace(workspace.launch, secrets={"ACTOR": "exit:0", "LONG": "x" * 200_000})
        await stage.end(await stage.runtime.start(workspace.launch))
        assert len((workspace.root / "launch").read_bytes()) > 200_000

    async def test_a_place_is_of_this_runtime_and_survives_the_log(self, stage: Stage) -> None:
        place, _ = await stage.act()
        assert place.runtime == stage.runtime.id
        assert msgspec.json.decode(msgspec.json.encode(place), type=Place) == place

    async def test_a_full_runtime_starts_nothing_and_says_so(self, make: Make, tmp_path: Path) -> None:
        runtime = make(slots=1)
        stage = Stage(runtime, tmp_path)
        try:
            first, _ = await stage.act(name="a")
            with pytest.raises(Unavailable, match="slots"):
                await stage.start(name="b")
            assert not (tmp_path / "b" / "launch").exists()
            await runtime.stop(first)
            await stage.act(name="c")
        finally:
            await stage.clear()
            await runtime.close()

    async def test_a_launch_that_can_never_work_is_refused_and_takes_no_slot(self, make: Make, tmp_path: Path) -> None:
        runtime = make(slots=1)
        stage = Stage(runtime, tmp_path)
        try:
            launch = stage.workspace().launch
            with pytest.raises(BadRequest):
                await runtime.start(msgspec.structs.replace(launch, root=str(tmp_path / "missing")))
            await stage.act()
        finally:
            await stage.clear()
            await runtime.close()

    # poll and wait

    async def test_a_running_place_has_not_ended(self, stage: Stage) -> None:
        place, _ = await stage.act()
        assert await stage.runtime.poll(place) is None

    @pytest.mark.parametrize("code", [0, 7])
    async def test_the_exit_code_is_told_to_whoever_waits_or_asks_later(self, stage: Stage, code: int) -> None:
        place, _ = await stage.start(f"exit:{code}")
        ends = await asyncio.gather(stage.end(place), stage.end(place))
        assert [end.code for end in ends] == [code, code]
        assert await stage.end(place) == await stage.runtime.poll(place) == ends[0]

    async def test_a_signal_is_told_apart_from_an_exit_code(self, stage: Stage) -> None:
        place, _ = await stage.start("crash")
        end = await stage.end(place)
        assert (end.code, end.signal) == (None, 9)

    async def test_an_end_brings_the_last_words(self, stage: Stage) -> None:
        place, _ = await stage.start("say:first say:last exit:1")
        assert (await stage.end(place)).last_lines.splitlines()[-2:] == ["first", "last"]

    async def test_a_wait_that_is_given_up_leaves_the_runner_alone(self, stage: Stage) -> None:
        place, workspace = await stage.act()
        waiting = asyncio.create_task(stage.runtime.wait(place))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await workspace.ticking()
        assert await stage.runtime.poll(place) is None

    async def test_a_place_that_never_was_has_ended_nobody_knows_how(self, stage: Stage) -> None:
        gone, _ = await stage.start("exit:0")
        await stage.end(gone)
        never = msgspec.structs.replace(gone, id=gone.id + "0")
        for end in (await stage.runtime.poll(never), await stage.end(never)):
            assert end is not None and (end.code, end.signal) == (None, None) and end.reason

    async def test_a_place_of_an_earlier_plane_can_be_waited_for(self, stage: Stage, make: Make) -> None:
        place, workspace = await stage.act()
        later = make()
        try:
            assert await later.poll(place) is None
            waiting = asyncio.create_task(later.wait(place))
            await workspace.ticking()
            assert not waiting.done()
            await later.stop(place)
            async with asyncio.timeout(PATIENCE):
                await waiting
            assert not workspace.lives("runner")
            await stage.end(place)  # the earlier one sees it too
        finally:
            await later.close()

    # stop

    async def test_stop_lets_a_runner_end_by_itself(self, stage: Stage) -> None:
        place, workspace = await stage.act("child")
        await stage.runtime.stop(place, grace=PATIENCE)
        assert (await stage.end(place)).code == 0
        assert not workspace.lives("runner") and not workspace.lives("child")

    @pytest.mark.parametrize("words", ["stubborn child", "stubborn daemon", "daemon"])
    async def test_nothing_is_left_after_a_stop(self, stage: Stage, words: str) -> None:
        place, workspace = await stage.act(words)
        await stage.runtime.stop(place, grace=0.1)
        assert not any(workspace.lives(who) for who in ("runner", "child", "daemon"))
        assert await stage.runtime.poll(place) is not None

    async def test_a_paused_agent_can_be_stopped(self, stage: Stage) -> None:
        place, workspace = await stage.act("child")
        await stage.runtime.pause(place)
        await stage.runtime.stop(place, grace=0.1)
        assert not workspace.lives("child")

    async def test_two_may_stop_the_same(self, stage: Stage) -> None:
        place, workspace = await stage.act("stubborn")
        await asyncio.gather(*(stage.runtime.stop(place, grace=0.1) for _ in range(2)))
        assert not workspace.lives("runner")

    async def test_to_stop_what_is_gone_is_nothing_to_do(self, stage: Stage) -> None:
        place, _ = await stage.start("exit:3")
        await stage.end(place)
        await stage.runtime.stop(place)
        assert (await stage.end(place)).code == 3

    async def test_stop_leaves_the_others_alone(self, stage: Stage) -> None:
        place, _ = await stage.act("child", name="a")
        _, other = await stage.act("child", name="ab")
        await stage.runtime.stop(place, grace=0.1)
        await other.ticking("runner")
        await other.ticking("child")

    # pause and resume

    @pytest.mark.parametrize("who", ["child", "daemon"])
    async def test_a_paused_agent_stands_still_while_its_runner_goes_on(self, stage: Stage, who: str) -> None:
        place, workspace = await stage.act(who)
        await stage.runtime.pause(place)
        stood = workspace.ticks(who)
        await workspace.ticking("runner", more=10)
        assert workspace.ticks(who) == stood
        assert await stage.runtime.poll(place) is None
        await stage.runtime.resume(place)
        await workspace.ticking(who)

    async def test_to_pause_what_is_gone_is_nothing_to_do(self, stage: Stage) -> None:
        place, _ = await stage.start("exit:0")
        await stage.end(place)
        await stage.runtime.pause(place)
        await stage.runtime.resume(place)

    # logs and stats

    async def test_what_a_runner_says_can_be_read_while_it_runs_and_later(self, stage: Stage) -> None:
        place, _ = await stage.act("say:one say:two say:three")
        assert (await stage.runtime.logs(place)).splitlines() == ["one", "two", "three"]
        assert (await stage.runtime.logs(place, tail=2)).splitlines() == ["two", "three"]
        assert await stage.runtime.logs(place, tail=0) == ""
        await stage.runtime.stop(place)
        assert (await stage.runtime.logs(place, tail=1)).strip() == "three"

    async def test_the_whole_tree_is_counted(self, stage: Stage) -> None:
        place, _ = await stage.act("child")
        stats = await stage.runtime.stats(place)
        assert stats.processes >= 2 and stats.rss > 0 and stats.cpu >= 0

    async def test_what_is_gone_needs_nothing(self, stage: Stage) -> None:
        place, _ = await stage.start("exit:0")
        await stage.end(place)
        stats = await stage.runtime.stats(place)
        assert (stats.cpu, stats.rss, stats.processes) == (0, 0, 0)

    # reap

    async def test_what_a_dead_runner_left_behind_is_killed_and_counted(self, stage: Stage) -> None:
        place, workspace = await stage.start("stubborn daemon crash", name="a")
        _, other = await stage.act("daemon", name="ab")
        await stage.end(place)
        await stage.runtime.reap(place.agent)
        assert not workspace.lives("daemon")
        await other.ticking("daemon")
        assert await stage.runtime.reap(place.agent) == 0

    # the machine

    async def test_the_agent_programs_are_told_with_the_reason_where_one_is_missing(self, runtime: Runtime) -> None:
        clis = await runtime.detect()
        assert {"claude", "codex", "gemini", "opencode"} <= {cli.name for cli in clis}
        for cli in clis:
            assert cli.verdict in {"ok", "too old", "not executable", "missing", "unknown version"}
            assert cli.reason if cli.verdict != "ok" else cli.path and cli.version

    async def test_a_runtime_that_can_start_runners_is_well(self, runtime: Runtime) -> None:
        assert await runtime.health() == ""

    # close

    async def test_what_runs_goes_on_when_the_plane_lets_go_and_fills_a_slot_of_the_next(
        self, make: Make, tmp_path: Path
    ) -> None:
        first = make(slots=1)
        stage = Stage(first, tmp_path)
        place, workspace = await stage.act()
        await first.close()
        await workspace.ticking()
        stage.runtime = second = make(slots=1)
        try:
            assert await second.poll(place) is None
            with pytest.raises(Unavailable):
                await stage.start(name="b")
        finally:
            await stage.clear()
            await second.close()
