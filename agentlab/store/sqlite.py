"""The log in one SQLite file: a writing connection, a reading one, each with a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TypeVar, cast

import aiosqlite

from agentlab.core.events import Event
from agentlab.errors import AgentlabError, BadRequest, OutcomeUnknown, StoreCorrupt, Unavailable

from . import reader, writer
from .base import Batch
from .rows import Packed, pack

T = TypeVar("T")

WAL_HIGH = 64 * 1024 * 1024  # bytes of write-ahead log from which it is folded back however busy the plane is
REOPEN_WAIT = 5.0  # s that `reopen` waits for readers of the old write-ahead log

log = logging.getLogger(__name__)


class SqliteStore:
    """See `base.Store` for what each method promises."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._doubt: str | None = None  # why it is unknown what the log holds; only `reopen` clears it
        self._folding = asyncio.Lock()
        self._fold_task: asyncio.Task[None] | None = None
        self._fold_at = WAL_HIGH

    # --- life ----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        if self._lock is not None:
            raise BadRequest(f"{self.path} is open already.")
        try:
            self._lock = writer.lock(self.path)
            await self._connect()
        except BaseException as error:
            await self.close()
            if isinstance(error, OSError) and not isinstance(error, AgentlabError):
                raise Unavailable(
                    f"The log cannot be kept at {self.path}: {error}. Set AGENTLAB_HOME to a folder of yours."
                ) from error
            raise

    async def reopen(self) -> int:
        """See `base.Store`. What this returns is what every later open will find.

        The write-ahead log is folded back and begun anew: bytes of a failed commit in it can neither come back to
        life, nor be read from memory without being on the disk. Raises OutcomeUnknown while that cannot be done.
        """
        if self._lock is None:
            raise Unavailable(f"{self.path} is not open.")
        async with self._folding:
            if not self.path.exists():  # a new one in its place would be a lie
                raise StoreCorrupt(f"{self.path} is gone: somebody removed the log while it was being written.")
            return await self._reopen()

    async def _reopen(self) -> int:
        await self._disconnect()
        try:
            await self._connect()
            if not await self._in(self._writer, partial(writer.truncate, wait=REOPEN_WAIT)):
                raise OutcomeUnknown(
                    f"{self.path}: somebody reads an old state of the log and does not end. Try again."
                )
            last = await self._in(self._writer, reader.last_id)
        except OSError as error:  # Unavailable is one
            self._doubt = str(error)
            raise OutcomeUnknown(f"The log could not be read back: {error}") from error
        self._doubt, self._fold_at = None, WAL_HIGH
        return last

    async def close(self) -> None:
        if self._fold_task is not None:
            await self._fold_task
        async with self._folding:
            if self._writer is not None and self._doubt is None:
                with contextlib.suppress(AgentlabError):  # the write-ahead log stays; the next open reads it
                    await self._in(self._writer, partial(writer.truncate, wait=0.0))
            await self._disconnect()
        if self._lock is not None:
            writer.unlock(self._lock)
            self._lock = None

    async def _connect(self) -> None:
        await asyncio.to_thread(writer.admit, self.path)
        try:
            self._writer = await _connection(str(self.path))
            await self._in(self._writer, writer.prepare)
            self._reader = await _connection(reader.reader_uri(self.path))
            await self._in(self._reader, reader.prepare)
        except sqlite3.Error as error:
            raise reader.explain(self.path, error) from error

    async def _disconnect(self) -> None:
        """The reader goes last: a read-only connection leaves the -wal and -shm files, so that no reader has to make
        them."""
        connections, self._writer, self._reader = (self._writer, self._reader), None, None
        for connection in connections:
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):  # after a failed commit it may fail as well; it is gone anyway
                    await connection.close()

    async def _in(self, connection: aiosqlite.Connection | None, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in the connection's thread, in one hop. aiosqlite has no public way to do several things in one."""
        if connection is None:
            raise Unavailable(f"{self.path} is not open{f': {self._doubt}' if self._doubt else '.'}")
        try:
            return await connection._execute(work, connection._conn)  # type: ignore[no-any-return,no-untyped-call]
        except sqlite3.Error as error:
            raise reader.explain(self.path, error) from error

    # --- writing -------------------------------------------------------------------------------------------

    async def append(self, batch: Batch) -> None:
        packed = pack(batch)
        self._need_certainty()
        size = await self._in(self._writer, partial(self._commit, packed))
        if size > self._fold_at and (self._fold_task is None or self._fold_task.done()):
            self._fold_task = asyncio.create_task(self._fold_when_high())

    def _commit(self, packed: Packed, db: sqlite3.Connection) -> int:
        """In the writer's thread, where the doubt must be known: the next batches may wait behind the failing one."""
        self._need_certainty()
        try:
            writer.write(db, packed)
        except BadRequest:
            raise
        except BaseException as error:
            self._doubt = f"a commit failed ({getattr(error, 'sqlite_errorname', type(error).__name__)}: {error})"
            raise OutcomeUnknown(
                f"{self.path}: {self._doubt}. It may or may not have taken effect; repeat with the same id.",
            ) from error
        return self.wal_size()

    def _need_certainty(self) -> None:
        if self._doubt is not None:
            raise OutcomeUnknown(f"The log takes nothing until it is reopened: {self._doubt}")

    # --- folding back --------------------------------------------------------------------------------------

    def wal_size(self) -> int:
        """Bytes of the write-ahead log. `append` has it folded back from `WAL_HIGH` on."""
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    async def checkpoint(self) -> None:
        """See `base.Store`. Raises Unavailable: it failed, and nothing is lost; the log stays in two files.

        Most is copied beside the writer. Where the file has grown, the rest is, in turn with commits, and it begins anew
        unless somebody reads from it.
        """
        async with self._folding:
            if self._writer is None or self._doubt is not None:
                return
            try:
                await asyncio.to_thread(writer.fold, self.path)
            except sqlite3.Error as error:
                raise reader.explain(self.path, error) from error
            if self.wal_size() > WAL_HIGH:
                await self._in(self._writer, partial(writer.truncate, wait=0.0))
            self._fold_at = self.wal_size() + WAL_HIGH

    async def _fold_when_high(self) -> None:
        try:
            await self.checkpoint()
        except AgentlabError as error:
            self._fold_at = self.wal_size() + WAL_HIGH
            log.warning("The write-ahead log could not be folded back: %s", error)

    # --- reading -------------------------------------------------------------------------------------------

    async def last_id(self) -> int:
        return await self._read(reader.last_id)

    async def last_ended_id(self) -> int:
        return await self._read(reader.last_ended_id)

    async def open_runs(self) -> list[str]:
        return await self._read(reader.open_runs)

    async def events(
        self, *, runs: list[str] | None = None, since: int = 0, until: int | None = None, limit: int | None = None
    ) -> AsyncIterator[list[Event]]:
        if runs is not None:  # skip what lies before the oldest of them, which is most of an old log
            first = await self._read(partial(reader.first_id, run_ids=runs))
            if not first:
                return
            since = max(since, first - 1)
        while limit is None or limit > 0:
            size = reader.CHUNK if limit is None else min(limit, reader.CHUNK)
            found = await self._read(partial(reader.page, since=since, until=until, limit=size, runs=runs))
            if not found:
                return
            yield found
            since = found[-1].id
            limit = None if limit is None else limit - len(found)

    async def run_events(self, run_id: str, *, since: int = 0, until: int | None = None) -> AsyncIterator[list[Event]]:
        while found := await self._read(
            partial(reader.run_page, run_id=run_id, since=since, until=until, limit=reader.CHUNK)
        ):
            yield found
            since = found[-1].seq

    async def journals(self, runs: list[str]) -> dict[str, int]:
        return await self._read(partial(reader.journals, run_ids=runs))

    async def blob(self, hash: str) -> bytes | None:
        return await self._read(partial(reader.blob, hash=hash))

    async def has_blobs(self, hashes: list[str]) -> set[str]:
        return await self._read(partial(reader.has_blobs, hashes=hashes))

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._in(self._reader, work)


def _connection(database: str) -> aiosqlite.Connection:
    """Its thread is a daemon: a plane that dies of an error must not stay, with the lock, because the store is open."""
    connection = aiosqlite.connect(database, uri=database.startswith("file:"), isolation_level=None, timeout=5.0)
    thread = cast(Thread, getattr(connection, "_thread", connection))  # before aiosqlite 0.22 it is the thread itself
    thread.daemon = True
    return connection
