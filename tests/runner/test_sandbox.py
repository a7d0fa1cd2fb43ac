from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from toolbox import until

from agentlab import processes
from agentlab.core.events import ProcStart
from agentlab.errors import NotFound, Unavailable
from agentlab.runner.tools.sandbox import Sandbox, probe, writable


@pytest.fixture
def bwrap() -> str:
    try:
        return probe()
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def test_the_argv_opens_what_is_held_and_nothing_else(tmp_path):
    root, home = tmp_path / "ws", tmp_path / "home"
    (root / "src").mkdir(parents=True)
    words = Sandbox(program="bwrap", hidden=(home,), network=False).argv(root, ("dir:src", "proc:run"), ("make", "-j"))
    assert words == (
        *("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--unshare-pid", "--proc", "/proc", "--tmpfs", "/tmp"),
        *("--tmpfs", str(home), "--ro-bind", str(root), str(root), "--bind", f"{root}/src", f"{root}/src"),
        *("--unshare-net", "--", "make", "-j"),
    )


def test_a_hidden_folder_in_the_workspace_is_hidden_last(tmp_path):
    (tmp_path / "keep").mkdir()
    words = Sandbox(program="bwrap", hidden=(tmp_path / "keep",)).argv(tmp_path, ("dir:.",), ("true",))
    assert words[-4:] == ("--tmpfs", f"{tmp_path}/keep", "--", "true")


def test_a_file_that_is_not_there_yet_opens_the_nearest_folder_that_is(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / ".git").mkdir()
    assert writable(tmp_path, ("file:a/b/c.txt", "proc:git", "proc:pytest")) == (tmp_path / ".git", tmp_path / "a")
    assert writable(tmp_path, ("dir:.", "file:a/x")) == (tmp_path,)


def test_a_unit_that_leads_out_by_a_link_is_refused(tmp_path):
    root = tmp_path / "ws"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    with pytest.raises(Unavailable, match="leads out of the workspace"):
        writable(root, ("dir:out",))


def test_a_probe_says_why_there_is_none(tmp_path):
    with pytest.raises(Unavailable, match="cannot be used"):
        probe(str(tmp_path / "bwrap"))
    open_door = tmp_path / "open"
    open_door.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    open_door.chmod(0o755)
    with pytest.raises(Unavailable, match="did not keep a write out"):
        probe(str(open_door))


async def test_a_command_writes_what_it_declared_and_nothing_outside(tool_lab, bwrap, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "token").write_text("s3cret")
    a, gate = tool_lab.agent("a", sandbox=Sandbox(program=bwrap, hidden=(secret,)))
    (Path(a.root) / "d").mkdir()
    ran = await a.run(["sh", "-c", "echo 1 > d/x; echo 2 > no.txt; pwd"], writes=["d/"])
    assert ran.wrote == ("d/x",)
    assert "Read-only file system" in ran.stderr
    assert ran.stdout == f"{a.root}\n"
    assert not (Path(a.root) / "no.txt").exists()
    assert [b.sandbox for b in gate.of(ProcStart)] == ["bubblewrap"]
    code = f"import os; os.symlink('/', 'd/up'); open('d/up{tmp_path}/evil', 'w')"
    await a.run([sys.executable, "-c", code], writes=["d/"])
    assert not (tmp_path / "evil").exists()  # what is below /tmp went into the command's own
    assert "Read-only" in (await a.run("touch d/up/usr/evil", writes=["d/"])).stderr
    assert "s3cret" not in (await a.run(f"cat {secret}/token /proc/1/root{secret}/token")).stdout
    with pytest.raises(NotFound):
        await a.run(["no-such-program"])


async def test_a_command_cannot_signal_the_runner_and_leaves_no_daemon(tool_lab, bwrap):
    a, _ = tool_lab.agent("a", sandbox=Sandbox(program=bwrap))
    assert (await a.run(["sh", "-c", f"kill -0 {os.getpid()}"])).code != 0
    await a.run(["sh", "-c", "setsid sleep 987 & setsid setsid sleep 987 &"])
    await until(lambda: not processes.marked(a.gate.owner))
    assert (await a.run(["sh", "-c", "setsid sleep 987 & sleep 987"], timeout=0.5)).timed_out
    await until(lambda: not processes.marked(a.gate.owner))
