"""Ten seconds without a plane: a real one, linked as a runner is, stopped in the middle of calls and started anew."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from agentlab import discovery
from agentlab.core import commands as c
from agentlab.core import views
from agentlab.core.events import AgentSpec, AnyBody, Event, FileWrite, Guard, LockGrant, ToolCall, ToolResult
from agentlab.core.state import State
from agentlab.core.units import covers
from agentlab.plane.daemon import DATABASE
from agentlab.runner.connection import PlaneGate
from agentlab.runner.drivers.base import Turn
from agentlab.store.reader import open_reader, run_events
from agentlab.testing.scripted_model import ScriptedModel
from agentlab.testing.stage import Stage

from .bench import HELD, PATIENCE, WAIT, DriverBench, until
from .case import Case

AWAY = 10.0  # s
TERM = 600.0  # s; no lease runs out on a busy machine
MINE, LATE = "mine.txt", "late.txt"
PERSON = "user:typist"

T = TypeVar("T")


@dataclass
class Agent:
    """One behind the gate of a real plane. told: what its runner recorded. when: done as soon as a tool of this name has ended,
    before the agent knows."""

    key: str
    bench: DriverBench
    gate: PlaneGate = field(init=False)
    told: list[AnyBody] = field(default_factory=list)
    when: dict[str, Callable[[], None]] = field(default_factory=dict)

    def recorded(self, body: AnyBody, columns: dict[str, Any]) -> None:
        self.told.append(body)
        if isinstance(body, ToolResult) and (act := self.when.pop(columns["name"], None)):
            act()

    @property
    def root(self) -> Path:
        return self.bench.root

    def tries(self, path: str) -> bool:
        """It has begun to change a file, or asks whether it may."""
        return self.gate.asking or any(isinstance(body, ToolCall) and path in str(body.args) for body in self.told)


class Link:
    """The way from the agents to their plane, which can be cut at any moment: nothing passes then, and nobody connects."""

    def __init__(self, path: Path, plane: Path) -> None:
        self._path, self._plane = path, plane
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._pipes: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"unix:{self._path}"

    async def open(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._connected, self._path)

    def cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for end in self._ends:
            end.transport.abort()

    async def close(self) -> None:
        self.cut()
        await asyncio.gather(*self._pipes)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_unix_connection(self._plane)
        ends = {writer, here}
        self._ends |= ends
        pipes = [asyncio.create_task(self._pipe(reader, here)), asyncio.create_task(self._pipe(there, writer))]
        self._pipes.update(pipes)
        await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.close()
        self._ends -= ends

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # it was cut


class House:
    """A plane that is taken away and comes again, with agents of one driver, each in a workspace of its own."""

    def __init__(self, case: Case, model: ScriptedModel, base: Path) -> None:
        self._case, self._model, self._base = case, model, base
        self._stage = Stage(base / "plane")
        self._stack = AsyncExitStack()
        (base / "runners").mkdir(mode=0o700)
        self.link = Link(discovery.socket_path(base / "runners"), discovery.socket_path(self._stage.home))

    async def __aenter__(self) -> House:
        self._stack.push_async_callback(asyncio.to_thread, self._stage.close)
        await asyncio.to_thread(self._stage.start)
        self._stack.push_async_callback(self.link.close)
        await self.link.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def agent(self, name: str, *claims: str) -> Agent:
        """Spawned, dispatched, and its runner's gate open."""
        self._base.joinpath(name).mkdir()
        bench = self._case.bench_of(self._model, self._base / name)
        start = c.StartRun(run_id=name, name=name, root=str(bench.root), host=self._stage.runtime.host)
        await self.tell(start)
        spec = AgentSpec(**{"kind": self._case.kind, "name": name, "claims": claims, "ttl": TERM, **bench.spec})
        spawned = await self.tell(c.Spawn(run_id=name, spec=spec))
        assert isinstance(spawned, c.Spawned)
        launched = self._stage.runtime.launched(spawned.agent).wait()
        await asyncio.to_thread(self._stage.call, launched)
        launch = msgspec.structs.replace(
            self._stage.runtime.launches[spawned.agent], address=self.link.address, home=str(self._base / "runners")
        )
        agent = Agent(spawned.agent, bench)
        agent.gate = PlaneGate(launch, recorded=agent.recorded)
        self._stack.push_async_callback(agent.gate.close)
        await agent.gate.start()
        bench.behind(agent.gate)
        self._stack.push_async_callback(bench.close)
        return agent

    async def tell(self, command: c.AnyCommand) -> c.AnyReply:
        return await asyncio.to_thread(self._stage.submit, command)

    async def sees(self, look: Callable[[State], T]) -> T:
        """Wait until something is so for the plane."""

        async def looking() -> T:
            assert self._stage.plane is not None
            return look(self._stage.plane.engine.state)

        async with asyncio.timeout(PATIENCE):
            while not (found := await asyncio.to_thread(self._stage.call, looking())):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return found

    async def away(self) -> None:
        self.link.cut()
        await asyncio.to_thread(self._stage.stop)

    async def back(self) -> None:
        await asyncio.to_thread(self._stage.start)
        await self.link.open()

    async def log(self, agent: Agent) -> list[Event]:
        """All of its run, once all that it recorded has arrived."""
        await agent.gate.flush()
        return await asyncio.to_thread(self._read, agent.key.partition("/")[0])

    def _read(self, run_id: str) -> list[Event]:
        with closing(open_reader(self._stage.home / DATABASE)) as db:
            return [event for page in run_events(db, run_id) for event in page]


class Outage(Case):
    @pytest.mark.timeout(300)
    async def test_ten_seconds_without_a_plane_let_nothing_through_lose_nothing_and_do_nothing_twice(
        self, served: ScriptedModel, tmp_path: Path
    ) -> None:
        async with House(self, served, tmp_path) as house:
            if self.without_calls():
                await self.check_one_that_never_calls(house)
            else:
                await self.check_calls(house)

    async def check_calls(self, house: House) -> None:
        """Of two agents: a call of one is under way when the plane goes, and the other makes its next one while it is away."""
        waiter, worker = await house.agent("waiter"), await house.agent("worker", f"file:{MINE}")
        await house.tell(c.Claim(owner=PERSON, units=(f"file:{HELD}",), run_id="waiter", ttl=TERM))
        waits = await self.begun(waiter, WAIT, {"say": "at last"})
        await house.sees(lambda state: views.waits(state, waiter.key))
        (worker.root / "read.txt").write_text("what the plane goes away at")
        worker.when["read"] = house.link.cut
        steps = (
            {"read": "read.txt"},
            {"write": [MINE, "mine"]},
            self.changes(worker.root, LATE, "late"),
            {"say": "over"},
        )
        works = await self.begun(worker, *steps)
        await until(lambda: works.done() or worker.tries(LATE))
        assert (worker.root / MINE).read_text() == "mine", "it works under the lease that it has"
        await house.away()
        await nothing_for(AWAY, waiter.root / HELD, worker.root / LATE)
        assert not waits.done() and not works.done(), (waits, works)
        await house.back()

        if worker.gate.asking:
            asked = await house.sees(lambda state: list(state.asked))
            await house.tell(c.Answer(approval=asked[0], status="approved"))
        assert self.says(await works, "over"), works
        assert not waits.done() and not (waiter.root / HELD).exists(), "its place in the queue is what it was"
        await house.tell(c.Release(owner=PERSON))
        assert self.says(await waits, "at last"), waits
        await self.check_log(house, waiter, HELD)
        await self.check_log(house, worker, MINE, LATE)

    async def check_one_that_never_calls(self, house: House) -> None:
        """It goes on in what it has claimed. What it changes besides is undone, as ever, and all of it is told afterwards."""
        worker = await house.agent("worker", f"file:{MINE}")
        gate = worker.bench.base / "gate"
        gate.mkdir()
        waiting = f"touch {gate}/started; while [ ! -e {gate}/go ]; do sleep 0.02; done"
        works = await self.begun(
            worker, {"shell": waiting}, {"write": [MINE, "mine"]}, {"write": [LATE, "late"]}, {"say": "over"}
        )
        await until((gate / "started").exists)
        await house.away()
        away = asyncio.create_task(asyncio.sleep(AWAY))
        gate.joinpath("go").touch()
        assert self.says(await works, "over"), works
        ending = asyncio.create_task(worker.bench.drivers[0].close())
        await away
        await house.back()
        await ending
        assert (worker.root / MINE).exists() and not (worker.root / LATE).exists()
        log = await self.check_log(house, worker, MINE)
        assert [event.body.rule for event in log if isinstance(event.body, Guard)] == ["unclaimed-write"]

    # --- parts -----------------------------------------------------------------------------------------------

    async def begun(self, agent: Agent, *steps: dict[str, Any]) -> asyncio.Task[Turn]:
        driver = await agent.bench.started()
        return asyncio.create_task(driver.prompt(agent.bench.task(*steps)))

    async def check_log(self, house: House, agent: Agent, *paths: str) -> list[Event]:
        """All that was recorded is in the log, once; each file was written once, under a grant that is there too."""
        log = await house.log(agent)
        kinds = {type(body) for body in agent.told}
        logged = [
            type(event.body) for event in log if event.actor == agent.gate.hired.agent_id and type(event.body) in kinds
        ]
        assert logged == [type(body) for body in agent.told]
        bodies = [event.body for event in log]
        calls = Counter(body.call for body in bodies if isinstance(body, ToolCall))
        assert calls == Counter(body.call for body in bodies if isinstance(body, ToolResult))
        assert set(calls.values()) <= {1}
        writes = {body.path: body for body in bodies if isinstance(body, FileWrite) and body.via != "rollback"}
        granted = {body.token: body.units for body in bodies if isinstance(body, LockGrant)}
        assert sorted(path for path in writes if writes[path].token) == sorted(paths)
        for path in paths:
            assert any(covers(unit, f"file:{path}") for unit in granted[writes[path].token]), (path, granted)
        return log


async def nothing_for(seconds: float, *paths: Path) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert not [path for path in paths if path.exists()], "written without a grant"
        await asyncio.sleep(0.05)
