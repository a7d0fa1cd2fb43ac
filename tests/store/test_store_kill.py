"""Killed in the middle of its work, the store has all that it acknowledged, and nothing in part."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from logs import blob, everything, messages, opened

from agentlab.errors import Unavailable
from agentlab.store.sqlite import SqliteStore

BATCH = 7


@contextmanager
def writing(path: Path) -> Iterator[subprocess.Popen[str]]:
    child = Path(__file__).with_name("writing_child.py")
    with subprocess.Popen([sys.executable, str(child), str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def acknowledged(process: subprocess.Popen[str], batches: int) -> int:
    """Wait for so many batches, kill at once, and return the last id that was acknowledged."""
    assert process.stdout is not None
    for _ in range(batches + 1):
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().splitlines(keepends=True)
    whole = [int(line) for line in rest if line.endswith("\n")]
    return whole[-1] if whole else 0


@pytest.mark.timeout(60)
async def test_every_acknowledged_batch_is_there_after_kill_9(path: Path) -> None:
    before = 0
    for batches in (20, 131, 260):
        with writing(path) as process:
            seen = acknowledged(process, batches)
        async with opened(path) as store:
            last = await store.last_id()
            assert last >= max(seen, before + batches * BATCH)
            assert last % BATCH == 0
            events = await everything(store)
            assert [(e.id, e.seq) for e in events] == [(i, i) for i in range(1, last + 1)]
            assert await store.journals(["r1"]) == {"r1/a": last}
            marks = [blob(b"%d" % id).hash for id in range(BATCH, last + 1, BATCH)]
            assert await store.has_blobs(marks) == set(marks)
        before = last


@pytest.mark.timeout(60)
async def test_a_second_writer_is_told_who_the_first_is_and_takes_over_when_that_dies(path: Path) -> None:
    with writing(path) as process:
        assert process.stdout is not None and process.stdout.readline()
        with pytest.raises(Unavailable, match=rf"written by process {process.pid}\b") as refused:
            await SqliteStore(path).open()
        assert refused.value.data["pid"] == process.pid
        process.kill()
        process.wait()
    async with opened(path) as store:
        last = await store.last_id()
        await store.append(messages(last + 1, last + 1))
    assert not re.search(r"\d", path.with_name("log.db.lock").read_text())


@pytest.mark.timeout(60)
async def test_a_process_that_dies_of_an_error_with_the_store_open_is_gone_and_its_lock_with_it(path: Path) -> None:
    code = (
        "import asyncio, pathlib, sys; from agentlab.store.sqlite import SqliteStore\n"
        "async def main():\n await SqliteStore(pathlib.Path(sys.argv[1])).open()\n raise SystemExit(3)\n"
        "asyncio.run(main())"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], timeout=30).returncode == 3
    async with opened(path) as store:
        assert await store.last_id() == 0
