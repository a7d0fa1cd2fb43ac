"""The same commands at the same times give the same bytes: in another process, with other hashes of strings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from scenarios import random_duel
from world import folded, stored, view

from agentlab.core.fold import apply
from agentlab.core.views import tables


def told(hash_seed: str) -> bytes:
    """Everything that happened, event by event, in a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    script = Path(__file__).with_name("telling.py")
    done = subprocess.run([sys.executable, str(script), "12"], env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_two_processes_with_different_hash_seeds_tell_the_same_story_byte_by_byte() -> None:
    one, other = told("1"), told("4242")
    assert one.count(b"\n") > 2_000
    for mine, theirs in zip(one.splitlines(), other.splitlines(), strict=True):
        assert mine == theirs


@pytest.mark.parametrize("seed", range(4))
def test_a_log_replayed_to_any_point_shows_what_was_so_then(seed: int) -> None:
    """`apply` of the stored events, from the beginning up to any of them, is a state that is complete in itself."""
    world = random_duel(seed, 60)
    events = [stored(event) for event in world.log]
    grown = folded([])
    for number, event in enumerate(events, start=1):
        apply(grown, event)
        if number % 25 == 0:
            assert view(grown) == view(folded(events[:number]))
    assert view(grown) == view(world.state)


def test_a_run_folded_alone_shows_the_same_rows_of_it() -> None:
    world = random_duel(3, 120)
    for run in ("r", "s"):
        alone = folded([stored(event) for event in world.log if event.run_id == run])
        shown, whole = tables(alone, run), tables(world.state, run)
        for table in ("agents", "tasks", "runs", "artifacts"):
            for rows in (shown[table], whole[table]):
                for row in rows.values():
                    row.pop("waits", None)  # it may wait for somebody of another run
                    if row.get("status") == "waiting":
                        row["status"] = "running"
            assert shown[table] == whole[table]
        held = {key: row["units"] for key, row in whole["locks"].items() if row["token"]}
        assert {key: row["units"] for key, row in shown["locks"].items() if row["token"]} == held
