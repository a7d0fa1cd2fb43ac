"""The record: durable events a second from one agent, and one stream that many follow.

An agent reports events of 1 KB in batches of 100 over the real link; the peer is sqlite3 alone, writing the same rows with
the same settings: no process, no socket, no hash. Then 50 subscribers follow a run with 2,000 events a second.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from agentlab.core.commands import Spawn, Spawned, StartRun
from agentlab.core.events import AgentSpec, Event
from agentlab.discovery import Plane
from agentlab.link.client import LinkClient, hello
from agentlab.plane.auth import Authority, home_secret
from agentlab.store import rows, schema, writer
from agentlab.store.base import Batch

from . import servers
from .measure import Measure, against, alone, paired
from .traffic import BATCH, Received, Sent, Target, entries, outcome, start

ROUNDS = 3
SECONDS = 2.0
TARGET = 15_000  # events/s
SUBSCRIBERS, RATE, FLOW = 50, 2_000, 5.0  # events/s, s
RUN, AGENT = "bench", "bench/reporter"

NO_SLOTS = "[local]\nslots = 0\n"
"""The agents of these benchmarks stay queued for the plane: their runners are ours."""


def run(quick: bool = False) -> list[Measure]:
    rounds, seconds = (1, 0.4) if quick else (ROUNDS, SECONDS)
    subscribers, flow = (5, 0.5) if quick else (SUBSCRIBERS, FLOW)
    with servers.plane(NO_SLOTS) as (server, plane):
        target = asyncio.run(_target(plane, server.folder))
        ours, bare, cpu = [], [], []
        for _ in range(rounds):
            before = server.cpu()
            sent = outcome(start(target, "flood", str(seconds)), Sent, seconds + 60)
            assert isinstance(sent, Sent)
            ours.append(sent.events / sent.seconds)
            cpu.append(1e6 * (server.cpu() - before) / sent.events)
            bare.append(_bare(seconds / 2))
        name = f"durable events of 1 KB, batches of {BATCH}"
        measures = [
            alone(name, sorted(ours)[rounds // 2], "events/s", target=TARGET, note=f"{sorted(cpu)[rounds // 2]:.0f} us CPU an event"),
            paired(name, ours, "events/s", "bare sqlite3, same rows and pragmas", bare),
        ]  # fmt: skip
    return measures + _fan_out(subscribers, flow)


def _fan_out(subscribers: int, seconds: float) -> list[Measure]:
    with servers.plane(NO_SLOTS) as (server, plane):
        target = asyncio.run(_target(plane, server.folder))
        following = start(target, "follow", str(subscribers))
        assert following.stdin and following.stdout
        try:
            assert following.stdout.readline() == "ready\n", "the subscribers failed"
            before = server.cpu()
            sent = outcome(start(target, "steady", str(seconds), str(RATE)), Sent, seconds + 60)
            assert isinstance(sent, Sent)
            following.stdin.write(f"{sent.events}\n")
            received = outcome(following, Received, 60)
            assert isinstance(received, Received)
        finally:
            following.kill()
            following.wait()
        core = (server.cpu() - before) / seconds
    name = f"{subscribers} subscribers x {sent.events / sent.seconds:,.0f} events/s"
    wanted = subscribers * sent.events
    note = f"{core:.2f} of a core of the plane" + (
        f", {core * seconds / wanted * 1e6:.2f} us CPU a delivery" if wanted else ""
    )
    return [
        against(f"{name}: deliveries", received.delivered, "events", "sent", wanted, target=1.0, note=note),
        alone(f"{name}: lost, doubled or out of order", received.lost, "events", target=0, better="lower"),
        alone(f"{name}: age at delivery, p50", received.p50, "ms", better="lower"),
        alone(f"{name}: age at delivery, p99", received.p99, "ms", better="lower", note="of the oldest event of each push"),
    ]  # fmt: skip


async def _target(plane: Plane, folder: Path) -> Target:
    """A run with an agent that no runtime takes, and the token of that agent."""
    link = await LinkClient.connect(plane.address, hello(plane.token, "bench"))
    await link.request(StartRun(run_id=RUN, name=RUN, root=str(folder / "workspace"), host="bench"))
    spawned = await link.request(Spawn(run_id=RUN, spec=AgentSpec(kind="script", name="reporter", task=[])))
    await link.close()
    assert isinstance(spawned, Spawned)
    assert spawned.agent == AGENT
    token = Authority(plane.token, home_secret(folder / "home")).agent_token(AGENT)
    return Target(address=plane.address, token=token, agent=AGENT, admin=plane.token)


def _bare(seconds: float) -> float:
    """events/s of sqlite3 alone: the rows are made beforehand, and only writing them counts."""
    with servers.folder() as folder, closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as db:
        writer.prepare(db)
        insert = f"INSERT INTO events VALUES ({', '.join('?' * len(schema.EVENT_COLUMNS))})"
        written, spent = 0, 0.0
        while spent < seconds:
            batch = [
                Event(id=e.n, run_id=RUN, seq=e.n, ts=e.ts, actor="reporter", task_id="t1", body=e.body)
                for e in entries(written + 1, BATCH)
            ]
            packed = rows.pack(Batch(events=batch)).events
            begun = time.perf_counter()
            db.execute("BEGIN IMMEDIATE")
            db.executemany(insert, packed)
            db.execute("COMMIT")
            spent += time.perf_counter() - begun
            written += BATCH
        return written / spent
