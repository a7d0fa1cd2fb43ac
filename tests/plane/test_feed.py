"""Subscribers: events are never lost, rows are always of one moment."""

from __future__ import annotations

import asyncio

from agentlab.core import commands as c
from agentlab.core.events import Message
from agentlab.link import messages as m
from agentlab.link.client import LinkClient

from .conftest import DEADLINE, Lab, until


async def say(client: LinkClient, agent: str, first: int, count: int, size: int = 10) -> None:
    entries = tuple(
        c.Entry(n=n, ts=n, body=Message(role="assistant", text=f"{n} " + "x" * size))
        for n in range(first, first + count)
    )
    await client.request(c.Report(agent=agent, entries=entries))


async def collect(client: LinkClient, follow: m.Follow, last: int) -> list[int]:
    places: list[int] = []
    async with asyncio.timeout(DEADLINE):
        async for pushed in client.subscribe(follow):
            assert isinstance(pushed, m.Events)
            places += [event.id if follow.run_id is None else event.seq for event in pushed.events]
            if places and places[-1] >= last:
                return places
    raise AssertionError("unreachable")


async def test_a_follower_from_the_beginning_gets_every_event_once_in_order(lab: Lab) -> None:
    run = await lab.run()
    agent = await lab.spawn("a")
    runner = await lab.runner(agent)
    await say(runner, agent, 1, 1000)
    seq = lab.plane.engine.state.runs[run].seq
    following = asyncio.create_task(collect(lab.client, m.Follow(run_id=run, since=0), seq + 2000))
    for batch in range(20):
        await say(runner, agent, 1001 + batch * 100, 100)
    assert await following == list(range(1, seq + 2001))


async def test_followers_that_come_at_any_moment_lose_nothing(lab: Lab) -> None:
    run = await lab.run()
    agent = await lab.spawn("a")
    runner = await lab.runner(agent)
    start = lab.plane.engine.state.runs[run].seq
    following = []
    for batch in range(50):
        await say(runner, agent, 1 + batch * 20, 20)
        following.append(asyncio.create_task(collect(lab.client, m.Follow(run_id=run, since=start), start + 1000)))
    for places in await asyncio.gather(*following):
        assert places == list(range(start + 1, start + 1001))


async def test_a_slow_follower_is_served_from_the_log_and_others_are_not_held_up(lab: Lab) -> None:
    run = await lab.run()
    agent = await lab.spawn("a")
    runner = await lab.runner(agent)
    lab.plane.feed.backlog = 10_000
    start = lab.plane.engine.state.runs[run].seq

    class Stuck:
        format = "msgpack"
        taken = 0
        stuck = True

        def push(self, data: bytes) -> None:
            self.taken += 1

        def backlog(self) -> int:
            return 1_000_000 if self.stuck else 0

    sink = Stuck()
    lab.plane.feed.follow(sink, run, start)
    quick = asyncio.create_task(collect(lab.client, m.Follow(run_id=run, since=start), start + 500))
    for batch in range(10):
        await say(runner, agent, 1 + batch * 50, 50, size=1000)
    assert await quick == list(range(start + 1, start + 501))
    assert sink.taken <= 1
    sink.stuck = False
    await until(lambda: sink.taken > 0 and all(f.cursor >= start + 500 for f in lab.plane.feed._followers.values()))


async def test_followers_get_events_of_many_megabytes_however_many_come_at_once(lab: Lab) -> None:
    run = await lab.run()
    agent = await lab.spawn("a")
    runner = await lab.runner(agent)
    seq = lab.plane.engine.state.runs[run].seq
    live = asyncio.create_task(collect(lab.client, m.Follow(run_id=run, since=seq), seq + 5))
    await asyncio.gather(*(say(runner, agent, n, 1, size=20_000_000) for n in range(1, 6)))
    assert await live == list(range(seq + 1, seq + 6))
    assert await collect(lab.client, m.Follow(run_id=run, since=0), seq + 5) == list(range(1, seq + 6))


async def test_rows_arrive_as_a_snapshot_and_then_as_what_changed(lab: Lab) -> None:
    rows: dict[str, dict[str, object]] = {}
    watching = lab.client.subscribe(m.Watch())
    first = await anext(watching)
    assert isinstance(first, m.Delta)
    assert first.full
    await lab.run()
    await lab.spawn("a")
    async with asyncio.timeout(DEADLINE):
        async for delta in watching:
            assert isinstance(delta, m.Delta)
            assert not delta.full
            rows |= delta.tables.get("agents", {})  # type: ignore[arg-type]
            if rows.get("r1/a", {}).get("status") == "dispatched":
                break
    await watching.aclose()


async def test_a_watcher_resumes_from_what_it_has_seen(lab: Lab) -> None:
    await lab.run()
    watching = lab.client.subscribe(m.Watch())
    seen = await anext(watching)
    assert isinstance(seen, m.Delta)
    await lab.run("r2")
    async with asyncio.timeout(DEADLINE):
        async for delta in watching:
            assert isinstance(delta, m.Delta)
            if "r2" in delta.tables.get("runs", {}):
                break
    await watching.aclose()
    again = lab.client.subscribe(m.Watch(since=delta.seq))
    await lab.run("r3")
    async with asyncio.timeout(DEADLINE):
        more = await anext(again)
    assert isinstance(more, m.Delta)
    assert not more.full
    assert set(more.tables["runs"]) == {"r3"}
    await again.aclose()


async def test_a_place_in_a_queue_is_a_row_that_moves(lab: Lab) -> None:
    await lab.run()
    for owner in ("ada", "bob", "eve"):
        await lab.client.request(c.Claim(owner=f"user:{owner}", units=("file:a",), run_id="r1"))
    rows = {r["owner"]: r for r in lab.plane.feed.snapshot().tables["locks"].values() if r}
    assert [rows[f"user:{o}"]["position"] for o in ("ada", "bob", "eve")] == [None, 1, 2]
    await lab.client.request(c.Release(owner="user:bob"))
    rows = {r["owner"]: r for r in lab.plane.feed.snapshot().tables["locks"].values() if r}
    assert rows["user:eve"]["position"] == 1
