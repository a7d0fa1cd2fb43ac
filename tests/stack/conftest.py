"""The whole stack, nothing replaced: a plane process, runner processes, agents, one SQLite log. One home a test."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import agentlab
from agentlab import discovery, processes
from agentlab.runtimes.spare import NOBODY
from agentlab.testing.scripted_model import ScriptedModel

DEADLINE = 60.0  # s


def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait for something that is bound to come."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"it never came: {what}"
        time.sleep(0.01)


def of_home(home: Path, *, spare: bool = False) -> list[int]:
    """Every process that belongs to a home: its plane, runners, agents and what they left. spare: also the runner that waits
    for an agent, which ends with the plane."""
    found = []
    nobody = f"{processes.AGENT_VARIABLE}={NOBODY}".encode()
    needle = f"AGENTLAB_HOME={home}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environ = (entry / "environ").read_bytes().split(b"\0")
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if nobody in environ and not spare:
                continue
            if int(entry.name) != os.getpid() and (needle in environ or str(home).encode() in command):
                found.append(int(entry.name))
    return found


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh home. Afterwards its plane is stopped, and nothing of it may be left running."""
    folder = Path(tempfile.mkdtemp(prefix="agentlab-test-")).resolve()
    monkeypatch.delenv("AGENTLAB_HOME", raising=False)
    monkeypatch.delenv("AGENTLAB_URL", raising=False)
    try:
        yield folder / "home"
        if (folder / "home").exists():
            discovery.stop(folder / "home", force=True)
        until(lambda: not of_home(folder / "home", spare=True), "the end of all processes of the home")
    finally:
        for pid in of_home(folder / "home", spare=True):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def lab(home: Path) -> Iterator[agentlab.Lab]:
    lab = agentlab.connect(home)
    yield lab
    with contextlib.suppress(agentlab.PlaneUnavailable):  # the test has closed it
        for agent in lab.agents().to_dict("records"):
            if agent["status"] not in ("done", "failed", "cancelled"):
                lab.agent(f"{agent['run_id']}/{agent['name']}").stop(now=True)
    lab.close()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A workspace."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def plane_pid(home: Path) -> int:
    plane = discovery.read(home)
    assert plane is not None
    return plane.pid


def kill_plane(home: Path) -> None:
    """As the out-of-memory killer would."""
    pid = plane_pid(home)
    identity = processes.identity(pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not processes.alive(identity), "the plane's death")


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    """A model that does what its prompts say: see `do`."""
    with ScriptedModel() as server:
        yield server
