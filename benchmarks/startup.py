"""How long until something happens: importing agentlab, a spawned agent's first tool call; and what idle agents cost.

What a bare interpreter needs to start is measured in the same rounds and taken off: it is the machine's, not ours.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from statistics import median

from agentlab.core import commands as c
from agentlab.core.events import AgentEnd, AgentSpec, Event, ToolCall
from agentlab.discovery import Plane
from agentlab.link.client import LinkClient, hello
from agentlab.link.messages import Events, Follow, GetState, View

from . import servers
from .measure import Measure, alone
from .servers import Server

IMPORTS, SPAWNS = 10, 5
IMPORT_TARGET, SPAWN_TARGET = 150, 400  # ms
AGENTS, IDLE_TARGET = 100, 2.0  # % of a core
SECONDS = 20.0
COMING = 180.0  # s that idle agents have to come up
RUN = "bench"


def run(quick: bool = False, agents: int | None = None) -> list[Measure]:
    times, spawns, seconds = (2, 1, 0.3) if quick else (IMPORTS, SPAWNS, SECONDS)
    agents = agents if agents is not None else 2 if quick else AGENTS
    with servers.plane(f"[local]\nslots = {agents + 1}\n") as (server, plane):
        return [_import(times), _spawn(plane, server, spawns), _idle(plane, server, agents, seconds)]


def _import(times: int) -> Measure:
    bare, ours = [], []
    for _ in range(times):
        bare.append(_python("pass"))
        ours.append(_python("import agentlab"))
    took = median(ours) - median(bare)
    note = f"beside a bare interpreter, {median(bare):.0f} ms"
    return alone("import agentlab", took, "ms", target=IMPORT_TARGET, better="lower", note=note)


def _spawn(plane: Plane, server: Server, times: int) -> Measure:
    bare, runner, ours = [], [], []
    for number in range(times + 1):
        bare.append(_python("pass"))
        runner.append(_python("import agentlab.runner.main"))
        taken = asyncio.run(_first_call(plane, server.folder, number))
        if number:  # the first one finds cold caches
            ours.append(taken)
    took = median(ours) - median(bare)
    imports = median(runner) - median(bare)
    note = f"beside a bare interpreter, {median(bare):.0f} ms; importing the runner alone takes {imports:.0f} ms"
    return alone(
        "spawn of a script agent to its first tool call", took, "ms", target=SPAWN_TARGET, better="lower", note=note
    )


def _idle(plane: Plane, server: Server, agents: int, seconds: float) -> Measure:
    used = asyncio.run(_idle_cpu(plane, server, agents, seconds))
    name = f"{agents} idle agents: the plane"
    note = f"real runners of script agents that sleep, {seconds:.0f} s"
    return alone(name, 100 * used / seconds, "% of a core", target=IDLE_TARGET, better="lower", note=note)


def _python(code: str) -> float:
    """ms of a fresh interpreter that runs this."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-c", code], check=True, stdin=subprocess.DEVNULL)
    return 1e3 * (time.perf_counter() - begun)


# --- agents ------------------------------------------------------------------------------------------------


async def _first_call(plane: Plane, folder: Path, number: int) -> float:
    """ms from the request to spawn, to what the agent's own clock says of its first tool call."""
    async with _run(plane, folder, f"spawn-{number}") as link:
        begun = time.time_ns()
        await _spawn_script(link, f"spawn-{number}", "a", [{"read": "a.txt"}])
        call = await asyncio.wait_for(_first(link, f"spawn-{number}"), 60)
        return (call.ts - begun) / 1e6


async def _first(link: LinkClient, run_id: str) -> Event:
    async with aclosing(link.subscribe(Follow(run_id=run_id, since=0))) as pushes:
        async for push in pushes:
            for event in push.events if isinstance(push, Events) else ():
                if isinstance(event.body, ToolCall):
                    return event
                if isinstance(event.body, AgentEnd):
                    raise RuntimeError(f"the agent ended without a tool call: {event.body.error}")
    raise RuntimeError("the stream of events ended")


async def _idle_cpu(plane: Plane, server: Server, agents: int, seconds: float) -> float:
    """s of processor time of the plane while all agents sleep."""
    async with _run(plane, server.folder, "idle") as link:
        for number in range(agents):
            await _spawn_script(link, "idle", f"a{number}", [{"sleep": 3600}])
        await _until_running(link, agents)
        await asyncio.sleep(min(2.0, seconds))  # the last one's start is over
        before = server.cpu()
        await asyncio.sleep(seconds)
        return server.cpu() - before


async def _until_running(link: LinkClient, agents: int) -> None:
    deadline = time.monotonic() + COMING
    while True:
        view = await link.request(GetState(run_id="idle"))
        assert isinstance(view, View)
        statuses = [row["status"] for row in view.data["tables"]["agents"].values()]
        if statuses.count("running") == agents:
            return
        if time.monotonic() > deadline or "failed" in statuses:
            raise RuntimeError(f"not all of {agents} agents came up: {statuses}")
        await asyncio.sleep(0.25)


@asynccontextmanager
async def _run(plane: Plane, folder: Path, run_id: str) -> AsyncIterator[LinkClient]:
    """A run in a workspace with one file; its agents are ended with it."""
    root = folder / "workspace"
    (root / "a.txt").write_text("a\n")
    link = await LinkClient.connect(plane.address, hello(plane.token, "bench"))
    await link.request(c.StartRun(run_id=run_id, name=run_id, root=str(root), host=socket.gethostname()))
    try:
        yield link
    finally:
        await _end_agents(link, run_id)
        await link.close()


async def _end_agents(link: LinkClient, run_id: str) -> None:
    deadline = time.monotonic() + 60.0
    asked: set[str] = set()
    while time.monotonic() < deadline:
        view = await link.request(GetState(run_id=run_id))
        assert isinstance(view, View)
        live = [key for key, row in view.data["tables"]["agents"].items() if row["ended"] is None]
        if not live:
            return
        for agent in live:
            if agent not in asked:
                asked.add(agent)
                link.send(c.Signal(agent=agent, verb="kill", by="bench"))
        await asyncio.sleep(0.1)


async def _spawn_script(link: LinkClient, run_id: str, name: str, steps: list[dict[str, object]]) -> None:
    await link.request(c.Spawn(run_id=run_id, spec=AgentSpec(kind="script", name=name, task=steps)))
