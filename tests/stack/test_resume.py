"""A session that its vendor has lost: begun anew only where nothing had been done in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import agentlab
from agentlab.core.events import GO_ON
from agentlab.testing.scripted_model import ScriptedModel

from .vendors import KINDS, do, vendor

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as server:
        yield server


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.values != ("gemini",)])  # it resumes nothing
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
