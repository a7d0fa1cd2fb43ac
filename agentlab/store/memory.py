"""A store that forgets: the log in memory, with the behaviour of the real one. For tests and embedding."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from agentlab.core.events import Event
from agentlab.errors import OutcomeUnknown, Unavailable

from .base import Batch, Snapshot
from .rows import Packed, Row, pack, unpack

CHUNK = 500  # events given at once

_ID, _RUN, _SEQ = 0, 1, 2  # of a row of events


class MemoryStore:
    """See `base.Store`. Its content lives as long as the object: `close` and `open` keep it.

    fail_next: the next `append` raises OutcomeUnknown, and its batch is "lost" or "kept", as `reopen` will tell.
    """

    def __init__(self) -> None:
        self.fail_next: Literal["lost", "kept"] | None = None
        self.snapshots: list[Snapshot] = []
        self._rows: list[Row] = []
        self._runs: dict[str, bool] = {}  # id -> has ended, oldest first
        self._blobs: dict[str, bytes] = {}
        self._journals: dict[str, int] = {}
        self._open = False
        self._doubt = False

    async def open(self) -> None:
        self._open = True

    async def reopen(self) -> int:
        self._open, self._doubt = True, False
        return await self.last_id()

    async def checkpoint(self) -> None:
        """There is nothing to fold back."""

    async def close(self) -> None:
        self._open = False

    async def append(self, batch: Batch) -> None:
        self._need_open()
        packed = pack(batch)
        if self._doubt:
            raise OutcomeUnknown("The log takes nothing until it is reopened.")
        failing, self.fail_next = self.fail_next, None
        clash = self._clash(packed)
        if failing != "lost" and clash is None:
            self._keep(batch, packed)
        if failing is not None or clash is not None:
            self._doubt = True
            raise OutcomeUnknown(
                f"A commit failed ({clash or 'as it was told to'}). It may or may not have taken effect."
            )

    def _clash(self, packed: Packed) -> str | None:
        """Ids must rise here, where the database only wants them unique: a reader goes by id."""
        last = self._rows[-1][_ID] if self._rows else 0
        if packed.events and packed.events[0][_ID] <= last:  # type: ignore[operator]
            return f"event {packed.events[0][_ID]!r} is there already"
        return None

    def _keep(self, batch: Batch, packed: Packed) -> None:
        self._rows.extend(packed.events)
        for started in packed.started:
            self._runs.setdefault(str(started[0]), False)
        for ended in packed.ended:
            if ended[-1] in self._runs:
                self._runs[str(ended[-1])] = True
        for blob in packed.blobs:
            self._blobs.setdefault(blob.hash, blob.data)
        self.snapshots.extend(batch.snapshots)
        for agent, n in batch.journals.items():
            self._journals[agent] = max(n, self._journals.get(agent, 0))

    def _need_open(self) -> None:
        if not self._open:
            raise Unavailable("The store is not open.")

    # --- reading -------------------------------------------------------------------------------------------

    async def last_id(self) -> int:
        self._need_open()
        return int(self._rows[-1][_ID] or 0) if self._rows else 0

    async def last_ended_id(self) -> int:
        self._need_open()
        return max((int(row[_ID] or 0) for row in self._rows if self._runs.get(str(row[_RUN]))), default=0)

    async def open_runs(self) -> list[str]:
        self._need_open()
        return [run for run, ended in self._runs.items() if not ended]

    async def events(
        self, *, runs: list[str] | None = None, since: int = 0, until: int | None = None, limit: int | None = None
    ) -> AsyncIterator[list[Event]]:
        self._need_open()
        wanted = None if runs is None else set(runs)
        rows = [r for r in self._rows if _within(r[_ID], since, until) and (wanted is None or r[_RUN] in wanted)]
        for chunk in self._chunks(rows[:limit]):
            yield chunk

    async def run_events(self, run_id: str, *, since: int = 0, until: int | None = None) -> AsyncIterator[list[Event]]:
        self._need_open()
        rows = [r for r in self._rows if r[_RUN] == run_id and _within(r[_SEQ], since, until)]
        for chunk in self._chunks(rows):
            yield chunk

    def _chunks(self, rows: list[Row]) -> list[list[Event]]:
        events = [unpack(row, self._blobs.get) for row in rows]
        return [events[at : at + CHUNK] for at in range(0, len(events), CHUNK)]

    async def journals(self, runs: list[str]) -> dict[str, int]:
        self._need_open()
        return {agent: n for agent, n in self._journals.items() if agent.rpartition("/")[0] in runs}

    async def blob(self, hash: str) -> bytes | None:
        self._need_open()
        return self._blobs.get(hash)

    async def has_blobs(self, hashes: list[str]) -> set[str]:
        self._need_open()
        return {hash for hash in hashes if hash in self._blobs}


def _within(at: object, since: int, until: int | None) -> bool:
    return isinstance(at, int) and since < at and (until is None or at <= until)
