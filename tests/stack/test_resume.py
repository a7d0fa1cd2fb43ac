"""Sessions of vendors: gone on in after a crash; where the vendor has lost one, begun anew only where nothing had been done in it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import agentlab
from agentlab.core.events import GO_ON
from agentlab.testing.scripted_model import ScriptedModel

from .conftest import until
from .vendors import KINDS, do, vendor

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as server:
        yield server


@pytest.mark.parametrize("kind", KINDS)
def test_an_agent_whose_runner_was_killed_in_its_first_turn_goes_on_in_its_session(
    lab: agentlab.Lab, work: Path, tmp_path: Path, model: ScriptedModel, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = vendor(kind, model, tmp_path / "user")
    for name, value in made.spec["env"].items():
        monkeypatch.setenv(f"TEST_{name}", value)
    spec = {**made.spec, "env": {name: f"env:TEST_{name}" for name in made.spec["env"]}}
    run = lab.run("killed", workdir=work)
    first = run.spawn(kind, do({"write": ["a.txt", "1"]}, {"shell": "sleep 600"}), name="first", **spec)
    until(lambda: len(run.procs()) == 1)
    os.kill(first.row()["pid"], signal.SIGKILL)
    assert (first.wait(120).status, first.row()["reason"]) == ("failed", "lost")
    assert first.row()["vendor_session"]
    again = first.resume(do({"say": "here again"}))
    assert again.wait(120).check().output == "here again"
    assert "a.txt" in json.dumps(model.turns[-1].body), "it knows what it had done"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("acts", [True, False])
def test_a_lost_session_is_begun_anew_only_where_no_tool_had_run(
    lab: agentlab.Lab, home: Path, work: Path, tmp_path: Path, model: ScriptedModel, kind: str, acts: bool
) -> None:
    spec = vendor(kind, model, tmp_path / "user").spec
    steps = [{"write": ["a.txt", "1"]}] if acts else []
    run = lab.run("lost", workdir=work)
    first = run.spawn(kind, do(*steps, {"say": "finished"}), name="first", **spec)
    assert first.wait(120).check().output == "finished"
    shutil.rmtree(tmp_path / "user")
    (tmp_path / "user").mkdir()
    for sessions in (home.rglob("sessions"), home.rglob("*.jsonl")):
        for place in list(sessions):
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
    (work / "a.txt").unlink(missing_ok=True)
    again = run.spawn(kind, GO_ON, name="again", resume=first.row()["vendor_session"], **spec)
    result = again.wait(120)
    if acts:
        assert (result.status, again.row()["reason"]) == ("failed", "resume_rejected")
        assert "Tools had run in that session" in result.error
    else:
        assert (result.status, result.output) == ("done", "finished"), "the first task, once more"
    assert not (work / "a.txt").exists()
