"""What the tests of the store write and read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

from agentlab.core.events import Blob, Event, Message, RunEnd, RunStart
from agentlab.store.base import Batch, Store
from agentlab.store.sqlite import SqliteStore


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    """A store that is closed whatever happens: its threads would keep a failing test's process alive."""
    store = SqliteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def blob(data: bytes) -> Blob:
    return Blob(hash=sha256(data).hexdigest(), data=data)


def message(id: int, run: str = "r1", seq: int | None = None, text: str = "hello") -> Event:
    return Event(id=id, run_id=run, seq=seq or id, ts=id * 1000, actor="a", body=Message(role="user", text=text))


def messages(first: int, last: int, run: str = "r1") -> Batch:
    return Batch(events=[message(id, run) for id in range(first, last + 1)])


def start(id: int, run: str, seq: int = 1) -> Event:
    body = RunStart(name=run, root="/work", host="h", env={"TZ": "UTC"}, base_tree="t0", versions={"git": "2"})
    return Event(id=id, run_id=run, seq=seq, ts=id * 1000, actor="plane", session_id="s", body=body)


def end(id: int, run: str, seq: int, status: str = "done") -> Event:
    return Event(id=id, run_id=run, seq=seq, ts=id * 1000, actor="plane", status=status, body=RunEnd(final_tree="t1"))


async def everything(store: Store) -> list[Event]:
    return [event async for batch in store.events() for event in batch]


async def ids(store: Store, **which: object) -> list[int]:
    return [event.id async for batch in store.events(**which) for event in batch]  # type: ignore[arg-type]
