"""A runner from its launch to its end: in this process with a tiny driver, and as the process that it is."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from fake_plane import FakePlane, Run, until
from tiny_driver import TinyDriver

from agentlab import kinds, processes
from agentlab.core import commands as c
from agentlab.core.events import AgentEnd, Message
from agentlab.core.rows import ENDED
from agentlab.link.journal import path_of, read
from agentlab.runner import worker as workers
from agentlab.runner.environment import environment, private_folder
from agentlab.runner.worker import Worker
from agentlab.runtimes.base import Launch

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kinds.DRIVERS, "tiny", "tiny_driver:TinyDriver")


def end_of(plane: FakePlane, name: str = "a") -> AgentEnd:
    return next(e.body for e in plane.events if isinstance(e.body, AgentEnd) and e.actor == name)


def calls() -> list[str]:
    return TinyDriver.last.calls


# --- how it ends -----------------------------------------------------------------------------------------------


async def test_an_agent_does_its_task_and_its_end_is_told(plane: FakePlane, run: Run) -> None:
    assert await run("echo hello") == 0
    assert plane.status("r1/a") == "done"
    assert (end_of(plane).output, end_of(plane).usage) == ("hello", {"in": 2, "cost": 0.5})
    assert calls() == ["start", "prompt echo hello", "close"]
    assert plane.log("prompt", "message") == ["prompt echo hello", "message hello"]
    assert plane.state.agents["r1/a"].vendor_session == "session-1"
    assert not path_of(plane.home, "r1/a").exists()


async def test_a_failed_turn_is_the_end_with_its_reason(plane: FakePlane, run: Run) -> None:
    assert await run("fail no money") == 0
    end = end_of(plane)
    assert (plane.status("r1/a"), end.error, end.reason, end.exit_code) == ("failed", "no money", "quota", 3)
    assert end.last_lines == "no more"


async def test_a_bug_in_a_driver_is_a_failure_with_its_last_lines(plane: FakePlane, run: Run) -> None:
    assert await run("raise by nought") == 0
    end = end_of(plane)
    assert (plane.status("r1/a"), end.error, end.reason) == ("failed", "by nought", "internal")
    assert "ZeroDivisionError" in end.last_lines
    assert calls()[-1] == "close"


async def test_a_driver_that_does_not_come_up_says_why(plane: FakePlane, run: Run) -> None:
    await run("echo x", "a", options={"problem": "login"})
    assert end_of(plane, "a").error == "There is no login. Run `tiny login`."
    await run("echo x", "b", options={"problem": "other"})
    end = end_of(plane, "b")
    assert (end.error, end.reason, end.exit_code, end.last_lines) == ("It did not come up.", "auth", 7, "bye")


async def test_an_unknown_kind_is_a_failure_that_names_the_kinds(plane: FakePlane) -> None:
    assert await Worker(plane.hire("a", "nonsense")).run() == 0
    assert "Known: " in end_of(plane).error


async def test_a_workspace_that_is_gone_is_a_failure(plane: FakePlane, run: Run) -> None:
    plane.root.rmdir()
    await run("echo x")
    assert str(plane.root) in end_of(plane).error


async def test_what_an_agent_still_holds_is_free_with_its_end(plane: FakePlane, run: Run) -> None:
    await run("claim file:x")
    assert plane.log("lock.grant", "lock.release", "agent.end")[-1] == "lock.release file:x"
    assert plane.state.locks.held_by("r1/a") == []


# --- claims ----------------------------------------------------------------------------------------------------


async def test_the_claims_of_an_agent_come_before_its_first_action_and_wait_in_the_queue(
    plane: FakePlane, run: Run
) -> None:
    held = plane.do(c.Claim(owner="user:me", units=("dir:src",), run_id="r1"))
    running = run("echo x", claims=("file:src/x.py",))
    await until(lambda: plane.state.locks.waiting_of("r1/a"))
    assert plane.log("message") == []
    plane.do(c.Release(owner="user:me", tickets=(held.ticket,)))  # type: ignore[union-attr]
    await running
    assert plane.log("lock.grant", "message")[1:] == ["lock.grant file:src/x.py", "message x"]


async def test_an_agent_stopped_while_it_waits_for_its_claims_never_starts(plane: FakePlane, run: Run) -> None:
    plane.do(c.Claim(owner="user:me", units=("file:x",), run_id="r1"))
    running = run("echo x", claims=("file:x",))
    await until(lambda: plane.state.locks.waiting_of("r1/a"))
    plane.say("r1/a", "stop")
    assert await running == 0
    assert plane.status("r1/a") == "cancelled"
    assert plane.log("message") == []


# --- follow-ups ------------------------------------------------------------------------------------------------


async def test_follow_ups_are_further_prompts_each_taken_up_once(plane: FakePlane, run: Run) -> None:
    plane.silent = set()
    running = run("wait")
    await until(lambda: plane.log("message") == ["message waiting"])
    for text in ("echo one", "echo two"):
        plane.do(c.SendText(agent="r1/a", text=text))
    plane.say("r1/a", "interrupt")
    await running
    assert [call for call in calls() if call.startswith("prompt")] == [
        "prompt wait",
        "prompt echo one",
        "prompt echo two",
    ]
    assert plane.state.agents["r1/a"].mail == []
    assert (end_of(plane).output, end_of(plane).usage) == ("two", {"in": 5, "cost": 1.0})


async def test_an_interrupting_follow_up_ends_the_turn(plane: FakePlane, run: Run) -> None:
    running = run("wait")
    await until(lambda: plane.log("message") == ["message waiting"])
    plane.say("r1/a", "send", "echo instead", seq=99, interrupt=True)
    await running
    assert calls() == ["start", "prompt wait", "interrupt", "prompt echo instead", "close"]


async def test_an_interrupted_agent_without_follow_up_is_cancelled(plane: FakePlane, run: Run) -> None:
    running = run("wait")
    await until(lambda: plane.log("message") == ["message waiting"])
    plane.say("r1/a", "interrupt")
    await running
    assert plane.status("r1/a") == "cancelled"


async def test_follow_ups_sent_while_the_connection_was_lost_are_not_lost_and_not_doubled(
    plane: FakePlane, run: Run
) -> None:
    running = run("wait")
    await until(lambda: plane.log("message") == ["message waiting"])
    plane.do(c.SendText(agent="r1/a", text="echo heard"))
    await plane.go_down()
    plane.do(c.SendText(agent="r1/a", text="echo missed"))
    await plane.come_up()
    await until(lambda: "r1/a" in plane.peers)
    plane.say("r1/a", "interrupt")
    await running
    assert [call for call in calls() if "echo" in call] == ["prompt echo heard", "prompt echo missed"]


async def test_an_agent_that_is_kept_is_idle_between_prompts_until_it_is_stopped(plane: FakePlane, run: Run) -> None:
    running = run(None, keep=True)
    await until(lambda: plane.status("r1/a") == "idle")
    plane.do(c.SendText(agent="r1/a", text="echo one"))
    await until(lambda: plane.log("message")[-1:] == ["message one"])
    await until(lambda: plane.status("r1/a") == "idle")
    plane.do(c.SendText(agent="r1/a", text="fail once"))
    await until(lambda: "prompt fail once" in calls() and plane.status("r1/a") == "idle")
    plane.say("r1/a", "stop", "enough")
    await running
    assert (plane.status("r1/a"), end_of(plane).error) == ("cancelled", "enough")


# --- pause, stop, kill -----------------------------------------------------------------------------------------


async def test_a_paused_agent_is_frozen_and_renews_its_leases_until_it_is_resumed(plane: FakePlane, run: Run) -> None:
    running = run("wait")
    await until(lambda: plane.log("message") == ["message waiting"])
    plane.say("r1/a", "pause")
    await until(lambda: plane.status("r1/a") == "paused")
    beats = len(plane.requests)
    await until(lambda: len(plane.requests) > beats + 1)
    plane.say("r1/a", "resume")
    plane.say("r1/a", "interrupt")
    await running
    assert calls()[2:] == ["freeze", "thaw", "interrupt", "close"]


async def test_a_pause_that_came_while_the_connection_was_lost_is_obeyed(plane: FakePlane, run: Run) -> None:
    running = run("wait")
    await until(lambda: plane.log("message") == ["message waiting"])
    await plane.go_down()
    plane.do(c.Signal(agent="r1/a", verb="pause"))
    await plane.come_up()
    await until(lambda: "freeze" in calls())
    await plane.go_down()
    plane.do(c.Signal(agent="r1/a", verb="resume"))
    await plane.come_up()
    await until(lambda: "thaw" in calls())
    plane.say("r1/a", "stop")
    await running


async def test_no_prompt_begins_while_an_agent_is_paused(plane: FakePlane, run: Run) -> None:
    running = run("wait")
    await until(lambda: plane.log("message") == ["message waiting"])
    plane.say("r1/a", "pause")
    plane.say("r1/a", "send", "echo later", seq=99, interrupt=True)
    await until(lambda: "interrupt" in calls())
    await until(lambda: plane.status("r1/a") == "paused")
    assert "prompt echo later" not in calls()
    plane.say("r1/a", "resume")
    await running
    assert "prompt echo later" in calls()


async def test_a_stopped_agent_closes_gently(plane: FakePlane, run: Run) -> None:
    running = run("wait")
    await until(lambda: plane.log("message") == ["message waiting"])
    plane.do(c.Signal(agent="r1/a", verb="stop"))
    plane.say("r1/a", "stop")
    assert await running == 0
    assert (plane.status("r1/a"), end_of(plane).usage) == ("cancelled", {"in": 1})
    assert calls() == ["start", "prompt wait", "interrupt", "close"]


async def test_a_stop_that_came_while_the_connection_was_lost_is_obeyed(plane: FakePlane, run: Run) -> None:
    running = run("wait")
    await until(lambda: plane.log("message") == ["message waiting"])
    await plane.go_down()
    plane.do(c.Signal(agent="r1/a", verb="stop"))
    await plane.come_up()
    assert await running == 0
    assert plane.status("r1/a") == "cancelled"


async def test_a_stopped_agent_that_does_not_hear_is_closed_now_after_the_grace(
    plane: FakePlane, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "GRACE", 0.1)
    running = run("hang")
    await until(lambda: plane.log("message") == ["message hanging"])
    plane.say("r1/a", "stop")
    assert await running == 0
    assert calls()[-1] == "close now"
    assert plane.status("r1/a") == "cancelled"


async def test_a_killed_agent_is_not_asked_first(plane: FakePlane, run: Run) -> None:
    running = run("hang")
    await until(lambda: plane.log("message") == ["message hanging"])
    plane.say("r1/a", "kill")
    assert await running == 0
    assert calls()[-1] == "close now"
    assert plane.status("r1/a") == "cancelled"


async def test_an_agent_that_the_plane_has_given_up_ends_here_too(plane: FakePlane, run: Run) -> None:
    running = run("wait")
    await until(lambda: plane.log("message") == ["message waiting"])
    await plane.go_down()
    plane.do(c.Finish(agent="r1/a", status="failed", reason="lost"))
    await plane.come_up()
    assert await running == 3
    assert calls()[-1].startswith("close")


async def test_an_end_is_told_when_the_plane_is_back(plane: FakePlane, run: Run) -> None:
    running = run("wait")
    await until(lambda: plane.log("message") == ["message waiting"])
    await plane.go_down()
    TinyDriver.last._interrupted.set()
    await until(lambda: "close" in calls())
    assert not running.done()
    await plane.come_up()
    assert await running == 0
    assert plane.status("r1/a") == "cancelled"


# --- environment -----------------------------------------------------------------------------------------------


def test_an_agents_environment_is_pinned_and_holds_nothing_of_ours() -> None:
    base = {
        "PATH": "/bin",
        "HOME": "/h",
        "LC_ALL": "de",
        "AGENTLAB_TOKEN": "t",
        "AWS_SECRET": "s",
        "XDG_DATA_HOME": "/x",
    }
    env = environment(base, "r/a", {"TZ": "Asia/Tokyo", "AGENTLAB_HOME": "/x"}, {"KEY": "k", "PATH": "/mine"})
    assert env["PATH"] == "/mine"
    assert (env["HOME"], env["TZ"], env["KEY"], env["LC_ALL"]) == ("/h", "Asia/Tokyo", "k", "C.UTF-8")
    assert env["PYTHONHASHSEED"] == "0"
    assert "AWS_SECRET" not in env
    assert {name: value for name, value in env.items() if name.startswith("AGENTLAB")} == {"AGENTLAB_AGENT": "r/a"}


def test_an_agent_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = private_folder(tmp_path, "r/a#2")
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ValueError, match="no agent"):
        private_folder(tmp_path, "r/..")


# --- the process -----------------------------------------------------------------------------------------------

PROGRAM = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import tiny_driver
tiny_driver.register()
from agentlab.runner.main import main
sys.exit(main())
"""


@pytest.fixture
def start() -> Iterator[Callable[[Launch], subprocess.Popen[bytes]]]:
    """Start a runner as a runtime does: in a session of its own, its launch on standard input."""
    started: list[subprocess.Popen[bytes]] = []

    def start(launch: Launch) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM], stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        started.append(child)
        assert child.stdin
        child.stdin.write(msgspec.msgpack.encode(launch))
        child.stdin.close()
        return child

    yield start
    for child in started:
        processes.kill_tree([child.pid], grace=0.0)
        child.wait()
        assert child.stderr
        child.stderr.close()


async def ended(child: subprocess.Popen[bytes]) -> int:
    await until(lambda: child.poll() is not None)
    assert child.returncode is not None
    return child.returncode


async def test_a_runner_is_over_only_when_the_daemons_of_its_agent_are_gone(
    plane: FakePlane, start: Callable[[Launch], subprocess.Popen[bytes]]
) -> None:
    child = start(plane.hire("a", "tiny", task="daemon"))
    await until(lambda: plane.status("r1/a") in ENDED)
    daemon = end_of(plane).output
    assert processes.info(daemon) is None or processes.info(daemon).dead  # type: ignore[union-attr]
    assert await ended(child) == 0


async def test_its_environment_is_the_agents_and_its_token_is_nowhere(
    plane: FakePlane, start: Callable[[Launch], subprocess.Popen[bytes]]
) -> None:
    child = start(plane.hire("a", "tiny", {"API_KEY": "very secret"}, task="env"))
    assert await ended(child) == 0
    env = end_of(plane).output
    assert env["API_KEY"] == "[redacted:API_KEY]"
    assert env["AGENTLAB_AGENT"] == "r1/a"
    assert "very secret" not in repr(plane.events)


async def test_its_own_log_holds_no_secret(
    plane: FakePlane, start: Callable[[Launch], subprocess.Popen[bytes]]
) -> None:
    child = start(plane.hire("a", "tiny", {"API_KEY": "very secret"}, task="raise the very secret thing"))
    assert await ended(child) == 0
    assert child.stderr
    log = child.stderr.read().decode()
    assert "ZeroDivisionError: the [redacted:API_KEY] thing" in log
    assert "very secret" not in log + repr(end_of(plane))


async def test_a_terminated_runner_stops_its_agent_and_tells_so(
    plane: FakePlane, start: Callable[[Launch], subprocess.Popen[bytes]]
) -> None:
    child = start(plane.hire("a", "tiny", task="wait"))
    await until(lambda: plane.log("message") == ["message waiting"])
    child.send_signal(signal.SIGTERM)
    assert await ended(child) == 0
    assert (plane.status("r1/a"), end_of(plane).error) == ("cancelled", "signal SIGTERM")


async def test_a_runner_that_only_has_to_tell_the_end_leaves_when_it_is_terminated(
    plane: FakePlane, start: Callable[[Launch], subprocess.Popen[bytes]]
) -> None:
    child = start(plane.hire("a", "tiny", task="wait"))
    await until(lambda: plane.log("message") == ["message waiting"])
    await plane.go_down()
    while child.poll() is None:
        child.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.05)
    assert child.returncode == 1
    assert path_of(plane.home, "r1/a").exists()
    await plane.come_up()


async def test_a_killed_runner_leaves_a_journal_of_what_it_did_alone(
    plane: FakePlane, start: Callable[[Launch], subprocess.Popen[bytes]]
) -> None:
    child = start(plane.hire("a", "tiny", task="upon go.txt"))
    await until(lambda: plane.log("message") == ["message looking"])
    await plane.go_down()
    (plane.root / "go.txt").touch()
    path, known = path_of(plane.home, "r1/a"), plane.state.journals["r1/a"]
    await until(lambda: read(path, known)[1])
    child.kill()
    await ended(child)
    assert [entry.body for entry in read(path, known)[1]] == [Message(role="assistant", text="waiting")]
    await plane.come_up()


async def test_what_is_no_launch_is_refused(start: Callable[[Launch], subprocess.Popen[bytes]]) -> None:
    done = subprocess.run([sys.executable, "-m", "agentlab.runner"], input=b"nonsense", capture_output=True, timeout=60)
    assert done.returncode == 2
    assert b"msgpack Launch" in done.stderr


async def test_a_boundary_that_cannot_be_had_is_refused_and_never_weakened(plane: FakePlane, run: Run) -> None:
    assert await run("echo hello", boundary="native") == 0
    assert plane.status("r1/a") == "failed"
    assert "boundary='native'" in end_of(plane).error
    assert plane.log("message") == []
