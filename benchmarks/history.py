"""The past of a long run: any moment of it beside its live state, and opening it beside fetching its events.

A real plane over a log that a real engine wrote: 50 agents who claim, call tools, write, report and release. Moments are
asked for over HTTP as a run console does, in random order, in turns with the live rows of the same run: both are the same
JSON, of nearly the same size. Opening is what the console asks for before it shows an ended run that its plane has not
looked at yet (its row, its events, its state); the peer is the same plane giving the events alone.
"""

from __future__ import annotations

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import msgspec

from agentlab.core import commands as c
from agentlab.core import events as e
from agentlab.core.fold import apply
from agentlab.core.state import State
from agentlab.core.views import tables
from agentlab.discovery import Plane
from agentlab.plane.engine import Engine
from agentlab.store.sqlite import SqliteStore

from . import servers
from .measure import Measure, alone, paired
from .recorder import NO_SLOTS

EVENTS = 100_000
AGENTS = 50
MOMENTS = 400
ROUNDS = 5
PAGE = 10_000  # events of one request, as of the console
CHECKED = 5  # moments that are folded from the beginning as well
SCRUB_TARGET = 100.0  # ms beyond the live state
OPEN_TARGET = 2.0  # times fetching the events
RUN = "bench"
HASH = "0" * 64


def run(quick: bool = False, events: int | None = None) -> list[Measure]:
    events = events or (3_000 if quick else EVENTS)
    with servers.folder() as folder:
        log = folder / "log.db"
        asyncio.run(_make(log, events))
        with servers.plane(NO_SLOTS, log) as (_, plane):
            measures = _scrub(plane, log, 20 if quick else MOMENTS)
        asyncio.run(_end(log))
        opened, fetched = [], []
        for _ in range(1 if quick else ROUNDS):
            with servers.plane(NO_SLOTS, log) as (_, plane), _client(plane) as http:
                _events(http)  # for both of them the file is in memory
                opened.append(_seconds(_open, http))
                fetched.append(_seconds(_events, http))
    name = f"a run of {events:,} events: opening it"
    return [*measures, paired(name, opened, "s", "fetching its events", fetched, target=OPEN_TARGET, better="lower")]


def _scrub(plane: Plane, log: Path, moments: int) -> list[Measure]:
    luck = random.Random(1)
    with _client(plane) as http:
        last = http.get(f"/api/runs/{RUN}").json()["seq"]
        first = 1e3 * _seconds(_moment, http, last // 2)
        _moment(http, last)
        differ = sum(_differs(http, log, luck.randint(1, last)) for _ in range(CHECKED))
        ours, live, late, live_too = [], [], [], []
        for _ in range(moments):
            ours.append(1e3 * _seconds(_moment, http, luck.randint(1, last)))
            live.append(1e3 * _seconds(_moment, http, None))
            late.append(1e3 * _seconds(_moment, http, luck.randint(last - last // 100, last)))
            live_too.append(1e3 * _seconds(_moment, http, None))
        size = len(http.get(f"/api/runs/{RUN}/state").content)
    name, peer = f"a moment of {last:,} events", f"the live state, {size / 1000:,.0f} kB"
    worst, live_worst = (sorted(each)[int(0.95 * len(each))] for each in (ours, live))
    return [
        alone(
            f"{name}: p95 beyond that of the live state", worst - live_worst, "ms", target=SCRUB_TARGET, better="lower",
            note=f"{worst:.1f} and {live_worst:.1f}",
        ),
        paired(f"{name}: anywhere", ours, "ms", peer, live, better="lower"),
        paired(f"{name}: in the last hundredth", late, "ms", peer, live_too, better="lower", note="the same rows"),
        alone(f"{name}: the first that is asked for, in the middle", first, "ms", better="lower"),
        alone(f"{name}: not as folded from the beginning", differ, f"of {CHECKED}", target=0, better="lower"),
    ]  # fmt: skip


# --- what a console asks -----------------------------------------------------------------------------------


def _client(plane: Plane) -> httpx.Client:
    headers = {"authorization": f"Bearer {plane.token}"}
    return httpx.Client(base_url=plane.http, headers=headers, timeout=120.0, trust_env=False)


def _moment(http: httpx.Client, seq: int | None) -> httpx.Response:
    answer = http.get(f"/api/runs/{RUN}/state" + ("" if seq is None else f"?seq={seq}"))
    return answer.raise_for_status()


def _open(http: httpx.Client) -> None:
    """The row and the events beside each other, and then the state of the end."""
    with ThreadPoolExecutor(1) as beside:
        row = beside.submit(http.get, f"/api/runs/{RUN}")
        last = _events(http)
        row.result().raise_for_status()
    _moment(http, last)


def _events(http: httpx.Client) -> int:
    """All events, page by page; the seq of the last."""
    last = 0
    while True:
        page = http.get(f"/api/runs/{RUN}/events?since={last}&limit={PAGE}").raise_for_status().json()
        last = page[-1]["seq"] if page else last
        if len(page) < PAGE:
            return last


def _seconds(ask: Any, *arguments: object) -> float:
    begun = time.perf_counter()
    ask(*arguments)
    return time.perf_counter() - begun


def _differs(http: httpx.Client, log: Path, seq: int) -> bool:
    return bool(_moment(http, seq).json()["tables"] != asyncio.run(_folded(log, seq)))


async def _folded(log: Path, seq: int) -> Any:
    """The rows at this event, by a fold that knows nothing of keyframes."""
    store, state = SqliteStore(log), State()
    await store.open()
    async for events in store.run_events(RUN, until=seq):
        for event in events:
            apply(state, event)
    await store.close()
    return msgspec.json.decode(msgspec.json.encode(tables(state, RUN)))


# --- the log -----------------------------------------------------------------------------------------------


async def _make(log: Path, events: int) -> None:
    """An open run with so many events. Its agents stay queued: they report as if their runners did."""
    engine = Engine(SqliteStore(log))
    await engine.start()
    await engine.submit(c.StartRun(run_id=RUN, name=RUN, root="/workspace", host="bench"))
    agents = []
    for number in range(AGENTS):
        spec = e.AgentSpec(kind="script", name=f"agent-{number}", task=f"Part {number} of the work. " * 8)
        spawned = await engine.submit(c.Spawn(run_id=RUN, spec=spec))
        assert isinstance(spawned, c.Spawned)
        agents.append(_Agent(engine, spawned.agent))
    while engine.state.runs[RUN].seq < events:
        await asyncio.gather(*(agent.turn() for agent in agents))
    await engine.close()


async def _end(log: Path) -> None:
    engine = Engine(SqliteStore(log))
    await engine.start()
    for agent in engine.state.agents:
        await engine.submit(c.Finish(agent=agent, status="done", output="It is done."))
    await engine.submit(c.EndRun(run_id=RUN))
    await engine.close()


class _Agent:
    """Edits files that others want as well, and tells of it."""

    def __init__(self, engine: Engine, key: str) -> None:
        self._engine, self._key = engine, key
        self._luck = random.Random(key)
        self._turns = self._entries = 0

    async def turn(self) -> None:
        self._turns += 1
        unit = f"file:src/module_{self._luck.randrange(300)}.py"
        call = f"{self._key}-{self._turns}"
        await self._engine.submit(c.Claim(owner=self._key, units=(unit,), run_id=RUN))
        edit = e.ToolCall(call=call, args={"path": unit[5:], "old": "x" * 100, "new": "y" * 120})
        write = e.FileWrite(path=unit[5:], before=HASH, after=HASH, diff=HASH, added=3, removed=2)
        said: list[c.Entry] = [
            self._entry(e.ModelCall(provider="bench"), tok_in=2_000, tok_out=150, cost=0.01),
            self._entry(e.Message(role="assistant", text="Now I change what the test expects. " * 6)),
            self._entry(edit, name="edit", unit=unit),
            self._entry(write, unit=unit),
            self._entry(e.ToolResult(call=call, output="3 lines added, 2 removed"), status="ok", dur_ns=3_000_000),
        ]
        if self._turns % 40 == 0:
            said.append(self._entry(e.Artifact(kind="report", hash=HASH, size=900), name=f"report-{self._turns}"))
        await self._engine.submit(c.Report(agent=self._key, entries=tuple(said)))
        if self._turns % 20 == 0:
            await self._engine.submit(
                c.SetPlan(agent=self._key, steps=("read", "change", f"test {call}"), units=(unit,))
            )
        await self._engine.submit(c.Release(owner=self._key))

    def _entry(self, body: e.AnyBody, **columns: Any) -> c.Entry:
        self._entries += 1
        return c.Entry(n=self._entries, ts=time.time_ns(), body=body, **columns)
