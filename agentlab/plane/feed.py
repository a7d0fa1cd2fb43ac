"""What subscribers see: rows that changed, and events. Gathered for a moment, encoded once, sent to many.

A watcher (rows) that falls behind is left out and then given a new snapshot. A follower (events) loses nothing: one that
falls behind is served from the log until it has caught up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from agentlab.core import views
from agentlab.core.events import Event
from agentlab.core.state import State
from agentlab.core.views import Row, Tables
from agentlab.errors import BadRequest
from agentlab.link.frames import encode_body
from agentlab.link.messages import Delta, Events

from .engine import Engine

log = logging.getLogger(__name__)

PAGE = 500  # events to one push: keeps other subscribers lively
PUSH = 4 * 1024 * 1024  # bytes of one, unless a single event is larger

_ENCODE: dict[str, Callable[[Delta | Events], bytes]] = {
    "msgpack": encode_body,
    "json": msgspec.json.Encoder().encode,
}


def _pages(events: Sequence[Event], format: str) -> Iterator[tuple[Sequence[Event], bytes]]:
    """The events in pushes that are not large, one by one if need be: prompts and answers may be of many megabytes."""
    try:
        encoded = _ENCODE[format](Events(events=tuple(events)))
        if len(events) == 1 or len(encoded) <= PUSH:
            yield events, encoded
            return
    except BadRequest:
        if len(events) == 1:
            raise
    middle = len(events) // 2
    for half in (events[:middle], events[middle:]):
        yield from _pages(half, format)


RESUME = 30.0  # s that a watcher may be away and still be told what it missed, instead of everything


class Sink(Protocol):
    """Where a subscription goes: a peer of the link, or a WebSocket of the HTTP API."""

    format: str  # msgpack | json

    def push(self, data: bytes) -> None: ...

    def backlog(self) -> int:
        """Bytes that were pushed and not yet taken."""


class Follower:
    def __init__(self, sink: Sink, run_id: str | None, cursor: int) -> None:
        self.sink = sink
        self.run_id = run_id
        self.cursor = cursor  # seq of the last event pushed; its id where all runs are followed
        self.live = False
        self.closed = False

    def is_closed(self) -> bool:
        return self.closed

    def place(self, event: Event) -> int:
        return event.id if self.run_id is None else event.seq


class Feed:
    def __init__(
        self,
        engine: Engine,
        *,
        every: float = 0.02,
        backlog: int = 8 * 1024 * 1024,
        dress: Callable[[str, Row], Row] = lambda table, row: row,
    ) -> None:
        self.engine = engine
        self.every = every
        self.backlog = backlog
        self.dress = dress  # adds to a row what is not in the log: last seen, health
        self._watchers: dict[int, Sink] = {}
        self._behind: set[int] = set()
        self._followers: dict[int, Follower] = {}
        self._recent: deque[Delta] = deque(maxlen=500)
        self._events: list[Event] = []  # committed, not yet published
        self._published = 0  # id of the last event that has left `_events`
        self._next = 1
        self._timer: asyncio.TimerHandle | None = None
        self._watched = float("-inf")  # when a watcher was last there
        self._took = 0.0  # s that the last publishing lasted
        self._tasks: set[asyncio.Task[None]] = set()
        engine.on_commit.append(self._committed)
        engine.on_rebuild.append(self._rebuilt)

    # --- rows --------------------------------------------------------------------------------------------------

    def snapshot(self, run_id: str | None = None) -> Delta:
        return Delta(seq=self.engine.state.position, tables=self.view(self.engine.state, run_id), full=True)

    def view(self, state: State, run_id: str | None = None) -> Tables:
        tables: Tables = {}
        for table, rows in views.tables(state, run_id).items():
            tables[table] = {key: self.dress(table, row) for key, row in rows.items()}
        return tables

    def watch(self, sink: Sink, since: int | None = None) -> int:
        """Start pushing deltas: what came after `since` where that is still known, else a snapshot first."""
        self._publish_rows()
        number = self._number()
        known = since is not None and self._recent and self._recent[0].seq <= since <= self.engine.state.position
        for delta in [d for d in self._recent if since is not None and d.seq > since] if known else [self.snapshot()]:
            sink.push(_ENCODE[sink.format](delta))
        self._watchers[number] = sink
        return number

    def _publish_rows(self) -> None:
        if self._watchers:
            self._watched = time.monotonic()
        elif time.monotonic() - self._watched > RESUME:  # rows cost most where many wait, and nobody is looking
            self.engine.state.changed.clear()
            self._recent.clear()
            return
        changes = views.take_changes(self.engine.state)
        if not changes:
            return
        for table, rows in changes.items():
            for key, row in rows.items():
                if row is not None:
                    rows[key] = self.dress(table, row)
        delta = Delta(seq=self.engine.state.position, tables=changes)
        self._recent.append(delta)
        self._push(self._watchers.items(), delta)

    def _push(self, watchers: Iterable[tuple[int, Sink]], delta: Delta) -> None:
        encoded: dict[str, bytes] = {}
        full: dict[str, bytes] = {}
        for number, sink in watchers:
            if sink.backlog() > self.backlog:
                self._behind.add(number)
            elif number in self._behind:
                self._behind.discard(number)
                if sink.format not in full:
                    full[sink.format] = _ENCODE[sink.format](self.snapshot())
                sink.push(full[sink.format])
            else:
                if sink.format not in encoded:
                    encoded[sink.format] = _ENCODE[sink.format](delta)
                sink.push(encoded[sink.format])

    # --- events ------------------------------------------------------------------------------------------------

    def follow(self, sink: Sink, run_id: str | None = None, since: int | None = None) -> int:
        """Start pushing events after `since` (seq of the run, id where all runs are followed); None: from now on."""
        if since is None:
            run = self.engine.state.runs.get(run_id) if run_id is not None else None
            since = run.seq if run is not None else self.engine.committed
        follower = Follower(sink, run_id, since)
        number = self._number()
        self._followers[number] = follower
        self._catch_up(follower)
        return number

    def _publish_events(self) -> None:
        events, self._events = self._events, []
        if not events:
            return
        self._published = events[-1].id
        by_run: dict[str | None, list[Event]] = {None: events}
        pages: dict[tuple[str | None, int, str], list[bytes]] = {}
        for follower in self._followers.values():
            if not follower.live:
                continue
            run_id = follower.run_id
            if run_id not in by_run:
                by_run[run_id] = [e for e in events if e.run_id == run_id]
            new = by_run[run_id]
            known = follower.cursor + 1 - follower.place(new[0]) if new else 0
            if known < 0 or follower.sink.backlog() > self.backlog:
                follower.live = False
                self._catch_up(follower)
                continue
            for start in range(known, len(new), PAGE):
                page = (run_id, start, follower.sink.format)
                if page not in pages:
                    pages[page] = [data for _, data in _pages(new[start : start + PAGE], follower.sink.format)]
                for encoded in pages[page]:
                    follower.sink.push(encoded)
                follower.cursor = follower.place(new[-1])

    def _catch_up(self, follower: Follower) -> None:
        task = asyncio.create_task(self._serve_from_log(follower), name="agentlab-catch-up")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_from_log(self, follower: Follower) -> None:
        """Push what is in the log. The follower is live when a look into the log found nothing more, and nothing that was
        committed since that look began has been published without it."""
        while not follower.closed:
            looked = self.engine.committed
            found = False
            async for batch in self._log(follower):
                for start in range(0, len(batch), PAGE):
                    for page, encoded in _pages(batch[start : start + PAGE], follower.sink.format):
                        await self._room(follower)
                        if follower.is_closed():
                            return
                        follower.sink.push(encoded)
                        follower.cursor = follower.place(page[-1])
                        found = True
            if not found and self._published <= looked:
                follower.live = True
                return

    async def _room(self, follower: Follower) -> None:
        """Wait until a slow follower has taken most of what it was sent. Sinks tell no one when they drain: look."""
        while follower.sink.backlog() > self.backlog and not follower.is_closed():  # noqa: ASYNC110
            await asyncio.sleep(self.every)

    def _log(self, follower: Follower) -> AsyncIterator[list[Event]]:
        if follower.run_id is None:
            return self.engine.store.events(since=follower.cursor)
        return self.engine.store.run_events(follower.run_id, since=follower.cursor)

    # --- both --------------------------------------------------------------------------------------------------

    def drop(self, number: int) -> None:
        self._watchers.pop(number, None)
        self._behind.discard(number)
        if (follower := self._followers.pop(number, None)) is not None:
            follower.closed = True

    def close(self) -> None:
        for number in [*self._watchers, *self._followers]:
            self.drop(number)
        if self._timer is not None:
            self._timer.cancel()

    def stir(self) -> None:
        """Publish soon; the later, the longer it took the last time: the feed never takes more than a fifth of the loop."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(max(self.every, 4 * self._took), self._publish)

    def _publish(self) -> None:
        self._timer = None
        began = time.perf_counter()
        self._publish_events()
        self._publish_rows()
        self._took = time.perf_counter() - began

    def _committed(self, events: Sequence[Event]) -> None:
        if self._followers:
            self._events.extend(events)
        else:
            self._published = events[-1].id
        self.stir()

    def _rebuilt(self) -> None:
        """The state is another object now: what watchers know may never have been so."""
        self._recent.clear()
        self._behind.update(self._watchers)
        delta = self.snapshot()
        self._push(self._watchers.items(), delta)

    def _number(self) -> int:
        self._next += 1
        return self._next
