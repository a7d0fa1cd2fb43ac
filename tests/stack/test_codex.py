"""The real Codex on the whole stack, its model a script: under the same locks as everybody else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agentlab
from agentlab.testing.scripted_model import OUTPUT, ScriptedModel

from .conftest import of_home, plane_pid, until

pytestmark = [pytest.mark.agents, pytest.mark.timeout(200)]

BIN = Path(__file__).parents[2] / ".agents" / "node_modules" / ".bin"


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as server:
        yield server


@pytest.fixture
def codex(model: ScriptedModel, tmp_path: Path) -> dict[str, Any]:
    """What a codex agent needs here: a program, a model, a key that is none, and a home that is not the user's."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("codex", path=path) is None:
        pytest.skip("codex is not installed in .agents: `bash scripts/agents.sh` says why")
    (tmp_path / "user").mkdir()
    env = {
        "PATH": path,
        "HOME": str(tmp_path / "user"),
        "OPENAI_API_KEY": "dummy-key-of-a-test",
        "OPENAI_BASE_URL": f"{model.url}/v1",
    }
    return {"model": "gpt-5.5", "env": env}


def do(*steps: dict[str, Any]) -> str:
    return f"Please do this. @do {json.dumps(steps)}"


def test_codex_waits_for_a_script_and_both_changes_are_there(
    lab: agentlab.Lab, home: Path, work: Path, codex: dict[str, Any]
) -> None:
    (work / "story.txt").write_text("Once\n")
    run = lab.run("mixed", workdir=work)
    script = run.spawn(
        "script",
        name="ann",
        claims=["file:story.txt"],
        steps=[{"read": "story.txt"}, {"ask": "go on?"}, {"edit": ["story.txt", "Once\n", "Once upon\n"]}],
    )
    until(lambda: script.status == "blocked")
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
    for path in home.rglob("*"):
        if path.is_file():
            assert b"dummy-key-of-a-test" not in path.read_bytes(), f"the key is in {path}"


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
