"""Reading beside the writer: what is committed, all of it, and never a byte written."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from logs import blob, end, message, messages, opened, start

from agentlab.core.events import RunEnd
from agentlab.errors import NotFound, StoreCorrupt
from agentlab.store import reader
from agentlab.store.base import Batch, Snapshot
from agentlab.store.sqlite import SqliteStore


def files(folder: Path) -> dict[str, int]:
    return {f.name: f.stat().st_size for f in folder.iterdir()}


def test_no_log_is_an_error_and_is_not_made(path: Path) -> None:
    with pytest.raises(NotFound, match="no log at"):
        reader.open_reader(path)
    assert not path.parent.exists()


async def test_a_reader_sees_whole_batches_only(log: SqliteStore) -> None:
    def watch() -> list[int]:
        seen = [0]
        with closing(reader.open_reader(log.path)) as db:
            while seen[-1] < 2000:
                seen.append(db.execute("SELECT count(*) FROM events").fetchone()[0])
        return seen

    watching = asyncio.create_task(asyncio.to_thread(watch))
    for i in range(200):
        await log.append(messages(i * 10 + 1, i * 10 + 10))
    seen = await watching
    assert seen == sorted(seen)
    assert {count % 10 for count in seen} == {0}


async def test_a_reader_cannot_write(log: SqliteStore) -> None:
    with closing(reader.open_reader(log.path)) as db:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            db.execute("DELETE FROM events")


@pytest.mark.parametrize("copied", [False, True], ids=["where it was written", "a copy of the file"])
async def test_reading_a_closed_log_makes_no_file(path: Path, tmp_path: Path, copied: bool) -> None:
    async with opened(path) as store:
        await store.append(messages(1, 10))
    if copied:
        path = Path(shutil.copy(path, tmp_path / "odd name?#%.db"))
    before = files(path.parent)
    with closing(reader.open_reader(path)) as db:
        assert reader.last_id(db) == 10
        assert files(path.parent) == before
    assert files(path.parent) == before


async def test_a_reader_of_a_closed_log_sees_what_the_next_plane_adds(path: Path) -> None:
    async with opened(path) as store:
        await store.append(messages(1, 10))
    with closing(reader.open_reader(path)) as db:
        assert reader.last_id(db) == 10
        async with opened(path) as store:
            await store.append(messages(11, 20))
            assert reader.last_id(db) == 20
        assert reader.last_id(db) == 20


async def test_the_row_of_a_run_follows_its_events(log: SqliteStore) -> None:
    await log.append(Batch(events=[start(1, "r1"), start(2, "r2"), message(3, "r1", 2)]))
    with closing(reader.open_reader(log.path)) as db:
        first, _ = reader.runs(db)
        assert (first.run_id, first.name, first.status, first.session_id) == ("r1", "r1", "running", "s")
        assert (first.started, first.ended, first.base_tree, first.n_events) == (1000, None, "t0", None)
        config = msgspec.json.decode(first.config or "")
        assert (config["env"], config["root"], config["host"], config["nondet"]) == ({"TZ": "UTC"}, "/work", "h", 1)
        assert (config["versions"], config["schedule"], config["claims"]) == ({"git": "2"}, "arrival", "implicit")
        await log.append(Batch(events=[end(4, "r1", 3, status="failed")]))
        first, _ = reader.runs(db)
        assert (first.status, first.ended, first.final_tree, first.n_events) == ("failed", 4000, "t1", 3)
        assert reader.open_runs(db) == ["r2"]


async def test_the_row_of_a_run_says_what_its_end_says_that_was_used(log: SqliteStore) -> None:
    """None where nobody told, and of a log whose ends do not say it."""
    told = {"in": 3.0, "cost": 0.5}
    over = end(3, "r1", 2)
    over = msgspec.structs.replace(over, body=RunEnd(usage=told, reason="because " * 2000))
    await log.append(Batch(events=[start(1, "r1"), start(2, "r2"), over, start(4, "r3"), end(5, "r3", 2)]))
    with closing(reader.open_reader(log.path)) as db:
        assert {row.run_id: row.usage for row in reader.runs(db)} == {"r1": told, "r2": None, "r3": None}


async def test_a_reader_restores_large_values_and_blobs(log: SqliteStore) -> None:
    big = message(2, text="line\n" * 5000)
    await log.append(Batch(events=[message(1), big], blobs=[blob(b"content" * 100)]))
    with closing(reader.open_reader(log.path)) as db:
        assert [e for batch in reader.run_events(db, "r1", since=1) for e in batch] == [big]
        assert reader.blob(db, blob(b"content" * 100).hash) == b"content" * 100
        assert reader.blob(db, "0" * 64) is None


async def test_a_reader_lists_the_snapshots_of_a_run(log: SqliteStore) -> None:
    taken = [Snapshot(run_id="r1", seq=seq, tree=f"t{seq}", manifest="m") for seq in (1, 8, 20)]
    other = Snapshot(run_id="r2", seq=3, tree="t", manifest="m")
    await log.append(Batch(snapshots=[taken[2], other, taken[0]]))
    await log.append(Batch(snapshots=[taken[1]]))
    with closing(reader.open_reader(log.path)) as db:
        assert reader.snapshots(db, "r1") == taken


async def test_a_log_that_is_none_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("notes\n" * 1000)
    with pytest.raises(StoreCorrupt, match="not a database"):
        reader.open_reader(path)
