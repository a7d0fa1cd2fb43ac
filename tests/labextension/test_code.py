"""What "Insert as code" of the run console puts into a notebook: Python that gives a DataFrame, run against a real run.

`labextension/tests/console/codes.json` is what `src/console/code.ts` makes; `code.test.ts` beside it says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from cells import GOLDEN, value_of

import agentlab
from agentlab import discovery

CODES: dict[str, str] = json.loads((GOLDEN / "codes.json").read_text())

EMPTY = {"artifacts", "events with every filter"}
"""Of what the run has none."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[agentlab.Run]:
    """An agent writes a file, runs a command and says so."""
    home, work = tmp_path_factory.mktemp("code") / "home", tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTLAB_HOME", str(home))
        patch.delenv("AGENTLAB_URL", raising=False)
        try:
            with agentlab.connect() as lab, lab.run("coded", workdir=work) as run:
                steps: list[Any] = [{"write": ["a.py", "x = 1\n"]}, {"run": ["echo", "hi"]}, {"say": "written"}]
                assert run.spawn("script", name="ann", steps=steps).wait(60).ok
                yield run
        finally:
            discovery.stop(home, force=True)


@pytest.mark.parametrize("shown", CODES)
def test_the_code_of_what_is_shown_gives_a_frame_of_it(run: agentlab.Run, shown: str) -> None:
    frame = value_of(CODES[shown].replace('"RUN"', json.dumps(run.run_id)))
    assert isinstance(frame, pd.DataFrame)
    if shown.removesuffix(" at 5") not in EMPTY and not shown.endswith(" at 5"):
        assert len(frame), "the run has such rows"
    if "seq" in frame.columns and shown.endswith(" at 5"):
        assert (frame["seq"] <= 5).all()


def test_the_states_are_those_of_the_moment(run: agentlab.Run) -> None:
    now, then = (value_of(CODES[shown].replace("RUN", run.run_id)) for shown in ("state", "state at 5"))
    assert isinstance(now, pd.DataFrame) and isinstance(then, pd.DataFrame)
    assert list(now["name"]) == ["ann"] and list(now["status"]) == ["done"]
    assert "done" not in set(then.get("status", ()))
