from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentlab.core.events import AgentSpec
from agentlab.runner.drivers.base import Context
from agentlab.runner.tools import ToolHost
from agentlab.testing.gate import MemoryGate, MemoryPlane

ENV = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


class Lab:
    def __init__(self, root: Path, home: Path, plane: MemoryPlane) -> None:
        self.root = root
        self.home = home
        self.plane = plane
        self.hosts: list[ToolHost] = []

    def agent(self, name: str = "a", **options: Any) -> tuple[ToolHost, MemoryGate]:
        gate = self.plane.gate(name)
        spec = AgentSpec(kind="script", tools=options.pop("tools", None), task=options.pop("task", None))
        host = ToolHost(self.root, gate, home=self.home, env=ENV, spec=spec, **options)
        self.hosts.append(host)
        return host, gate

    def driver(self, kind: type[Any], name: str = "a", task: Any = None) -> tuple[Any, MemoryGate, ToolHost]:
        host, gate = self.agent(name, task=task)
        private = self.home / "agents" / name
        private.mkdir(parents=True)
        context = Context(
            agent=gate.owner,
            spec=host.spec,
            root=self.root,
            private=private,
            shared=private,
            tools=host,
            gate=gate,
            env=ENV,
        )
        return kind(context), gate, host

    async def close(self) -> None:
        for host in self.hosts:
            await host.close()


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Wait until it is so. Fails when it never is."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.01)
