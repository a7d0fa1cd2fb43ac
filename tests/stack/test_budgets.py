"""Budgets of real programs: one that tells its tokens only at the end of a turn is ended in the middle of it all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

import agentlab
from agentlab.testing.scripted_model import ScriptedModel

from .conftest import until
from .vendors import KINDS, do, vendor

pytestmark = [pytest.mark.agents, pytest.mark.timeout(300)]


@pytest.mark.parametrize("kind", ["gemini", "opencode"])
def test_an_agent_without_tokens_is_ended_in_the_middle_of_its_turn(
    lab: agentlab.Lab, work: Path, tmp_path: Path, model: ScriptedModel, kind: str
) -> None:
    steps = [{"write": [f"{n}.txt", "x"]} for n in range(40)]
    run = lab.run("greedy", workdir=work)
    agent = run.spawn(
        kind, do(*steps, {"say": "all written"}), max_tokens=3000, **vendor(kind, model, tmp_path / "user").spec
    )
    result = agent.wait(200)
    assert (result.status, agent.row()["reason"]) == ("failed", "budget")
    assert "(--max-tokens)" in result.error
    assert 0 < len(list(work.glob("*.txt"))) < 20
    usage = run.usage()
    assert usage["tok_in"].sum() + usage["tok_out"].sum() >= 3000
    assert set(usage["model"]) <= {"gemini-2.5-flash", "scripted"}


@pytest.mark.claude
def test_what_claude_may_cost_ends_it_in_the_middle_of_its_turn(
    lab: agentlab.Lab, work: Path, tmp_path: Path, model: ScriptedModel
) -> None:
    """It tells what it costs at the end of a turn; so it is told the limit itself."""
    steps = [{"write": [f"{n}.txt", "x"]} for n in range(40)]
    run = lab.run("greedy", workdir=work)
    claude = vendor("claude", model, tmp_path / "user")
    agent = run.spawn("claude", do(*steps, {"say": "all written"}), max_cost=0.02, **claude.spec)
    result = agent.wait(200)
    assert (result.status, agent.row()["reason"]) == ("failed", "budget")
    assert "(--max-cost)" in result.error
    assert 0 < len(list(work.glob("*.txt"))) < 20
    assert 0.02 <= run.usage()["cost"].sum() < 0.04


def test_a_cost_that_is_told_too_late_to_end_a_turn_is_on_record_and_ends_the_next_one(
    lab: agentlab.Lab, work: Path, tmp_path: Path, model: ScriptedModel
) -> None:
    spec = vendor("opencode", model, tmp_path / "user").spec
    spec["options"]["provider"]["scripted"]["models"]["scripted"]["cost"] = {"input": 3, "output": 15}
    run = lab.run("greedy", workdir=work)
    agent = run.spawn("opencode", do({"say": "first"}), max_cost=0.001, keep=True, **spec)
    until(lambda: agent.status == "idle")
    agent.send(do({"say": "second"}))
    result = agent.wait(100)
    assert (result.status, agent.row()["reason"]) == ("failed", "budget")
    assert "second" not in run.messages()["text"].tolist()
    assert run.events(where="type = 'guard'")["status"].tolist() == ["warned"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_limit_is_not_waited_out_by_a_program_that_nobody_asked_to(
    lab: agentlab.Lab, work: Path, tmp_path: Path, model: ScriptedModel, kind: str
) -> None:
    """All would try again by themselves, for minutes some of them."""
    spec = vendor(kind, model, tmp_path / "user").spec
    agent = lab.spawn(kind, do({"error": 429, "say": "slow down"}), workdir=work, **spec)
    result = agent.wait(200)
    assert (result.status, agent.row()["reason"]) == ("failed", "rate_limit")
    exchanges = agent.run.exchanges()
    assert 1 <= list(exchanges["code"]).count(429) <= 6, exchanges[["path", "code"]]


@pytest.mark.parametrize("kind", ["codex", pytest.param("claude", marks=pytest.mark.claude)])
def test_who_ran_into_a_rate_limit_can_be_sent_on(
    lab: agentlab.Lab, work: Path, tmp_path: Path, model: ScriptedModel, kind: str
) -> None:
    spec = vendor(kind, model, tmp_path / "user").spec
    agent = lab.spawn(kind, do({"error": 429, "say": "slow down"}), workdir=work, keep=True, **spec)
    until(lambda: agent.status == "idle", "the end of its turn")
    said = agent.row()["reason"]
    assert "429" in said or "slow down" in said, said
    agent.send(do({"say": "went on"}))
    until(lambda: "went on" in [*agent.run.messages()["text"]], "the next turn")
    agent.stop()
    agent.wait(120)
