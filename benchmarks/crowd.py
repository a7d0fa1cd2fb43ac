"""Twenty real agents at once in one workspace: is anything lost, and what does the plane need for it?

A mix of all vendors' programs with a scripted model. Each adds lines to one story that all of them write, counts up one
number with a command, and leaves two files of its own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import agentlab
from agentlab import discovery, processes

from . import scripted, vendors
from .measure import Measure, alone, left_out
from .vendors import KINDS, do

AGENTS, LINES = 20, 2
CPU_TARGET = 15.0  # % of a core
PATIENCE = 1200.0  # s until all of them are done: most of it is the start of their programs


def run(quick: bool = False, agents: int | None = None, kinds: Sequence[str] = KINDS) -> list[Measure]:
    agents = agents or (len(kinds) if quick else AGENTS)
    with scripted.house(f"[local]\nslots = {agents}\n") as house:
        made = [house.vendor(kind) for kind in kinds]
        here = [one for one in made if not isinstance(one, str)]
        missing = [left_out(f"{agents} agents at once", "", one) for one in made if isinstance(one, str)]
        if not here:
            return missing
        return [*_crowd(house.lab, [here[n % len(here)] for n in range(agents)], house.place), *missing]


def _crowd(lab: agentlab.Lab, programs: Sequence[vendors.Vendor], place: Path) -> list[Measure]:
    work = place / "work"
    work.mkdir()
    (work / "story.txt").write_text("(end)\n")
    (work / "count.txt").write_text("0\n")
    plane = discovery.read(place / "home")
    assert plane is not None
    names = [f"{vendor.kind}{number}" for number, vendor in enumerate(programs)]
    used, begun = _cpu(plane.pid), time.perf_counter()
    run = lab.run("crowd", workdir=work)
    agents = [
        run.spawn(vendor.kind, do(*_task(name)), name=name, **vendor.spec)
        for name, vendor in zip(names, programs, strict=True)
    ]
    ended = [agent.wait(PATIENCE) for agent in agents]
    run.end()
    seconds, used = time.perf_counter() - begun, _cpu(plane.pid) - used
    failed = [
        f"{name}: {end.status} {end.error}" for name, end in zip(names, ended, strict=True) if end.status != "done"
    ]
    if failed:
        raise RuntimeError(f"{len(failed)} agents failed: {failed[0]}")
    events, calls = run.events(), run.tool_calls()
    lost = sum(_missing(calls[calls["actor"] == name], _task(name)) for name in names)
    seqs = events["seq"].tolist()
    gaps = len(set(range(1, len(seqs) + 1)) ^ set(seqs))
    of = Counter(vendor.kind for vendor in programs)
    mix = ", ".join(f"{count} {kind}" for kind, count in of.items())
    what = f"{len(programs)} agents at once"
    share = f"{used:.1f} s for {len(seqs)} events of {mix} in {seconds:.0f} s"
    return [
        alone(f"{what}: the plane", 100 * used / seconds, "% of a core", target=CPU_TARGET, better="lower", note=share),
        alone(f"{what}: calls that are not in the log", lost, "calls", target=0, better="lower"),
        alone(f"{what}: gaps in the log's order", gaps, "events", target=0, better="lower"),
        alone(f"{what}: wrong files at the end", len(_wrong(work, names)), "files", target=0, better="lower"),
    ]


def _task(name: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = [{"write": [f"{name}-first.txt", f"by {name}"]}]
    for line in range(LINES):
        steps += [
            {"tool": "claim", "args": {"units": ["file:story.txt"]}},
            {"read": "story.txt"},  # whoever wrote it meanwhile: an edit from an older content is refused
            {"tool": "edit", "args": {"path": "story.txt", "old": "(end)", "new": f"{name} {line}\n(end)"}},
            {"tool": "release", "args": {}},
        ]
    count = "n=$(cat count.txt); sleep 0.1; echo $((n + 1)) > count.txt"
    steps += [
        {"tool": "run", "args": {"argv": ["sh", "-c", count], "writes": ["count.txt"]}},
        {"write": [f"{name}-last.txt", f"by {name}"]},
        {"say": f"{name} is done"},
    ]
    return steps


def _missing(calls: Any, task: Sequence[dict[str, Any]]) -> int:
    """Calls of one agent that the log does not have, has twice, or has not as done."""
    wanted = [step.get("tool") or next(iter(step)) for step in task if "say" not in step]
    found = [name for name, status in zip(calls["name"], calls["status"], strict=True) if status == "ok"]
    differ = sum(one != other for one, other in zip(wanted, found, strict=False))
    return differ + abs(len(wanted) - len(found)) + len(calls) - len(found)


def _wrong(work: Path, names: Sequence[str]) -> list[str]:
    """Files that are not what the agents together should have made."""
    story = (work / "story.txt").read_text().split("\n")
    lines = {name: [line for line in story if line.rpartition(" ")[0] == name] for name in names}
    right = {
        "story.txt": len(story) == LINES * len(names) + 2
        and all(lines[name] == [f"{name} {line}" for line in range(LINES)] for name in names),
        "count.txt": (work / "count.txt").read_text() == f"{len(names)}\n",
    }
    for name in names:
        for file in (f"{name}-first.txt", f"{name}-last.txt"):
            right[file] = (work / file).exists() and (work / file).read_text() == f"by {name}"
    strange = {path.name for path in work.iterdir()} - right.keys()
    return sorted({*strange, *(file for file, good in right.items() if not good)})


def _cpu(pid: int) -> float:
    """s of processor time of a process so far, all its threads together."""
    seen = processes.info(pid)
    if seen is None:
        raise RuntimeError("The plane is gone.")
    return seen.cpu
