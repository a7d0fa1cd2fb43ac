"""Gemini CLI by its ACP mode: a home of its own, an allow-list of exactly our tools, a folder of its own to start in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from msgspec import Struct

from agentlab.core.events import JSON
from agentlab.runner.mcp.offer import Address
from agentlab.runner.model_proxy import with_recorded_urls

from . import acp_setup, gemini_sessions, protected, sharing
from .acp import AcpDriver
from .acp_setup import SERVER, Setup, Transport
from .acp_wire import Server
from .base import Context
from .failures import of_reason
from .gemini_calls import Calls
from .options import read_options
from .program import find
from .start import write_anew

LOGIN: Final = "log in once with `gemini`, or hand a key to this agent with --env GEMINI_API_KEY=env:GEMINI_API_KEY"
PREFIX: Final = f"mcp_{SERVER}_"
HOLD_MS: Final = 7_200_000  # a call may wait for a lock: the tool host ends a wait, not the CLI (its default: 600 s)

PROTECTED_ARGS: Final = (
    "--acp", "--experimental-acp", "--approval-mode", "--yolo", "-y", "--allowed-tools", "--allowed-mcp-server-names",
    "--extensions", "-e", "--policy", "--admin-policy", "--prompt", "-p", "--prompt-interactive", "-i", "--output-format",
    "-o", "--include-directories", "--worktree", "-w", "--skip-trust", "--resume", "-r", "--sandbox", "-s",
)  # fmt: skip
PROTECTED_ENV: Final = (
    "GEMINI_CLI_HOME", "GEMINI_CLI_SYSTEM_*", "GEMINI_CLI_TRUST_*", "GEMINI_CLI_NO_RELAUNCH", "GEMINI_CLI_INTEGRATION_TEST",
    "GEMINI_SANDBOX", "GEMINI_SYSTEM_MD", "VITEST", "GEMINI_YOLO*",
)  # fmt: skip

_BASE_URL: Final = "GOOGLE_GEMINI_BASE_URL"
_API: Final = "https://generativelanguage.googleapis.com"
_CREDENTIALS = ("oauth_creds.json", "google_accounts.json", "gemini-credentials.json", "installation_id")


ALWAYS_ASK: Final = """\
[[rule]]
toolName = "run_shell_command"
argsPattern = "."
decision = "ask_user"
priority = 999
"""
"""Of the commands of one that keeps its own tools. Without a pattern it would run what it takes for harmless (ls, git status,
echo) without asking."""


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of an agent of kind `gemini`."""

    cli: str | None = None  # the program; default: `gemini` on PATH
    args: list[str] = []  # further arguments
    mcp: Transport = "stdio"
    profile: str = ""


class Recipe:
    def check(self, options: Mapping[str, JSON], boundary: str) -> Options:
        read = read_options(Options, options, "gemini")
        protected.check_args("gemini", read.args, PROTECTED_ARGS)
        return read

    def prepare(self, context: Context, options: Options, server: Server) -> Setup:
        """It starts in an empty folder: settings, policies, hooks and servers of the workspace, by which it would not even
        ask, are then not read. Its GEMINI.md is."""
        spec, native = context.spec, context.spec.boundary == "native"
        protected.check_env("gemini", spec.env, PROTECTED_ENV)
        cli = find("gemini", context.env, options.cli)
        home = context.private / "gemini"
        user = Path(context.env.get("HOME", "/")) / ".gemini"
        folder = home / ".gemini"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        acp_setup.link_logins(user, folder, _CREDENTIALS)
        tools = [tool.name for tool in context.tools.catalogue()]
        auth = auth_type(context.env, user)
        write_anew(folder / "settings.json", json.dumps(settings(server, tools, auth, context.root, native=native)))
        (folder / "policies").mkdir(mode=0o700, exist_ok=True)
        write_anew(folder / "policies" / "lab.toml", ALWAYS_ASK if native else "")
        cwd = acp_setup.start_folder(home)
        sessions = gemini_sessions.conversation(context.shared, spec.resume)
        gemini_sessions.link(home, cwd, sessions)
        note = acp_setup.away(context.root, native=native) + sharing.instructions(
            PREFIX, spec.instructions, spec.boundary
        )
        write_anew(cwd / "GEMINI.md", note)
        model = ("-m", spec.model) if spec.model else ()
        env = {
            **context.env,
            "HOME": str(home),
            "GEMINI_CLI_HOME": str(home),
            "GEMINI_CLI_NO_RELAUNCH": "true",  # a second process would outlive signals to the first
            "GEMINI_CLI_TRUST_WORKSPACE": "true",  # else it starts no MCP server
        }
        if auth == "gemini-api-key":
            env.setdefault(_BASE_URL, _API)
        env = with_recorded_urls(context.models, env, {_BASE_URL: "google"})
        return Setup(
            title="Gemini CLI", name="gemini", argv=(str(cli), "--acp", *model, *options.args), cwd=cwd, env=env,
            login=LOGIN, told=True, leaves=False,
            mode="default" if spec.resume else None, opens=(home, sessions, *(user / name for name in _CREDENTIALS)), asks=True,
            stops={"max_tokens": of_reason("context_overflow")}, inputs=Calls() if native else None,
        )  # fmt: skip


def auth_type(env: Mapping[str, str], user: Path) -> str | None:
    """How it is to log in: by a key of the environment, else as the user chose, else not at all."""
    if env.get("GEMINI_API_KEY"):
        return "gemini-api-key"
    if env.get("GOOGLE_API_KEY") or env.get("GOOGLE_GENAI_USE_VERTEXAI"):
        return "vertex-ai"
    try:
        chosen = json.loads((user / "settings.json").read_text())["security"]["auth"]["selectedType"]
    except (OSError, ValueError, KeyError, TypeError):
        chosen = None
    if isinstance(chosen, str):
        return chosen
    return "oauth-personal" if (user / "oauth_creds.json").exists() else None


def settings(server: Server, tools: list[str], auth: str | None, root: Path, *, native: bool) -> dict[str, Any]:
    """settings.json. `tools.core` names our tools one by one: a pattern offers them but forbids their use."""
    reached: dict[str, Any]
    if isinstance(server, Address):
        reached = {"httpUrl": server.url, "headers": server.headers}
    else:
        reached = {"command": server[0], "args": list(server[1:])}
    lab = {**reached, "trust": True, "timeout": HOLD_MS}
    boundary = {} if native else {"core": [PREFIX + name for name in tools], "discoveryCommand": ""}
    return {
        "security": {
            "auth": {"selectedType": auth} if auth else {},
            "folderTrust": {"enabled": False},
            "disableYoloMode": True,
        },
        "general": {
            "enableAutoUpdate": False,
            "enableAutoUpdateNotification": False,
            "defaultApprovalMode": "default",
            "sessionRetention": {"enabled": False},
        },
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "hooksConfig": {"enabled": False},
        "tools": boundary,
        "mcp": {"allowed": [SERVER]},
        "mcpServers": {SERVER: lab},
        "context": {"includeDirectories": [str(root)], "loadMemoryFromIncludeDirectories": True},
    }


class GeminiDriver(AcpDriver):
    boundaries: ClassVar[frozenset[str]] = frozenset({"tools", "native"})
    recipe = Recipe()
