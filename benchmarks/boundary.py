"""What the boundary costs: a vendor's real program doing one write and one command, by itself and as an agent.

Both do the same work against the same scripted model on loopback, in turn, round by round, from the start of a process to
its end: by itself headless with its own tools, as an agent from the spawn to the result, with ours. The model answers at
once, so that all there is to see is what programs do; a real one thinks for seconds, which both sides would wait for.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import agentlab
from agentlab import discovery, processes
from agentlab.testing.scripted_model import ScriptedModel

from . import scripted
from .measure import Measure, left_out, paired
from .scripted import House
from .vendors import KINDS, Vendor, do

ROUNDS = 15
WARM = 2  # rounds that find cold caches
RATIO_TARGET = 1.25
CALM = 1.0  # s without a tick of a processor below the plane
PATIENCE = 120.0  # s that one run may take
WORK = ({"write": ["a.txt", "hi"]}, {"shell": "expr 40 + 2"}, {"say": "finished"})


def run(quick: bool = False, kinds: Sequence[str] = KINDS) -> list[Measure]:
    rounds = 1 if quick else ROUNDS
    measures: list[Measure] = []
    with scripted.house() as house:
        for kind in kinds:
            vendor = house.vendor(kind)
            if isinstance(vendor, str):
                measures.append(left_out(f"{kind}: a write and a command", f"{kind} by itself", vendor))
            else:
                measures.append(_cost(house, vendor, rounds))
    return measures


def _cost(house: House, vendor: Vendor, rounds: int) -> Measure:
    ours, bare = [], []
    warm = 1 if rounds == 1 else WARM
    for number in range(rounds + warm):
        if number:  # there is a runner ahead as soon as there was one
            _calm(house)
        taken = _bare(vendor, house.model, house.workspace(f"{vendor.kind}-bare-{number}"))
        if number:
            _calm(house)
        spawned = _ours(house.lab, vendor, house.model, house.workspace(f"{vendor.kind}-ours-{number}"))
        if number >= warm:
            bare.append(taken)
            ours.append(spawned)
    return paired(
        f"{vendor.kind}: a write and a command", ours, "s", f"{vendor.kind} by itself", bare,
        target=RATIO_TARGET, better="lower", note="spawn to result, the plane running",
    )  # fmt: skip


def _calm(house: House) -> None:
    """Until what the run before left to be done is done, and the next runner stands ready, as for a person's second agent."""
    plane = discovery.read(house.lab.home)
    if plane is None:
        raise RuntimeError("The plane is gone.")
    deadline, last, since = time.monotonic() + PATIENCE, -1.0, time.monotonic()
    while time.monotonic() < deadline:
        below = [seen for pid in processes.tree(plane.pid)[1:] if (seen := processes.info(pid))]
        used = sum(seen.cpu for seen in below)
        if not below or used != last:
            last, since = used, time.monotonic()
        elif time.monotonic() - since >= CALM:
            return
        time.sleep(0.1)
    raise RuntimeError("No runner stands ready.")


def _bare(vendor: Vendor, model: ScriptedModel, root: Path) -> float:
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **vendor.env, **vendor.own}
    begun = time.perf_counter()
    done = subprocess.run(
        vendor.bare(do(*WORK)), cwd=root, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE
    )
    taken = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"{vendor.kind} by itself failed: {done.stderr.decode(errors='replace')[-500:]}")
    _check(f"{vendor.kind} by itself", model, root)
    return taken


def _ours(lab: agentlab.Lab, vendor: Vendor, model: ScriptedModel, root: Path) -> float:
    begun = time.perf_counter()
    agent = lab.spawn(vendor.kind, do(*WORK), workdir=root, **vendor.spec)
    agent.wait(PATIENCE).check()
    taken = time.perf_counter() - begun
    _check(f"{vendor.kind} as an agent", model, root)
    return taken


def _check(who: str, model: ScriptedModel, root: Path) -> None:
    """Both have really written the file, and run the command: its output came back to the model."""
    if (root / "a.txt").read_text().strip() != "hi":
        raise RuntimeError(f"{who} did not write its file.")
    if "42" not in max(model.turns, key=lambda seen: seen.time).last:
        raise RuntimeError(f"{who} did not run its command: {model.turns[-1].last[:500]}")
