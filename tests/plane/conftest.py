"""A plane in this process, over a real SQLite log and a runtime in memory."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agentlab.config import Config, Intervals
from agentlab.core import commands as c
from agentlab.core.events import AgentSpec
from agentlab.link.client import LinkClient, hello
from agentlab.plane.auth import Authority, home_secret
from agentlab.plane.daemon import Plane
from agentlab.testing.runtime import FakeRuntime

DEADLINE = 30.0  # s


class Lab:
    """A served plane, and how a test talks to it."""

    def __init__(self, plane: Plane, runtime: FakeRuntime, root: Path, stack: AsyncExitStack) -> None:
        self.plane, self.runtime, self.root = plane, runtime, root
        self.client: LinkClient
        self._stack = stack
        self._rids = itertools.count(1)

    async def connect(self, token: str | None = None, **options: str) -> LinkClient:
        client = await LinkClient.connect(
            self.plane.server.address, hello(token or self.plane.token, "test", **options)
        )
        self._stack.push_async_callback(client.close)
        return client

    def token(self, agent: str) -> str:
        return Authority(self.plane.token, home_secret(self.plane.home)).agent_token(agent)

    async def run(self, run_id: str = "r1", **options: object) -> str:
        await self.client.request(
            c.StartRun(run_id=run_id, name=run_id, root=str(self.root), host="here", user="ada", **options)  # type: ignore[arg-type]
        )
        return run_id

    async def spawn(
        self, name: str, run_id: str = "r1", *, secrets: dict[str, str] | None = None, **spec: object
    ) -> str:
        spawned = await self.client.request(
            c.Spawn(
                rid=f"spawn-{next(self._rids)}",
                run_id=run_id,
                secrets=secrets or {},
                spec=AgentSpec(kind="script", name=name, task=[], **spec),  # type: ignore[arg-type]
            )
        )
        assert isinstance(spawned, c.Spawned)
        return spawned.agent

    async def runner(self, agent: str, **options: object) -> LinkClient:
        """Be the runner of an agent that was dispatched."""
        await until(lambda: agent in self.runtime.runners)
        client = await LinkClient.connect(self.plane.server.address, hello(self.token(agent), "runner"), **options)  # type: ignore[arg-type]
        self._stack.push_async_callback(client.close)
        await client.request(c.Ready(agent=agent, pid=1))
        return client

    def status(self, agent: str) -> str:
        return self.plane.engine.state.agents[agent].status


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that is bound to come."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def config() -> Config:
    return Config(intervals=Intervals(heartbeat=0.5, sweep=0.1, stop=0.3))


@pytest.fixture
async def open_lab(tmp_path: Path, config: Config) -> AsyncIterator[Callable[[], Awaitable[Lab]]]:
    """Open the lab of one home; called again after closing it, it is the next plane of the same home."""
    root = tmp_path / "work"
    root.mkdir()
    runtime = FakeRuntime()
    async with AsyncExitStack() as all_labs:

        async def opened() -> Lab:
            stack = AsyncExitStack()
            all_labs.push_async_callback(stack.aclose)
            plane = await stack.enter_async_context(Plane(tmp_path / "home", config, [runtime]))
            lab = Lab(plane, runtime, root, stack)
            lab.close = stack.aclose  # type: ignore[attr-defined]
            lab.client = await lab.connect(session_id="s1")
            return lab

        yield opened


@pytest.fixture
async def lab(open_lab: Callable[[], Awaitable[Lab]]) -> Lab:
    return await open_lab()
