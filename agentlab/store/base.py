"""What the plane asks of a store. One writer; readers open the same database beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from msgspec import Struct, field

from agentlab.core.events import Blob, Event


class Snapshot(Struct, frozen=True):
    """A workspace tree: `tree` is its hash, `manifest` the hash of the blob that lists (path, mode, hash, size)."""

    run_id: str
    seq: int
    tree: str
    manifest: str


class Batch(Struct):
    """All that one commit makes durable, together or not at all. Blobs may be there already; events may not."""

    events: list[Event] = field(default_factory=list)
    blobs: list[Blob] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    journals: dict[str, int] = field(default_factory=dict)  # run/agent -> last `n` of its journal in this batch


class Store(Protocol):
    async def open(self) -> None:
        """Create or migrate, and check. Raises StoreCorrupt: damaged, or made by a newer agentlab."""

    async def append(self, batch: Batch) -> None:
        """Return when the batch is durable. Raises OutcomeUnknown: it may or may not be; call `reopen`."""

    async def reopen(self) -> int:
        """After OutcomeUnknown: open anew and return the id of the last event that really is there."""

    async def last_id(self) -> int:
        """The id of the last event, 0 where there is none."""

    async def last_ended_id(self) -> int:
        """The id of the last event of all runs that have ended, 0 where none has."""

    async def open_runs(self) -> list[str]:
        """Ids of the runs that have not ended, oldest first."""

    def events(
        self, *, runs: list[str] | None = None, since: int = 0, until: int | None = None, limit: int | None = None
    ) -> AsyncIterator[list[Event]]:
        """Batches of events with since < id <= until, by id; of these runs only where given."""

    def run_events(self, run_id: str, *, since: int = 0, until: int | None = None) -> AsyncIterator[list[Event]]:
        """Batches of one run's events with since < seq <= until, by seq."""

    async def journals(self, runs: list[str]) -> dict[str, int]:
        """run/agent -> the last `n` of its journal that is in the log."""

    async def blob(self, hash: str) -> bytes | None: ...

    async def has_blobs(self, hashes: list[str]) -> set[str]:
        """Which of these are there already."""

    async def checkpoint(self) -> None:
        """Fold the write-ahead log back. Called by the plane when it is quiet, never inside a commit."""

    async def close(self) -> None: ...
