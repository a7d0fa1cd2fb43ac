"""The single writer: nothing is answered that is not durable, and a log in doubt grants nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from agentlab.core import commands as c
from agentlab.core import events as e
from agentlab.core.views import tables
from agentlab.errors import OutcomeUnknown, Unavailable, WouldBlock
from agentlab.plane.engine import Engine
from agentlab.store.base import Batch
from agentlab.store.sqlite import SqliteStore

RUN = c.StartRun(run_id="r1", name="one", root="/w", host="here", user="ada")


def claim(owner: str, *units: str, rid: str = "") -> c.Claim:
    return c.Claim(owner=f"user:{owner}", units=units, run_id="r1", rid=rid)


class Gated(SqliteStore):
    """A store whose next commits can be held back, or fail: before (nothing is there) or after the fact."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = asyncio.Event()
        self.gate.set()
        self.fail = ""
        self.batches: list[int] = []

    async def append(self, batch: Batch) -> None:
        await self.gate.wait()
        self.batches.append(len(batch.events))
        if self.fail == "before":
            raise OutcomeUnknown("disk I/O error.")
        await super().append(batch)
        if self.fail == "after":
            raise OutcomeUnknown("disk I/O error.")

    async def reopen(self) -> int:
        self.fail = ""
        return await super().reopen()


@pytest.fixture
def store(tmp_path: Path) -> Gated:
    return Gated(tmp_path / "log.db")


@pytest.fixture
async def engine(store: Gated) -> AsyncIterator[Engine]:
    engine = Engine(store)
    await engine.start()
    await engine.submit(RUN)
    yield engine
    store.gate.set()
    await engine.close()


async def test_an_answer_waits_for_its_commit(engine: Engine, store: Gated) -> None:
    store.gate.clear()
    asked = asyncio.create_task(engine.submit(claim("ada", "file:a")))
    await asyncio.sleep(0)
    assert engine.state.locks.tickets, "it is decided"
    assert not asked.done(), "and not yet said"
    store.gate.set()
    assert isinstance(await asked, c.Granted)


async def test_requests_that_come_during_a_commit_share_the_next_one(engine: Engine, store: Gated) -> None:
    store.batches.clear()
    store.gate.clear()
    asked = [asyncio.create_task(engine.submit(claim(f"p{i}", f"file:{i}"))) for i in range(50)]
    await asyncio.sleep(0)
    store.gate.set()
    await asyncio.gather(*asked)
    assert sum(store.batches) == 50
    assert len(store.batches) <= 2


async def test_answers_come_in_the_order_of_the_log(engine: Engine) -> None:
    order: list[int] = []
    for i in range(20):
        engine.post(claim(f"p{i}", f"file:{i}"), lambda reply: order.append(reply.token))  # type: ignore[union-attr]
    await engine.settled()
    assert order == sorted(order)
    assert len(order) == 20


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_failing_commit_is_unknown_and_the_truth_is_read_back(engine: Engine, store: Gated, when: str) -> None:
    store.fail = when
    with pytest.raises(OutcomeUnknown, match="same id"):
        await engine.submit(claim("ada", "file:a", rid="ada-1"))
    await engine.settled()
    there = bool(engine.state.locks.tickets)
    assert there == (when == "after")
    again = await engine.submit(claim("ada", "file:a", rid="ada-1"))
    assert isinstance(again, c.Granted)
    assert len(engine.state.locks.tickets) == 1
    with pytest.raises(WouldBlock):
        await engine.submit(c.Claim(owner="user:bob", units=("file:a",), run_id="r1", wait=False))


async def test_nothing_is_granted_while_the_log_is_in_doubt(
    engine: Engine, store: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = asyncio.Event()

    async def reopen() -> int:
        await closed.wait()
        return await SqliteStore.reopen(store)

    monkeypatch.setattr(store, "reopen", reopen)
    store.fail = "before"
    with pytest.raises(OutcomeUnknown):
        await engine.submit(claim("ada", "file:a"))
    with pytest.raises(Unavailable, match="nothing is granted"):
        await engine.submit(claim("bob", "file:b"))
    store.fail = ""
    closed.set()
    await engine.settled()
    assert isinstance(await engine.submit(claim("bob", "file:b")), c.Granted)


async def test_listeners_see_each_durable_event_once_and_in_order(engine: Engine, store: Gated) -> None:
    seen: list[int] = []
    engine.on_commit.append(lambda events: seen.extend(event.id for event in events))
    await engine.submit(claim("ada", "file:a"))
    store.fail = "after"
    with pytest.raises(OutcomeUnknown):
        await engine.submit(claim("bob", "file:b"))
    await engine.settled()
    await engine.submit(claim("eve", "file:c"))
    await engine.settled()
    assert seen == list(range(2, engine.committed + 1))


async def test_a_next_engine_knows_who_held_what_in_runs_that_go_on(tmp_path: Path) -> None:
    """So that what a command wrote where it may not, while the plane was away, is still told from what others wrote."""
    path = tmp_path / "log.db"
    asked = c.Touched(owner="user:ada", units=("file:a", "file:b"), since=0, run_id="r1")
    async with AsyncExitStack() as stack:
        first = Engine(SqliteStore(path))
        await first.start()
        stack.push_async_callback(first.close)
        await first.submit(RUN)
        await first.submit(claim("bea", "file:a"))
        await first.submit(c.Release(owner="user:bea"))
        await first.submit(msgspec.structs.replace(RUN, run_id="r2", name="two"))
        between = await _touched(first, asked)
    async with AsyncExitStack() as stack:
        second = Engine(SqliteStore(path))
        await second.start()
        stack.push_async_callback(second.close)
        assert (await _touched(second, asked)).units == between.units == ("file:a",)
        await second.submit(c.EndRun(run_id="r2"))
        ended = (await _touched(second, asked)).position
    third = Engine(SqliteStore(path))
    await third.start()
    assert (await _touched(third, asked)).units == ("file:a", "file:b"), (
        "nobody knows what was held in the run that has ended"
    )
    assert (await _touched(third, msgspec.structs.replace(asked, since=ended))).units == ()
    await third.close()


async def _touched(engine: Engine, asked: c.Touched) -> c.Units:
    reply = await engine.submit(asked)
    assert isinstance(reply, c.Units)
    return reply


async def test_a_next_engine_folds_the_same_state(tmp_path: Path) -> None:
    first = Engine(SqliteStore(tmp_path / "log.db"))
    await first.start()
    await first.submit(RUN)
    held = await first.submit(claim("ada", "file:a", "dir:src"))
    await first.submit(claim("bob", "file:src/x"))
    await first.close()
    before = tables(first.state)
    second = Engine(SqliteStore(tmp_path / "log.db"))
    await second.start()
    assert tables(second.state) == before
    assert second.leases.left("user:ada", 60.0, second.now().mono) > 59.0, "a restart is no fault of the owner"
    fresh = await second.submit(claim("eve", "file:other"))
    assert isinstance(held, c.Granted)
    assert isinstance(fresh, c.Granted)
    assert fresh.token > held.token
    await second.close()


async def test_a_defect_in_deciding_is_answered_and_the_state_is_the_log_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentlab.core import claims

    def broken(*_: object) -> None:
        raise RuntimeError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(claims, "release", broken)
        with pytest.raises(Exception, match="plane failed"):
            await engine.submit(c.Release(owner="user:ada"))
    await engine.settled()
    assert isinstance(await engine.submit(claim("ada", "file:a")), c.Granted)


async def test_turns_are_decided_in_task_order_whoever_is_faster(tmp_path: Path) -> None:
    orders = []
    for number, names in enumerate((["a", "b", "c"], ["c", "a", "b"], ["b", "c", "a"])):
        engine = Engine(SqliteStore(tmp_path / f"{number}.db"))
        await engine.start()
        await engine.submit(c.StartRun(run_id="r1", name="one", root="/w", host="here", schedule="turns"))
        for name in "abc":
            await engine.submit(c.Spawn(run_id="r1", spec=e.AgentSpec(kind="script", name=name), rid=name))
        asked = [
            asyncio.create_task(engine.submit(c.Claim(owner=f"r1/{n}", units=("file:n",), run_id="r1"))) for n in names
        ]
        await asyncio.sleep(0)
        assert not engine.state.locks.tickets, "nobody crosses before the run begins"
        await engine.submit(c.BeginRun(run_id="r1"))
        await asyncio.gather(*asked)
        orders.append([t.owner for t in sorted(engine.state.locks.tickets.values(), key=lambda t: t.key)])
        await engine.close()
    assert orders == [["r1/a", "r1/b", "r1/c"]] * 3


async def test_in_turns_an_end_is_a_crossing_too(tmp_path: Path) -> None:
    logs = []
    for number, end_first in enumerate((True, False)):
        engine = Engine(SqliteStore(tmp_path / f"{number}.db"))
        await engine.start()
        await engine.submit(c.StartRun(run_id="r1", name="one", root="/w", host="here", schedule="turns"))
        for name in "ab":
            await engine.submit(c.Spawn(run_id="r1", spec=e.AgentSpec(kind="script", name=name), rid=name))
        await engine.submit(c.BeginRun(run_id="r1"))
        crossings: list[c.AnyCommand] = [
            c.Finish(agent="r1/b", status="done"),
            c.Claim(owner="r1/a", units=("file:n",), run_id="r1"),
        ]
        await asyncio.gather(*(engine.submit(command) for command in (crossings if end_first else crossings[::-1])))
        await engine.settled()
        logs.append([event.type async for batch in engine.store.run_events("r1") for event in batch])
        await engine.close()
    assert logs[0] == logs[1]


async def test_what_waited_for_its_turn_is_answered_when_the_state_is_folded_anew(engine: Engine, store: Gated) -> None:
    await engine.submit(c.StartRun(run_id="r2", name="two", root="/w2", host="here", schedule="turns"))
    await engine.submit(c.Spawn(run_id="r2", spec=e.AgentSpec(kind="script", name="a"), rid="a"))
    waiting = asyncio.create_task(engine.submit(c.Claim(owner="r2/a", units=("file:n",), run_id="r2")))
    await asyncio.sleep(0)
    store.fail = "before"
    with pytest.raises(OutcomeUnknown):
        await engine.submit(claim("ada", "file:a"))
    with pytest.raises(OutcomeUnknown):
        await asyncio.wait_for(waiting, 10)
