"""How each agent program would log in, by looking at files and variables alone: nothing is asked, no token is spent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Login(NamedTuple):
    """keys: variables that hold one. file: what its own log-in leaves, below the folder that the first of `homes` names, a
    variable or a path below the user's home. advice: how one logs in."""

    keys: tuple[str, ...]
    homes: tuple[str, ...]
    file: str
    advice: str


LOGINS: Mapping[str, Login] = {
    "claude": Login(
        ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"), ("CLAUDE_CONFIG_DIR", ".claude"),
        ".credentials.json", "`claude auth login`, or --env ANTHROPIC_API_KEY=env:ANTHROPIC_API_KEY",
    ),
    "codex": Login(
        ("OPENAI_API_KEY", "CODEX_API_KEY"), ("CODEX_HOME", ".codex"), "auth.json",
        "`codex login`, or --env OPENAI_API_KEY=env:OPENAI_API_KEY",
    ),
    "gemini": Login(
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"), (".gemini",), "oauth_creds.json",
        "`gemini` once, or --env GEMINI_API_KEY=env:GEMINI_API_KEY",
    ),
    "opencode": Login(
        ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"), ("XDG_DATA_HOME", ".local/share"),
        "opencode/auth.json", "`opencode auth login`, or its provider's key with --env",
    ),
}  # fmt: skip


def found(name: str, env: Mapping[str, str], user: Path) -> str:
    """Where a login of this program is; empty: there is none that can be seen. A key may still be refused by its vendor."""
    login = LOGINS[name]
    if key := next((key for key in login.keys if env.get(key)), None):
        return f"a key in {key}"
    path = _folder(login.homes, env, user) / login.file
    try:
        return f"a log-in in {path}" if path.stat().st_size > 2 else ""  # `{}` is none
    except OSError:
        return ""


def _folder(homes: tuple[str, ...], env: Mapping[str, str], user: Path) -> Path:
    named = next((env[name] for name in homes[:-1] if env.get(name)), None)
    return Path(named) if named else user / homes[-1]
