"""Agents with names of their own: `[agents.NAME]` of config.toml, and entries of a registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentlab.client import profiles, registry, spec
from agentlab.errors import BadRequest


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(
        """
[agents.mine]
command = ["my-agent", "--acp"]
args = ["--fast"]
env = {KEY = "env:MY_KEY"}
model = "big"
boundary = "native"

[agents.sealed]
command = ["my-agent"]
builtins_off = ["--no-tools"]

[agents.flash]
kind = "gemini"
model = "gemini-2.5-flash"
args = ["--debug"]

[agents.bare]

[agents.odd]
protocol = "cli"
command = ["x"]

[agents.unknown]
kind = "nobody"

[agents.misled]
kind = "codex"
protocol = "acp"

[agents.cody]
kind = "codex"
command = ["/opt/codex"]
options = {effort = "high"}

[agents.wordy]
kind = "claude"
command = ["claude", "--verbose"]

[agents.argued]
kind = "codex"
args = ["-c", "x=1"]

[agents.terminal]
kind = "cli"
command = ["my-agent", "-i"]
args = ["--plain"]
boundary = "native"

[agents.mute]
kind = "cli"

[agents.steps]
kind = "script"
command = ["x"]

[agents.both]
command = ["x"]
registry = "registry.json"
id = "node"

[agents.gemini]
model = "x"

[agents.listed]
registry = "registry.json"

[agents.open]
kind = "script"
boundary = "native"

[agents.unsealed]
command = ["my-agent"]
boundary = "tools"
"""
    )
    return tmp_path


def test_a_kind_is_its_own_name(home: Path) -> None:
    assert profiles.resolve(home, "claude", {"model": "m"}) == ("claude", {"model": "m"})
    assert profiles.resolve(None, "mine", {}) == ("mine", {})


def test_a_profile_is_the_kind_and_what_it_says(home: Path) -> None:
    kind, given = profiles.resolve(home, "mine", {"boundary": None})
    assert (kind, given["model"], given["env"], given["boundary"]) == ("acp", "big", {"KEY": "env:MY_KEY"}, "native")
    assert given["options"] == {"command": ["my-agent", "--acp"], "args": ["--fast"], "profile": "mine"}


def test_what_is_given_at_spawn_is_laid_over_it(home: Path) -> None:
    _, given = profiles.resolve(home, "mine", {"model": "small", "env": {"A": "b"}, "options": {"args": ["--more"]}})
    assert (given["model"], given["env"]) == ("small", {"KEY": "env:MY_KEY", "A": "b"})
    assert given["options"]["args"] == ["--fast", "--more"]


def test_a_profile_may_be_of_another_kind_and_may_seal_its_agent(home: Path) -> None:
    assert profiles.resolve(home, "flash", {})[0] == "gemini"
    assert profiles.resolve(home, "flash", {})[1]["options"] == {"args": ["--debug"], "profile": "flash"}
    assert profiles.resolve(home, "sealed", {})[1]["options"]["builtins_off"] == ["--no-tools"]


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("cody", "codex", {"cli": "/opt/codex", "effort": "high"}),
        ("terminal", "cli", {"command": ["my-agent", "-i", "--plain"]}),
        ("listed-node", "acp", {"command": ["npx", "-y", "@x/agent@1.2.0", "--acp"], "env": {"A": "1"}}),
    ],
)
def test_each_kind_gets_the_options_that_it_has(
    home: Path, entries: Path, name: str, kind: str, options: dict[str, Any]
) -> None:
    with (home / "config.toml").open("a") as file:
        file.write(f'\n[agents.listed-node]\nregistry = "{entries.name}"\nid = "node"\n')
    found, given = profiles.resolve(home, name, {})
    assert (found, given["options"]) == (kind, {**options, "profile": name})


@pytest.mark.parametrize("asked", [None, "native"])
def test_a_profile_s_boundary_is_that_of_its_agents(home: Path, asked: str | None) -> None:
    assert profiles.resolve(home, "mine", {"boundary": asked})[1]["boundary"] == "native"


def test_another_boundary_than_the_profile_s_is_refused(home: Path) -> None:
    with pytest.raises(BadRequest, match=r"says boundary = 'native', not 'tools'\. Leave it out"):
        profiles.resolve(home, "mine", {"boundary": "tools"})


def test_without_a_boundary_of_its_own_the_one_asked_for_counts_else_tools(home: Path) -> None:
    assert profiles.resolve(home, "flash", {"boundary": "native"})[1]["boundary"] == "native"
    assert (
        spec.define("codex", "x", root=None, boundary=profiles.resolve(home, "flash", {})[1]["boundary"]).spec.boundary
        == "tools"
    )


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("bare", {}, "needs a command"),
        ("odd", {}, "protocol='cli' is not spoken here"),
        ("unknown", {}, "no agents of kind 'nobody'"),
        ("misled", {}, "of kind 'codex' has no protocol. It may say: env, model, boundary, options, command"),
        ("wordy", {}, "program alone, without arguments"),
        ("argued", {}, "of kind 'codex' has no args"),
        ("steps", {}, "of kind 'script' has no command"),
        ("mute", {}, "needs a command"),
        ("both", {}, "a command and a registry"),
        ("gemini", {}, "has the name of a kind"),
        ("listed", {}, "no id of an entry"),
        ("open", {}, "cannot have boundary='native'; it has tools"),
        ("unsealed", {}, "or name the arguments that switch them off in `builtins_off`"),
        ("mine", {"options": {"command": "rm -r /"}}, "command already: its boundary rests on it"),
        ("sealed", {"options": {"builtins_off": []}}, "builtins_off already"),
    ],
)
def test_what_makes_no_sense_is_a_clear_error(home: Path, name: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        profiles.resolve(home, name, given)


def test_those_that_nothing_can_be_spawned_by_are_told(home: Path, entries: Path) -> None:
    broken = {"bare", "odd", "unknown", "misled", "wordy", "argued", "steps", "mute", "both", "gemini", "listed"}
    broken |= {"open", "unsealed"}
    assert profiles.problems(home).keys() == broken
    assert profiles.problems(None) == {}


def test_names_are_offered_and_a_broken_file_has_none(home: Path) -> None:
    assert profiles.names(home)["mine"] == "profile of acp"
    (home / "config.toml").write_text("[agents.x]\nnonsense = 1")
    assert profiles.names(home) == {}


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    path = tmp_path / "registry.json"
    there = [
        {"id": "node", "distribution": {"npx": {"package": "@x/agent@1.2.0", "args": ["--acp"], "env": {"A": "1"}}}},
        {"id": "python", "distribution": {"uvx": {"package": "agent==1"}}},
        {"id": "built", "distribution": {"binary": {"linux-x86_64": {"cmd": "./dist/agent", "args": ["acp"]}}}},
        {"id": "placed", "distribution": {"binary": {"linux-x86_64": {"cmd": "/opt/agent", "env": {"B": "2"}}}}},
        {"id": "wrong", "distribution": {"npx": {"args": 1}}},
    ]
    path.write_text(json.dumps({"version": "1", "agents": there}))
    return path


@pytest.mark.parametrize(
    ("id", "command", "env"),
    [
        ("node", ("npx", "-y", "@x/agent@1.2.0", "--acp"), {"A": "1"}),
        ("python", ("uvx", "agent==1"), {}),
        ("built", ("agent", "acp"), {}),
        ("placed", ("/opt/agent",), {"B": "2"}),
    ],
)
def test_an_entry_of_a_registry_is_a_command_and_variables(
    entries: Path, id: str, command: tuple[str, ...], env: dict[str, str]
) -> None:
    assert registry.start(entries, id, "x86_64") == (command, env)


def test_a_registry_says_what_it_has(entries: Path) -> None:
    with pytest.raises(BadRequest, match=r"no agent 'zed'\. It has: built, node, placed, python, wrong"):
        registry.start(entries, "zed")
    with pytest.raises(BadRequest, match="nothing for linux-riscv64: there is linux-x86_64"):
        registry.start(entries, "built", "riscv64")
    with pytest.raises(BadRequest, match=r"entry 'wrong' .* cannot be read"):
        registry.start(entries, "wrong")
    with pytest.raises(BadRequest, match="cannot be read"):
        registry.start(entries.with_name("none"), "node")
    entries.write_text("[]")
    with pytest.raises(BadRequest, match="is no registry"):
        registry.start(entries, "node")
