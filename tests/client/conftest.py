from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import agentlab
from agentlab.testing.stage import Stage


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    monkeypatch.setenv("AGENTLAB_HOME", str(path))
    monkeypatch.delenv("AGENTLAB_URL", raising=False)
    return path


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    (path / "a.txt").write_text("one\n")
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def stage(home: Path) -> Iterator[Stage]:
    with Stage(home) as stage:
        yield stage


@pytest.fixture
def lab(stage: Stage, workspace: Path) -> Iterator[agentlab.Lab]:
    with agentlab.connect(start=False) as lab:
        yield lab
