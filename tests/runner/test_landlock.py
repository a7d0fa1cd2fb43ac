"""What is particular to Landlock; what all sandboxes promise is in test_sandbox.py."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toolbox import until

from agentlab.core.events import FileWrite, Guard
from agentlab.errors import Unavailable
from agentlab.runner.tools.placeholders import Placeholders
from agentlab.runner.tools.reach import opened_alone
from agentlab.sandbox import MADE, Landlock, Opened, landlock_exec, probe_landlock


@pytest.fixture
def locked(tool_lab):
    """A tool host whose commands are confined by Landlock."""
    try:
        probe_landlock()
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    return tool_lab.agent("a", sandbox=Landlock(hidden=(tool_lab.home,)))


def test_the_words_for_the_launcher(tmp_path, monkeypatch):
    monkeypatch.setattr("agentlab.sandbox.landlock.devices", list)
    monkeypatch.setattr("agentlab.sandbox.landlock._OPEN_DEVICES", ("/dev/null",))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "torch").mkdir(parents=True)
    root, home = tmp_path / "ws", tmp_path / "home"
    reach = (
        Opened(folder=root / "src"),
        Opened(folder=root / "new.txt", missing="file"),
        Opened(folder=root, modes=True),
    )
    box = Landlock(hidden=(home,), scratch=home / "t", network=False, extra=(tmp_path, root / "inside"))
    assert box.argv(root, reach, ("make", "-j")) == (
        *(sys.executable, "-I", "-S", landlock_exec.__file__, "hide", str(home), "device", "/dev/null"),
        *("keep", str(root), "around", "/dev/shm", "around", str(tmp_path), "open", f"{home}/t"),
        *("link", f"{home}/t/.cache/torch", "to", f"{tmp_path}/cache/torch"),
        *("open", f"{root}/src", "file", f"{root}/new.txt", "network", "off", "--", "make", "-j"),
    )


def test_a_unit_opens_what_it_names_and_what_is_declared_is_made(tmp_path):
    for name in ("a/x.txt", "b/c/z.txt", ".git/config"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "nowhere").symlink_to("gone")
    modes = Opened(folder=tmp_path, modes=True)

    def reach(*units: str, declared: tuple[str, ...] = ()) -> tuple[Opened, ...]:
        *found, last = opened_alone(tmp_path, units, declared)
        assert last == modes
        return tuple(found)

    a, b = tmp_path / "a", tmp_path / "b"
    assert reach("dir:a", "file:a/x.txt", "proc:pytest") == (Opened(folder=a),)
    assert reach("file:a/x.txt") == (Opened(folder=a / "x.txt"),)
    assert reach("proc:git", "dir:b") == (Opened(folder=tmp_path / ".git"), Opened(folder=b))
    new = ("file:b/new/deep.txt", "file:a/y.txt", "dir:d", "file:nowhere")
    assert reach(*new) == ()
    assert reach(*new, declared=new) == (
        Opened(folder=a / "y.txt", missing="file"),
        Opened(folder=b / "new", missing="folder"),
        Opened(folder=tmp_path / "d", missing="folder"),
    )
    assert tmp_path / "a" / "x.txt" not in modes


def test_a_unit_that_leads_out_by_a_link_is_refused(tmp_path):
    root = tmp_path / "ws"
    root.mkdir()
    (tmp_path / "x").touch()
    (root / "out").symlink_to(tmp_path)
    for unit in ("dir:out", "file:out/x", "file:out/new"):
        with pytest.raises(Unavailable, match="leads out of the workspace"):
            opened_alone(root, (unit,), (unit,))


def test_all_around_something_is_named_without_it_and_the_way_to_it(tmp_path):
    for name in ("home/u/.local/agentlab/db", "home/u/project/x", "home/v/x", "etc/passwd"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    top = str(tmp_path)
    found = list(landlock_exec.around(top, [f"{top}/home/u/.local/agentlab", f"{top}/etc", "/elsewhere"]))
    assert [path.removeprefix(top) for path in found] == ["/home/u/project", "/home/v"]
    assert list(landlock_exec.around(top, ["/elsewhere"])) == [top]
    assert list(landlock_exec.around(top, [top])) == []


def test_what_was_made_goes_again_when_nobody_wrote_it_and_nobody_may_still(tmp_path):
    made = [Opened(folder=tmp_path / name, missing="file") for name in ("idle", "empty", "used", "shared")]
    placeholders = Placeholders()
    placeholders.begin(made)
    other = (Opened(folder=tmp_path / "shared"),)
    placeholders.begin(other)
    for one in made:
        one.folder.touch()
        os.utime(one.folder, ns=(MADE, MADE))
    (tmp_path / "empty").write_text("")  # emptied on purpose
    (tmp_path / "used").write_text("x")
    placeholders.end(made)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "shared", "used"]
    placeholders.end(other)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "used"]


async def test_a_file_is_written_in_place_and_replaced_only_with_its_folder(locked):
    a, gate = locked
    (a.root / "d").mkdir()
    for name in ("d/x.txt", "d/y.txt"):
        (a.root / name).write_text("old\n")
    assert (await a.run(["sh", "-c", "echo new > d/x.txt"], writes=["d/x.txt"])).wrote == ("d/x.txt",)
    ran = await a.run(["sed", "-i", "s/new/newer/", "d/x.txt"], writes=["d/x.txt"])
    assert (ran.code != 0, ran.wrote) == (True, ())
    assert "declare its folder" in ran.hint
    ran = await a.run(
        ["sh", "-c", "echo > d/y.txt; rm -f d/y.txt; mv d/x.txt d/y.txt; ln d/y.txt d/z"], writes=["d/x.txt"]
    )
    assert ran.code != 0
    assert (a.root / "d" / "y.txt").read_text() == "old\n"
    assert (await a.run(["sed", "-i", "s/new/newer/", "d/x.txt"], writes=["d/"])).wrote == ("d/x.txt",)
    assert (await a.run(["rm", "d/y.txt"], writes=["d/"])).code == 0
    assert not gate.of(Guard)


async def test_what_is_declared_and_not_there_is_written_as_new_and_leaves_no_trace_otherwise(locked):
    a, gate = locked
    ran = await a.run(
        ["sh", "-c", "echo 1 > out.txt; mkdir -p build/deep; echo 2 > build/deep/o"], writes=["out.txt", "build/"]
    )
    assert ran.wrote == ("build/deep/o", "out.txt")
    assert [body.before for body in gate.of(FileWrite)] == [None, None]
    ran = await a.run(["true"], writes=["never.txt", "never/", "no/such/file"])
    assert ran.wrote == ()
    assert sorted(path.name for path in a.root.iterdir()) == ["build", "out.txt"]
    assert (await a.run(["touch", "empty"], writes=["empty"])).wrote == ("empty",)
    ran = await a.run(["mkdir", "target"], writes=["target/"])
    assert "made for you" in ran.hint
    assert not gate.of(Guard)


async def test_permissions_that_a_command_changed_are_put_back_and_a_persons_edit_is_not(locked):
    a, gate = locked
    (a.root / "mine").mkdir()
    for name in ("tool.sh", "notes.md"):
        (a.root / name).write_text("before")
        (a.root / name).chmod(0o644)
    script = "chmod 755 tool.sh notes.md; touch mine/ready; while [ ! -e done ]; do sleep 0.05; done"
    running = asyncio.ensure_future(a.run(["sh", "-c", script], writes=["mine/"]))
    await until(lambda: (a.root / "mine" / "ready").exists(), 60)
    (a.root / "notes.md").write_text("a person's edit")
    (a.root / "done").touch()
    ran = await running
    assert "tool.sh" in ran.violations
    assert (a.root / "tool.sh").stat().st_mode & 0o777 == 0o644
    assert (a.root / "notes.md").read_text() == "a person's edit"
    assert (a.root / "done").exists()
    assert [guard.paths for guard in gate.of(Guard)] == [("tool.sh",)]


async def test_tmp_is_closed_and_temporary_files_have_a_folder_of_the_agents_own(locked):
    a, _ = locked
    name = f"agentlab-{os.getpid()}"
    assert (await a.run(["sh", "-c", f"echo 1 > /tmp/{name} || echo kept > $TMPDIR/log"])).code == 0
    assert not Path("/tmp", name).exists()
    assert (await a.run(["sh", "-c", "cat $TMPDIR/log"])).stdout == "kept\n"
    await a.close()
    assert not list(Path(a.root).parent.glob("home/private/*/tmp"))


async def test_installations_in_the_cache_folder_can_be_read(tool_lab, locked, monkeypatch, tmp_path):
    (tmp_path / "cache" / "torch").mkdir(parents=True)
    (tmp_path / "cache" / "torch" / "model").write_text("weights")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    a, _ = locked
    ran = await a.run(["sh", "-c", "cat $XDG_CACHE_HOME/torch/model; echo evil > $XDG_CACHE_HOME/torch/model"])
    assert ran.stdout == "weights"
    assert (tmp_path / "cache" / "torch" / "model").read_text() == "weights"


async def test_a_hidden_folder_above_the_folder_for_temporary_files_stays_hidden(locked, tool_lab):
    a, _ = locked
    (tool_lab.home / "token").write_text("s3cret")
    private = next(tool_lab.home.glob("private/*"))
    (private / "other").write_text("s3cret")
    attempt = f"cat {tool_lab.home}/token {private}/other; ln {tool_lab.home}/token $TMPDIR/t; cp -l {private}/other $TMPDIR/o"
    ran = await a.run(
        ["sh", "-c", f"{attempt}; cd $TMPDIR && cat ../other ../../../token; echo evil > ../evil; cat t o"]
    )
    assert ran.stdout == ""
    assert not (private / "evil").exists()


async def test_a_link_that_was_put_in_the_way_opens_and_makes_nothing(locked, tmp_path):
    a, _ = locked
    (tmp_path / "elsewhere").mkdir()
    (a.root / "up").symlink_to(tmp_path / "elsewhere")
    for words in (("open", f"{a.root}/up"), ("file", f"{a.root}/up/made"), ("folder", f"{a.root}/up")):
        launched = (sys.executable, "-I", "-S", landlock_exec.__file__, *words, "--", "touch", f"{a.root}/up/evil")
        done = await asyncio.to_thread(subprocess.run, launched, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.startswith(landlock_exec.MARK)) == (1, True)
    assert not list((tmp_path / "elsewhere").iterdir())


async def test_a_program_that_cannot_be_started_is_no_command(locked, tool_lab):
    a, _ = locked
    program = tool_lab.home / "program"
    program.write_text("#!/bin/sh\necho hi\n")
    program.chmod(0o755)
    with pytest.raises(Unavailable, match=r"was not run: .*program: Permission denied"):
        await a.run([str(program)])


async def test_an_exit_code_above_128_is_no_signal(locked):
    a, _ = locked
    ran = await a.run(["sh", "-c", "exit 137"])
    assert (ran.code, ran.signal) == (137, None)
