"""What a run cost is known while it goes on, and for good: also when nothing is left of its agents but the log."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

import agentlab
from agentlab import cli, discovery
from agentlab.testing import fake_acp

from .conftest import kill_plane, until

pytestmark = pytest.mark.timeout(240)

COLUMNS = ["tok_in", "tok_out", "cost"]


def costs(lab: agentlab.Lab, run: agentlab.Run) -> list[object]:
    """Tokens in and out, and USD; None where nobody told."""
    row = lab.runs().set_index("run_id").loc[run.run_id, COLUMNS]
    return [None if pd.isna(value) else value for value in row]


def test_what_a_run_cost_outlives_its_agents_and_the_plane(
    lab: agentlab.Lab, home: Path, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("acp")
    paid, free = lab.run("paid", workdir=work), lab.run("free", workdir=work)
    options = {"command": [sys.executable, fake_acp.__file__], "builtins_off": []}
    for cost in (0.25, 0.5):  # 10 tokens in and 5 out a turn, as it says
        agent = paid.spawn("acp", json.dumps([{"pay": cost}, {"say": "here"}]), options=options)
        assert agent.wait(120).check().usage["cost"] == cost
    free.spawn("script", steps=[{"say": "here"}]).wait(120).check()
    assert (costs(lab, paid), costs(lab, free)) == ([20, 10, 0.75], [None] * 3), "so far"
    kill_plane(home)
    assert lab.state()["tables"]["runs"][paid.run_id]["usage"] == {"in": 20, "out": 10, "cached": 0, "cost": 0.75}
    paid.end()
    free.end()
    lab.close()
    discovery.stop(home)
    with agentlab.connect(home) as later:
        until(lambda: paid.run_id not in later.state()["tables"]["runs"], "a plane that knows nothing of it")
        assert (costs(later, paid), costs(later, free)) == ([20, 10, 0.75], [None] * 3)
        assert later.run_named("paid").usage()[COLUMNS].sum().tolist() == [20, 10, 0.75], "agent by agent, the same"

    monkeypatch.setenv("AGENTLAB_HOME", str(home))
    assert cli.run(["runs", "--json"]) == 0
    rows = {row["name"]: [row[column] for column in COLUMNS] for row in json.loads(capsys.readouterr().out)}
    assert rows == {"paid": [20, 10, 0.75], "free": [None] * 3}
    assert cli.run(["runs"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if " paid " in line]
    assert "20 in · 10 out · $0.7500" in line
