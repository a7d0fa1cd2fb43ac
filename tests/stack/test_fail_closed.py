"""The plane is down, slow or killed while a real agent works: nothing is written without a grant, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import agentlab
from agentlab import discovery
from agentlab.testing.scripted_model import ScriptedModel

from .conftest import kill_plane, plane_pid, until
from .vendors import KINDS, Vendor, do, vendor

pytestmark = [pytest.mark.slow(7), pytest.mark.timeout(240)]

A_WHILE = 2.0  # s; an ungated write would be there after a few milliseconds


@pytest.fixture(params=KINDS)
def agent(request: pytest.FixtureRequest, model: ScriptedModel, tmp_path: Path) -> Vendor:
    return vendor(request.param, model, tmp_path / "user")


@contextlib.contextmanager
def stopped(home: Path) -> Iterator[None]:
    """No plane, and nobody who starts one."""
    discovery.stop(home)
    yield
    agentlab.connect(home).close()


@contextlib.contextmanager
def frozen(home: Path) -> Iterator[None]:
    """A plane that takes what it is told and does not answer."""
    pid = plane_pid(home)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


AWAY = [pytest.param(stopped, id="stopped"), pytest.param(frozen, id="frozen")]


@pytest.fixture(autouse=True)
def gates(home: Path, tmp_path: Path) -> None:
    """Programs may write where `gate_of` has its files."""
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(f'[sandbox]\nwritable = ["{tmp_path}"]\n')


def gate_of(folder: Path) -> list[str]:
    """A program that says that it runs and ends when it may: outside of the workspace, so that nobody minds its files."""
    return ["sh", "-c", f"touch {folder}/started; while [ ! -e {folder}/go ]; do sleep 0.02; done"]


def check_grants(run: agentlab.Run) -> None:
    """Every write in the log was made under a grant that is in the log."""
    granted = set(run.locks()["token"])
    written = run.events(types=["file.write"], payload="parsed")
    assert len(written)
    assert {payload["token"] for payload in written["payload"]} <= granted


@pytest.mark.parametrize("away", AWAY)
@pytest.mark.parametrize("claims", [[], ["file:late.txt"]], ids=["unclaimed", "lease-runs-out"])
def test_a_call_that_comes_while_the_plane_is_away_waits_and_writes_nothing(
    lab: agentlab.Lab,
    home: Path,
    work: Path,
    tmp_path: Path,
    model: ScriptedModel,
    agent: Vendor,
    away: Callable[[Path], AbstractContextManager[None]],
    claims: list[str],
) -> None:
    run = lab.run("away", workdir=work)
    steps = [agent.call("run", argv=gate_of(tmp_path)), {"write": ["late.txt", "x"]}, {"say": "over"}]
    spawned = run.spawn(agent.kind, do(*steps), name="it", claims=claims, ttl=1.0, **agent.spec)
    until((tmp_path / "started").exists, "its program runs")
    with away(home):
        time.sleep(1.5 if claims else 0)  # longer than its lease
        (tmp_path / "go").touch()
        deadline = time.monotonic() + A_WHILE
        while time.monotonic() < deadline:
            assert not (work / "late.txt").exists(), "it was written without a grant"
            time.sleep(0.05)
    result = spawned.wait(120)
    assert result.status == "done", result.error
    if (work / "late.txt").exists():
        check_grants(run)
    else:  # the lease had run out, and the model was told so
        assert claims and "grant" in str([seen.last for seen in model.turns])
    run.end()


@pytest.mark.parametrize("agent", KINDS[:1], indirect=True)
def test_an_agent_that_waits_for_a_lock_outlives_ten_seconds_without_a_plane(
    lab: agentlab.Lab, home: Path, work: Path, agent: Vendor
) -> None:
    """Through a runner, which is the same for all; that each vendor's program waits so long is a promise of its driver."""
    run = lab.run("outage", workdir=work)
    holder = run.spawn(
        "script", name="ann", claims=["file:story.txt"], steps=[{"ask": "go on?"}, {"write": ["story.txt", "ann\n"]}]
    )
    until(lambda: holder.status == "blocked")
    steps = [agent.call("edit", path="story.txt", old="ann", new="ann and I"), {"say": "over"}]
    waiter = run.spawn(agent.kind, do(*steps), name="it", **agent.spec)
    until(lambda: waiter.waits, "it waits for the file")
    with stopped(home):
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline:
            assert not (work / "story.txt").exists()
            time.sleep(0.1)
    until(lambda: waiter.waits, "it waits still")
    lab.answer(lab.approvals()["approval"].iloc[0], "yes")
    assert holder.wait(60).status == "done"
    assert waiter.wait(120).check().output == "over"
    assert (work / "story.txt").read_text() == "ann and I\n"
    run.end()
    check_grants(run)


@pytest.mark.parametrize("stage", ["starting", "waiting", "running", "between"])
def test_a_plane_that_is_killed_at_any_stage_of_a_call_costs_nothing(
    lab: agentlab.Lab, home: Path, work: Path, tmp_path: Path, model: ScriptedModel, agent: Vendor, stage: str
) -> None:
    run = lab.run("killed", workdir=work)
    holder = run.spawn("script", name="ann", claims=["file:b.txt"], steps=[{"ask": "go on?"}])
    until(lambda: holder.status == "blocked")
    steps = [
        {"write": ["a.txt", "1"]},
        {"write": ["b.txt", "2"]},
        agent.call("run", argv=gate_of(tmp_path)),
        {"write": ["c.txt", "3"], "delay": 0.5},
        {"say": "over"},
    ]
    spawned = run.spawn(agent.kind, do(*steps), name="it", **agent.spec)
    if stage == "starting":
        until(lambda: spawned.status == "running")
        kill_plane(home)
    until(lambda: spawned.waits, "it waits for the file")
    if stage == "waiting":
        kill_plane(home)
    lab.answer(lab.approvals()["approval"].iloc[0], "yes")
    until((tmp_path / "started").exists, "its program runs")
    if stage == "running":
        kill_plane(home)
    (tmp_path / "go").touch()
    if stage == "between":
        until(lambda: len(model.turns) >= 4, "the model is asked again")
        kill_plane(home)
    assert spawned.wait(120).check().output == "over"
    assert [(work / name).read_text() for name in ("a.txt", "b.txt", "c.txt")] == ["1", "2", "3"]
    run.end()
    check_grants(run)
    calls = run.tool_calls()
    assert calls[calls["actor"] == "it"]["status"].tolist() == ["ok"] * 4
