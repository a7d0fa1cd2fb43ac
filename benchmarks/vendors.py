"""The vendors' real programs for a benchmark: against a scripted model, with a key that is none and a home that is no user's."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentlab.testing.scripted_model import ScriptedModel

BIN = Path(__file__).parents[1] / ".agents" / "node_modules" / ".bin"
KEY = "dummy"
KINDS = ("claude", "codex", "gemini", "opencode")


@dataclass(frozen=True)
class Vendor:
    """`bare`: the argv that does a prompt headless. `env`, `model`: for both sides. `own`: what is added to the environment
    of the bare one; `options`: of the agent's spec."""

    kind: str
    model: str
    env: dict[str, str]
    bare: Callable[[str], list[str]]
    own: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> dict[str, Any]:
        """For `spawn`."""
        return {"model": self.model, "env": self.env, "options": self.options}


def vendor(kind: str, model: ScriptedModel, user: Path) -> Vendor | str:
    """Its program beside `model`, with `user` as its home; or why it is left out."""
    return _VENDORS[kind](model, user)


def do(*steps: dict[str, Any]) -> str:
    """A prompt that makes the scripted model take these steps."""
    return f"Please do this. @do {json.dumps(steps)}"


def _claude(model: ScriptedModel, user: Path) -> Vendor | str:
    try:
        import claude_agent_sdk
    except ImportError:
        return "the extra `claude` is not installed"
    cli = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
    user.mkdir(parents=True)
    env = {
        "HOME": str(user),
        "CLAUDE_CONFIG_DIR": str(user / ".claude"),
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_API_KEY": KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
    }
    flags = [
        "--output-format",
        "stream-json",
        "--verbose",
        "--permission-mode",
        "acceptEdits",
        "--allowedTools",
        "Bash",
    ]
    name = "claude-sonnet-4-5"
    return Vendor("claude", name, env, lambda prompt: [str(cli), "-p", prompt, *flags, "--model", name])


def _codex(model: ScriptedModel, user: Path) -> Vendor | str:
    cli = shutil.which("codex", path=str(BIN))
    if cli is None:
        return "codex is not installed in .agents: `bash scripts/agents.sh`"
    home = user / ".codex"
    home.mkdir(parents=True)
    (home / "config.toml").write_text(
        'model_provider = "scripted"\napproval_policy = "never"\nsandbox_mode = "danger-full-access"\n'
        "check_for_update_on_startup = false\n[model_providers.scripted]\n"
        f'name = "scripted"\nbase_url = "{model.url}/v1"\nenv_key = "OPENAI_API_KEY"\nwire_api = "responses"\n'
        "[analytics]\nenabled = false\n"
    )
    env = {
        "HOME": str(user),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": f"{model.url}/v1",
    }
    exec = [cli, "exec", "--json", "--skip-git-repo-check", "-m", "gpt-5.5"]
    return Vendor("codex", "gpt-5.5", env, lambda prompt: [*exec, prompt])


def _gemini(model: ScriptedModel, user: Path) -> Vendor | str:
    cli = shutil.which("gemini", path=str(BIN))
    if cli is None:
        return "gemini is not installed in .agents: `bash scripts/agents.sh`"
    home = user / ".gemini"
    home.mkdir(parents=True)
    (home / "settings.json").write_text(
        json.dumps(
            {
                "security": {"auth": {"selectedType": "gemini-api-key"}},
                "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
                "privacy": {"usageStatisticsEnabled": False},
                "telemetry": {"enabled": False},
            }
        )
    )
    env = {
        "HOME": str(user),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "GEMINI_API_KEY": KEY,
        "GOOGLE_GEMINI_BASE_URL": model.url,
    }
    name = "gemini-2.5-flash"
    flags = ["-o", "stream-json", "--approval-mode", "yolo", "--skip-trust", "-m", name]
    own = {"GEMINI_CLI_NO_RELAUNCH": "true"}  # the agent is started with it too: without, it starts itself twice
    return Vendor("gemini", name, env, lambda prompt: [cli, "-p", prompt, *flags], own=own)


def _opencode(model: ScriptedModel, user: Path) -> Vendor | str:
    cli = shutil.which("opencode", path=str(BIN))
    if cli is None:
        return "opencode is not installed in .agents: `bash scripts/agents.sh`"
    user.mkdir(parents=True)
    name = "scripted/scripted"
    endpoint = {"baseURL": f"{model.url}/v1", "apiKey": "{env:SCRIPTED_KEY}"}
    models = {"scripted": {"cost": {"input": 3, "output": 15}, "limit": {"context": 100_000, "output": 8000}}}
    provider = {"scripted": {"npm": "@ai-sdk/openai-compatible", "options": endpoint, "models": models}}
    config = {
        "autoupdate": False,
        "share": "disabled",
        "model": name,
        "small_model": name,
        "enabled_providers": ["scripted"],
        "provider": provider,
    }
    env = {"HOME": str(user), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "SCRIPTED_KEY": KEY}
    own = {
        "OPENCODE_CONFIG_CONTENT": json.dumps(config),
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
    }
    argv = [cli, "run", "--format", "json"]
    return Vendor("opencode", name, env, lambda prompt: [*argv, prompt], own=own, options={"provider": provider})


_VENDORS = {"claude": _claude, "codex": _codex, "gemini": _gemini, "opencode": _opencode}
