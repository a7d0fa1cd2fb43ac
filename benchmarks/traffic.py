"""The processes around the recorder's benchmark: an agent that reports, and subscribers that follow.

    python -m benchmarks.traffic flood SECONDS              report as fast as the plane takes it
    python -m benchmarks.traffic steady SECONDS RATE        report so many events a second
    python -m benchmarks.traffic follow SUBSCRIBERS         follow its run

Standard input: a `Target` as JSON on one line; to `follow` afterwards how many events there were. Each prints JSON.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import IO

import msgspec
from msgspec import Struct

from agentlab.core.commands import Entry, Ready, Report
from agentlab.core.events import Message
from agentlab.link.client import LinkClient, hello
from agentlab.link.messages import Events, Follow, Renew

from .lockers import ROOT

BATCH = 100  # events to one report
PIECE = 40  # events to one report of a steady flow
WINDOW = 4  # reports on their way at once
SIZE = 1024  # bytes of text in an event
PATIENCE = 10.0  # s that followers wait for what is still missing


class Target(Struct, frozen=True):
    """A plane, and the agent that reports to it."""

    address: str
    token: str
    agent: str
    admin: str = ""


class Sent(Struct, frozen=True):
    events: int
    seconds: float


class Received(Struct, frozen=True):
    """`lost`: events that somebody was not given, or was given twice or in the wrong order. Ages in ms."""

    delivered: int
    lost: int
    p50: float
    p99: float


def entries(first: int, count: int) -> tuple[Entry, ...]:
    """Messages of 1 KB, stamped with the time at which they were made."""
    now = time.time_ns()
    return tuple(
        Entry(n=n, ts=now, body=Message(role="assistant", text=f"{n:>{SIZE}}")) for n in range(first, first + count)
    )


def start(target: Target, *argv: str) -> subprocess.Popen[str]:
    """One of these processes, told where to connect. Its standard input stays open."""
    command = [sys.executable, "-m", "benchmarks.traffic", *argv]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    process.stdin.write(msgspec.json.encode(target).decode() + "\n")
    process.stdin.flush()
    return process


def outcome(process: subprocess.Popen[str], type: type[Sent] | type[Received], timeout: float) -> Sent | Received:
    """What it prints at its end. Raises RuntimeError: it failed."""
    output, _ = process.communicate(timeout=timeout)
    if process.returncode:
        raise RuntimeError(f"{process.args!r} failed")
    return msgspec.json.decode(output.splitlines()[-1], type=type)


# --- the agent ---------------------------------------------------------------------------------------------


async def _flood(target: Target, seconds: float) -> Sent:
    link = await _agent(target)
    known, begun = await _journal(link, target), time.perf_counter()
    sent, answers = known, []
    while time.perf_counter() - begun < seconds:
        answers.append(link.send(Report(agent=target.agent, entries=entries(sent + 1, BATCH))))
        sent += BATCH
        if len(answers) >= WINDOW:
            await answers.pop(0)
    await asyncio.gather(*answers)
    took = time.perf_counter() - begun
    await link.close()
    return Sent(events=sent - known, seconds=took)


async def _steady(target: Target, seconds: float, rate: int) -> Sent:
    link = await _agent(target)
    known, begun = await _journal(link, target), time.perf_counter()
    sent, answers = known, []
    async for due in _beats(seconds, PIECE / rate):
        await asyncio.sleep(max(0.0, begun + due - time.perf_counter()))
        answers.append(link.send(Report(agent=target.agent, entries=entries(sent + 1, PIECE))))
        sent += PIECE
    await asyncio.gather(*answers)
    took = time.perf_counter() - begun
    await link.close()
    return Sent(events=sent - known, seconds=took)


async def _beats(seconds: float, every: float) -> AsyncIterator[float]:
    for number in range(round(seconds / every)):
        yield number * every


async def _agent(target: Target) -> LinkClient:
    return await LinkClient.connect(target.address, hello(target.token, "bench"))


async def _journal(link: LinkClient, target: Target) -> int:
    """Where this agent's record ends: the next entry must be numbered after it."""
    hired = await link.request(Ready(agent=target.agent))
    return int(getattr(hired, "journal", 0))


# --- the subscribers ---------------------------------------------------------------------------------------


class _Follower:
    """Counts what comes, and looks at how old the oldest event of each delivery is."""

    def __init__(self) -> None:
        self.delivered = self.out_of_order = self.last = 0
        self.ages: list[int] = []

    async def follow(self, link: LinkClient, run_id: str) -> None:
        async for push in link.subscribe(Follow(run_id=run_id)):
            assert isinstance(push, Events)
            self.ages.append(time.time_ns() - push.events[0].ts)
            for event in push.events:
                self.out_of_order += event.seq != self.last + 1 and self.last > 0
                self.last = event.seq
            self.delivered += sum(isinstance(event.body, Message) for event in push.events)


async def _follow(target: Target, count: int, orders: IO[str]) -> Received:
    run_id = target.agent.partition("/")[0]
    links = [await LinkClient.connect(target.address, hello(target.admin, "bench")) for _ in range(count)]
    followers = [_Follower() for _ in links]
    tasks = [asyncio.create_task(f.follow(link, run_id)) for f, link in zip(followers, links, strict=True)]
    for link in links:  # the answer to something later says that the subscription is there
        await link.request(Renew(owner="user:bench"))
    print("ready", flush=True)
    events = int(await asyncio.to_thread(orders.readline))
    deadline = time.monotonic() + PATIENCE
    while any(f.delivered < events for f in followers) and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for link in links:
        await link.close()
    return _received(followers, events)


def _received(followers: Sequence[_Follower], events: int) -> Received:
    ages = sorted(age / 1e6 for f in followers for age in f.ages) or [0.0]
    lost = sum(abs(events - f.delivered) + f.out_of_order for f in followers)
    p50, p99 = (ages[len(ages) * percent // 100] for percent in (50, 99))
    return Received(delivered=sum(f.delivered for f in followers), lost=lost, p50=p50, p99=p99)


async def main() -> Sent | Received:
    target = msgspec.json.decode(sys.stdin.readline(), type=Target)
    match sys.argv[1:]:
        case ["flood", seconds]:
            return await _flood(target, float(seconds))
        case ["steady", seconds, rate]:
            return await _steady(target, float(seconds), int(rate))
        case ["follow", count]:
            return await _follow(target, int(count), sys.stdin)
    raise SystemExit(__doc__)


if __name__ == "__main__":
    print(msgspec.json.encode(asyncio.run(main())).decode())
