from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from toolbox import until

from agentlab import processes
from agentlab.config import Confinement
from agentlab.core.events import Guard, ProcStart
from agentlab.errors import BadRequest, NotFound, Unavailable
from agentlab.runner.tools import confined
from agentlab.runner.tools.reach import opened
from agentlab.sandbox import Bubblewrap, Landlock, Opened, Sandbox, choose, probe_bubblewrap, probe_landlock
from agentlab.sandbox.base import notebooks
from agentlab.sandbox.bubblewrap import needed

T = TypeVar("T")
REFUSED = re.compile("Read-only file system|Permission denied")


def probed(trial: Callable[[], T]) -> T:
    try:
        return trial()
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture
def bwrap() -> str:
    return probed(probe_bubblewrap)


@pytest.fixture(params=["bubblewrap", "landlock"])
def rung(request: pytest.FixtureRequest) -> Callable[..., Sandbox]:
    """Makes the sandbox of each rung of the ladder."""
    if request.param == "bubblewrap":
        return partial(Bubblewrap, program=probed(probe_bubblewrap))
    probed(probe_landlock)
    return Landlock


def test_the_argv_opens_what_is_held_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr("agentlab.sandbox.bubblewrap.devices", list)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "torch").mkdir(parents=True)
    (tmp_path / "cache" / "pip").mkdir()
    root, home = tmp_path / "ws", tmp_path / "home"
    box = Bubblewrap(program="bwrap", hidden=(home,), scratch=home / "t", network=False, extra=(tmp_path, Path("/x")))
    words = box.argv(root, (Opened(folder=root / "src", sealed=(root / "src/b",)),), ("make", "-j"))
    assert words == (
        *("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--unshare-pid", "--proc", "/proc"),
        *("--bind", f"{home}/t", "/tmp", "--bind", f"{home}/t", "/var/tmp"),
        *("--ro-bind-try", f"{tmp_path}/cache/torch", "/tmp/.cache/torch"),
        *("--bind-try", str(tmp_path), str(tmp_path), "--ro-bind", str(root), str(root), "--bind-try", "/x", "/x"),
        *("--bind", f"{root}/src", f"{root}/src", "--ro-bind-try", f"{root}/src/b", f"{root}/src/b"),
        *("--tmpfs", str(home), "--unshare-net", "--", "make", "-j"),
    )


def test_root_keeps_what_it_needs_for_files_and_cannot_mount(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    words = Bubblewrap(program="bwrap").argv(Path("/ws"), (), ("true",))
    assert words[words.index("--cap-drop") + 1] == "ALL"
    assert "CAP_DAC_OVERRIDE" in words
    assert "CAP_SYS_ADMIN" not in words


def test_a_unit_opens_its_folder_or_its_file_with_the_rest_sealed(tmp_path):
    for name in ("a/x.txt", "a/y.txt", "b/c/z.txt", ".git/config"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    a, b = tmp_path / "a", tmp_path / "b"
    assert opened(tmp_path, ("dir:a", "file:a/x.txt", "proc:pytest")) == (Opened(folder=a),)
    assert opened(tmp_path, ("file:a/x.txt",)) == (Opened(folder=a, sealed=(a / "y.txt",)),)
    assert opened(tmp_path, ("file:b/new/deep.txt",)) == (Opened(folder=b, sealed=(b / "c",)),)
    assert opened(tmp_path, ("dir:new",)) == (Opened(folder=tmp_path, sealed=(tmp_path / ".git", a, b)),)
    assert opened(tmp_path, ("proc:git", "dir:b")) == (Opened(folder=tmp_path / ".git"), Opened(folder=b))
    assert opened(tmp_path, ("dir:.", "file:a/x.txt")) == (Opened(folder=tmp_path),)


def test_a_unit_that_leads_out_by_a_link_is_refused(tmp_path):
    root = tmp_path / "ws"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    with pytest.raises(Unavailable, match="leads out of the workspace"):
        opened(root, ("dir:out",))


def test_a_probe_says_why_there_is_none(tmp_path):
    with pytest.raises(Unavailable, match="cannot be used"):
        probe_bubblewrap(str(tmp_path / "bwrap"))
    open_door = tmp_path / "open"
    open_door.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    open_door.chmod(0o755)
    with pytest.raises(Unavailable, match="did not keep a write out"):
        probe_bubblewrap(str(open_door))


def test_a_trial_that_went_well_is_remembered_and_one_that_did_not_is_not(tmp_path, monkeypatch):
    tried: list[str] = []
    monkeypatch.setattr("agentlab.sandbox.bubblewrap.probe", lambda path=None: tried.append(path) or path)
    program = tmp_path / "bin" / "bwrap"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    for _ in range(2):
        box, why = choose(Confinement(writable=("/opt/x",), network=False), tmp_path, tmp_path / "ws")
    hidden = {"hidden": (tmp_path,), "private": notebooks()}
    assert box == Bubblewrap(program=str(program), **hidden, extra=(Path("/opt/x"),), network=False)
    assert (why, len(tried)) == ("", 1)
    program.write_text("#!/bin/sh\nexit 0\n")  # another program: tried anew
    choose(Confinement(), tmp_path, tmp_path / "ws")
    assert len(tried) == 2


def test_a_bubblewrap_that_lies_in_the_workspace_is_none(tmp_path, monkeypatch):
    root = tmp_path / "ws"
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "bwrap").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (root / ".venv" / "bin" / "bwrap").chmod(0o755)
    (tmp_path / "linked").symlink_to(root / ".venv" / "bin")
    monkeypatch.setenv("PATH", f"{root}/.venv/bin:{tmp_path}/linked")
    with pytest.raises(Unavailable, match="not installed"):
        choose(Confinement(mode="bubblewrap"), tmp_path / "home", root)
    assert not (tmp_path / "started").exists()


def test_where_jupyter_keeps_its_tokens_is_known(tmp_path, monkeypatch):
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert notebooks() == (tmp_path / "jupyter" / "runtime",)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "run"))
    assert notebooks()[:2] == (tmp_path / "run", tmp_path / "data" / "runtime")


def test_what_cannot_be_had_is_an_error_if_asked_for_by_name_and_said_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose(Confinement(mode="none"), tmp_path, tmp_path / "ws") == (None, "switched off in config.toml")
    monkeypatch.setattr("agentlab.sandbox.landlock.launcher.version", lambda: 2)
    box, why = choose(Confinement(), tmp_path, tmp_path / "ws")
    assert box is None
    assert "apt-get install bubblewrap" in why
    assert "(version 2) does not hold files from being truncated" in why
    with pytest.raises(Unavailable, match=r'mode = "landlock".*kernel >= 6.2'):
        choose(Confinement(mode="landlock"), tmp_path, tmp_path / "ws")
    with pytest.raises(Unavailable, match=r'mode = "bubblewrap".*not installed'):
        choose(Confinement(mode="bubblewrap"), tmp_path, tmp_path / "ws")


def test_without_bubblewrap_landlock_holds_and_the_reason_is_said(tmp_path, monkeypatch):
    probed(probe_landlock)
    monkeypatch.setenv("PATH", str(tmp_path))
    box, why = choose(Confinement(writable=("/opt/x",)), tmp_path, tmp_path / "ws")
    hidden = {"hidden": (tmp_path,), "private": notebooks()}
    assert box == Landlock(**hidden, extra=(Path("/opt/x"),))
    assert "bubblewrap is not installed" in why
    assert choose(Confinement(mode="landlock", network=False), tmp_path, tmp_path / "ws") == (
        Landlock(**hidden, network=False),
        "",
    )


def test_a_network_that_is_to_be_cut_and_cannot_be_is_never_left_open(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="needs a sandbox"):
        choose(Confinement(mode="none", network=False), tmp_path, tmp_path / "ws")
    monkeypatch.setattr("agentlab.sandbox.landlock.launcher.MACHINES", {})
    for mode in ("auto", "landlock"):
        with pytest.raises(Unavailable, match="the network cannot be cut on"):
            choose(Confinement(mode=mode, network=False), tmp_path, tmp_path / "ws")


def test_what_programs_need_below_tmp_stays_visible():
    env = {"PATH": "/usr/bin:/tmp/venv/bin:/tmp", "VIRTUAL_ENV": "/tmp/venv", "HOME": "/root"}
    assert {Path("/tmp/venv"), Path("/tmp")} & set(needed(env)) == {Path("/tmp/venv")}


@pytest.mark.parametrize(
    ("code", "told"), [(0, (0, None)), (1, (1, None)), (129, (129, None)), (137, (None, 9)), (255, (255, None))]
)
def test_a_signal_inside_is_told_as_one(code, told):
    exit = confined.exit_of(processes.Exit(code=code, signal=None, rusage={}))
    assert (exit.code, exit.signal) == told


async def test_a_command_writes_what_it_declared_and_nothing_outside(tool_lab, rung, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "token").write_text("s3cret")
    a, gate = tool_lab.agent("a", sandbox=rung(hidden=(secret,)))
    (Path(a.root) / "d").mkdir()
    ran = await a.run(["sh", "-c", "echo 1 > d/x; echo 2 > no.txt; pwd"], writes=["d/"])
    assert ran.wrote == ("d/x",)
    assert REFUSED.search(ran.stderr)
    assert ran.stdout == f"{a.root}\n"
    assert not (Path(a.root) / "no.txt").exists()
    assert [b.sandbox for b in gate.of(ProcStart)] == [gate.of(ProcStart)[0].sandbox]
    await a.run([sys.executable, "-c", "import os; os.symlink('/', 'd/up')"], writes=["d/"])
    assert REFUSED.search((await a.run("touch d/up/usr/evil", writes=["d/"])).stderr)
    assert (
        "s3cret"
        not in (await a.run(f"cat {secret}/token /proc/1/root{secret}/token /proc/self/root{secret}/token")).stdout
    )
    with pytest.raises(NotFound):
        await a.run(["no-such-program"])


async def test_a_command_cannot_signal_the_runner_and_leaves_no_daemon(tool_lab, rung):
    a, _ = tool_lab.agent("a", sandbox=rung())
    assert (await a.run(["sh", "-c", f"kill -0 {os.getpid()}"])).code != 0
    await a.run(["sh", "-c", "setsid sleep 987 & setsid setsid sleep 987 &"])
    await until(lambda: not processes.marked(a.gate.owner))
    assert (await a.run(["sh", "-c", "setsid sleep 987 & sleep 987"], timeout=0.5)).timed_out
    await until(lambda: not processes.marked(a.gate.owner))


@pytest.fixture
def boxed(tool_lab, rung):
    """A tool host whose commands are in a sandbox."""
    return tool_lab.agent("a", sandbox=rung(hidden=(tool_lab.home,)))


@pytest.fixture
def wrapped(tool_lab, bwrap):
    """The same, with bubblewrap."""
    return tool_lab.agent("a", sandbox=Bubblewrap(program=bwrap, hidden=(tool_lab.home,)))


async def test_a_refused_write_tells_what_to_declare(boxed):
    a, gate = boxed
    ran = await a.run(["sh", "-c", "echo 1 > build.txt"])
    assert ran.code != 0
    assert "writes=['build/']" in ran.hint
    assert not ran.violations
    assert not gate.of(Guard)
    assert (await a.run(["sh", "-c", "echo 1 > build.txt"], writes=["build.txt"])).hint == ""


async def test_a_file_is_replaced_in_place_and_by_renaming_while_its_neighbours_are_sealed(wrapped):
    a, gate = wrapped
    for name in ("x.txt", "y.txt"):
        (a.root / name).write_text("old\n")
    assert (await a.run(["sh", "-c", "echo new > x.txt"], writes=["x.txt"])).wrote == ("x.txt",)
    assert (await a.run(["sed", "-i", "s/new/newer/", "x.txt"], writes=["x.txt"])).wrote == ("x.txt",)
    ran = await a.run(["sh", "-c", "echo evil > y.txt; rm -f y.txt; mv x.txt y.txt"], writes=["x.txt"])
    assert ran.hint
    assert (a.root / "y.txt").read_text() == "old\n"
    assert (a.root / "x.txt").read_text() == "newer\n"
    assert not gate.of(Guard)
    ran = await a.run(["sh", "-c", "echo > beside.txt"], writes=["x.txt"])  # a new name: found by the scan
    assert "beside.txt" in ran.violations
    assert not (a.root / "beside.txt").exists()


async def test_somebody_elses_change_beside_a_command_is_left_alone(boxed):
    a, gate = boxed
    (a.root / "mine").mkdir()
    (a.root / "notes.md").write_text("before")
    script = "echo 1 > mine/x; touch mine/ready; while [ ! -e notes.done ]; do sleep 0.05; done"
    running = asyncio.ensure_future(a.run(["sh", "-c", script], writes=["mine/"]))
    await until(lambda: (a.root / "mine" / "ready").exists(), 60)
    (a.root / "notes.md").write_text("a person's edit")
    (a.root / "notes.done").touch()
    ran = await running
    assert ran.wrote == ("mine/ready", "mine/x")
    assert (a.root / "notes.md").read_text() == "a person's edit"
    assert (a.root / "notes.done").exists()
    assert not gate.of(Guard)


async def test_another_name_of_a_sealed_file_does_not_hide_a_write(boxed):
    a, _ = boxed
    (a.root / "open").mkdir()
    (a.root / "sealed.txt").write_text("kept")
    (a.root / "open" / "link").hardlink_to(a.root / "sealed.txt")
    ran = await a.run(["sh", "-c", "echo evil > open/link"], writes=["open/"])
    assert "sealed.txt" in ran.violations + str(ran.wrote)
    ran = await a.run(["sh", "-c", "ln sealed.txt open/another || ln sealed.txt /tmp/another"], writes=["open/"])
    assert ran.code != 0


@pytest.mark.parametrize(
    "attempt",
    [
        "echo evil > ../outside.txt",
        "echo evil > /proc/self/root$OUT/outside.txt",
        "echo evil > /proc/1/root$OUT/outside.txt",
        "echo evil > /proc/1/cwd/sealed.txt",
        "ln -s $PWD open/up && echo evil > open/up/sealed.txt",
        "mount -o remount,bind,rw $PWD && echo evil > sealed.txt",
        "mount -o remount,rw / && echo evil > $OUT/outside.txt",
        "umount $PWD && echo evil > sealed.txt",
        "unshare -Urm sh -c 'mount -o remount,bind,rw $PWD; echo evil > sealed.txt'",
        "nsenter -t 1 -m sh -c 'echo evil > $PWD/sealed.txt'",
        "chmod 777 . && echo evil > sealed.txt",
        "mv open elsewhere",
    ],
)
async def test_a_command_does_not_get_out(boxed, attempt, tmp_path):
    a, gate = boxed
    (a.root / "open").mkdir()
    (a.root / "sealed.txt").write_text("kept")
    await a.run(["sh", "-c", f"touch open/tried; {attempt}"], writes=["open/"], env={"OUT": str(tmp_path)})
    assert (a.root / "sealed.txt").read_text() == "kept"
    assert (a.root / "open" / "tried").exists()
    assert not (tmp_path / "outside.txt").exists()
    assert not gate.of(Guard)


async def test_what_opens_the_users_notebooks_is_hidden_also_when_it_comes_later(tool_lab, rung, tmp_path):
    runtime = tmp_path / "jupyter" / "runtime"
    a, _ = tool_lab.agent("a", sandbox=rung(private=(runtime,)))
    assert (await a.run(["true"])).code == 0, "it need not be there"
    runtime.mkdir(parents=True)
    (runtime / "jpserver-1.json").write_text("t0ken")
    ran = await a.run(["cat", str(runtime / "jpserver-1.json")])
    assert (ran.code != 0, ran.stdout) == (True, "")


async def test_a_search_that_is_led_elsewhere_finds_nothing_of_agentlabs(boxed, monkeypatch):
    a, _ = boxed
    (a.root / "d").mkdir()
    (a.root / "d" / "plane.json").write_text("nothing here")
    (Path(a.workspace.home) / "plane.json").write_text("the t0ken")
    assert await a.search("nothing") == ["d/plane.json:1:nothing here"]
    candidates = type(a._search)._candidates

    def swapped(self, *given):
        found = candidates(self, *given)
        shutil.rmtree(a.root / "d")
        (a.root / "d").symlink_to(a.workspace.home)
        return found

    monkeypatch.setattr(type(a._search), "_candidates", swapped)
    found: list[str] = []
    with suppress(BadRequest):  # it cannot read it, and may say so
        found = await a.search("t0ken")
    assert found == []


PRELOADED = """
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void begin(void) {
    FILE *file = fopen(getenv("OUT"), "a");
    if (file) fputs("loaded", file);
}
"""


async def test_what_an_agent_has_loaded_is_not_loaded_before_the_sandbox_is_there(boxed, tmp_path):
    a, _ = boxed
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("there is no C compiler")
    library, inside, outside = a.root / "d" / "own.so", a.root / "d" / "inside", tmp_path / "outside"
    library.parent.mkdir()
    subprocess.run([compiler, "-shared", "-fPIC", "-x", "c", "-o", library, "-"], input=PRELOADED.encode(), check=True)
    for out in (outside, inside):
        await a.run(["true"], writes=["d/"], env={"LD_PRELOAD": str(library), "OUT": str(out)})
    assert inside.read_text() == "loaded", "the command itself may load what it likes"
    assert not outside.exists()


async def test_variables_reach_the_command_alone_and_cannot_say_whose_it_is(boxed):
    a, _ = boxed
    env = {"GREETING": "two\nlines", "PATH": f"{a.root}:{os.environ['PATH']}"}
    (a.root / "greet").write_text('#!/bin/sh\necho "$GREETING"; tr "\\0" " " < /proc/self/cmdline\n')
    (a.root / "greet").chmod(0o755)
    ran = await a.run(["greet"], env=env)
    assert ran.stdout.startswith("two\nlines\n"), ran
    for wrong in ({"AGENTLAB_AGENT": "run/b"}, {"A=B": "c"}, {"A": "b\0c"}):
        with pytest.raises(BadRequest):
            await a.run(["true"], env=wrong)


async def test_a_command_cannot_trace_or_read_processes_outside(boxed):
    a, _ = boxed
    code = (
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"print(libc.ptrace(16, {os.getpid()}, 0, 0), os.path.exists('/proc/{os.getpid()}/environ'))"
    )
    ran = await a.run([sys.executable, "-c", code])
    assert ran.stdout in ("-1 False\n", "-1 True\n")
    of_it = f"/proc/{os.getpid()}"
    ran = await a.run(["sh", "-c", f"cat {of_it}/environ {of_it}/maps; readlink {of_it}/fd/1 {of_it}/cwd"])
    assert (ran.code != 0, ran.stdout) == (True, "")


async def test_bubblewrap_shows_no_processes_outside(wrapped):
    a, _ = wrapped
    assert len((await a.run(["sh", "-c", "ls -d /proc/[0-9]*"])).stdout.split()) < 8


async def test_tmp_is_the_agents_own_and_lasts_from_command_to_command(wrapped):
    a, _ = wrapped
    assert (await a.run(["sh", "-c", "echo kept > /tmp/log; echo more > $TMPDIR/../tmp/more"])).code == 0
    assert (await a.run("cat /tmp/log /tmp/more")).stdout == "kept\nmore\n"
    assert not Path("/tmp/log").exists()
    await a.close()
    assert not list(Path(a.root).parent.glob("home/private/*/tmp"))


async def test_tools_with_caches_work_in_a_read_only_workspace(boxed):
    a, _ = boxed
    (a.root / "test_it.py").write_text("def test_it(): assert 1 + 1 == 2\n")
    ran = await a.run([sys.executable, "-m", "pytest", "-q", "-W", "error::pytest.PytestCacheWarning", "test_it.py"])
    assert (ran.code, ran.hint) == (0, ""), ran
    assert "1 passed" in ran.stdout
    ran = await a.run([sys.executable, "-m", "pip", "cache", "dir"])
    assert ran.stdout == (await a.run(["sh", "-c", "echo $TMPDIR/.cache/pip"])).stdout
    assert sorted(path.name for path in a.root.iterdir()) == ["test_it.py"]


async def test_a_command_in_the_background_may_write_what_it_declared_and_not_what_its_agent_holds(boxed):
    a, _ = boxed
    (a.root / "src").mkdir()
    await a.claim("dir:src")
    printed = await a.start(command="echo x > out.txt; echo y > src/n.txt", writes=["out.txt"])
    while printed.running:
        printed = await a.output(printed.id, since=0, wait=60)
    assert (printed.code, printed.wrote, printed.violations) == (1, ("out.txt",), "")
    assert re.search(f"src/n.txt: ({REFUSED.pattern})", printed.text)
    assert "declare that" in printed.hint
    ran = await a.run(["bash", "-c", "echo y > src/n.txt"])
    assert (ran.code, ran.wrote) == (0, ("src/n.txt",))


async def test_how_a_command_ends_is_told_as_without_a_sandbox(boxed):
    a, _ = boxed
    assert (await a.run(["sh", "-c", "exit 7"])).code == 7
    ran = await a.run(["sh", "-c", "kill -SEGV $$"])
    assert (ran.code, ran.signal) == (None, signal.SIGSEGV)
    ran = await a.run(["git", "log", "--no-such-option-at-all"])
    assert ran.signal is None
    assert (await a.run("cat", stdin="in")).stdout == "in"
    ran = await a.run(["sh", "-c", "cat /dev/stdin; echo more > /dev/stdout; echo err > /dev/stderr"], stdin="in")
    assert (ran.stdout, ran.stderr) == ("inmore\n", "err\n")


async def test_a_command_without_network_reaches_nobody(tool_lab, rung):
    a, _ = tool_lab.agent("a", sandbox=rung(network=False))
    code = (
        "import socket\n"
        "for kind, call in ((socket.SOCK_STREAM, 'connect'), (socket.SOCK_DGRAM, 'connect')):\n"
        "    for family, address in ((socket.AF_INET, '192.0.2.1'), (socket.AF_INET6, '2001:db8::1')):\n"
        "        try:\n"
        "            getattr(socket.socket(family, kind), call)((address, 9))\n"
        "            print('open')\n"
        "        except OSError as error:\n"
        "            print('closed')\n"
        "print(*[s.send(b'local') for s in socket.socketpair()])\n"
    )
    assert (await a.run([sys.executable, "-c", code])).stdout == "closed\n" * 4 + "5 5\n"


async def test_what_is_writable_besides_does_not_open_the_workspace_or_what_is_hidden(tool_lab, rung, tmp_path):
    (tmp_path / "cargo").mkdir()
    a, gate = tool_lab.agent("a", sandbox=rung(extra=(tmp_path,), hidden=(tool_lab.home,)))
    ran = await a.run(["sh", "-c", f"echo 1 > {tmp_path}/cargo/x; echo 1 > stray.txt; echo 1 > {tool_lab.home}/evil"])
    assert (tmp_path / "cargo" / "x").exists()
    assert not (a.root / "stray.txt").exists()
    assert not (tool_lab.home / "evil").exists()
    assert REFUSED.search(ran.stderr)
    assert not gate.of(Guard)


def ignored_here() -> int:
    return int(
        next(line for line in Path("/proc/self/status").read_text().splitlines() if "SigIgn" in line).split()[1], 16
    )


async def test_programs_find_the_devices_and_the_signals_that_they_need(boxed):
    a, _ = boxed
    pythons = sum(1 << (number - 1) for number in (signal.SIGPIPE, signal.SIGXFSZ))
    code = (
        "import multiprocessing, os, pty, signal\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: print(pool.map(abs, [-1, 2]))\n"
        "print(signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN, os.isatty(pty.openpty()[1]))\n"
        "open('/dev/null', 'w').write('x'); print(len(open('/dev/urandom', 'rb').read(4)))\n"
    )
    ran = await a.run([sys.executable, "-c", code])
    assert ran.stdout.splitlines() == ["[1, 2]", "True True", "4"], ran.stderr
    ignored = (await a.run(["sh", "-c", "grep SigIgn /proc/self/status"])).stdout.split()[1]
    assert int(ignored, 16) == ignored_here() & ~pythons, "Python's own are given back; nohup's stay"


async def test_without_a_sandbox_there_is_no_command(tool_lab, tmp_path):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    a, _ = tool_lab.agent("a", sandbox=Bubblewrap(program=str(broken)))
    with pytest.raises(Unavailable, match="No permissions to create"):
        await a.run("true")
