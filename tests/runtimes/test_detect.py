"""Finding agent programs, with tiny programs in their place."""

from __future__ import annotations

import asyncio
import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import pytest

from agentlab.config import CLIProfile
from agentlab.core.commands import CLI
from agentlab.runtimes import detect
from agentlab.runtimes.detect import Answer, Detector, Program


class Machine:
    """A PATH of its own, with programs made of shell lines."""

    def __init__(self, bin: Path) -> None:
        self.bin = bin
        self.bin.mkdir(parents=True)
        self.environ = {"PATH": f"{bin}:/usr/bin:/bin", "HOME": str(bin.parent)}

    def has(self, name: str, *lines: str, mode: int = 0o755) -> Path:
        path = self.bin / name
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(mode)
        return path

    async def look(self, name: str = "codex", *, limit: float = 10.0, profile: CLIProfile | None = None) -> CLI:
        detector = Detector({name: profile} if profile else {}, limit=limit)
        return next(cli for cli in await detector.detect(self.environ) if cli.name == name)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    return Machine(tmp_path / "bin")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2.1.329 (Claude Code)", "2.1.329"),
        ("codex-cli 0.169.0", "0.169.0"),
        ("v1.18.33", "1.18.33"),
        ("0.62.0-nightly.20260101", "0.62.0-nightly.20260101"),
        ("warning: no home\n* A banner of 2026-01-02 *\ntool version 3.4.5\nnode 20.1.0", "3.4.5"),
        ("listening on 127.0.0.1, version 1.2.3", "1.2.3"),
        ("version 12", None),
        ("", None),
    ],
)
def test_the_version_is_the_first_in_what_a_program_says(text: str, version: str | None) -> None:
    assert detect.parse_version(text) == version


@pytest.mark.parametrize(
    ("version", "minimum", "expected"),
    [
        ("1.9.0", "1.10.0", True),
        ("1.10.0", "1.9.9", False),
        ("2.0.0-beta.1", "2.0.0", False),
        ("0.99.9", "0.100.0", True),
    ],
)
def test_versions_are_compared_as_numbers(version: str, minimum: str, expected: bool) -> None:
    assert detect.older(version, minimum) is expected


async def test_a_program_is_found_with_its_path_and_version(machine: Machine) -> None:
    path = machine.has("codex", "echo codex-cli 0.169.0")
    assert await machine.look() == CLI(name="codex", verdict="ok", path=str(path), version="0.169.0")


async def test_a_banner_before_the_version_and_a_version_on_stderr_do_no_harm(machine: Machine) -> None:
    machine.has("codex", "echo '*** welcome ***'", "echo 'v0.170.1' >&2")
    assert (await machine.look()).version == "0.170.1"


async def test_a_missing_program_says_how_to_get_it(machine: Machine) -> None:
    codex, claude = await machine.look("codex"), await machine.look("claude")
    assert (codex.verdict, codex.path) == ("missing", None)
    assert "npm install -g @openai/codex" in codex.reason
    assert claude.verdict == "missing" and "pip install -U 'agentlab[claude]'" in claude.reason


async def test_an_old_program_says_what_is_needed(machine: Machine) -> None:
    machine.has("codex", "echo 0.99.0")
    cli = await machine.look()
    assert (cli.verdict, cli.version) == ("too old", "0.99.0")
    assert "older than 0.100.0" in cli.reason and "npm install -g @openai/codex" in cli.reason


async def test_a_file_that_is_not_executable_is_shown_with_its_path(machine: Machine) -> None:
    path = machine.has("codex", "echo 0.169.0", mode=0o644)
    cli = await machine.look()
    assert (cli.verdict, cli.path) == ("not executable", str(path))
    assert f"chmod +x {path}" in cli.reason


async def test_a_program_without_its_interpreter_is_not_executable(machine: Machine) -> None:
    path = machine.has("codex")
    path.write_text("#!/no/such/interpreter\n")
    cli = await machine.look()
    assert cli.verdict == "not executable" and "No such file" in cli.reason


async def test_a_program_that_fails_is_of_unknown_version_with_its_words(machine: Machine) -> None:
    machine.has("codex", "echo 'Node 16.0.0 is too old' >&2", "exit 1")
    cli = await machine.look()
    assert (cli.verdict, cli.version) == ("unknown version", None)
    assert "exit code 1" in cli.reason and "Node 16.0.0 is too old" in cli.reason


async def test_a_program_that_says_nothing_is_of_unknown_version(machine: Machine) -> None:
    machine.has("codex")
    cli = await machine.look()
    assert cli.verdict == "unknown version" and "said nothing" in cli.reason


async def test_a_program_that_hangs_is_given_up_and_killed_with_its_children(machine: Machine, tmp_path: Path) -> None:
    machine.has("codex", f"sleep 600 & echo $! > {tmp_path}/pid", "echo 0.169.0", "wait")
    cli = await machine.look(limit=0.5)
    assert cli.verdict == "unknown version" and "did not end" in cli.reason
    await gone(int((tmp_path / "pid").read_text()))


async def test_what_a_program_leaves_behind_does_not_hold_the_detection_up(machine: Machine, tmp_path: Path) -> None:
    machine.has("codex", f"sleep 600 & echo $! > {tmp_path}/pid", "echo 0.169.0")
    assert (await machine.look()).verdict == "ok"
    await gone(int((tmp_path / "pid").read_text()))


async def test_a_program_that_never_stops_talking_is_given_up(machine: Machine) -> None:
    machine.has("codex", "yes 0.169.0")
    assert (await machine.look(limit=0.5)).verdict == "unknown version"


async def test_a_program_gets_nothing_to_read(machine: Machine) -> None:
    machine.has("codex", "read answer", "echo 0.169.0")
    assert (await machine.look()).verdict == "ok"


async def test_the_executable_one_wins_over_a_file_before_it_on_the_path(machine: Machine, tmp_path: Path) -> None:
    machine.has("codex", "echo 0.1.0", mode=0o644)
    second = Machine(tmp_path / "second")
    path = second.has("codex", "echo 0.169.0")
    machine.environ["PATH"] = f"{machine.bin}:{second.bin}:/bin"
    assert (await machine.look()).path == str(path)


async def test_programs_are_found_where_installers_put_them_beside_the_path(machine: Machine, tmp_path: Path) -> None:
    opencode = Machine(tmp_path / ".opencode" / "bin").has("opencode", "echo 1.18.33")
    assert (await machine.look("opencode")).path == str(opencode)


async def test_an_unchanged_program_is_asked_once_and_a_changed_one_again(machine: Machine, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    machine.has("codex", f"echo called >> {calls}", "echo 0.169.0")
    detector = Detector({})

    async def version() -> str | None:
        return next(cli.version for cli in await detector.detect(machine.environ) if cli.name == "codex")

    assert await version() == await version() == "0.169.0"
    assert calls.read_text().count("called") == 1
    machine.has("codex", "echo 0.170.0")
    assert await version() == "0.170.0"


async def test_a_further_program_of_the_configuration_is_detected(machine: Machine) -> None:
    path = machine.has("my-agent", 'test "$1" = version && echo my-agent 3.0.0')
    profile = CLIProfile(command=str(path), version_args=("version",), minimum="3.1.0")
    cli = await machine.look("mine", profile=profile)
    assert (cli.verdict, cli.version) == ("too old", "3.0.0")
    assert "clis.mine" in cli.reason


async def test_a_path_in_the_configuration_that_is_wrong_is_not_searched_elsewhere(machine: Machine) -> None:
    machine.has("codex", "echo 0.169.0")
    cli = await machine.look("codex", profile=CLIProfile(command="/no/such/codex"))
    assert cli.verdict == "missing" and "/no/such/codex" in cli.reason


async def test_the_claude_inside_the_sdk_wheel_is_found_without_importing_the_sdk(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.machinery.ModuleSpec("claude_agent_sdk", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "sdk")]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.delitem(sys.modules, "claude_agent_sdk", raising=False)
    machine.has("claude", "echo 2.0.0")
    bundled = Machine(tmp_path / "sdk" / "_bundled").has("claude", "echo '2.1.329 (Claude Code)'")
    cli = await machine.look("claude")
    assert (cli.verdict, cli.path, cli.version) == ("ok", str(bundled), "2.1.329")
    assert "claude-agent-sdk" in cli.reason and "claude_agent_sdk" not in sys.modules


async def test_a_claude_on_the_path_without_the_sdk_says_what_else_is_needed(machine: Machine) -> None:
    machine.has("claude", "echo '2.1.329 (Claude Code)'")
    cli = await machine.look("claude")
    assert cli.verdict == "ok" and "agentlab[claude]" in cli.reason


def test_every_verdict_but_ok_says_what_to_do() -> None:
    program = Program("codex", "codex", "0.100.0", "npm install -g @openai/codex")
    answers = [
        Answer(failed="Exec format error"),
        Answer(),
        Answer(1, "oh"),
        Answer(-9),
        Answer(0, "?"),
        Answer(0, "0.1.0"),
    ]
    for answer in answers:
        cli = detect.judge(program, "/bin/codex", answer)
        assert cli.verdict != "ok" and program.install in cli.reason


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
            await asyncio.sleep(0.01)
