"""The two lines of the README: eight workers count in one file, 200 times each, without locks and with agentlab.

python scripts/evidence.py
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from headless import finish

from agentlab import connect

WORKERS, TIMES = 8, 200

CODE = f"""
for _ in range({TIMES}):
    with tools.claim("file:counter.txt"):
        n = int(tools.read("counter.txt"))
        tools.write("counter.txt", str(n + 1))
"""


def without(counter: Path) -> None:
    """Processes that read, add one and write, each write whole and atomic: what careful programs do on their own."""
    processes = [multiprocessing.Process(target=_count, args=(counter,)) for _ in range(WORKERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def _count(counter: Path) -> None:
    draft = counter.with_suffix(f".{os.getpid()}")
    for _ in range(TIMES):
        draft.write_text(str(int(counter.read_text()) + 1))
        draft.replace(counter)


def under_claims(counter: Path) -> None:
    with tempfile.TemporaryDirectory() as home:
        try:
            with connect(home) as lab, lab.run("count", workdir=counter.parent) as run:
                agents = [run.spawn("python", code=CODE) for _ in range(WORKERS)]
                for agent in agents:
                    agent.wait().check()
        finally:
            finish(Path(home))


def measure(what: str, count: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        counter = Path(folder) / "counter.txt"
        counter.write_text("0")
        begun = time.monotonic()
        count(counter)
        took, total = time.monotonic() - begun, int(counter.read_text())
    wanted = WORKERS * TIMES
    print(f"{what:<15}{WORKERS} workers x {TIMES}: {total:>5,} of {wanted:,}, {wanted - total:>5,} lost, {took:5.1f} s")


if __name__ == "__main__":
    measure("without locks", without)
    measure("with agentlab", under_claims)
