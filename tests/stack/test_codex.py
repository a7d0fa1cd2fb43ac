"""The real Codex on the whole stack, its model a script: under the same locks as everybody else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import agentlab
from agentlab.testing.scripted_model import OUTPUT, ScriptedModel

from .conftest import of_home, plane_pid, until
from .vendors import KEY, do, held_story, vendor

pytestmark = [pytest.mark.agents, pytest.mark.timeout(200)]

BIN = Path(__file__).parents[2] / ".agents" / "node_modules" / ".bin"


@pytest.fixture
def codex(model: ScriptedModel, tmp_path: Path) -> dict[str, Any]:
    return vendor("codex", model, tmp_path / "user").spec


def test_codex_waits_for_a_script_and_both_changes_are_there(
    lab: agentlab.Lab, home: Path, work: Path, codex: dict[str, Any]
) -> None:
    run = held_story(lab, work)
    edit = {"tool": "lab_edit", "args": {"path": "story.txt", "old": "Once", "new": "ONCE"}}
    agent = run.spawn("codex", do(edit, {"read": "story.txt"}, edit, {"say": "written"}), name="cody", **codex)
    until(lambda: agent.waits, "codex waits for the file")
    assert agent.waits == "waits for file:story.txt · held by ann · 1st"
    lab.answer(lab.approvals()["approval"].iloc[0], "yes")
    result = agent.wait(120).check()
    assert result.output == "written"
    assert (work / "story.txt").read_text() == "ONCE upon\n"
    assert result.usage["out"] % OUTPUT == 0
    run.end()
    calls = run.tool_calls()
    assert "edit" in calls[calls["actor"] == "cody"]["name"].tolist()
    assert run.usage()["tok_out"].sum() == result.usage["out"]
    assert set(of_home(home)) <= {plane_pid(home)}, "the program is gone"
    assert [path for path in home.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()] == []


def test_a_refusal_names_the_address_of_the_model_and_not_the_one_at_our_recorder(
    lab: agentlab.Lab, work: Path, codex: dict[str, Any], model: ScriptedModel
) -> None:
    agent = lab.spawn("codex", do({"error": 404, "say": "no such model"}), workdir=work, **codex)
    error = agent.wait(120).error
    assert "no such model" in error and "/responses" in error
    assert not re.search(r"127\.0\.0\.1:\d+/[\w-]{20,}", error), "what it was told of the recorder is nobody else's"


def test_a_later_agent_resumes_a_session_of_an_earlier_one(
    lab: agentlab.Lab, work: Path, codex: dict[str, Any], model: ScriptedModel
) -> None:
    first = lab.spawn("codex", do({"say": "remember the number 4711"}), workdir=work, **codex)
    first.wait(120).check()
    session = first.row()["vendor_session"]
    again = lab.spawn("codex", do({"say": "I do"}), workdir=work, resume=session, **codex)
    assert again.wait(120).check().output == "I do"
    assert again.row()["vendor_session"] == session
    assert "4711" in json.dumps(model.turns[-1].body)


def test_an_agent_that_has_ended_goes_on_where_it_was(
    lab: agentlab.Lab, work: Path, codex: dict[str, Any], model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in codex["env"].items():
        monkeypatch.setenv(f"TEST_{key}", value)
    env = {key: f"env:TEST_{key}" for key in codex["env"]}
    first = lab.spawn("codex", do({"say": "remember 4711"}), name="cody", workdir=work, model="gpt-5.5", env=env)
    first.wait(120).check()
    again = first.resume(do({"write": ["a.txt", "still me"]}, {"say": "I do"}))
    assert again.wait(120).check().output == "I do"
    assert again.row()["vendor_session"] == first.row()["vendor_session"]
    assert "4711" in json.dumps(model.turns[-1].body)
    assert (work / "a.txt").read_text() == "still me"
