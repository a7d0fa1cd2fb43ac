from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentlab import processes

ENV = {"PATH": os.environ["PATH"], processes.AGENT_VARIABLE: f"run/test-{os.getpid()}"}
MARK = ENV[processes.AGENT_VARIABLE]

DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
open(sys.argv[1], "w").write(str(os.getpid()))
while True: time.sleep(1)
"""

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
inner = subprocess.Popen(["sleep", "1000"], start_new_session=True)
open(sys.argv[1], "w").write(str(inner.pid))
while True: time.sleep(1)
"""


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def number(path: Path) -> int:
    until(lambda: path.exists() and path.read_text())
    return int(path.read_text())


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    found: list[subprocess.Popen[bytes]] = []
    yield found
    processes.kill_tree([p.pid for p in found], marker=MARK, grace=0)
    for process in found:
        process.wait()


def python(started: list[subprocess.Popen[bytes]], code: str, *args: object) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", code, *map(str, args)]
    started.append(subprocess.Popen(argv, env=ENV, start_new_session=True))
    return started[-1]


def test_an_identity_is_of_one_process_and_of_no_later_one(started):
    process = python(started, "import time; time.sleep(1000)")
    name = processes.identity(process.pid)
    assert processes.alive(name) and name.startswith(f"{process.pid}:")
    assert not processes.alive(f"{process.pid}:1") and not processes.alive("nonsense")
    process.kill()
    until(lambda: not processes.alive(name))  # also as a zombie
    with pytest.raises(ProcessLookupError):
        processes.identity(process.pid)


def test_a_daemon_in_a_session_of_its_own_is_found_and_ended(started, tmp_path):
    process = python(started, DAEMON, tmp_path / "pid")
    daemon = number(tmp_path / "pid")
    process.wait()
    assert daemon not in processes.tree(process.pid)
    assert daemon in processes.marked(MARK) and daemon not in processes.marked(MARK + "2")
    name = processes.identity(daemon)
    assert processes.kill_tree([process.pid], marker=MARK, grace=0.2) >= 1
    assert not processes.alive(name)


def test_a_tree_that_ignores_term_is_killed_with_all_that_it_started(started, tmp_path):
    process = python(started, STUBBORN, tmp_path / "pid")
    inner = processes.identity(number(tmp_path / "pid"))
    assert set(processes.tree(process.pid)) == {process.pid, int(inner.partition(":")[0])}
    assert processes.stats([process.pid]).processes == 2 and processes.stats([process.pid]).rss > 0
    assert processes.kill_tree([process.pid], grace=0.1) == 2
    assert process.wait() == -signal.SIGKILL and not processes.alive(inner)
    assert processes.kill_tree([process.pid], grace=0) == 0


def test_a_frozen_tree_stands_still_and_goes_on(started, tmp_path):
    code = "import subprocess, sys, time; subprocess.Popen(['sleep', '1000']); open(sys.argv[1], 'w').write('1')\nwhile True: time.sleep(0.001)"
    process = python(started, code, tmp_path / "up")
    number(tmp_path / "up")
    processes.freeze([process.pid])
    frozen = [processes.info(pid).state for pid in processes.tree(process.pid)]
    assert frozen == ["T", "T"]
    processes.thaw([process.pid])
    until(lambda: all(processes.info(pid).state != "T" for pid in processes.tree(process.pid)))
    processes.freeze([process.pid])
    assert processes.kill_tree([process.pid], grace=5) == 2  # a stopped one hears TERM too
    assert process.wait() == -signal.SIGTERM


def test_we_and_those_above_us_are_never_killed():
    child = subprocess.Popen(["sleep", "1000"])
    assert processes.kill_tree([child.pid, os.getpid()], grace=0) == 1
    child.wait()
    assert processes.alive(processes.identity(os.getpid()))


async def test_a_child_is_read_and_awaited_without_threads():
    code = "import os; os.write(1, b'x' * 3_000_000); os.write(2, b'err')"
    child = processes.spawn([sys.executable, "-c", code], cwd="/", env=ENV)
    pieces: list[bytes] = []
    complaints: list[bytes] = []

    async def out(data: bytes) -> None:
        pieces.append(data)

    async def err(data: bytes) -> None:
        complaints.append(data)

    exits = await asyncio.gather(
        child.wait(), child.wait(), processes.read_pipe(child.stdout, out), processes.read_pipe(child.stderr, err)
    )
    child.close_pipes()
    assert sum(map(len, pieces)) == 3_000_000 and b"".join(complaints) == b"err"
    assert exits[0] == exits[1] and exits[0].code == 0 and exits[0].rusage["peak"] > 0


async def test_a_wait_that_is_cancelled_disturbs_no_other():
    child = processes.spawn(["sleep", "1000"], cwd="/", env=ENV)
    given_up, other = asyncio.ensure_future(child.wait()), asyncio.ensure_future(child.wait())
    await asyncio.sleep(0)
    given_up.cancel()
    await processes.end([child.pid], grace=0)
    assert (await other).signal == signal.SIGKILL
    child.close_pipes()


def test_who_knows_tokens_leaves_no_core_file() -> None:
    code = "from agentlab import processes; processes.leave_no_core(); print(open('/proc/self/limits').read())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in said.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4] == "0"
