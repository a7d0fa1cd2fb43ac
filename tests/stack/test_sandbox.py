"""What spawned agents' commands may do, as the settings of the home say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import agentlab
from agentlab.errors import Unavailable
from agentlab.sandbox import probe

WRITES = [{"run": ["sh", "-c", "echo 1 > out.txt"], "writes": ["out.txt"]}]


def settings(home: Path, text: str) -> None:
    home.mkdir(parents=True, mode=0o700)
    (home / "config.toml").write_text(f"[sandbox]\n{text}\n")


def test_commands_are_in_a_sandbox_from_the_beginning_and_it_is_shown(
    lab: agentlab.Lab, home: Path, work: Path
) -> None:
    try:
        probe()
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    read = {"run": ["sh", "-c", f"cat {home}/secret {home}/plane.json || echo hidden"]}
    stray = {"run": ["sh", "-c", "echo 1 > stray.txt"]}
    agent = lab.spawn("script", steps=[*WRITES, read, stray], workdir=work)
    wrote, hidden, refused = agent.wait(60).check().output
    assert wrote["wrote"] == ["out.txt"]
    assert hidden["stdout"] == "hidden\n"
    assert "writes=" in refused["hint"]
    assert not (work / "stray.txt").exists()
    assert agent.sandbox == "bubblewrap"
    assert lab.agents()["sandbox"].tolist() == ["bubblewrap"]
    assert set(agent.run.procs()["sandbox"]) == {"bubblewrap"}


def test_no_sandbox_is_said(home: Path, work: Path) -> None:
    settings(home, 'mode = "none"')
    with agentlab.connect(home) as lab:
        agent = lab.spawn("script", steps=[{"run": ["sh", "-c", "echo 1 > stray.txt"]}], workdir=work)
        (ran,) = agent.wait(60).check().output
        assert "stray.txt" in ran["violations"]
        assert not (work / "stray.txt").exists()
        assert agent.sandbox == "none"


def test_a_sandbox_that_was_asked_for_and_cannot_be_had_fails_the_agent(
    home: Path, work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings(home, 'mode = "bubblewrap"')
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with agentlab.connect(home) as lab:
        result = lab.spawn("script", steps=WRITES, workdir=work).wait(60)
        assert result.status == "failed"
        assert "bubblewrap is not installed" in result.error
        assert not (work / "out.txt").exists()
