"""What the promises of drivers are tried on: a workspace, a home, a model, a gate without a plane."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentlab import kinds, processes
from agentlab.config import Network
from agentlab.core.events import JSON, AgentSpec, ToolResult
from agentlab.runner.drivers.base import Context, Driver, Turn
from agentlab.runner.gate import Gate
from agentlab.runner.model_proxy import ModelProxy
from agentlab.runner.tools import ToolHost
from agentlab.sandbox import Sandbox
from agentlab.testing import meddler
from agentlab.testing.gate import MemoryPlane
from agentlab.testing.scripted_model import ScriptedModel

Step = dict[str, Any]
"""As the scripted model takes it."""

Task = Callable[..., JSON]
"""From steps to what an agent is prompted with."""

PATIENCE = 90.0  # s that anything may take on a busy machine
HELD = "held.txt"


def do(*steps: dict[str, Any]) -> str:
    """A prompt that makes the scripted model take these steps."""
    return f"Please do this. @do {json.dumps(steps)}"


WAIT = {"write": [HELD, "mine at last"]}


@dataclass
class DriverBench:
    """One workspace, one home, one model; drivers over them, each with a gate of one memory plane."""

    model: ScriptedModel
    base: Path
    kind: str
    spec: dict[str, Any]
    env: dict[str, str]
    task: Task = do
    option: str = "cli"  # by which the program is named
    drivers: list[Driver] = field(default_factory=list)
    hosts: list[ToolHost] = field(default_factory=list)
    sandbox: Sandbox | None = None  # of a program that keeps its own tools
    network: Network = "all"
    recorded: bool = True  # what their models say

    def __post_init__(self) -> None:
        self.root, self.home, self.private = self.base / "work", self.base / "user", self.base / "private"
        for folder in (self.root, self.home, self.private):
            folder.mkdir(exist_ok=True)
        self.plane = MemoryPlane()
        self.gate, self.typist = self.plane.gate("writer"), self.plane.gate("typist")
        self.behind(self.gate)

    def behind(self, gate: Gate) -> None:
        """Drivers that are made from now on are of the agent of this gate: that of a memory plane, or of a real one."""
        self.door = gate
        self.tools = ToolHost(
            self.root, gate, home=self.base / "lab", env={"PATH": os.environ["PATH"]}, spec=AgentSpec(kind=self.kind)
        )
        self.hosts.append(self.tools)
        self.models = ModelProxy(gate, limit=4_000_000, local=self.base / "lab" / "model" / "model.sock")

    def driver(self, **spec: Any) -> Driver:
        env = {"HOME": str(self.home), "PATH": os.environ["PATH"], **self.env, **spec.get("env", {})}
        private = self.private / f"agent-{len(self.drivers)}"
        private.mkdir(mode=0o700)
        context = Context(
            agent=self.door.owner, spec=AgentSpec(**{"kind": self.kind, **self.spec, **spec}), root=self.root,
            private=private, shared=self.private, tools=self.tools, gate=self.door, env=env,
            models=self.models if self.recorded else None, sandbox=self.sandbox, network=self.network,
        )  # fmt: skip
        driver: Driver = kinds.load(self.kind)(context)
        self.drivers.append(driver)
        return driver

    async def started(self, **spec: Any) -> Driver:
        driver = self.driver(**spec)
        await driver.start()
        return driver

    def waiting(self) -> bool:
        """Whether our agent waits in a queue."""
        return any(ticket.owner == self.gate.owner and not ticket.token for ticket in self.plane.tickets.values())

    async def held_up(self, driver: Driver, *after: dict[str, Any]) -> asyncio.Task[Turn]:
        """A turn that waits for a file which somebody else keeps."""
        await self.typist.claim((f"file:{HELD}",))
        turn = asyncio.create_task(driver.prompt(self.task(WAIT, *(after or ({"say": "went on"},)))))
        await until(self.waiting)
        return turn

    def results(self, tool: str) -> list[str | None]:
        """How the calls of one tool have ended."""
        return [e.status for e in self.gate.entries if isinstance(e.body, ToolResult) and e.name == tool]

    async def kept(self, hash: str | None) -> bytes:
        """A body that was recorded; empty where none was."""
        return (await self.gate.fetch(hash) or b"") if hash else b""

    def said(self, number: int) -> str:
        """What the model was told last, in its nth question."""
        return self.model.turns[number].last

    async def meddled(self, real: Path, **plan: Any) -> Driver:
        """One whose program is stood between by one that speaks badly, once the model says `meddler.WORD`."""
        folder = self.base / "meddler"
        folder.mkdir(exist_ok=True)
        cli = meddler.wrap(folder, real, **plan)
        return await self.started(options={**self.spec["options"], self.option: str(cli)})

    def left(self) -> list[int]:
        """Every process that belongs to our agent: its program, what that started, what its tools run."""
        return processes.marked(self.door.owner)

    async def close(self) -> None:
        for driver in self.drivers:
            await driver.close(now=True)
        await self.models.close()
        for host in self.hosts:
            await host.close()
        await until(lambda: not self.left())


async def until(condition: Any, patience: float = PATIENCE) -> None:
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - what happens in other processes wakes nobody here
            await asyncio.sleep(0.02)


def named(pids: list[int], word: str) -> list[int]:
    """Those with this word among their arguments."""
    found = []
    for pid in pids:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        found += [pid] if word.encode() in arguments else []
    return found
