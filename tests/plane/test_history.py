"""The past is what a fold from the beginning says, however it is asked for, and however little is kept of it."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.core import commands as c
from agentlab.core import events as e
from agentlab.core.events import AgentSpec, Event
from agentlab.core.fold import apply
from agentlab.core.rows import ENDED
from agentlab.core.state import State
from agentlab.core.views import tables
from agentlab.errors import AgentlabError, NotFound
from agentlab.plane import history
from agentlab.plane.engine import Engine
from agentlab.plane.history import History
from agentlab.store.memory import MemoryStore
from agentlab.store.sqlite import SqliteStore

from .conftest import DEADLINE, Lab

RUNS = ("r1", "r2", "r3")

_rows = msgspec.json.Encoder(order="deterministic")


class Life:
    """Random things that happen in three runs, through the engine."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self.engine = engine
        self.luck = random.Random(seed)
        self._numbers = itertools.count(1)
        self._journals: dict[str, int] = {}

    async def begin(self) -> None:
        for run in RUNS:
            await self.engine.submit(c.StartRun(run_id=run, name=run, root=f"/{run}", host="h", user="ada"))
            await self._spawn(run)

    async def go_on(self, steps: int) -> None:
        for _ in range(steps):
            try:
                await self._step()
            except AgentlabError:
                pass  # a refusal is an event as well, or none

    async def _spawn(self, run: str) -> None:
        await self.engine.submit(c.Spawn(run_id=run, spec=AgentSpec(kind="script", task="work")))

    async def _step(self) -> None:
        luck, state, number = self.luck, self.engine.state, next(self._numbers)
        live = [key for key, agent in state.agents.items() if agent.status not in ENDED]
        agent = luck.choice(live) if live else ""
        run = agent.partition("/")[0] or luck.choice(RUNS)
        unit = luck.choice(("file:a", "file:src/b", "dir:src", "proc:test"))
        match luck.choice(
            ("spawn", "claim", "claim", "release", "report", "report", "ask", "answer", "send", "task", "end", "revoke")
        ):
            case "spawn" if len(live) < 6:
                await self._spawn(luck.choice(RUNS))
            case "claim" if agent:
                await self.engine.submit(c.Claim(owner=agent, run_id=run, units=(unit,)))
            case "release" if agent:
                await self.engine.submit(c.Release(owner=agent))
            case "report" if agent:
                await self._report(agent, number)
            case "ask" if agent:
                await self.engine.submit(c.Ask(agent=agent, approval=f"q{number}", question="May I?"))
            case "answer" if state.asked:
                await self.engine.submit(c.Answer(approval=luck.choice(list(state.asked)), status="approved"))
            case "send" if agent:
                await self.engine.submit(c.SendText(agent=agent, text=f"mail {number}"))
            case "task":
                await self.engine.submit(c.CreateTask(run_id=run, goal=f"goal {number}"))
            case "end" if agent and luck.random() < 0.3:
                await self.engine.submit(c.Finish(agent=agent, status="done", output=number))
            case "revoke" if state.locks.tickets:
                await self.engine.submit(c.Revoke(ticket=luck.choice(list(state.locks.tickets)), by="ada"))

    async def _report(self, agent: str, number: int) -> None:
        bodies: list[e.AnyBody] = [
            e.ToolCall(call=f"c{number}", args={"n": number}),
            e.ModelCall(provider="p"),
            e.Artifact(kind="report", hash="0" * 64),
            e.ToolResult(call=f"c{number}"),
        ]
        entries = []
        for body in self.luck.sample(bodies, self.luck.randint(1, 4)):
            n = self._journals[agent] = self._journals.get(agent, 0) + 1
            entries.append(c.Entry(n=n, ts=number, body=body, name="x", tok_in=number))
        await self.engine.submit(c.Report(agent=agent, entries=tuple(entries)))


async def log_of(store: MemoryStore | SqliteStore, run: str) -> list[Event]:
    return [event async for batch in store.run_events(run) for event in batch]


def folded(events: list[Event]) -> State:
    state = State()
    for event in events:
        apply(state, event)
    return state


def shown(state: State, run: str) -> bytes:
    """The rows of a run in one spelling, and what is counted beside them."""
    beside = (state.position, state.token, state.requests, state.latest and sorted(state.latest.values()))
    return _rows.encode((tables(state, run), beside))


def check(state: State, events: list[Event], run: str, seq: int | None) -> None:
    assert shown(state, run) == shown(folded(events if seq is None else events[:seq]), run), (run, seq)
    assert not state.changed


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    every=st.integers(1, 12),
    frames=st.integers(1, 6),
    rows=st.one_of(st.integers(1, 60), st.just(10_000)),
    data=st.data(),
)
def test_any_moment_is_the_fold_of_all_before_it(
    seed: int, every: int, frames: int, rows: int, data: st.DataObject
) -> None:
    """In any order of asking, while the runs grow, and while what was kept is thinned, evicted or forgotten."""

    async def live() -> None:
        store = MemoryStore()
        engine = Engine(store)
        await engine.start()
        life = Life(engine, seed)
        await life.begin()
        past = History(store, every=every, frames=frames, rows=rows)
        for _ in range(data.draw(st.integers(2, 6), "rounds")):
            await life.go_on(data.draw(st.integers(0, 25), "steps"))
            if data.draw(st.booleans(), "forgets") and seed % 3 == 0:
                past.clear()
            logs = {run: await log_of(store, run) for run in RUNS}
            asked = data.draw(
                st.lists(st.tuples(st.sampled_from(RUNS), st.one_of(st.none(), st.integers(1, 150))), max_size=8),
                "asked",
            )
            together = data.draw(st.booleans(), "together")
            asking = [past.state_at(run, seq) for run, seq in asked]
            found = await asyncio.gather(*asking) if together else [await each for each in asking]
            for (run, seq), state in zip(asked, found, strict=True):
                check(state, logs[run], run, seq)
        await engine.close()

    asyncio.run(live())


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "log.db")
    yield store
    await store.close()


async def test_moments_asked_for_at_once_while_a_run_grows_are_right(store: SqliteStore) -> None:
    engine = Engine(store)
    await engine.start()
    life = Life(engine, 7)
    await life.begin()
    await life.go_on(300)
    past = History(store, every=20, frames=8)
    luck = random.Random(1)
    seqs = [luck.randint(1, 60) for _ in range(40)]
    growing = asyncio.create_task(life.go_on(200))
    found = await asyncio.gather(*(past.state_at(run, seq) for seq in seqs for run in RUNS))
    await growing
    logs = {run: await log_of(store, run) for run in RUNS}
    for (seq, run), state in zip(itertools.product(seqs, RUNS), found, strict=True):
        check(state, logs[run], run, seq)
    await engine.close()


class Counted(MemoryStore):
    """Says how many events of runs were read."""

    read = 0

    async def run_events(self, run_id: str, *, since: int = 0, until: int | None = None) -> AsyncIterator[list[Event]]:
        async for events in super().run_events(run_id, since=since, until=until):
            self.read += len(events)
            yield events


@pytest.fixture
async def long() -> AsyncIterator[Counted]:
    """A run r1 with some hundreds of events."""
    store = Counted()
    engine = Engine(store)
    await engine.start()
    await engine.submit(c.StartRun(run_id="r1", name="r1", root="/r1", host="h"))
    await engine.submit(c.Spawn(run_id="r1", spec=AgentSpec(kind="script", name="a")))
    body = e.Message(role="assistant", text="word")
    for first in range(1, 600, 50):
        entries = tuple(c.Entry(n=n, ts=n, body=body) for n in range(first, first + 50))
        await engine.submit(c.Report(agent="r1/a", entries=entries))
    yield store
    await engine.close()


async def test_what_was_folded_once_is_not_folded_again(long: Counted) -> None:
    past = History(long, every=50)
    last = (await past.state_at("r1")).runs["r1"].seq
    for seq in (last, 300, 1, 299, 101, None):
        before = long.read
        await past.state_at("r1", seq)
        assert long.read - before <= 2 * 50


async def test_what_is_kept_is_bounded_and_the_last_run_asked_for_stays(long: Counted) -> None:
    past = History(long, every=10, frames=8, rows=10_000)
    await past.state_at("r1")
    assert 0 < past.rows <= 8 * 3, "8 keyframes of a run, an agent, a task"
    small = History(long, every=10, rows=20)
    for _ in range(2):
        await small.state_at("r1")
        assert 0 < small.rows <= 20
    for number in range(3 * history.RUNS):
        with pytest.raises(NotFound):
            await small.state_at(f"ghost-{number}")
    assert small.rows == 0, "it was the oldest"


async def test_forty_who_ask_for_a_run_that_nobody_looked_at_fold_it_once(long: Counted) -> None:
    past = History(long, every=50)
    await asyncio.gather(*(past.state_at("r1", 600) for _ in range(40)))
    assert long.read <= 600 + 41 * 50


async def test_the_loop_has_its_turns_while_a_long_run_is_folded(store: SqliteStore) -> None:
    engine = Engine(store)
    await engine.start()
    life = Life(engine, 3)
    await life.begin()
    await life.go_on(300)
    folding = asyncio.create_task(History(store, every=5).state_at("r1"))
    turns = 0
    while not folding.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
    await engine.close()


# --- over HTTP ---------------------------------------------------------------------------------------------


@pytest.fixture
async def http(lab: Lab) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {lab.plane.token}"}
    async with httpx.AsyncClient(base_url=lab.plane.http, headers=headers, timeout=DEADLINE) as client:
        yield client


async def test_a_moment_says_which_event_it_is_of(lab: Lab, http: httpx.AsyncClient) -> None:
    await lab.run()
    await lab.spawn("a")
    await lab.plane.engine.settled()
    events = (await http.get("/api/runs/r1/events")).json()
    for event in events:
        then = (await http.get(f"/api/runs/r1/state?seq={event['seq']}")).json()
        assert then["seq"] == event["seq"] == then["tables"]["runs"]["r1"]["seq"]
    beyond = (await http.get("/api/runs/r1/state?seq=99999999999999999999999")).json()
    assert beyond["seq"] >= events[-1]["seq"], "there is no later one yet: the newest"


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/api/runs/r1/state?seq=0", 404, "begin with 1"),
        ("/api/runs/r1/state?seq=-7", 404, "there is no -7"),
        ("/api/runs/r1/state?seq=-99999999999999999999999", 404, "begin with 1"),
        ("/api/runs/ghost/state?seq=3", 404, "no run 'ghost'"),
        ("/api/runs/ghost/state?seq=0", 404, "no run 'ghost'"),
        ("/api/runs/r1/state?seq=two", 400, "seq='two' is no int"),
    ],
)
async def test_a_moment_that_cannot_be_is_refused_with_the_reason(
    lab: Lab, http: httpx.AsyncClient, path: str, status: int, says: str
) -> None:
    await lab.run()
    answer = await http.get(path)
    assert (answer.status_code, says in answer.json()["message"]) == (status, True), answer.text


async def test_a_state_that_was_folded_anew_has_no_past_of_the_old_one(lab: Lab, http: httpx.AsyncClient) -> None:
    await lab.run()
    past = lab.plane.handler.history
    past._every = 1
    await lab.spawn("a")
    await http.get("/api/runs/r1/state?seq=3")
    assert past.rows
    for rebuilt in lab.plane.engine.on_rebuild:
        rebuilt()
    assert not past.rows
    assert (await http.get("/api/runs/r1/state?seq=3")).json()["tables"]["agents"]["r1/a"]["name"] == "a"
