"""Logs to read from, written by the real store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from agentlab.core.events import AnyBody, Blob, Event
from agentlab.store.base import Batch, Snapshot
from agentlab.store.sqlite import SqliteStore

T0 = 1_700_000_000_000_000_000  # ns since the epoch of the first event
SECOND = 1_000_000_000


class Recorder:
    """A log on disk and the way to add to it. Events get their id, their seq, and one second each, unless they say."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[Event] = []

    def event(self, body: AnyBody, run: str = "r1", actor: str = "a", **columns: Any) -> Event:
        columns.setdefault("ts", T0 + len(self.events) * SECOND)
        columns.setdefault("task_id", "t1")
        seq = 1 + sum(event.run_id == run for event in self.events)
        event = Event(id=len(self.events) + 1, run_id=run, seq=seq, actor=actor, body=body, **columns)
        self.events.append(event)
        return event

    def save(self, blobs: Iterable[bytes] = (), snapshots: Iterable[Snapshot] = ()) -> Path:
        """Write the log as it is now, anew."""
        stored = [Blob(sha256(data).hexdigest(), data) for data in blobs]
        for end in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)
        asyncio.run(self._save(Batch(list(self.events), stored, list(snapshots))))
        return self.path

    async def _save(self, batch: Batch) -> None:
        store = SqliteStore(self.path)
        await store.open()
        try:
            await store.append(batch)
        finally:
            await store.close()
