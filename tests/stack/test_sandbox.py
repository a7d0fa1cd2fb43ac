"""What spawned agents' commands may do, as the settings of the home say."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import agentlab
from agentlab.errors import Unavailable
from agentlab.sandbox import probe_bubblewrap, probe_landlock
from agentlab.testing import fake_acp
from agentlab.testing.scripted_model import ScriptedModel

from .vendors import KINDS, do, vendor

WRITES = [{"run": ["sh", "-c", "echo 1 > out.txt"], "writes": ["out.txt"]}]


def settings(home: Path, text: str) -> None:
    home.mkdir(parents=True, mode=0o700)
    (home / "config.toml").write_text(f"[sandbox]\n{text}\n")


def needs(trial: Callable[[], object]) -> None:
    try:
        trial()
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def test_commands_are_in_a_sandbox_from_the_beginning_and_it_is_shown(
    lab: agentlab.Lab, home: Path, work: Path
) -> None:
    needs(probe_bubblewrap)
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


def test_a_workspace_that_holds_the_home_keeps_and_shows_nothing_of_it(
    lab: agentlab.Lab, home: Path, tmp_path: Path
) -> None:
    needs(probe_bubblewrap)
    work = home.parent
    (work / "notes.md").write_text("mine")
    with lab.run(name="inside", workdir=work) as run:
        steps = [*WRITES, {"run": ["sh", "-c", f"cat {home}/secret || echo hidden"], "writes": ["./"]}]
        wrote, hidden = run.spawn("script", steps=steps).wait(60).check().output
        assert wrote["wrote"] == ["out.txt"] and hidden["stdout"] == "hidden\n"
        assert not wrote["violations"] and not hidden["violations"] and not hidden["wrote"]
        read = run.spawn("script", steps=[{"read": f"{home.name}/secret"}]).wait(60)
        assert read.status == "failed" and "own home" in read.error
    assert "unclaimed-write" not in set(run.events()["name"])
    left = tmp_path / "end"
    assert run.checkout(None, left).tree == lab.runs().set_index("run_id").loc[run.run_id, "final_tree"]
    assert sorted(path.name for path in left.rglob("*")) == ["notes.md", "out.txt"]


def test_landlock_holds_commands_within_what_they_claim_and_hides_the_home(
    home: Path, work: Path, tmp_path: Path
) -> None:
    needs(probe_landlock)
    settings(home, 'mode = "landlock"')
    (work / "notes.md").write_text("kept")
    read = {"run": ["sh", "-c", f"cat {home}/secret {home}/plane.json {home}/agentlab.db || echo hidden"]}
    stray = f"echo 1 > stray.txt; echo 1 > notes.md; echo 1 > {tmp_path}/outside; echo 1 > {home}/evil; exit 1"
    with agentlab.connect(home) as lab:
        steps = [*WRITES, read, {"run": ["sh", "-c", stray]}]
        agent = lab.spawn("script", steps=steps, workdir=work)
        wrote, hidden, refused = agent.wait(60).check().output
        assert wrote["wrote"] == ["out.txt"]
        assert hidden["stdout"] == "hidden\n"
        assert "writes=" in refused["hint"]
        assert not refused["violations"]
        assert (work / "notes.md").read_text() == "kept"
        assert not any(path.exists() for path in (work / "stray.txt", tmp_path / "outside", home / "evil"))
        assert agent.sandbox == "landlock"
        assert lab.agents()["sandbox"].tolist() == ["landlock"]
        assert set(agent.run.procs()["sandbox"]) == {"landlock"}


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


TRY = """
import json, os, sys, urllib.error, urllib.request
def reads(path):
    try:
        return open(path).read()
    except OSError:
        return ""
def asks(url):
    try:
        return urllib.request.urlopen(url, b"{}", timeout=60).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
said = {"secret": reads(sys.argv[2] + "/secret"), "led": asks(os.environ["OPENAI_BASE_URL"] + "/nothing"), "direct": asks(sys.argv[3])}
open(sys.argv[1], "w").write(json.dumps(said))
os.execv(sys.executable, [sys.executable, sys.argv[4]])
"""


def test_a_program_that_keeps_its_own_tools_reaches_its_model_and_the_workspace_and_no_more(
    home: Path, work: Path, tmp_path: Path, model: ScriptedModel
) -> None:
    pytest.importorskip("acp")
    needs(probe_bubblewrap)
    settings(home, 'mode = "bubblewrap"\nnetwork = "model"')
    program = tmp_path / "agent.py"
    program.write_text(TRY)
    argv = [sys.executable, str(program), f"{work}/said.json", str(home), model.url, fake_acp.__file__]
    with agentlab.connect(home) as lab:
        agent = lab.spawn(
            "acp", json.dumps([{"say": "here"}]), workdir=work, boundary="native", options={"command": argv},
            env={"OPENAI_BASE_URL": model.url},
        )  # fmt: skip
        assert agent.wait(120).check().output == "here"
        assert (agent.boundary, agent.sandbox) == ("native", "bubblewrap")
        said = json.loads((work / "said.json").read_text())
        assert (home / "secret").stat().st_size
        assert said == {"secret": "", "led": 200, "direct": 0}
        assert agent.run.exchanges()["status"].tolist() == ["ok"], "it was recorded on its way"
        refused = lab.spawn(
            "acp", json.dumps([{"say": "here"}]), workdir=work, boundary="native", options={"command": argv}
        )
        result = refused.wait(120)
        assert result.status == "failed"
        assert "nobody here knows where the model" in result.error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timeout(240)
def test_a_vendor_s_program_with_its_own_tools_has_its_model_and_ours_in_the_sandbox(
    home: Path, work: Path, tmp_path: Path, model: ScriptedModel, kind: str
) -> None:
    needs(probe_bubblewrap)
    settings(home, 'mode = "bubblewrap"\nnetwork = "model"')
    one = vendor(kind, model, tmp_path / "user")
    steps = do(one.call("write", path="a.txt", data="by our tool"), {"say": "written"})
    with agentlab.connect(home) as lab:
        agent = lab.spawn(kind, steps, workdir=work, boundary="native", **one.spec)
        assert agent.wait(200).check().output == "written"
        assert (work / "a.txt").read_text() == "by our tool"
        assert (agent.boundary, agent.sandbox) == ("native", "bubblewrap")
        assert set(agent.run.exchanges()["status"]) == {"ok"}
