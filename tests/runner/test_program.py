"""A vendor's program that is not there, or too old: each is a class of failure of its own, with what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentlab.errors import Unavailable
from agentlab.runner.drivers import claude_setup, codex_setup
from agentlab.runner.drivers.program import check_version, find
from agentlab.runner.endings import by_error
from agentlab.runtimes import detect


def reason_of(error: Unavailable) -> str:
    """As the agent ends with it."""
    return by_error("r/a", error, {}).reason


@pytest.mark.parametrize("chosen", [None, "/nowhere/codex"])
def test_a_program_that_is_not_here_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    monkeypatch.setattr(detect, "find", lambda *_: (None, ""))
    with pytest.raises(Unavailable, match=r"npm install -g @openai/codex|leave it out") as raised:
        find("codex", {"PATH": str(tmp_path)}, chosen)
    assert reason_of(raised.value) == "missing"


def test_a_program_that_is_too_old_is_of_the_wrong_version() -> None:
    with pytest.raises(Unavailable, match=r"0\.1\.0, too old: .*npm install -g @google/gemini-cli") as raised:
        check_version("gemini", "gemini-cli 0.1.0", Path("/bin/gemini"))
    assert reason_of(raised.value) == "version"


def test_codex_that_knows_no_models_is_of_the_wrong_version() -> None:
    with pytest.raises(Unavailable, match="Renew it") as raised:
        codex_setup.bare(b"no json", None)
    assert reason_of(raised.value) == "version"


async def test_claude_code_that_is_missing_or_too_old_says_which(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as raised:
        claude_setup.find_cli(None, tmp_path / "none", str(tmp_path))
    assert reason_of(raised.value) == "missing"
    cli = tmp_path / "claude"
    cli.write_text("#!/bin/sh\necho '1.0.88 (Claude Code)'\n")
    cli.chmod(0o700)
    with pytest.raises(Unavailable, match="claude update") as raised:
        await claude_setup.check_version(cli, {}, tmp_path)
    assert reason_of(raised.value) == "version"


async def test_claude_code_is_asked_for_its_version_once_until_it_is_another_file(tmp_path: Path) -> None:
    cli, asked = tmp_path / "claude", tmp_path / "asked"
    versions = []
    for version in ("2.1.9", "2.1.9", "2.1.10"):
        cli.write_text(f"#!/bin/sh\necho . >> {asked}\necho '{version} (Claude Code)'\n")
        cli.chmod(0o700)
        os.utime(cli, ns=(0, int(version.rpartition(".")[2])))
        versions.append(await claude_setup.check_version(cli, {}, tmp_path))
    assert versions == ["2.1.9", "2.1.9", "2.1.10"]
    assert len(asked.read_text().split()) == 2
