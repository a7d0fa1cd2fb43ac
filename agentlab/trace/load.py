"""Rows of a log on disk as Arrow: read-only, beside a living writer, with types that do not depend on the data.

Two traps decide how this is done. A database in WAL mode that nobody has open gets side files from whoever opens it
next, even to read: such a one is read as immutable, and read again if a writer came meanwhile. And the ADBC driver
types a column by its first rows, which in a log are often all NULL: a typed seed row goes first and is dropped.

The driver brings a SQLite of its own. Two of them in one process lose each other's file locks, so a process that
writes the log must not load it by this module, and everything here goes through the one driver.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pyarrow as pa
from msgspec import Struct

from agentlab.errors import AgentlabError, BadRequest, NotFound, StoreCorrupt, Unavailable

Value = str | int | float | bytes | None
T = TypeVar("T")

BATCH = 16_384  # rows; more gains nothing, and fewer make many small Arrow chunks
BUSY = 5_000  # ms to wait for a writer that recovers or closes

_SEEDS: dict[pa.DataType, str] = {pa.string(): "''", pa.int64(): "-1", pa.float64(): "0.0", pa.binary(): "x''"}
_JUNK = ("not a database", "malformed", "no such table", "mismatch")


class Query(Struct, frozen=True):
    """A SELECT, the values for its question marks, and the ordinals of columns that order it.

    The seed row must sort first: these columns are never NULL, and hold no negative numbers.
    """

    sql: str
    params: Sequence[Value] = ()
    order: str = "1"


class _Stirred(Unavailable):
    """A writer came while the database was read as one without."""


class Log:
    """A log to read from. Raises NotFound: there is no such file."""

    def __init__(self, db: str | Path) -> None:
        self.path = Path(db).expanduser().absolute()
        if not self.path.is_file():
            raise NotFound(f"There is no log at {self.path}. `agentlab doctor` says where the log of a home is.")

    def read(self, query: Query, schema: pa.Schema, consume: Callable[[Iterator[pa.RecordBatch]], T]) -> T:
        """What `consume` makes of the batches of a query. It is called again where a writer came in between."""
        try:
            return consume(self.batches(query, schema))
        except _Stirred:
            return consume(self.batches(query, schema))

    def rows(self, query: Query, schema: pa.Schema) -> list[tuple[Value, ...]]:
        """The rows of a query as Python values."""
        return self.read(query, schema, lambda batches: [row for batch in batches for row in _rows(batch)])

    def batches(self, query: Query, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of a query as they come, never no batch at all.

        Raises BadRequest (the SQL makes no sense), StoreCorrupt (no log of ours), Unavailable (a writer came: again).
        """
        before = self._stamp()
        quiet = not before[0]
        uri = self.path.as_uri() + ("?mode=ro&immutable=1" if quiet else "?mode=ro")
        seed = ", ".join(f"{_SEEDS[field.type]} AS {field.name}" for field in schema)
        sql = f"SELECT {seed} UNION ALL {query.sql} ORDER BY {query.order}"
        driver = _adbc()
        read = (
            _by_sqlite(uri, sql, query.params, schema) if driver is None else _by_adbc(driver, uri, sql, query.params)
        )
        try:
            skip = 1
            for batch in read:
                yield batch.slice(skip)
                skip = 0
        except Exception as error:
            if quiet and self._stamp() != before:
                raise self._stirred() from error
            if isinstance(error, (sqlite3.Error, pa.ArrowException)) or type(error).__module__.startswith("adbc"):
                raise self._explain(error) from error
            raise
        if quiet and self._stamp() != before:
            raise self._stirred()

    def _stamp(self) -> tuple[bool, int, int]:
        """Whether somebody has the database open to write, and what would change if one had meanwhile."""
        live = any(self.path.with_name(self.path.name + end).exists() for end in ("-wal", "-journal"))
        stat = self.path.stat()
        return live, stat.st_mtime_ns, stat.st_size

    def _stirred(self) -> AgentlabError:
        return _Stirred(f"{self.path} was opened for writing while it was being read. Read it again.")

    def _explain(self, error: Exception) -> AgentlabError:
        text = str(error).partition("\nquery:")[0]
        if any(junk in text for junk in _JUNK):
            return StoreCorrupt(f"{self.path} is no log of agentlab, or is damaged: {text}")
        if "locked" in text or "busy" in text:
            return Unavailable(f"{self.path} is locked by its writer: {text}. Try again.")
        return BadRequest(f"{self.path} could not be asked: {text}")


def _adbc() -> ModuleType | None:
    """The fast driver, where it can be loaded."""
    try:
        import adbc_driver_sqlite.dbapi as driver
    except ImportError:
        return None
    return driver  # type: ignore[no-any-return]


def _by_adbc(driver: ModuleType, uri: str, sql: str, params: Sequence[Value]) -> Iterator[pa.RecordBatch]:
    with closing(driver.connect(uri)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(f"PRAGMA busy_timeout={BUSY}")
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(BATCH)})
        cursor.execute(sql, tuple(params) or None)
        yield from cursor.fetch_record_batch()


def _by_sqlite(uri: str, sql: str, params: Sequence[Value], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with closing(sqlite3.connect(uri, uri=True, timeout=BUSY / 1000)) as connection:
        cursor = connection.execute(sql, tuple(params))
        while rows := cursor.fetchmany(BATCH):
            columns = zip(*rows, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)
