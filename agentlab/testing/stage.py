"""A real plane in a thread, without runners: tests act the agents' parts themselves.

    with Stage(home) as stage:
        agent = agentlab.connect(home, start=False).spawn("script", name="a", steps=[{"say": "hello"}])
        stage.puppet(agent.key).says("hello").finishes()

It writes its log with one SQLite while frames read by another: in this process look at rows, not at frames.
"""

from __future__ import annotations

import asyncio
import platform
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from agentlab import discovery
from agentlab.config import Config, Intervals
from agentlab.core import commands as c
from agentlab.core import events as e
from agentlab.plane.daemon import Plane
from agentlab.runtimes.base import Ended, Launch, Place, Stats

T = TypeVar("T")


class PuppetRuntime:
    """Starts nothing. A place lives until it is stopped."""

    id = "puppets"
    kind = "local"
    slots = 20

    def __init__(self, host: str) -> None:
        self.host = host
        self.launches: dict[str, Launch] = {}
        self._launched: dict[str, asyncio.Event] = {}
        self._gone: dict[str, asyncio.Event] = {}

    async def start(self, launch: Launch) -> Place:
        self.launches[launch.agent] = launch
        self.launched(launch.agent).set()
        return Place(runtime=self.id, id=launch.agent)

    def launched(self, agent: str) -> asyncio.Event:
        return self._launched.setdefault(agent, asyncio.Event())

    def _event(self, place: Place) -> asyncio.Event:
        return self._gone.setdefault(place.id, asyncio.Event())

    async def poll(self, place: Place) -> Ended | None:
        return Ended() if self._event(place).is_set() else None

    async def wait(self, place: Place) -> Ended:
        await self._event(place).wait()
        return Ended()

    async def stop(self, place: Place, *, grace: float = 5.0) -> None:
        self._event(place).set()

    async def pause(self, place: Place) -> None:
        return

    async def resume(self, place: Place) -> None:
        return

    async def logs(self, place: Place, tail: int | None = None) -> str:
        return ""

    async def stats(self, place: Place) -> Stats:
        return Stats(cpu=0.0, rss=0, processes=0)

    async def reap(self, agent: str) -> int:
        return 0

    async def detect(self) -> tuple[c.CLI, ...]:
        return (c.CLI(name="claude", verdict="too old", version="1.0", path="/bin/claude", reason="needs 2.0"),)

    async def health(self) -> str:
        return ""

    async def close(self) -> None:
        return


class Stage:
    """The plane of a home, which can be stopped and started again, and its agents."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.plane: Plane | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def start(self) -> None:
        discovery.prepare(self.home)
        self.runtime = PuppetRuntime(platform.node())
        config = Config(intervals=Intervals(stop=0.05), http=False)
        self.plane = Plane(self.home, config, [self.runtime])
        self.call(self.plane.__aenter__())

    def stop(self) -> None:
        plane, self.plane = self.plane, None
        if plane is not None:
            self.call(plane.__aexit__(None, None, None))

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def submit(self, command: c.AnyCommand) -> c.AnyReply:
        assert self.plane is not None
        return self.call(self.plane.engine.submit(command))

    def submit_finish(self, agent: str, status: str = "done") -> None:
        """End an agent whose puppet was of an earlier plane."""
        self.submit(c.Finish(agent=agent, status=status))

    def puppet(self, agent: str) -> Puppet:
        return Puppet(self, agent)


class Puppet:
    """An agent, acted by a test: made when it has been dispatched, and it is running."""

    def __init__(self, stage: Stage, agent: str) -> None:
        self.agent = agent
        self._stage = stage
        self._n = 0
        stage.call(self._launched())
        stage.submit(c.Ready(agent=agent, pid=4242))

    async def _launched(self) -> None:
        async with asyncio.timeout(10):
            await self._stage.runtime.launched(self.agent).wait()

    def report(self, body: Any, **columns: Any) -> Puppet:
        self._n += 1
        entry = c.Entry(n=self._n, ts=1_700_000_000_000_000_000 + self._n, body=body, **columns)
        self._stage.submit(c.Report(agent=self.agent, entries=(entry,)))
        return self

    def says(self, text: str) -> Puppet:
        return self.report(e.Message(role="assistant", text=text))

    def calls(self, tool: str, unit: str) -> Puppet:
        return self.report(e.ToolCall(call=f"call-{self._n}"), name=tool, unit=unit)

    def claims(self, *units: str) -> c.AnyReply:
        return self._stage.submit(c.Claim(owner=self.agent, units=units, run_id=self.agent.partition("/")[0]))

    def asks(self, approval: str, question: str) -> Puppet:
        self._stage.submit(c.Ask(agent=self.agent, approval=approval, question=question, options=("yes", "no")))
        return self

    def wants(self, approval: str, tool: str, **what: Any) -> Puppet:
        """Asks for permission. what: units, input, question, ..."""
        what.setdefault("question", f"May I use {tool}?")
        self._stage.submit(c.Ask(agent=self.agent, approval=approval, kind="permission", tool=tool, **what))
        return self

    def finishes(self, status: str = "done", **how: Any) -> Puppet:
        self._stage.submit(c.Finish(agent=self.agent, status=status, **how))
        return self
