"""A process that writes until it is killed: `python writing_child.py DATABASE`. Prints the last id of every batch that was
acknowledged."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from logs import blob, message

from agentlab.store.base import Batch
from agentlab.store.sqlite import SqliteStore

BATCH = 7


async def main() -> None:
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    last = await store.last_id()
    print(last, flush=True)
    while True:
        events = [message(last + i, text=f"{last + i} " * 60) for i in range(1, BATCH + 1)]
        last += BATCH
        await store.append(Batch(events=events, blobs=[blob(b"%d" % last)], journals={"r1/a": last}))
        print(last, flush=True)
        if last % (BATCH * 50) == 0:
            await store.checkpoint()


asyncio.run(main())
