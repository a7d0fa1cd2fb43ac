"""What is opened, what is made anew, and what is refused without touching it."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from logs import ids, message, messages, opened

from agentlab.__about__ import __version__
from agentlab.errors import BadRequest, StoreCorrupt, Unavailable
from agentlab.store import writer
from agentlab.store.base import Batch
from agentlab.store.schema import MIGRATIONS, SCHEMA_VERSION, migrate, version_of
from agentlab.store.sqlite import SqliteStore


@contextmanager
def untouched(folder: Path) -> Iterator[None]:
    def content() -> dict[str, bytes]:
        return {f.name: f.read_bytes() for f in folder.iterdir() if f.suffix not in (".lock", ".db-shm")}

    before = content()
    yield
    assert content() == before


async def refused(path: Path, match: str) -> None:
    store = SqliteStore(path)
    with untouched(path.parent), pytest.raises(StoreCorrupt, match=match):
        await store.open()


async def filled(path: Path, events: int = 300) -> None:
    async with opened(path) as store:
        await store.append(Batch(events=[message(i, text="x" * 1000) for i in range(1, events + 1)]))


async def test_everything_that_it_makes_is_for_its_owner_only(path: Path) -> None:
    mask = os.umask(0)
    try:
        async with opened(path) as store:
            await store.append(messages(1, 1))
            modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in path.parent.iterdir()}
    finally:
        os.umask(mask)
    assert modes == dict.fromkeys(["log.db", "log.db-wal", "log.db-shm", "log.db.lock"], 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_log_that_others_could_read_is_closed_to_them(path: Path) -> None:
    await filled(path)
    path.chmod(0o644)
    async with opened(path):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_commits_are_synced_and_never_fold_back(log: SqliteStore) -> None:
    def settings(db: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "wal_autocheckpoint")
        return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await log._in(log._writer, settings) == ["wal", 2, 0]


async def test_an_empty_file_becomes_a_log(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    await filled(path)
    with closing(sqlite3.connect(path)) as db:
        assert version_of(db) == SCHEMA_VERSION
        assert db.execute("SELECT value FROM meta WHERE key = 'agentlab'").fetchone() == (__version__,)


async def test_a_log_is_opened_once(log: SqliteStore) -> None:
    with pytest.raises(BadRequest, match="open already"):
        await log.open()
    with pytest.raises(Unavailable, match=f"process {os.getpid()}"):
        await SqliteStore(log.path).open()


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("my notes\n" * 1000)
    await refused(path, "cannot be trusted: file is not a database")


async def test_the_database_of_another_program_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE cookies(name)")
    await refused(path, "another program")


async def test_a_truncated_log_is_refused(path: Path) -> None:
    await filled(path)
    os.truncate(path, path.stat().st_size // 2)
    await refused(path, "cannot be trusted")


@pytest.mark.parametrize("big", [False, True], ids=["checked whole", "checked in part"])
async def test_a_damaged_log_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch, big: bool) -> None:
    await filled(path)
    if big:
        monkeypatch.setattr(writer, "FULL_CHECK", 0)
    async with opened(path):
        pass  # whole, it is accepted
    with path.open("r+b") as file:
        file.seek(4096 if big else path.stat().st_size // 8192 * 4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096 if big else 4096))
    await refused(path, "cannot be trusted")


THREE = (
    *MIGRATIONS,
    "ALTER TABLE runs ADD COLUMN team TEXT; UPDATE runs SET team = 'none'",
    "CREATE TABLE teams(name TEXT); INSERT INTO teams VALUES ('none')",
)


async def test_an_older_log_is_migrated_step_by_step_and_keeps_its_events(path: Path) -> None:
    await filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        migrate(db, THREE)
        assert version_of(db) == SCHEMA_VERSION + 2
        assert db.execute("SELECT name, (SELECT count(*) FROM events) FROM teams").fetchone() == ("none", 300)
        migrate(db, THREE)  # there is nothing left to do
        assert db.execute("SELECT count(*) FROM teams").fetchone() == (1,)


async def test_a_migration_that_fails_leaves_the_steps_before_it_whole(path: Path) -> None:
    await filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        with pytest.raises(sqlite3.OperationalError):
            migrate(db, (*THREE[:-1], "CREATE TABLE teams(name TEXT); INSERT INTO nowhere VALUES (1)"))
        assert version_of(db) == SCHEMA_VERSION + 1
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'teams'").fetchone() == (0,)
        migrate(db, THREE)
        assert version_of(db) == SCHEMA_VERSION + 2


async def test_a_newer_log_is_refused_with_the_version_that_made_it(path: Path) -> None:
    await filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        migrate(db, THREE)
        db.execute("UPDATE meta SET value = '9.9'")
    await refused(path, r"made by agentlab 9\.9 \(schema 3\).*Upgrade agentlab")


async def test_a_newer_log_that_was_not_closed_is_refused_and_its_write_ahead_log_kept(path: Path) -> None:
    await filled(path)
    code = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "db.execute('PRAGMA user_version = 99'); db.execute('DROP TABLE meta'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert path.with_name("log.db-wal").stat().st_size > 0
    await refused(path, "made by a newer agentlab")


async def test_a_refused_log_can_be_opened_once_it_is_repaired(path: Path) -> None:
    await filled(path, events=5)
    good = path.read_bytes()
    path.write_bytes(b"x" * 5000)
    with pytest.raises(StoreCorrupt):
        await SqliteStore(path).open()
    path.write_bytes(good)
    async with opened(path) as store:
        assert await ids(store) == [1, 2, 3, 4, 5]


async def test_a_place_that_cannot_hold_a_log_is_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="AGENTLAB_HOME"):
        await SqliteStore(tmp_path / "file" / "log.db").open()


async def test_a_log_that_was_removed_is_not_made_anew_behind_the_writers_back(log: SqliteStore) -> None:
    await log.append(messages(1, 5))
    for file in log.path.parent.glob("log.db*"):
        file.unlink()
    with pytest.raises(StoreCorrupt, match="is gone"):
        await log.reopen()
    assert not log.path.exists()
