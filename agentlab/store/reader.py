"""Reading the log beside its writer: plain functions over a synchronous connection that cannot write."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from msgspec import Struct

from agentlab.core.events import Event
from agentlab.errors import AgentlabError, NotFound, StoreCorrupt, Unavailable

from .base import Snapshot
from .rows import blob_data, unpack
from .schema import END_OF_RUN, EVENT_COLUMNS

CHUNK = 500  # events read at once

_COLUMNS = ", ".join(EVENT_COLUMNS)


class RunRow(Struct, frozen=True):
    """A row of `runs`, with what its end says that its agents used. started, ended: ns since the epoch; config: JSON text;
    usage: tokens in, out, cached, and cost in USD, as far as anybody told; None: nobody did, or it has not ended."""

    run_id: str
    parent_run_id: str | None
    fork_seq: int | None
    session_id: str | None
    name: str | None
    source: str
    source_ref: str | None
    status: str | None
    started: int | None
    ended: int | None
    base_tree: str | None
    final_tree: str | None
    n_events: int | None
    schema_version: int
    config: str | None
    usage: dict[str, float] | None


def reader_uri(path: Path) -> str:
    """How to open the log for reading, for whatever takes an SQLite URI.

    With no write-ahead log beside it, nobody has the database open (a copy, an archive, a read-only disk). Then
    `immutable` keeps SQLite from making one. A reader of that kind does not see what a later writer adds.
    """
    bare = not path.with_name(path.name + "-wal").exists()
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if bare else ''}"


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that reads what is committed, while a plane writes. Creates no file.

    Raises NotFound, StoreCorrupt, Unavailable.
    """
    if not path.exists():
        raise NotFound(
            f"There is no log at {path}. It is made by the first plane of this home: `agentlab daemon start`."
        )
    db = sqlite3.connect(reader_uri(path), uri=True, isolation_level=None, timeout=5.0)
    try:
        prepare(db)
    except sqlite3.Error as error:
        db.close()
        raise explain(path, error) from error
    return db


def prepare(db: sqlite3.Connection) -> None:
    """Forbid writing, and attach to the write-ahead log now rather than at the first query."""
    db.execute("PRAGMA query_only = ON")
    db.execute("PRAGMA user_version").fetchall()


def explain(path: Path, error: sqlite3.Error) -> AgentlabError:
    """What an error of SQLite means for the log as a whole, outside of a commit."""
    if isinstance(error, sqlite3.OperationalError):  # full, locked, failing I/O: the place, not the content
        return Unavailable(f"{path} cannot be used now: {error}. Nothing was lost; see to the disk and try again.")
    return damaged(path, error)


def damaged(path: Path, what: object) -> StoreCorrupt:
    return StoreCorrupt(
        f"{path} cannot be trusted: {what}. Nothing was changed. Copy it, try `sqlite3 {path} .recover | sqlite3 new.db`, "
        f"or move it away to begin a new log.",
        path=str(path),
    )


# --- what is asked -----------------------------------------------------------------------------------------


def blob(db: sqlite3.Connection, hash: str) -> bytes | None:
    row = db.execute("SELECT n, codec, data FROM blobs WHERE hash = ?", (hash,)).fetchone()
    return None if row is None else blob_data(*row)


def has_blobs(db: sqlite3.Connection, hashes: list[str]) -> set[str]:
    rows = db.execute("SELECT hash FROM blobs WHERE hash IN (SELECT value FROM json_each(?))", (json.dumps(hashes),))
    return {hash for (hash,) in rows}


def runs(db: sqlite3.Connection) -> list[RunRow]:
    """All runs, oldest first."""
    columns = ", ".join((*RunRow.__struct_fields__[:-1], _USAGE))
    rows = db.execute(f"SELECT {columns} FROM runs ORDER BY {_FIRST_ID}")  # noqa: S608
    return [RunRow(*[*row, usage and json.loads(usage)]) for *row, usage in rows]


def open_runs(db: sqlite3.Connection) -> list[str]:
    """Ids of the runs that have not ended, oldest first."""
    return [id for (id,) in db.execute(f"SELECT run_id FROM runs WHERE ended IS NULL ORDER BY {_FIRST_ID}")]  # noqa: S608


_USAGE = f"(SELECT json_extract(payload, '$.usage') FROM {END_OF_RUN})"  # noqa: S608

_FIRST_ID = "(SELECT e.id FROM events e WHERE e.run_id = runs.run_id ORDER BY e.seq LIMIT 1)"


def last_id(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0])


def last_ended_id(db: sqlite3.Connection) -> int:
    """The largest id of any event of the runs that have ended; 0 where none has."""
    return int(db.execute(f"SELECT coalesce(max({_LAST_ID}), 0) FROM runs WHERE ended IS NOT NULL").fetchone()[0])  # noqa: S608


_LAST_ID = "(SELECT e.id FROM events e WHERE e.run_id = runs.run_id ORDER BY e.seq DESC LIMIT 1)"


def first_id(db: sqlite3.Connection, run_ids: list[str]) -> int:
    """The smallest id of any event of these runs; 0 where they have none."""
    query = "SELECT id FROM events WHERE run_id = ? ORDER BY seq LIMIT 1"
    return min((row[0] for run in run_ids if (row := db.execute(query, (run,)).fetchone())), default=0)


def snapshots(db: sqlite3.Connection, run_id: str) -> list[Snapshot]:
    """The workspace trees of a run, by seq."""
    query = "SELECT run_id, seq, tree, manifest FROM snapshots WHERE run_id = ? ORDER BY seq"
    return [Snapshot(*row) for row in db.execute(query, (run_id,))]


def journals(db: sqlite3.Connection, run_ids: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for run in run_ids:  # "0" is the character after "/"
        found |= dict(db.execute("SELECT agent, n FROM journals WHERE agent > ? AND agent < ?", (f"{run}/", f"{run}0")))
    return found


def page(
    db: sqlite3.Connection, since: int, until: int | None, limit: int, runs: list[str] | None = None
) -> list[Event]:
    """The next `limit` events with since < id <= until, by id; of these runs only where given."""
    # "+" keeps SQLite off the index on run_id, which would sort all that is left of these runs for every page.
    only = "" if runs is None else "AND +run_id IN (SELECT value FROM json_each(?4))"
    query = f"SELECT {_COLUMNS} FROM events WHERE id > ?1 AND id <= ?2 {only} ORDER BY id LIMIT ?3"  # noqa: S608
    given = (since, _END if until is None else until, limit)
    return _events(db, query, given if runs is None else (*given, json.dumps(runs)))


def run_page(db: sqlite3.Connection, run_id: str, since: int, until: int | None, limit: int) -> list[Event]:
    """The next `limit` events of one run with since < seq <= until, by seq."""
    query = f"SELECT {_COLUMNS} FROM events WHERE run_id = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?"  # noqa: S608
    return _events(db, query, (run_id, since, _END if until is None else until, limit))


def run_events(db: sqlite3.Connection, run_id: str, since: int = 0, until: int | None = None) -> Iterator[list[Event]]:
    """Batches of one run's events with since < seq <= until, by seq."""
    while found := run_page(db, run_id, since, until, CHUNK):
        yield found
        since = found[-1].seq


_END = 2**63 - 1


def _events(db: sqlite3.Connection, query: str, values: tuple[object, ...]) -> list[Event]:
    return [unpack(row, partial(blob, db)) for row in db.execute(query, values).fetchall()]
