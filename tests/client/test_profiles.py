"""Agents with names of their own: `[agents.NAME]` of config.toml, and entries of a registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentlab.client import profiles
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

[agents.listed]
registry = "registry.json"
"""
    )
    return tmp_path


def test_a_kind_is_its_own_name(home: Path) -> None:
    assert profiles.resolve(home, "claude", {"model": "m"}) == ("claude", {"model": "m"})
    assert profiles.resolve(None, "mine", {}) == ("mine", {})


def test_a_profile_is_the_kind_and_what_it_says(home: Path) -> None:
    kind, given = profiles.resolve(home, "mine", {"boundary": "tools"})
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
    ("name", "given", "said"),
    [
        ("bare", {}, "needs a command"),
        ("odd", {}, "protocol='cli' is not spoken here"),
        ("unknown", {}, "no agents of kind 'nobody'"),
        ("listed", {}, "no id of an entry"),
        ("mine", {"options": {"command": "rm -r /"}}, "command already: its boundary rests on it"),
        ("sealed", {"options": {"builtins_off": []}}, "builtins_off already"),
    ],
)
def test_what_makes_no_sense_is_a_clear_error(home: Path, name: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        profiles.resolve(home, name, given)


def test_names_are_offered_and_a_broken_file_has_none(home: Path) -> None:
    assert profiles.names(home)["mine"] == "profile of acp"
    (home / "config.toml").write_text("[agents.x]\nnonsense = 1")
    assert profiles.names(home) == {}


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    path = tmp_path / "registry.json"
    entries = [
        {"id": "node", "distribution": {"npx": {"package": "@x/agent@1.2.0", "args": ["--acp"]}}},
        {"id": "python", "distribution": {"uvx": {"package": "agent==1"}}},
        {"id": "built", "distribution": {"binary": {"linux-x86_64": {"cmd": "./agent", "args": ["acp"]}}}},
    ]
    path.write_text(json.dumps({"version": "1", "agents": entries}))
    return path


@pytest.mark.parametrize(
    ("id", "command"),
    [
        ("node", ("npx", "-y", "@x/agent@1.2.0", "--acp")),
        ("python", ("uvx", "agent==1")),
        ("built", ("agent", "acp")),
    ],
)
def test_an_entry_of_a_registry_is_a_command(registry: Path, id: str, command: tuple[str, ...]) -> None:
    assert profiles.registry_command(registry, id, "x86_64") == command


def test_a_registry_says_what_it_has(registry: Path) -> None:
    with pytest.raises(BadRequest, match=r"no agent 'zed'\. It has: built, node, python"):
        profiles.registry_command(registry, "zed")
    with pytest.raises(BadRequest, match="nothing for linux-riscv64"):
        profiles.registry_command(registry, "built", "riscv64")
    with pytest.raises(BadRequest, match="cannot be read"):
        profiles.registry_command(registry.with_name("none"), "node")
    registry.write_text("[]")
    with pytest.raises(BadRequest, match="is no registry"):
        profiles.registry_command(registry, "node")
