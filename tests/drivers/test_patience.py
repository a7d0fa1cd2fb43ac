"""A call of every driver that calls our tools is held for more than two minutes: all of them at once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import test_claude
import test_codex
import test_fake_acp
import test_gemini
import test_opencode
import test_python
import test_script

from agentlab import kinds
from agentlab.testing.driver_suite import hold_together

CASES = (
    test_claude.TestClaude, test_codex.TestCodex, test_codex.TestNativeCodex, test_gemini.TestGemini,
    test_opencode.TestOpencode, test_fake_acp.TestAnyAcp, test_python.TestPython, test_script.TestScript,
)  # fmt: skip


def test_no_driver_is_left_out() -> None:
    assert {case.kind for case in CASES} == kinds.DRIVERS.keys() - {"cli"}, "which calls no tools of ours"


@pytest.mark.slow(130)
@pytest.mark.agents
@pytest.mark.claude
@pytest.mark.timeout(600)
async def test_a_call_may_be_held_for_two_minutes(tmp_path: Path) -> None:
    missing = {k for k in ("codex", "gemini", "opencode") if shutil.which(k, path=os.environ["PATH"]) is None}
    await hold_together([case() for case in CASES if case.kind not in missing], tmp_path)
    if missing:
        pytest.skip(f"{', '.join(sorted(missing))} not installed in .agents: `bash scripts/agents.sh` says why")
