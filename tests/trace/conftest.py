from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from trace_log import Recorder

from agentlab.trace import load


@pytest.fixture
def log(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "log.db")


@pytest.fixture
def new_log(tmp_path: Path) -> Callable[[], Recorder]:
    """More than one, for tests that make many."""
    made: list[Recorder] = []

    def new() -> Recorder:
        made.append(Recorder(tmp_path / f"log-{len(made)}.db"))
        return made[-1]

    return new


@pytest.fixture(params=["adbc", "sqlite3"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to load: the driver, and what is left where it cannot be imported."""
    if request.param == "sqlite3":
        monkeypatch.setattr(load, "_adbc", lambda: None)
    return str(request.param)
