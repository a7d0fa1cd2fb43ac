"""A runtime in memory, for tests of the plane: nothing is started, everything is remembered, any end can be staged."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from agentlab.core.commands import CLI
from agentlab.errors import NotFound, Unavailable
from agentlab.runtimes.base import Ended, Launch, Place, Stats


@dataclass(eq=False)
class FakeRunner:
    launch: Launch
    place: Place
    end: Ended | None = None
    paused: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False)
class FakeRuntime:
    """`runners`: all that were ever started, the newest of an agent wins. `refusal`: what the next starts raise.
    `calls`: (verb, agent) in order. `leftovers`: how many processes `reap` finds of an agent."""

    id: str = "fake"
    kind: str = "fake"
    host: str = "nowhere"
    slots: int = 4
    sickness: str = ""
    refusal: Exception | None = None
    clis: tuple[CLI, ...] = (CLI(name="claude", verdict="ok", path="/fake/claude", version="2.1.0"),)
    runners: dict[str, FakeRunner] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    leftovers: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    closed: bool = False

    # --- what a test does ---

    def end(self, agent: str, *, code: int | None = 0, signal: int | None = None, last_lines: str = "") -> None:
        """The runner of this agent ends, whoever may be waiting. Raises NotFound: none was started."""
        self._end(self.runner(agent), Ended(code=code, signal=signal, last_lines=last_lines))

    def kill(self, agent: str) -> None:
        """As by kill -9."""
        self.end(agent, code=None, signal=9)

    def runner(self, agent: str) -> FakeRunner:
        try:
            return self.runners[agent]
        except KeyError:
            raise NotFound(
                f"No runner was started for {agent}. Started: {', '.join(self.runners) or 'none'}."
            ) from None

    @property
    def living(self) -> list[str]:
        return [agent for agent, runner in self.runners.items() if runner.end is None]

    # --- what the plane asks ---

    async def start(self, launch: Launch) -> Place:
        self.calls.append(("start", launch.agent))
        if self.refusal is not None:
            raise self.refusal
        if len(self.living) >= self.slots:
            raise Unavailable(f"All {self.slots} slots of {self.id} are taken.")
        place = Place(runtime=self.id, id=f"{launch.agent}#{len(self.calls)}", agent=launch.agent)
        self.runners[launch.agent] = FakeRunner(launch, place)
        return place

    def adopt(self, place: Place) -> bool:
        runner = self._at(place)
        return runner is not None and runner.end is None

    async def poll(self, place: Place) -> Ended | None:
        runner = self._at(place)
        return runner.end if runner else Ended(reason="It is gone, and nobody saw how it ended.")

    async def wait(self, place: Place) -> Ended:
        if runner := self._at(place):
            await runner.gone.wait()
        return await self.poll(place) or Ended()

    async def stop(self, place: Place, *, grace: float = 5.0) -> None:
        self.calls.append(("stop", place.agent))
        if runner := self._at(place):
            self._end(runner, Ended(signal=15))

    async def pause(self, place: Place) -> None:
        self._set_paused(place, "pause", True)

    async def resume(self, place: Place) -> None:
        self._set_paused(place, "resume", False)

    async def logs(self, place: Place, tail: int | None = None) -> str:
        runner = self._at(place)
        lines = runner.end.last_lines.splitlines() if runner and runner.end else []
        return "\n".join(lines if tail is None else lines[-tail:] if tail else [])

    async def stats(self, place: Place) -> Stats:
        there = self.adopt(place)
        return Stats(cpu=0.1 if there else 0.0, rss=1 << 20 if there else 0, processes=int(there))

    async def reap(self, agent: str) -> int:
        self.calls.append(("reap", agent))
        return self.leftovers.pop(agent, 0)

    async def detect(self) -> tuple[CLI, ...]:
        return self.clis

    async def health(self) -> str:
        return self.sickness

    async def close(self) -> None:
        self.closed = True

    # --- inside ---

    def _at(self, place: Place) -> FakeRunner | None:
        runner = self.runners.get(place.agent)
        return runner if runner and runner.place == place else None

    def _end(self, runner: FakeRunner, end: Ended) -> None:
        if runner.end is None:
            runner.end = end
            runner.gone.set()

    def _set_paused(self, place: Place, verb: str, paused: bool) -> None:
        self.calls.append((verb, place.agent))
        if runner := self._at(place):
            runner.paused = paused
