"""The writing connection: who may have it, how it is opened, and how a batch becomes one transaction."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from pathlib import Path

from agentlab.__about__ import __version__
from agentlab.errors import BadRequest, StoreCorrupt, Unavailable

from .reader import damaged, explain, has_blobs, open_reader, page
from .rows import Packed, Row, blob_row
from .schema import APPLICATION_ID, EVENT_COLUMNS, SCHEMA_VERSION, maker_of, migrate, version_of

MOST = 64  # rows of events to one statement
FULL_CHECK = 64 * 1024 * 1024  # bytes; a database up to this is checked whole at open: some 0.1 s


# --- one writer --------------------------------------------------------------------------------------------


def lock(path: Path) -> int:
    """Become the writer of the database at `path`: the descriptor of its lock, which the kernel frees if we die.

    Raises Unavailable, naming the process that holds it. The file stays for ever: unlinking a lock file races.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(fd, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise Unavailable(
            f"{path} is being written by process {pid}. A log has one writer: "
            f"stop that one (`agentlab daemon stop`), or set AGENTLAB_HOME to another folder.",
            pid=int(pid) if pid.isdigit() else None,
            path=str(path),
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


def unlock(fd: int) -> None:
    os.ftruncate(fd, 0)
    os.close(fd)


# --- opening -----------------------------------------------------------------------------------------------


def admit(path: Path) -> None:
    """Create the file of the database, or find that the one there is ours and sound. The caller has the lock.

    Raises StoreCorrupt, and then no byte was changed.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    if path.stat().st_size:
        check(path)
    path.chmod(0o600)  # its -wal and -shm take its mode


def prepare(db: sqlite3.Connection) -> None:
    """Make the writing connection to an admitted file durable, and its tables those of this version.

    Raises Unavailable: the place cannot hold a log.
    """
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise Unavailable(
            f"The log cannot be kept here: the file system has no shared memory (SQLite answered {mode!r}). "
            f"Set AGENTLAB_HOME to a folder on a local disk."
        )
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA fullfsync = ON")  # macOS, where fsync alone does not reach the disk
    db.execute("PRAGMA wal_autocheckpoint = 0")  # a checkpoint inside a commit could fail it after it took effect
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA temp_store = MEMORY")
    migrate(db)


def check(path: Path) -> None:
    """Whether the database can be trusted and is ours to write. Raises StoreCorrupt. Reads only.

    `quick_check` reads every page: fine up to `FULL_CHECK`, half a minute for a log of many gigabytes, at every start
    of a plane. A larger one has its small tables checked whole, and of the events the end, which a plane writes and
    reads; damage further in is found by whoever reads there.
    """
    try:
        with contextlib.closing(open_reader(path)) as db:
            version, ours = version_of(db), db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
            empty = not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if not ours and not (empty and version == 0):
                raise StoreCorrupt(
                    f"{path} is a database of another program. Move it away, or set AGENTLAB_HOME to another folder. "
                    f"Nothing was changed."
                )
            if version > SCHEMA_VERSION:
                raise StoreCorrupt(
                    f"{path} was made by {maker_of(db)} (schema {version}); this is agentlab {__version__}, which knows "
                    f"schemas up to {SCHEMA_VERSION}. Upgrade agentlab, or set AGENTLAB_HOME to another folder. "
                    f"Nothing was changed.",
                    schema=version,
                )
            _inspect(db, path, whole=path.stat().st_size <= FULL_CHECK)
    except sqlite3.Error as error:
        raise explain(path, error) from error


def _inspect(db: sqlite3.Connection, path: Path, *, whole: bool) -> None:
    small = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    checks = [""] if whole else [f"('{name}')" for name in small if name not in ("events", "blobs")]
    for what in checks:
        found = db.execute(f"PRAGMA quick_check{what}").fetchone()[0]
        if found != "ok":
            raise damaged(path, found)
    if not whole and "events" in small:
        last = db.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0]
        page(db, last - 100, None, 100)


# --- writing -----------------------------------------------------------------------------------------------


def write(db: sqlite3.Connection, packed: Packed) -> None:
    """One transaction. Raises BadRequest: nothing was done; after anything else, nobody knows."""
    blobs = _new_blobs(db, packed)
    others = [
        (query, rows)
        for query, rows in (
            (_INSERT_RUN, packed.started),
            (_END_RUN, packed.ended),
            (_INSERT_BLOB, blobs),
            (_INSERT_SNAPSHOT, packed.snapshots),
            (_INSERT_JOURNAL, packed.journals),
        )
        if rows
    ]
    if not others and len(packed.events) <= MOST:
        _insert_alone(db, packed.events)
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        _insert_events(db, packed.events)
        for query, rows in others:
            db.executemany(query, rows)
    except _UNFIT as error:
        db.execute("ROLLBACK")
        raise _unfit(error) from error
    db.execute("COMMIT")


def _insert_alone(db: sqlite3.Connection, rows: list[Row]) -> None:
    """One statement is a transaction by itself, and so the interpreter lock is given up once instead of three times."""
    try:
        _insert_events(db, rows)
    except _UNFIT as error:
        raise _unfit(error) from error


_UNFIT = (OverflowError, UnicodeError)  # a number or a text that SQLite cannot hold: found before anything is done


def _unfit(error: Exception) -> BadRequest:
    return BadRequest(f"A value cannot be written: {error}. Nothing of its batch was.")


def _new_blobs(db: sqlite3.Connection, packed: Packed) -> list[Row]:
    """Compressed before the transaction begins, and only what is not there yet."""
    by_hash = {blob.hash: blob for blob in packed.blobs}
    known = has_blobs(db, list(by_hash)) if by_hash else set()
    return [blob_row(blob) for hash, blob in by_hash.items() if hash not in known]


def _insert_events(db: sqlite3.Connection, rows: list[Row]) -> None:
    """Many rows a statement: each gives up the interpreter lock, and waits beside a busy event loop to have it back.
    Only the columns that are in use: of most events those are few, and each is a call to bind and one to store."""
    if not rows:
        return
    columns = [at for at, values in enumerate(zip(*rows, strict=True)) if any(value is not None for value in values)]
    pick = itemgetter(*columns)
    names = ", ".join([EVENT_COLUMNS[at] for at in columns])
    for some in (rows[at : at + MOST] for at in range(0, len(rows), MOST)):
        db.execute(_insert(names, len(columns), len(some)), tuple(chain.from_iterable(map(pick, some))))


@lru_cache(maxsize=256)
def _insert(names: str, columns: int, rows: int) -> str:
    """The same text for the same shape: the connection finds a statement that it has prepared by it."""
    return f"INSERT INTO events({names}) VALUES {_values(rows, columns)}"  # noqa: S608


def _values(size: int, columns: int) -> str:
    return ", ".join([f"({', '.join('?' * columns)})"] * size)


_INSERT_RUN = f"INSERT INTO runs VALUES {_values(1, 15)} ON CONFLICT DO NOTHING"  # noqa: S608  # the first start stands
_END_RUN = "UPDATE runs SET status = ?, ended = ?, final_tree = ?, n_events = ? WHERE run_id = ?"
_INSERT_BLOB = "INSERT OR IGNORE INTO blobs VALUES (?, ?, ?, ?)"
_INSERT_SNAPSHOT = "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)"
_INSERT_JOURNAL = "INSERT INTO journals VALUES (?, ?) ON CONFLICT(agent) DO UPDATE SET n = max(n, excluded.n)"


# --- folding the write-ahead log back ------------------------------------------------------------------------


def fold(path: Path) -> None:
    """Copy what is committed from the write-ahead log into the database, beside the writer and without stopping it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0.0)) as db:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA fullfsync = ON")
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def truncate(db: sqlite3.Connection, *, wait: float) -> bool:
    """Fold back and begin the write-ahead log anew. False: after `wait` seconds a reader still needs the old one."""
    db.execute(f"PRAGMA busy_timeout = {int(wait * 1000)}")
    try:
        return not db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        db.execute("PRAGMA busy_timeout = 5000")
