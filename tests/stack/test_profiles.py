"""Agents by the names that `[agents.NAME]` of config.toml gives them, of every kind, on the whole stack."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import agentlab
from agentlab.testing import fake_acp
from agentlab.testing.scripted_model import ScriptedModel

from .vendors import KINDS, do, vendor

pytestmark = pytest.mark.timeout(200)

TALKER = """
while True:
    word = input("you> ")
    print("it says:", word)
"""


@pytest.fixture
def config(lab: agentlab.Lab, home: Path) -> Path:
    """Of a home whose plane runs already: profiles are read when an agent is spawned."""
    return home / "config.toml"


def profile(name: str, **fields: Any) -> str:
    return "\n".join([f"[agents.{name}]", *(f"{key} = {toml(value)}" for key, value in fields.items()), ""])


def writable(folder: Path) -> str:
    """For a program that is in a sandbox, where it keeps its own tools, and writes outside of the workspace."""
    return f"[sandbox]\nwritable = [{json.dumps(str(folder))}]\n"


def toml(value: Any) -> str:
    """A JSON value that is no object is one of TOML too."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vendor_s_agent_has_its_model_and_environment_from_its_profile(
    lab: agentlab.Lab, config: Path, work: Path, tmp_path: Path, model: ScriptedModel, kind: str
) -> None:
    one = vendor(kind, model, tmp_path / "user")
    program = shutil.which(kind, path=one.spec["env"].get("PATH", ""))  # Claude's comes with its SDK
    command = [program] if program else []
    config.write_text(profile("mine", kind=kind, command=command, boundary="tools", **one.spec))
    steps = do(one.call("write", path="a.txt", data="by a profile"), {"say": "written"})
    agent = lab.spawn("mine", steps, workdir=work)
    assert agent.wait(120).check().output == "written"
    assert (work / "a.txt").read_text() == "by a profile"
    spec = agent.row()["spec"]
    assert (spec["kind"], spec["model"], spec["options"]["profile"]) == (kind, one.spec["model"], "mine")


def test_a_program_in_a_terminal_has_its_command_from_its_profile(
    lab: agentlab.Lab, config: Path, work: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pyte")
    program = tmp_path / "talker.py"
    program.write_text(TALKER)
    command = [sys.executable, "-u", str(program)]
    config.write_text(profile("talker", kind="cli", command=command, args=["--plain"], boundary="native"))
    agent = lab.spawn("talker", "hello", workdir=work, options={"ready": "^you> $"})
    assert "it says: hello" in agent.wait(60).check().output
    assert agent.row()["spec"]["options"]["command"] == [*command, "--plain"]


def test_any_agent_is_spawned_by_its_command_alone(
    home: Path, lab: agentlab.Lab, config: Path, work: Path, installed: Path
) -> None:
    """In the words of the README; and what is missing in them is said in the words that add it."""
    config.write_text(writable(installed))

    def spawn(*more: str) -> subprocess.CompletedProcess[str]:
        argv = ["spawn", "acp", "--command", f"{installed}/fake-agent --acp", *more, '[{"say": "here"}]']
        command = [sys.executable, "-m", "agentlab.cli", "--home", str(home), *argv]
        return subprocess.run([*command, "--wait", "--json"], cwd=work, capture_output=True, text=True, timeout=120)

    refused = spawn()
    assert refused.returncode == 2 and "--boundary native" in json.loads(refused.stderr)["message"]
    spawned = spawn("--boundary", "native")
    assert (spawned.returncode, json.loads(spawned.stdout)["output"]) == (0, "here"), spawned.stderr
    assert (installed / "told").read_text().startswith("fake-agent --acp:")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder of programs: an agent, and runners of packages that have it already. Each writes down how it was started."""
    pytest.importorskip("acp")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("fake-agent", "npx", "uvx"):
        told = f'echo "{name} $*: $NOTE $LOUD" > {folder}/told'
        (folder / name).write_text(f"#!/bin/sh\n{told}\nexec {sys.executable} {fake_acp.__file__}\n")
        (folder / name).chmod(0o755)
    return folder


def test_an_entry_of_a_registry_runs_with_its_arguments_and_variables(
    lab: agentlab.Lab, config: Path, work: Path, installed: Path
) -> None:
    env = {"NOTE": "from the registry", "LOUD": "no"}
    ways = {
        "binary": {f"linux-{platform.machine()}": {"cmd": "./dist/fake-agent", "args": ["--acp"], "env": env}},
        "npx": {"package": "@fake/agent@1", "args": ["--acp"], "env": env},
        "uvx": {"package": "fake-agent", "env": env},
    }
    entries = [{"id": way, "distribution": {way: how}} for way, how in ways.items()]
    (config.parent / "registry.json").write_text(json.dumps({"agents": entries}))
    path = {"PATH": f"{installed}{os.pathsep}{os.environ['PATH']}", "LOUD": "yes"}
    config.write_text(
        writable(installed)
        + "".join(
            profile(f"my-{way}", registry="registry.json", id=way, boundary="native", args=["--fast"], env=path)
            for way in ways
        )
    )
    told = {}
    for way in ways:
        agent = lab.spawn(f"my-{way}", json.dumps([{"say": "here"}]), workdir=work)
        assert agent.wait(60).check().output == "here"
        told[way] = (installed / "told").read_text().strip()
    assert told == {
        "binary": "fake-agent --acp --fast: from the registry yes",
        "npx": "npx -y @fake/agent@1 --acp --fast: from the registry yes",
        "uvx": "uvx fake-agent --fast: from the registry yes",
    }
