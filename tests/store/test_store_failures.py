"""When a commit fails, nobody is told a lie: the outcome is unknown until the log has been read back."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from logs import blob, everything, ids, message, messages, opened

from agentlab.errors import BadRequest, OutcomeUnknown, StoreCorrupt, Unavailable
from agentlab.store import sqlite, writer
from agentlab.store.base import Batch
from agentlab.store.reader import open_reader
from agentlab.store.rows import Packed
from agentlab.store.sqlite import SqliteStore


async def limit_pages(log: SqliteStore, more: int) -> None:
    def limit(db: sqlite3.Connection) -> None:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages + more}")

    await log._in(log._writer, limit)


async def test_a_full_database_answers_unknown_and_goes_on_once_there_is_room(log: SqliteStore) -> None:
    await log.append(messages(1, 10))
    await limit_pages(log, 5)
    with pytest.raises(OutcomeUnknown, match="SQLITE_FULL") as refused:
        await log.append(messages(11, 2000))
    assert isinstance(refused.value.__cause__, sqlite3.OperationalError)
    with pytest.raises(OutcomeUnknown, match="reopened"):
        await log.append(messages(11, 11))
    assert await log.reopen() == 10
    await log.append(messages(11, 2000))
    assert await ids(log) == list(range(1, 2001))


@contextmanager
def failing_writes(beyond: int) -> Iterator[None]:
    """No file of this process can grow beyond so many bytes: the kernel fails the write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (beyond, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_failing_write_of_the_kernel_is_survived(log: SqliteStore) -> None:
    await log.append(messages(1, 10))
    with failing_writes(beyond=log.wal_size() + 10_000):
        with pytest.raises(OutcomeUnknown, match="SQLITE_IOERR"):
            await log.append(messages(11, 2000))
    assert await log.reopen() == 10
    await log.append(messages(11, 20))
    assert await ids(log) == list(range(1, 21))


async def test_while_the_log_cannot_be_read_back_the_outcome_stays_unknown(log: SqliteStore) -> None:
    await log.append(messages(1, 500))
    size = log.path.stat().st_size
    with failing_writes(beyond=size + 10_000):  # no room to fold the write-ahead log back
        with pytest.raises(OutcomeUnknown):
            await log.append(messages(501, 1000))
        with pytest.raises(OutcomeUnknown, match="could not be read back"):
            await log.reopen()
        with pytest.raises(OutcomeUnknown):
            await log.append(messages(501, 501))
        with pytest.raises(OutcomeUnknown):
            await log.reopen()
    assert await log.reopen() == 500
    await log.append(messages(501, 501))
    assert await log.last_id() == 501


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


async def test_a_full_disk_loses_nothing_that_was_acknowledged(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_500_000))
    async with opened(small_disk / "log.db") as log:
        last = 0

        async def fill() -> None:
            nonlocal last
            while True:
                await log.append(messages(last + 1, last + 100))
                last += 100

        with pytest.raises(OutcomeUnknown):
            await fill()
        assert 0 < last < 20_000
        ballast.unlink()
        assert await log.reopen() in (last, last + 100)
        last = await log.last_id()
        await log.append(messages(last + 1, last + 10))
        assert await ids(log) == list(range(1, last + 11))


@pytest.mark.parametrize(("took_effect", "truth"), [(True, 2), (False, 1)], ids=["kept", "lost"])
async def test_reopening_tells_whether_a_commit_that_failed_took_effect(
    log: SqliteStore, monkeypatch: pytest.MonkeyPatch, took_effect: bool, truth: int
) -> None:
    await log.append(messages(1, 1))
    real: Callable[[sqlite3.Connection, Packed], None] = writer.write

    def failing(db: sqlite3.Connection, packed: Packed) -> None:
        if took_effect:
            real(db, packed)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(writer, "write", failing)
    with pytest.raises(OutcomeUnknown, match="disk I/O error"):
        await log.append(messages(2, 2))
    monkeypatch.setattr(writer, "write", real)
    assert await log.reopen() == truth
    await log.append(messages(truth + 1, truth + 1))
    assert await ids(log) == list(range(1, truth + 2))


async def test_batches_that_wait_behind_a_failing_one_are_refused_with_it(
    log: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append(messages(1, 3))
    real = writer.write

    def failing_once(db: sqlite3.Connection, packed: Packed) -> None:
        monkeypatch.setattr(writer, "write", real)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(writer, "write", failing_once)
    answers = await asyncio.gather(
        log.append(messages(4, 4)), log.append(messages(5, 6)), log.append(messages(7, 8)), return_exceptions=True
    )
    assert [type(a) for a in answers] == [OutcomeUnknown] * 3
    assert await log.reopen() == 3


async def test_batches_handed_over_together_are_written_in_that_order(log: SqliteStore) -> None:
    await asyncio.gather(*(log.append(messages(i * 10 + 1, i * 10 + 10)) for i in range(30)))
    assert await ids(log) == list(range(1, 301))


async def test_a_cancelled_append_leaves_the_store_usable(log: SqliteStore) -> None:
    task = asyncio.create_task(log.append(messages(1, 300)))
    await asyncio.sleep(0)  # handed to the thread
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await log.append(messages(301, 301))
    assert await ids(log) == list(range(1, 302))


async def test_a_number_beyond_64_bits_is_refused_and_nothing_of_its_batch_is_written(log: SqliteStore) -> None:
    with pytest.raises(BadRequest, match="too large"):
        await log.append(Batch(events=[message(1), message(2, seq=2**63)], blobs=[blob(b"b")]))
    await log.append(messages(1, 1))
    assert await everything(log) == [message(1)]
    assert await log.has_blobs([blob(b"b").hash]) == set()


async def test_a_blob_that_is_gone_is_said_not_hidden(log: SqliteStore) -> None:
    await log.append(Batch(events=[message(1, text="x" * 9000)]))
    await log._in(log._writer, lambda db: db.execute("DELETE FROM blobs"))
    with pytest.raises(StoreCorrupt, match="which is not in it"):
        await everything(log)


# --- folding back --------------------------------------------------------------------------------------------


async def test_a_store_that_is_never_quiet_folds_its_write_ahead_log_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAL_HIGH", 200_000)
    async with opened(path) as log:
        sizes = []
        for i in range(200):
            await log.append(messages(i * 50 + 1, i * 50 + 50))
            sizes.append(log.wal_size())
        assert any(later < earlier for earlier, later in pairwise(sizes))
        assert await ids(log) == list(range(1, 10_001))


async def test_a_reader_in_the_way_stops_neither_commits_nor_the_checkpoint(
    log: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAL_HIGH", 10_000)
    await log.append(messages(1, 100))
    with closing(open_reader(log.path)) as db:
        db.execute("BEGIN")
        assert db.execute("SELECT count(*) FROM events").fetchone() == (100,)
        await log.append(messages(101, 200))
        await log.checkpoint()
        assert log.wal_size() > 10_000
        await log.append(messages(201, 300))
        assert db.execute("SELECT count(*) FROM events").fetchone() == (100,)
    await log.checkpoint()
    assert log.wal_size() == 0
    assert await ids(log) == list(range(1, 301))


async def test_a_checkpoint_that_fails_loses_nothing_and_the_log_goes_on(log: SqliteStore) -> None:
    await log.append(messages(1, 500))
    with failing_writes(beyond=log.path.stat().st_size + 10_000):
        with pytest.raises(Unavailable, match="Nothing was lost"):
            await log.checkpoint()
    await log.append(messages(501, 600))
    await log.checkpoint()
    assert await ids(log) == list(range(1, 601))


async def test_reopening_waits_for_a_reader_of_the_old_log_and_says_so(
    log: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "REOPEN_WAIT", 0.05)
    await log.append(messages(1, 10))
    with closing(open_reader(log.path)) as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM events").fetchone()
        with pytest.raises(OutcomeUnknown, match="reads an old state"):
            await log.reopen()
    assert await log.reopen() == 10
