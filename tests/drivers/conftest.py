"""The real programs of the vendors, installed by scripts/agents.sh."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

pytest.register_assert_rewrite("agentlab.testing.driver_suite")

BIN = Path(__file__).parents[2] / ".agents" / "node_modules" / ".bin"


@pytest.fixture(autouse=True)
def installed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program of the suite is on PATH; a test of one that is not there is skipped by name."""
    kind = getattr(request.cls, "kind", None)
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if kind in ("codex", "gemini", "opencode") and shutil.which(kind) is None:
        pytest.skip(f"{kind} is not installed in .agents: `bash scripts/agents.sh` says why")
