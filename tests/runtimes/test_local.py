"""The local runtime: all that a runtime promises, and what is its own."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

pytest.register_assert_rewrite("agentlab.testing.runtime_suite")

from agentlab import processes  # noqa: E402
from agentlab.config import Config, Local  # noqa: E402
from agentlab.errors import BadRequest, Unavailable  # noqa: E402
from agentlab.runtimes import local, spare  # noqa: E402
from agentlab.runtimes.base import Ended, Launch, Place, Runtime  # noqa: E402
from agentlab.runtimes.local import LocalRuntime  # noqa: E402
from agentlab.testing.runtime_suite import ACTOR, RuntimeSuite, Stage, until  # noqa: E402


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return home


@pytest.fixture
def make(home: Path) -> Callable[..., LocalRuntime]:
    def make(*, slots: int = 4, command: tuple[str, ...] = ACTOR) -> LocalRuntime:
        return LocalRuntime(Config(local=Local(slots=slots)), home, command=command)

    return make


class TestLocalRuntime(RuntimeSuite):
    @pytest.fixture
    def make(self, make: Callable[..., LocalRuntime]) -> Callable[..., Runtime]:
        return make


@pytest.fixture
async def runtime(make: Callable[..., LocalRuntime]) -> AsyncIterator[LocalRuntime]:
    runtime = make()
    yield runtime
    await runtime.close()


@pytest.fixture
async def stage(runtime: LocalRuntime, tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(runtime, tmp_path / "workspaces")
    yield stage
    await stage.clear()


def test_a_runner_inherits_what_programs_need_and_no_secret() -> None:
    base = {
        "PATH": "/bin",
        "HOME": "/h",
        "LC_ALL": "C",
        "AWS_SECRET": "x",
        "ANTHROPIC_API_KEY": "x",
        "AGENTLAB_AGENT": "x",
    }
    assert local.environment(base, "run/a", Path("/lab")) == {
        "PATH": "/bin",
        "HOME": "/h",
        "LC_ALL": "C",
        "AGENTLAB_AGENT": "run/a",
        "AGENTLAB_HOME": "/lab",
    }


@pytest.mark.parametrize("agent", ["", "a", "run/", "/a", "run/..", "../a", "run/a/b", "run/\0"])
def test_a_name_that_would_leave_the_logs_is_refused(agent: str) -> None:
    with pytest.raises(BadRequest, match="run/agent"):
        local.log_file(Path("/lab"), agent)


async def test_token_and_secrets_are_in_no_command_line_and_no_environment(stage: Stage) -> None:
    place, workspace = await stage.act("child")
    for pid in processes.tree(place.pid):
        shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        assert workspace.launch.token.encode() not in shown and b"a-secret-value" not in shown
        assert f"AGENTLAB_AGENT={place.agent}".encode() in shown


def test_token_and_secrets_are_not_printed_with_a_launch(tmp_path: Path) -> None:
    shown = repr(Stage(None, tmp_path).workspace().launch)  # type: ignore[arg-type]
    assert "a-narrow-token" not in shown and "a-secret-value" not in shown


async def test_a_runner_leads_its_own_session_and_its_log_is_private(stage: Stage, home: Path) -> None:
    place, _ = await stage.act("say:hello")
    assert os.getsid(place.pid) == place.pid
    assert place.id == processes.identity(place.pid)
    log = home / "logs" / stage.run / "a.log"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (log, log.parent, log.parent.parent)] == [0o600, 0o700, 0o700]


async def test_a_reused_pid_is_not_taken_for_the_runner(runtime: LocalRuntime) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        pid, _, start = processes.identity(bystander.pid).partition(":")
        place = Place(runtime=runtime.id, id=f"{pid}:{int(start) - 1}", pid=bystander.pid, agent="run/a")
        assert await runtime.poll(place) is not None
        await runtime.stop(place)
        assert bystander.poll() is None
    finally:
        bystander.communicate()


async def test_no_zombie_is_left(stage: Stage) -> None:
    place, _ = await stage.start("exit:0")
    await stage.end(place)
    assert processes.info(place.pid) is None


async def test_a_runner_that_another_process_started_is_waited_for_and_stopped(
    runtime: LocalRuntime, stage: Stage, home: Path
) -> None:
    workspace = stage.workspace("child")
    place = await asyncio.to_thread(_started_by_another_plane, home, msgspec.json.encode(workspace.launch))
    await workspace.ticking("child")
    assert runtime.adopt(place)
    waiting = asyncio.create_task(runtime.wait(place))
    await runtime.stop(place)
    end = await waiting
    assert (end.code, end.signal) == (None, None) and "earlier plane" in end.reason
    assert not workspace.lives("runner") and not workspace.lives("child")
    assert not runtime.adopt(place)


def _started_by_another_plane(home: Path, launch: bytes) -> Place:
    code = """
import asyncio, msgspec, sys
from pathlib import Path
from agentlab.config import Config
from agentlab.runtimes.base import Launch
from agentlab.runtimes.local import LocalRuntime
from agentlab.testing.runtime_suite import ACTOR
async def main():
    launch = msgspec.json.decode(sys.stdin.buffer.read(), type=Launch)
    runtime = LocalRuntime(Config(), Path(sys.argv[1]), command=ACTOR)
    print(msgspec.json.encode(await runtime.start(launch)).decode())
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code, str(home)], input=launch, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Place)


async def test_a_descendant_that_forgot_its_mark_is_found_by_its_parents(
    make: Callable[..., LocalRuntime], tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    child = "import os, signal; os.setsid(); signal.signal(15, signal.SIG_IGN); signal.pause()"
    code = (
        "import subprocess, sys, signal, time; signal.signal(15, lambda *_: sys.exit(0)); sys.stdin.read(); "
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], env={{}}); "
        f"open({str(pids)!r}, 'w').write(str(child.pid) + chr(10)); signal.pause()"
    )
    runtime = make(command=(sys.executable, "-c", code))
    stage = Stage(runtime, tmp_path / "workspaces")
    try:
        place, _ = await stage.start()
        await until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        await runtime.stop(place)
        left = processes.info(int(pids.read_text()))
        assert left is None or left.dead
    finally:
        await stage.clear()
        await runtime.close()


async def test_what_forgot_its_mark_and_its_session_is_ended_after_its_runner_was_killed(
    make: Callable[..., LocalRuntime], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "LOOK", 0.01)
    pids = tmp_path / "pids"
    code = (
        "import subprocess, sys, signal; sys.stdin.read(); "
        "child = subprocess.Popen(['sleep', '1019'], env={}, start_new_session=True); "
        f"open({str(pids)!r}, 'w').write(str(child.pid) + chr(10)); signal.pause()"
    )
    runtime = make(command=(sys.executable, "-c", code))
    stage = Stage(runtime, tmp_path / "workspaces")
    try:
        place, _ = await stage.start()
        await until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        child = processes.identity(int(pids.read_text()))
        await until(lambda: child in runtime._families.get(place.agent, ()))
        os.kill(place.pid, signal.SIGKILL)
        await runtime.wait(place)
        assert processes.alive(child), "it is nobody's now"
        assert await runtime.reap(place.agent) == 1
        assert not processes.alive(child)
    finally:
        await stage.clear()
        await runtime.close()


async def test_a_program_that_is_not_there_starts_nothing(make: Callable[..., LocalRuntime], tmp_path: Path) -> None:
    runtime = make(slots=1, command=(str(tmp_path / "no-such-program"),))
    launch = Stage(runtime, tmp_path).workspace().launch
    for _ in range(2):
        with pytest.raises(Unavailable, match="no-such-program"):
            await runtime.start(launch)


async def test_an_environment_of_megabytes_is_refused(runtime: LocalRuntime, tmp_path: Path) -> None:
    launch = Stage(runtime, tmp_path).workspace().launch
    with pytest.raises(BadRequest, match="too large"):
        await runtime.start(msgspec.structs.replace(launch, secrets={"KEY": "x" * (1 << 27)}))


async def test_many_runners_leave_no_descriptor_behind(runtime: LocalRuntime, tmp_path: Path) -> None:
    stage = Stage(runtime, tmp_path)
    await _run_to_its_end(stage)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await _run_to_its_end(stage)
    assert len(os.listdir("/proc/self/fd")) == before


async def _run_to_its_end(stage: Stage) -> Ended:
    place, _ = await stage.start("exit:0")
    return await stage.end(place)


async def test_a_runner_that_is_killed_from_outside_is_seen_at_once(stage: Stage) -> None:
    place, _ = await stage.act()
    os.kill(place.pid, signal.SIGKILL)
    end = await stage.end(place)
    assert end.signal == signal.SIGKILL and "SIGKILL" in end.reason


async def test_the_runtime_is_not_well_without_slots_or_without_its_home(home: Path) -> None:
    assert "slots" in await LocalRuntime(Config(local=Local(slots=0)), home).health()
    assert "gone" in await LocalRuntime(Config(), home / "gone").health()


async def test_the_runtime_is_not_well_on_a_full_disk(runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "FREE_BYTES", 1 << 62)
    assert "full" in await runtime.health()


# --- a runner that is started ahead --------------------------------------------------------------------------


@pytest.fixture
async def ahead(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalRuntime]:
    """A runtime that has a spare as soon as there was an agent."""
    monkeypatch.setattr(local, "CALM", 0.0)
    runtime = LocalRuntime(Config(), home)
    yield runtime
    await runtime.close()


async def launched(runtime: LocalRuntime, home: Path, name: str) -> Place:
    """Its plane is nowhere, which it goes on looking for."""
    token = "a-narrow-token"
    launch = Launch(agent=name, token=token, address=f"unix:{home}/nowhere", root=str(home), home=str(home))
    return await runtime.start(launch)


async def waiting(runtime: LocalRuntime) -> int:
    async with asyncio.timeout(60):
        while runtime._spare is None or not runtime._spare.ready:
            await asyncio.sleep(0.02)
    return runtime._spare.process.pid


async def test_the_next_agent_gets_the_runner_that_was_started_ahead(ahead: LocalRuntime, home: Path) -> None:
    first = await launched(ahead, home, "run/a")
    spare = await waiting(ahead)
    assert spare != first.pid and processes.marked("run/b") == []
    second = await launched(ahead, home, "run/b")
    assert second.pid == spare and second.id == processes.identity(spare)
    async with asyncio.timeout(60):
        while spare not in processes.marked("run/b"):
            await asyncio.sleep(0.02)
    shown = Path(f"/proc/{spare}/cmdline").read_bytes() + Path(f"/proc/{spare}/environ").read_bytes()
    assert b"a-narrow-token" not in shown
    assert await waiting(ahead) not in (first.pid, second.pid), "and there is a new one"
    for place in (first, second):
        await ahead.stop(place, grace=0)
        end = await ahead.poll(place)
        assert end is not None and end.signal
        assert processes.marked(place.agent) == []
    log = home / "logs" / "run" / "b.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_a_spare_ends_with_its_runtime_and_with_a_plane_that_is_killed(ahead: LocalRuntime, home: Path) -> None:
    await ahead.stop(await launched(ahead, home, "run/a"), grace=0)
    first = processes.identity(await waiting(ahead))
    await ahead.close()
    assert not processes.alive(first)
    await ahead.stop(await launched(ahead, home, "run/b"), grace=0)
    second = processes.identity(await waiting(ahead))
    os.close(ahead._spare.sink)  # type: ignore[union-attr]
    ahead._spare.sink = -1  # type: ignore[union-attr]
    async with asyncio.timeout(60):
        while processes.alive(second):
            await asyncio.sleep(0.02)


async def test_one_that_is_not_ready_or_was_killed_is_no_obstacle(ahead: LocalRuntime, home: Path) -> None:
    first = await launched(ahead, home, "run/a")
    os.kill(await waiting(ahead), signal.SIGKILL)
    second = await launched(ahead, home, "run/b")
    assert await waiting(ahead) not in (first.pid, second.pid)
    for place in (first, second):
        await ahead.stop(place, grace=0)


async def test_it_does_not_take_the_processors_from_an_agent_that_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([0.0, 0.1, 0.2, 60.0])
    monkeypatch.setattr(spare, "_LOOK", 0.5)
    monkeypatch.setattr(processes, "idle", lambda: next(told))
    await spare.rest()
    assert next(told, None) is None, "it looked until there was a processor to spare"


@pytest.mark.parametrize("idle", [0.0, None])
async def test_a_machine_that_never_rests_or_does_not_tell_gets_one_all_the_same(
    idle: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "idle", lambda: idle)
    async with asyncio.timeout(60):
        await spare.rest(patience=0.5)


def test_idle_time_is_told_and_grows_only() -> None:
    first, second = processes.idle(), processes.idle()
    assert first is not None and second is not None and 0 < first <= second


async def test_there_is_none_where_it_is_switched_off(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "CALM", 0.0)
    runtime = LocalRuntime(Config(local=Local(spare=False)), home)
    await runtime.stop(await launched(runtime, home, "run/a"), grace=0)
    assert runtime._keeping is None
    await runtime.close()
