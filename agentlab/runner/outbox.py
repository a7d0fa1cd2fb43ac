"""From the journal to the plane: in order, in batches, again after a lost connection, one batch at a time.

One at a time, because the plane drops entries that are older than the newest it has: a later batch must never
arrive where an earlier one did not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import cast

from msgspec import Raw

from agentlab.core.commands import Command, Report
from agentlab.errors import AgentlabError, Unavailable, VersionMismatch
from agentlab.link.client import LinkClient
from agentlab.link.journal import BlobRecord, EntryRecord, Journal, Record
from agentlab.link.messages import PutBlobs, Request

DELAY = 0.02  # s that records are gathered
BATCH = 1024 * 1024  # bytes
RETRY = 0.2  # s after the plane could not take one

log = logging.getLogger(__name__)


class _Report(Command, frozen=True, tag="report"):
    """`Report`, with the entries as they stand in the journal."""

    agent: str
    entries: tuple[Raw, ...]


class _PutBlobs(Request, frozen=True, tag="put_blobs"):
    """`PutBlobs`, likewise."""

    blobs: tuple[Raw, ...]


class Mark:
    """A place that moves, and those who wait until it has come somewhere."""

    def __init__(self) -> None:
        self.place = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def move(self, place: int) -> None:
        self.place = place
        for wanted, future in self._waiting:
            if wanted <= place and not future.done():
                future.set_result(None)
        self._waiting = [(wanted, future) for wanted, future in self._waiting if not future.done()]

    async def reached(self, place: int) -> None:
        if place > self.place:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((place, future))
            await future

    def fail(self, error: AgentlabError) -> None:
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()


class Outbox:
    """`refused` is called with the error when the plane will never take what is in the journal."""

    def __init__(self, journal: Journal, agent: str, refused: Callable[[AgentlabError], None]) -> None:
        self.journal = journal
        self._agent = agent
        self._refused = refused
        self._sent = Mark()  # on the wire of this connection
        self._acknowledged = Mark()  # in the log
        self._acknowledged.move(journal.start)
        self._known = 0  # the `n` that the log had when the connection began
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()

    def attach(self, client: LinkClient, known: int) -> None:
        """A connection has begun; the log has the entries up to `known`."""
        self._known = known
        self._sent.move(self._acknowledged.place)
        self._wake.set()
        self._task = asyncio.create_task(self._run(client), name="agentlab-outbox")

    def detach(self) -> None:
        """The connection is gone."""
        if self._task:
            self._task.cancel()
            self._task = None

    def fail(self, error: AgentlabError) -> None:
        """Nothing will be sent any more: tell those who wait."""
        self.detach()
        self._sent.fail(error)
        self._acknowledged.fail(error)

    def stir(self) -> None:
        """Something was recorded: send it soon."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DELAY, self._now)

    async def sent(self) -> None:
        """Return when all that was recorded until now is on the wire."""
        if self.journal.end > self._sent.place:
            self._now()
            await self._sent.reached(self.journal.end)

    async def acknowledged(self) -> None:
        """Return when all that was recorded until now is in the log."""
        if self.journal.end > self._acknowledged.place:
            self._now()
            await self._acknowledged.reached(self.journal.end)

    def _now(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._wake.set()

    async def _run(self, client: LinkClient) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self.journal.end > self._acknowledged.place and not client.closed.done():
                try:
                    await self._batch(client)
                except VersionMismatch as error:
                    return self._refused(error)
                except Unavailable as error:
                    log.info("the plane could not take the journal: %s", error)
                    self._sent.move(self._acknowledged.place)
                    await asyncio.sleep(RETRY)
                except AgentlabError as error:
                    return self._refused(error)

    async def _batch(self, client: LinkClient) -> None:
        records, place = self.journal.slice(self._acknowledged.place, BATCH)
        answers = [client.send(request) for request in requests_of(self._agent, records, self._known)]
        self._sent.move(place)
        await asyncio.gather(*answers)
        self._acknowledged.move(place)
        self.journal.acknowledged(place)


def requests_of(agent: str, records: Sequence[Record], known: int) -> list[PutBlobs | Report]:
    """Blobs before the entries that may name them; entries that the log has are left out."""
    blobs = tuple(record.blob for record in records if isinstance(record, BlobRecord))
    entries = tuple(record.entry for record in records if isinstance(record, EntryRecord) and record.n > known)
    requests: list[PutBlobs | Report] = []
    if blobs:
        requests.append(cast(PutBlobs, _PutBlobs(blobs=blobs)))
    if entries:
        requests.append(cast(Report, _Report(agent=agent, entries=entries)))
    return requests
