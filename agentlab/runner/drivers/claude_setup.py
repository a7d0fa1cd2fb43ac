"""What a Claude Code process is started with: program, environment, instructions, options. Needs no extra to import."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from agentlab.errors import Unavailable
from agentlab.runner.model_proxy import ModelProxy

from . import protected, sharing
from .base import Context
from .boxed import boxed
from .program import remember, remembered
from .start import Start, write_anew

MINIMUM = (2, 0)
"""The oldest Claude Code that speaks the control protocol as we use it."""

LOGIN = "log in once with `claude auth login`, or hand a key to this agent with --env ANTHROPIC_API_KEY=env:ANTHROPIC_API_KEY"

QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "ENABLE_TOOL_SEARCH": "false",  # all our tools are in the first request
}
"""Settings that an agent may have otherwise."""

HELD = {
    # A tool call may wait for a lock: the tool host ends a wait, not the CLI.
    "MCP_TOOL_TIMEOUT": "7200000",  # ms
    "CLAUDE_CODE_MCP_TOOL_IDLE_TIMEOUT": "0",
    "CLAUDE_CODE_MCP_AUTO_BACKGROUND_MS": "0",
}
"""Settings that the boundary rests on."""

PROTECTED_ENV: Final = (
    "CLAUDE*",
    "MCP_*",
    "ENABLE_CLAUDEAI_*",
    "ENABLE_LSP_TOOL",
    "ENABLE_STUB_TOOLS",
    "FORCE_AUTOUPDATE_*",
)
FREE_ENV: Final = (
    "CLAUDE_CONFIG_DIR", "CLAUDE_SECURESTORAGE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_*", "CLAUDE_CODE_API_KEY_HELPER_TTL_MS",
    "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY", "CLAUDE_CODE_USE_MANTLE",
    "CLAUDE_CODE_USE_GATEWAY", "CLAUDE_CODE_USE_ANTHROPIC_*", "CLAUDE_CODE_SKIP_*_AUTH", "CLAUDE_CODE_CLIENT_CERT",
    "CLAUDE_CODE_CLIENT_KEY*", "CLAUDE_CODE_CERT_STORE", "CLAUDE_CODE_MAX_*", "CLAUDE_EFFORT", "CLAUDE_CODE_EFFORT_*",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS",
    "CLAUDE_CODE_DISABLE_ADAPTIVE_THINKING", "CLAUDE_CODE_ENABLE_TELEMETRY",
)  # fmt: skip
"""Logins, providers and limits. All else that Claude Code takes from its own variables, and there are hundreds, is held."""

HELD_BY_HOOK: Final = 7200.0  # s that a call of its own may wait for a person and for its locks

_NOT_INHERITED = re.compile(r"ANTHROPIC_|CLAUDE|AGENTLAB_")
_LOGIN_HOME = {"CLAUDE_CONFIG_DIR"}


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of an agent of kind `claude`."""

    max_turns: int | None = None  # model answers in one turn
    max_cost: float | None = None  # USD, of the session
    cli: str | None = None  # the program; default: the one of the SDK's wheel, else `claude` on PATH
    profile: str = ""  # its name, for people


def check_env(names: Iterable[str]) -> None:
    """Raises BadRequest: a spec sets variables that the boundary rests on."""
    protected.check_env("claude", names, PROTECTED_ENV, FREE_ENV)


def environment(env: Mapping[str, str], inherited: Mapping[str, str]) -> dict[str, str]:
    """What to lay over the environment that the CLI inherits from us.

    Keys, base URLs and markers of a Claude that runs around us count only where `env` names them. The login does not
    live in variables but in the user's home, which stays what it is.
    """
    foreign = {name: "" for name in inherited if _NOT_INHERITED.match(name) and name not in _LOGIN_HOME}
    return {**foreign, **QUIET, **env, **HELD}


_API: Final = "https://api.anthropic.com"
_KEYS: Final = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")


def recorded(env: dict[str, str], models: ModelProxy | None) -> dict[str, str]:
    """`env` with the model's address led through the recorder, where the agent has a key or an address of its own. A login
    of the user's is left alone: its traffic belongs to the vendor's own address."""
    upstream = env.get("ANTHROPIC_BASE_URL") or (_API if any(env.get(key) for key in _KEYS) else "")
    if models is None or not upstream:
        return env
    return models.environment({**env, "ANTHROPIC_BASE_URL": models.url("anthropic", upstream)})


def instructions(own: str, boundary: str = "tools") -> str:
    """What is appended to Claude Code's system prompt."""
    return sharing.instructions("mcp__lab__", own, boundary)


def confined(context: Context, cli: Path, env: dict[str, str]) -> tuple[Path, dict[str, str]]:
    """The program and its variables, in the agent's sandbox where there is one, for an agent that keeps its own tools.

    With a key it gets a folder of its own for settings and sessions, which such agents share. A login is renewed where it is:
    then the user's folder stays writable. Raises Unavailable: it cannot have the network that the settings leave to it.
    """
    chosen = env.get("CLAUDE_CONFIG_DIR")
    if chosen is None and any(env.get(name) for name in _KEYS):
        chosen = str(context.shared / "config")
        Path(chosen).mkdir(mode=0o700, exist_ok=True)
        env = {**env, "CLAUDE_CONFIG_DIR": chosen}
    if context.sandbox is None:
        return cli, env
    home = Path(env.get("HOME", "/"))
    opens = (Path(chosen),) if chosen else (home / ".claude", home / ".claude.json")
    opens[0].mkdir(mode=0o700, parents=True, exist_ok=True)
    asks = "ANTHROPIC_BASE_URL" not in env or context.models is None
    wanted = Start(title="Claude Code", argv=(str(cli),), env=env, opens=opens, asks=asks)
    start = boxed(context, context.sandbox, wanted)
    program = context.private / "claude"  # the SDK starts a program, and gives it arguments of its own
    write_anew(program, f'#!/bin/sh\nexec {shlex.join(start.argv)} "$@"\n')
    program.chmod(0o700)
    return program, start.env


def find_cli(chosen: str | None, bundled: Path, path: str | None) -> Path:
    """The program to run. Raises Unavailable, saying how to get it."""
    if chosen is not None:
        if found := shutil.which(chosen, path=path):
            return Path(found)
        raise Unavailable(
            f"There is no program at {chosen!r} (option cli). Correct it, or leave it out to use the one on PATH.",
            reason="missing",
        )
    if os.access(bundled, os.X_OK):
        return bundled
    if found := shutil.which("claude", path=path):
        return Path(found)
    raise Unavailable(
        "Claude Code is not installed here: this platform's wheel of claude-agent-sdk has none inside, and there is no "
        "`claude` on PATH. Get it with `npm install -g @anthropic-ai/claude-code`.",
        reason="missing",
    )


async def check_version(cli: Path, env: Mapping[str, str], shared: Path) -> str:
    """The version of the program, which is asked for it once. Raises Unavailable: it does not run, does not answer, or is
    too old. shared: where the answer is kept for as long as the program is the same file."""
    kept = remembered(cli, shared, "version")
    if kept.exists():
        return kept.read_text()
    version = await _version(cli, env)
    remember(kept, version.encode())
    return version


async def _version(cli: Path, env: Mapping[str, str]) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            cli, "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, env={**os.environ, **env},
        )  # fmt: skip
    except OSError as error:
        raise Unavailable(f"{cli} cannot be started: {error.strerror}.") from None
    try:
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
    except TimeoutError:
        raise Unavailable(f"{cli} --version gave no answer in 30 s.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    said = output.decode("utf-8", "replace").strip()
    version = parse_version(said)
    if version is None:
        raise Unavailable(
            f"{cli} --version does not name a version: {said[:200]!r}. Is it Claude Code?", reason="version"
        )
    if version < MINIMUM:
        raise Unavailable(
            f"{cli} is Claude Code {'.'.join(map(str, version))}, too old: at least {'.'.join(map(str, MINIMUM))} is needed. "
            "Update it with `claude update`, or leave out the option cli to use the one of claude-agent-sdk.",
            reason="version",
        )
    return ".".join(map(str, version))


def parse_version(text: str) -> tuple[int, ...] | None:
    """'2.1.329 (Claude Code)' -> (2, 1, 329)"""
    found = re.search(r"\b(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in found.groups() if part is not None) if found else None
