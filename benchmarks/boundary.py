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
from agentlab.testing.scripted_model import ScriptedModel

from . import scripted
from .measure import Measure, left_out, paired
from .scripted import House
from .vendors import KINDS, Vendor, do

ROUNDS = 7
RATIO_TARGET = 1.25
CALM = 4.0  # s before each run: what the one before left to be done is done, the next runner is started ahead
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
    for number in range(rounds + 1):
        time.sleep(0 if rounds == 1 else CALM)
        taken = _bare(vendor, house.model, house.workspace(f"{vendor.kind}-bare-{number}"))
        time.sleep(0 if rounds == 1 else CALM)
        spawned = _ours(house.lab, vendor, house.model, house.workspace(f"{vendor.kind}-ours-{number}"))
        if number:  # the first round finds cold caches
            bare.append(taken)
            ours.append(spawned)
    return paired(
        f"{vendor.kind}: a write and a command", ours, "s", f"{vendor.kind} by itself", bare,
        target=RATIO_TARGET, better="lower", note="spawn to result, the plane running",
    )  # fmt: skip


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
