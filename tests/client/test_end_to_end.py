"""The client over the real stack: a plane, runners and agents in processes of their own."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import agentlab
from agentlab import discovery
from agentlab.client.lab import Lab


@pytest.fixture(scope="module")
def real_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("real") / "home"
    yield home
    with agentlab.connect(home) as lab:
        for row in lab.state()["tables"]["agents"].values():
            if row["status"] not in ("done", "failed", "cancelled"):
                lab._handle(row).stop(now=True)
                lab._handle(row).wait(30)
    discovery.stop(home, force=True)


@pytest.fixture
def real(real_home: Path, workspace: Path) -> Iterator[Lab]:
    with agentlab.connect(real_home) as lab:
        yield lab


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def test_two_agents_that_want_one_file_take_turns_and_both_changes_are_there(real: Lab, workspace: Path) -> None:
    (workspace / "n.txt").write_text("0")
    add = 'with tools.claim("file:n.txt"):\n    tools.write("n.txt", str(int(tools.read("n.txt")) + 1))\n'
    with real.run("count") as run:
        first = run.spawn("script", name="first", claims=["file:n.txt"], steps=[{"sleep": 600}])
        until(lambda: first.claims)
        second = run.spawn("python", name="second", code=add)
        until(lambda: second.waits)
        assert second.waits == "waits for file:n.txt · held by first · 1st"
        assert second.status == "waiting"
        assert "held by first" in run._repr_mimebundle_()["text/html"]
        first.stop()
        assert second.wait(60).ok
    assert (workspace / "n.txt").read_text() == "1"
    locks = run.locks()
    waited = locks[(locks["owner"].astype(str).str.endswith("/second"))]
    assert len(waited) == 1
    assert set(run.events()["type"]) >= {"run.start", "lock.request", "lock.grant", "lock.release", "run.end"}
    assert set(second.events()["actor"]) == {"second"}
    assert run.files()["path"].tolist() == ["n.txt"]
    for frame in (run.messages(), run.tool_calls(), run.procs(), run.usage(), run.spans()):
        assert "run_id" in frame.columns
    assert run.run_id in set(real.runs()["run_id"])


def test_a_run_is_seen_and_written_as_it_was(real: Lab, workspace: Path, tmp_path: Path) -> None:
    with real.run("history") as run:
        run.spawn(
            "script",
            steps=[
                {"read": "a.txt"},
                {"write": ["a.txt", "two\n"]},
                {"delete": "a.txt"},
                {"write": ["b.txt", "three\n"]},
            ],
        )
    written = run.files()
    first = int(written["seq"].iloc[0])
    then, now = run.at(first), run.at()
    assert set(then["files"]) == {"a.txt"} and set(now["files"]) == {"b.txt"}
    assert then["tables"]["agents"] and now["tables"]["runs"][run.run_id]["status"] == "done"
    run.checkout(first, tmp_path / "then")
    assert (tmp_path / "then" / "a.txt").read_text() == "two\n"
    with pytest.raises(agentlab.BadRequest, match="not an empty directory"):
        run.checkout(first, tmp_path / "then")
    with pytest.raises(agentlab.NotFound):
        run.at(10_000)


def test_a_killed_plane_is_found_again_by_the_next_call_and_loses_nothing(
    real: Lab, real_home: Path, workspace: Path
) -> None:
    run = real.run("crash")
    agent = run.spawn(
        "script",
        name="a",
        steps=[
            {"read": "a.txt"},
            {"write": ["a.txt", "1"]},
            {"sleep": 1.0},
            {"write": ["b.txt", "2"]},
            {"say": "done"},
        ],
    )
    until(lambda: (workspace / "a.txt").read_text() == "1")
    results: list[agentlab.Result] = []
    waiting = threading.Thread(target=lambda: results.append(agent.wait(60)))
    waiting.start()
    plane = discovery.read(real_home)
    os.kill(plane.pid, signal.SIGKILL)
    assert agent.status in ("running", "done")
    waiting.join(60)
    assert [result.status for result in results] == ["done"]
    run.end()
    events = run.events()
    assert events["seq"].tolist() == list(range(1, len(events) + 1))
    assert (events["type"] == "file.write").sum() == 2
    assert discovery.read(real_home).pid != plane.pid


def test_a_killed_runner_ends_its_agent_with_the_reason_and_frees_its_locks(real: Lab, workspace: Path) -> None:
    agent = real.spawn("script", name="victim", claims=["file:a.txt"], steps=[{"sleep": 600}])
    until(lambda: agent.claims and agent.row()["pid"])
    os.kill(agent.row()["pid"], signal.SIGKILL)
    result = agent.wait(60)
    assert result.status == "failed" and "runner is gone" in result.error
    with real.claim("file:a.txt", timeout=30):
        pass


def test_a_follow_up_reaches_a_real_agent_and_stop_ends_it(real: Lab, workspace: Path) -> None:
    agent = real.spawn("script", name="sleepy", steps=[{"sleep": 600}])
    until(lambda: agent.status == "running")
    agent.pause()
    assert agent.status == "paused"
    agent.resume()
    agent.stop()
    assert agent.wait(60).status == "cancelled"
    until(lambda: agent.run.status != "open")
