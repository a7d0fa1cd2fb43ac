"""Budgets of real programs: one that tells its tokens only at the end of a turn is ended in the middle of it all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

import agentlab
from agentlab.testing.scripted_model import ScriptedModel

from .vendors import do, vendor

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
