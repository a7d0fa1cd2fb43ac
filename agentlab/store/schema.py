"""The tables of the log, and how an older database becomes a newer one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from agentlab.__about__ import __version__

APPLICATION_ID = 0x61676C62  # "aglb": how a database of ours is told from a stranger's

EVENT_COLUMNS = (
    "id", "run_id", "seq", "ts", "type", "actor", "session_id", "task_id", "span", "parent", "cause",
    "name", "unit", "status", "dur_ns", "tok_in", "tok_out", "tok_cache", "cost", "dhash", "payload",
)  # fmt: skip

_LOG = """
CREATE TABLE runs(
  run_id TEXT PRIMARY KEY, parent_run_id TEXT, fork_seq INTEGER, session_id TEXT, name TEXT,
  source TEXT NOT NULL DEFAULT 'native', source_ref TEXT, status TEXT, started INTEGER, ended INTEGER,
  base_tree TEXT, final_tree TEXT, n_events INTEGER, schema_version INTEGER NOT NULL, config TEXT
);
CREATE TABLE events(
  id INTEGER PRIMARY KEY, run_id TEXT NOT NULL, seq INTEGER NOT NULL, ts INTEGER NOT NULL,
  type TEXT NOT NULL, actor TEXT NOT NULL, session_id TEXT, task_id TEXT,
  span TEXT, parent TEXT, cause INTEGER,
  name TEXT, unit TEXT, status TEXT,
  dur_ns INTEGER, tok_in INTEGER, tok_out INTEGER, tok_cache INTEGER, cost REAL,
  dhash TEXT, payload TEXT NOT NULL DEFAULT '{}',
  UNIQUE(run_id, seq)
);
CREATE TABLE blobs(hash TEXT PRIMARY KEY, n INTEGER NOT NULL, codec TEXT NOT NULL, data BLOB NOT NULL);
CREATE TABLE snapshots(
  run_id TEXT NOT NULL, seq INTEGER NOT NULL, tree TEXT NOT NULL, manifest TEXT NOT NULL, PRIMARY KEY(run_id, seq)
);
CREATE TABLE journals(agent TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

END_OF_RUN = "events WHERE events.run_id = runs.run_id AND seq = n_events AND type = 'run.end'"
"""The event that ended a row of `runs`, for a subselect: it is the last one, so the index finds it."""

MIGRATIONS: tuple[str, ...] = (_LOG,)
"""SQL scripts, oldest first. `PRAGMA user_version` counts those that a database has had. Append only."""

SCHEMA_VERSION = len(MIGRATIONS)


def version_of(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def maker_of(db: sqlite3.Connection) -> str:
    """The agentlab that made the present schema of a database, as far as the database can still tell."""
    try:
        row = db.execute("SELECT value FROM meta WHERE key = 'agentlab'").fetchone()
    except sqlite3.DatabaseError:
        row = None
    return f"agentlab {row[0]}" if row else "a newer agentlab"


def migrate(db: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Apply what is missing, each script in a transaction of its own, so that a failure leaves whole steps only."""
    for number, script in enumerate(migrations[version_of(db) :], start=version_of(db) + 1):
        try:
            db.executescript(
                f"BEGIN IMMEDIATE; {script};"  # noqa: S608
                f"INSERT OR REPLACE INTO meta VALUES ('agentlab', '{__version__}');"
                f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT;"
            )
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
