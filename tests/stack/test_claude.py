"""The real Claude CLI on the whole stack, its model a script: under the same locks as everybody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import agentlab
from agentlab.testing.scripted_model import INPUT, OUTPUT, ScriptedModel

from .conftest import of_home, plane_pid, until
from .vendors import KEY, do, held_story, vendor

pytestmark = [pytest.mark.claude, pytest.mark.timeout(200)]


@pytest.fixture
def claude(model: ScriptedModel, tmp_path: Path) -> dict[str, Any]:
    return vendor("claude", model, tmp_path / "user").spec


def edit(old: str, new: str) -> dict[str, Any]:
    return {"tool": "mcp__lab__edit", "args": {"path": "story.txt", "old": old, "new": new}}


def test_claude_waits_for_a_script_and_both_changes_are_there(
    lab: agentlab.Lab, home: Path, work: Path, claude: dict[str, Any]
) -> None:
    run = held_story(lab, work)
    prompt = do(
        {"read": "story.txt"},
        edit("Once", "ONCE"),
        {"read": "story.txt"},
        edit("upon", "upon a time"),
        {"say": "written"},
    )
    agent = run.spawn("claude", prompt, name="claude", **claude)
    until(lambda: agent.waits, "claude waits for the file")
    assert agent.waits == "waits for file:story.txt · held by ann · 1st"
    lab.answer(lab.approvals()["approval"].iloc[0], "yes")
    result = agent.wait(120).check()
    assert result.output == "written"
    assert (work / "story.txt").read_text() in ("ONCE upon a time\n", "Once upon a time\n")
    assert result.usage["out"] % OUTPUT == 0
    assert result.usage["in"] % INPUT == 0
    run.end()
    calls = run.tool_calls()
    assert calls[calls["actor"] == "claude"]["name"].tolist() == ["read", "edit", "read", "edit"]
    messages = run.messages()
    assert messages[messages["actor"] == "claude"]["role"].tolist()[0] == "user"
    assert run.usage()["tok_out"].sum() == result.usage["out"]
    assert set(of_home(home)) <= {plane_pid(home)}, "the CLI is gone"
    assert [path for path in home.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()] == []


def test_claude_takes_a_follow_up_and_is_stopped_for_good(
    lab: agentlab.Lab, home: Path, work: Path, claude: dict[str, Any]
) -> None:
    agent = lab.spawn("claude", do({"write": ["a.txt", "1"]}, {"say": "one"}), workdir=work, keep=True, **claude)
    until(lambda: agent.status == "idle", "the first turn is over")
    agent.send(do({"write": ["b.txt", "2"]}, {"say": "two"}))
    until(lambda: (work / "b.txt").exists() and agent.status == "idle", "the second turn is over")
    session = agent.row()["vendor_session"]
    assert session
    agent.stop()
    assert agent.wait(60).status == "cancelled"
    again = lab.spawn("claude", do({"say": "I remember"}), workdir=work, resume=session, **claude)
    assert again.wait(120).check().output == "I remember"
    assert again.row()["vendor_session"] == session


def test_a_claude_without_a_login_says_what_to_do(lab: agentlab.Lab, work: Path, claude: dict[str, Any]) -> None:
    agent = lab.spawn("claude", do({"error": 401, "say": "invalid x-api-key"}), workdir=work, **claude)
    result = agent.wait(120)
    assert result.status == "failed"
    assert "claude auth login" in result.error
