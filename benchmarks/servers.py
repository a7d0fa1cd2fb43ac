"""Processes that a benchmark starts, asks, and ends: the plane and its peers, each with a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agentlab import discovery
from agentlab.discovery import Plane
from agentlab.plane.daemon import DATABASE

DEADLINE = 30.0  # s until a server has to answer

TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """A running process, with its folder."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self.folder = folder

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu(self) -> float:
        """s of processor time that it has used so far, all its threads together."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until it is up. Raises RuntimeError with its last words: it ended, or is too slow."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._process.args!r} did not come up:\n{self.said()}")
            time.sleep(0.01)

    def said(self) -> str:
        return (self.folder / "output").read_text(errors="replace")[-2000:]


@contextlib.contextmanager
def running(argv: list[str], folder: Path) -> Iterator[Server]:
    """`argv` as a process with its output in `folder`/output; ended at the end, whatever happens."""
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield Server(process, folder)
    finally:
        process.terminate()
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A short path, for sockets, on the disk that everybody else's data is on."""
    with tempfile.TemporaryDirectory(prefix="al-bench-") as path:
        yield Path(path)


@contextlib.contextmanager
def plane(config: str = "", log: Path | None = None) -> Iterator[tuple[Server, Plane]]:
    """A real plane over a home of its own with `config` as its config.toml, and a workspace beside it.

    log: a database of a plane that has ended; this one goes on in a copy.
    """
    with folder() as place:
        home = place / "home"
        home.mkdir(0o700)
        (home / "config.toml").write_text(config)
        if log is not None:
            shutil.copy(log, home / DATABASE)
        (place / "workspace").mkdir()
        with running([sys.executable, "-m", "agentlab.plane", "--home", str(home)], place) as server:
            server.until(lambda: discovery.read(home))
            found = discovery.read(home)
            assert found is not None
            yield server, found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
