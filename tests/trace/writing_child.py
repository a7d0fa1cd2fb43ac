"""A process that holds a log open for writing: commits an event for each line it is sent, answers with how many."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agentlab.core.events import Event, Message
from agentlab.store.base import Batch
from agentlab.store.sqlite import SqliteStore


async def main(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    last = await store.last_id()
    print(last, flush=True)
    while (await asyncio.to_thread(sys.stdin.readline)).strip() == "more":
        last += 1
        event = Event(id=last, run_id="r1", seq=last, ts=last, actor="a", body=Message(role="user", text=str(last)))
        await store.append(Batch([event]))
        print(last, flush=True)
    await store.close()


asyncio.run(main(Path(sys.argv[1])))
