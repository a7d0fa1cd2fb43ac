"""The process that makes a plane busy for the browser's benchmark: many agents at work, and one that shows the time.

    python -m benchmarks.bustle SECONDS RATE        RATE events/s, of all agents together

Standard input: a `Crowd` as JSON on one line. The agent that is told of last says `probe-N` for each N from 0 on, PROBES
times a second. Prints JSON: `Done`.
"""

from __future__ import annotations

import asyncio
import sys
import time

import msgspec
from msgspec import Struct

from agentlab.core.commands import Entry, Ready, Report
from agentlab.core.events import Message, ToolCall, ToolResult
from agentlab.link.client import LinkClient, hello

PIECE = 10  # events to one report
PROBES = 5  # a second


class Crowd(Struct, frozen=True):
    """A plane, and its agents with a token each."""

    address: str
    agents: dict[str, str]


class Done(Struct, frozen=True):
    """probes: when each was sent, ns since the epoch."""

    events: int
    seconds: float
    probes: list[int]


class _Agent:
    def __init__(self, name: str, link: LinkClient, known: int) -> None:
        self._name, self._link, self._n = name, link, known

    async def work(self, calls: int) -> None:
        """A report: it calls a tool, says something, and so on."""
        entries: list[Entry] = []
        for number in range(calls // 2):
            call = f"{self._n}-{number}"
            entries += (
                self._entry(ToolCall(call=call, args={"path": f"src/{number}.py"}), name="read", unit=f"file:src/{number}.py"),
                self._entry(ToolResult(call=call, output="x" * 200), status="ok")
                if number % 2
                else self._entry(Message(role="assistant", text="I read the next file. " * 8)),
            )  # fmt: skip
        await self._link.request(Report(agent=self._name, entries=tuple(entries)))

    async def show(self, number: int) -> int:
        """Say so by the tool that it calls. When that was."""
        begun = time.time_ns()
        entry = self._entry(ToolCall(call=f"p{number}"), name=f"probe-{number}")
        await self._link.request(Report(agent=self._name, entries=(entry,)))
        return begun

    def _entry(self, body: Message | ToolCall | ToolResult, **columns: str) -> Entry:
        self._n += 1
        return Entry(n=self._n, ts=time.time_ns(), body=body, **columns)  # type: ignore[arg-type]


async def _hired(crowd: Crowd, name: str) -> _Agent:
    link = await LinkClient.connect(crowd.address, hello(crowd.agents[name], "bench"))
    hired = await link.request(Ready(agent=name))
    return _Agent(name, link, int(getattr(hired, "journal", 0)))


async def _beat(every: float, until: float) -> bool:
    """Wait for the next beat of a clock that does not drift. False: it is over."""
    now = time.perf_counter()
    await asyncio.sleep(every - now % every)
    return time.perf_counter() < until


async def main(seconds: float, rate: int) -> Done:
    crowd = msgspec.json.decode(sys.stdin.readline(), type=Crowd)
    *workers, probe = [await _hired(crowd, name) for name in crowd.agents]
    begun = time.perf_counter()
    until = begun + seconds
    sent = 0

    async def work(agent: _Agent, place: float) -> None:
        nonlocal sent
        every = len(workers) * PIECE / rate
        await asyncio.sleep(place * every)
        while await _beat(every, until):
            await agent.work(PIECE)
            sent += PIECE

    async def show() -> list[int]:
        shown: list[int] = []
        while await _beat(1 / PROBES, until):
            shown.append(await probe.show(len(shown)))
        return shown

    shown, *_ = await asyncio.gather(show(), *(work(agent, n / len(workers)) for n, agent in enumerate(workers)))
    return Done(events=sent, seconds=time.perf_counter() - begun, probes=shown)


if __name__ == "__main__":
    print(msgspec.json.encode(asyncio.run(main(float(sys.argv[1]), int(sys.argv[2])))).decode())
