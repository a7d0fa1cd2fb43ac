"""The rows as they are now, kept by the plane's deltas, for whatever shows them live."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVarTuple

from agentlab.errors import AgentlabError, VersionMismatch

from . import background

if TYPE_CHECKING:
    from agentlab.link.messages import Delta

    from .connection import Connection

Told = TypeVarTuple("Told")

Row = dict[str, Any]
Tables = dict[str, dict[str, Row]]
Listener = Callable[[Row | None], None]
"""Called on the background thread with the row as it is now, None when it is gone. Must not block or print."""

Watcher = Callable[[Tables, float | None], None]
"""Called on the background thread with all rows, and since when they are no longer believed, after either of them changed.

The rows are not to be changed, nor kept. `lost`: s since the epoch; None: they are as they are now. Must not block.
"""

SLOW = 5.0  # s, the longest pause between two tries

_log = logging.getLogger("agentlab.client")


class Feed:
    """One `Watch` of a lab, open while somebody listens. Resumes where it was; never starts a plane by itself."""

    def __init__(self, connection: Connection) -> None:
        self.tables: Tables = {}
        self.seq: int | None = None
        self.lost: float | None = None
        """Since when there is no watch, s since the epoch: the rows are as of then. None: they are as they are now."""
        self._connection = connection
        self._listeners: dict[tuple[str, str], list[Listener]] = {}
        self._watchers: list[Watcher] = []
        self._task: asyncio.Task[None] | None = None

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Hear of every change of anything, and of the loss of the watch and its return. Returns how to stop. From any thread."""
        loop = background.loop()
        loop.call_soon_threadsafe(self._begin_watch, watcher)
        return lambda: None if loop.is_closed() else _ignore(loop.call_soon_threadsafe(self._end_watch, watcher))

    def _begin_watch(self, watcher: Watcher) -> None:
        self._watchers.append(watcher)
        if not self._start() and (self.seq is not None or self.lost is not None):
            self._tell(watcher, self.tables, self.lost)

    def _end_watch(self, watcher: Watcher) -> None:
        if watcher in self._watchers:
            self._watchers.remove(watcher)
        self._stop_if_alone()

    def _start(self) -> bool:
        """False: it had been begun already."""
        if self._task is not None and not self._task.done():
            return False
        self.tables, self.seq, self.lost = {}, None, None
        self._task = asyncio.get_running_loop().create_task(self._watch())
        return True

    def _stop_if_alone(self) -> None:
        if not self._listeners and not self._watchers and self._task is not None:
            self._task.cancel()
            self._task = None

    def listen(self, table: str, key: str, listener: Listener) -> Callable[[], None]:
        """Hear of every change of a row, and at once of how it is. Returns how to stop. From any thread."""
        loop = background.loop()
        loop.call_soon_threadsafe(self._add, table, key, listener)
        return lambda: (
            None if loop.is_closed() else _ignore(loop.call_soon_threadsafe(self._drop, table, key, listener))
        )

    def _add(self, table: str, key: str, listener: Listener) -> None:
        self._listeners.setdefault((table, key), []).append(listener)
        if not self._start() and (row := self.tables.get(table, {}).get(key)) is not None:
            self._tell(listener, row)

    def _drop(self, table: str, key: str, listener: Listener) -> None:
        listeners = self._listeners.get((table, key), [])
        if listener in listeners:
            listeners.remove(listener)
        if not listeners:
            self._listeners.pop((table, key), None)
        self._stop_if_alone()

    async def _watch(self) -> None:
        from agentlab.link.messages import Delta, Watch

        pause, told = 0.1, ""
        while True:
            try:
                await self._connection.link(start=False)
                async with contextlib.aclosing(self._connection.pushes(Watch(since=self.seq))) as pushes:
                    self._believe(None)  # where nothing has happened meanwhile, nothing is pushed
                    async for delta in pushes:
                        pause = 0.1
                        if isinstance(delta, Delta):
                            self.take(delta)
            except (AgentlabError, ConnectionError) as error:
                self._believe(time.time())
                if self._connection.closed:
                    return
                if isinstance(error, VersionMismatch) and str(error) != told:  # until another plane is there
                    told, pause = str(error), SLOW
                    _log.warning("Live views stand still: %s", error)
                _log.debug("The watch was lost: %s", error)
            await asyncio.sleep(pause)
            pause = min(pause * 1.6, SLOW)

    def _believe(self, lost: float | None) -> None:
        """Say when the watch is lost, and when it is back. The moment is that of the loss, however often it is tried since."""
        if (lost is None) == (self.lost is None):
            return
        self.lost = lost
        for watcher in tuple(self._watchers):
            self._tell(watcher, self.tables, lost)

    def take(self, delta: Delta) -> None:
        """Fold a delta into the tables and tell those who listen to the rows in it."""
        if delta.full:
            self.tables = {t: {k: r for k, r in rows.items() if r is not None} for t, rows in delta.tables.items()}
            changed = list(self._listeners)
        else:
            changed = [(table, key) for table, rows in delta.tables.items() for key in rows]
            for table, rows in delta.tables.items():
                known = self.tables.setdefault(table, {})
                for key, row in rows.items():
                    if row is None:
                        known.pop(key, None)
                    else:
                        known[key] = row
        self.seq = delta.seq
        for table, key in changed:
            for listener in tuple(self._listeners.get((table, key), ())):
                self._tell(listener, self.tables.get(table, {}).get(key))
        for watcher in tuple(self._watchers):
            self._tell(watcher, self.tables, self.lost)

    @staticmethod
    def _tell(listener: Callable[[*Told], None], *told: *Told) -> None:
        try:
            listener(*told)
        except Exception:
            _log.exception("A live view failed; the others go on")


def _ignore(_: object) -> None:
    return None
