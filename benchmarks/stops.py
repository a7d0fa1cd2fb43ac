"""How long until a stopped agent is gone, whatever it started: for every kind of agent, again and again.

Each is stopped in the middle of a command whose children have left its session, one of them with nothing in its
environment. It is gone when no process carries its name any more and none of those children is there.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import agentlab
from agentlab import processes
from agentlab.core.rows import ENDED
from agentlab.testing import fake_acp

from . import scripted, vendors
from .measure import Measure, alone, left_out
from .scripted import House
from .vendors import do

TIMES = 100
TARGET = 3.0  # s
PATIENCE = 120.0  # s that one of them may take
KINDS = ("script", "python", "cli", "acp", *vendors.KINDS)
CHILDREN = 3

_numbers = itertools.count(100_000)  # s that children sleep: each its own, which names them

Spawn = Callable[[Path, str], agentlab.AgentHandle]
"""An agent in this workspace, in the middle of this command."""


def run(quick: bool = False, kinds: Sequence[str] = KINDS, times: int | None = None) -> list[Measure]:
    times = times or (1 if quick else TIMES)
    measures: list[Measure] = []
    with scripted.house() as house:
        for kind in kinds:
            spawn = _spawner(house, kind)
            if isinstance(spawn, str):
                measures.append(left_out(f"{kind}: stopped until gone", "", spawn))
                continue
            taken = [_stop(spawn, house.workspace(f"{kind}-{number}")) for number in range(times)]
            measures += _measures(kind, taken)
    return measures


def _measures(kind: str, taken: Sequence[float]) -> list[Measure]:
    late = sum(one > TARGET for one in taken)
    name = f"{kind}: stopped until gone"
    middle = sorted(taken)[len(taken) // 2]
    note = f"the longest of {len(taken)}; median {middle:.2f} s; {late} took longer than {TARGET:g} s"
    return [alone(name, max(taken), "s", target=TARGET, better="lower", note=note)]


def _stop(spawn: Spawn, root: Path) -> float:
    """s from `stop` until nothing is left."""
    sleep = f"sleep {next(_numbers)}"
    agent = spawn(root, f"setsid {sleep} & setsid -f {sleep}; env -i setsid -f {sleep}; wait")
    _until(lambda: len(_running(sleep)) >= CHILDREN or agent.status in ENDED)
    if agent.status in ENDED:
        raise RuntimeError(f"The agent has ended before it was stopped: {agent.wait(PATIENCE).error}")
    begun = time.perf_counter()
    agent.stop()
    _until(lambda: not processes.marked(agent.key) and not _running(sleep))
    taken = time.perf_counter() - begun
    if (status := agent.wait(PATIENCE).status) != "cancelled":
        raise RuntimeError(f"A stopped agent is {status}.")
    return taken


def _running(command: str) -> list[int]:
    """Processes that are exactly this."""
    wanted = b"".join(word.encode() + b"\0" for word in command.split())
    found = []
    for pid in processes.table():
        try:
            found += [pid] if Path(f"/proc/{pid}/cmdline").read_bytes() == wanted else []
        except OSError:
            continue
    return found


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("It never came.")
        time.sleep(0.02)


# --- the kinds ---------------------------------------------------------------------------------------------

_TERMINAL = """\
import subprocess
while True:
    subprocess.run(["sh", "-c", input("you> ")])
"""


def _spawner(house: House, kind: str) -> Spawn | str:
    def spawn(root: Path, task: Any, **spec: Any) -> agentlab.AgentHandle:
        return house.lab.spawn(kind, task, workdir=root, **spec)

    def argv(command: str) -> list[str]:
        return ["sh", "-c", command]

    match kind:
        case "script":
            return lambda root, command: spawn(root, [{"run": argv(command)}])
        case "python":
            return lambda root, command: spawn(root, f"tools.run({argv(command)!r})")
        case "cli":
            program = house.place / "terminal.py"
            program.write_text(_TERMINAL)
            options = {"command": [sys.executable, "-u", str(program)], "ready": "^you> $"}
            return lambda root, command: spawn(root, command, boundary="native", options=options)
        case "acp":
            options = {"command": [sys.executable, fake_acp.__file__], "builtins_off": []}
            return lambda root, command: spawn(
                root, json.dumps([{"call": ["run", {"argv": argv(command)}]}]), options=options
            )
    vendor = house.vendor(kind)
    if isinstance(vendor, str):
        return vendor
    return lambda root, command: spawn(root, do({"shell": command}, {"say": "never"}), **vendor.spec)
