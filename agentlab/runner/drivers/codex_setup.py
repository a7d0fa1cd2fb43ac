"""What a Codex process is started with: its own home, configuration and model catalogue, so that nothing of its own can
change a file or run a program. Pure, but for the small functions at the end."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from agentlab import processes
from agentlab.__about__ import __version__
from agentlab.core.events import JSON
from agentlab.errors import Unavailable
from agentlab.runner.model_proxy import ModelProxy, recorded
from agentlab.runner.tools import ToolSpec

from . import protected
from .jsonrpc import METHOD_NOT_FOUND, Gone, JsonRpc, Params, RpcError
from .program import remember, remembered

LOGIN = "log in once with `codex login`, or hand a key to this agent with --env OPENAI_API_KEY=env:OPENAI_API_KEY"

PREFIX = "lab_"

_RENEW = "Is it Codex 0.150 or newer? Renew it: `npm install -g @openai/codex`"
"""What the names of our tools begin with, as Codex's model sees them."""

KEYS = ("OPENAI_API_KEY", "CODEX_API_KEY")

PROTECTED_ENV = ("CODEX_*",)
FREE_ENV = ("CODEX_HOME", "CODEX_API_KEY", "CODEX_ACCESS_TOKEN", "CODEX_CA_CERTIFICATE")
"""The user's login, and how the model is reached."""

LOGINS = (*KEYS, "CODEX_ACCESS_TOKEN")
"""Variables with which it needs no login."""

SHELL = ("shell_tool", "unified_exec")
"""Features by which Codex runs commands itself."""

OFF = (
    "apps", "plugins", "hooks", "browser_use", "browser_use_external", "computer_use",
    "image_generation", "code_mode_host", "goals", "daemon_auto_start",
)  # fmt: skip
"""Features that act on the machine, or that nobody here could answer. What a version does not know it passes over."""


_PATTERN = 30.0  # s for its first start


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of an agent of kind `codex`."""

    cli: str | None = None  # the program; default: `codex` on PATH
    effort: str | None = None  # of reasoning: low, medium, high, ... as the model has them
    base_url: str | None = (
        None  # of an endpoint that speaks the Responses API; default: $OPENAI_BASE_URL, else OpenAI's
    )
    profile: str = ""  # its name, for people


def check_env(names: Iterable[str]) -> None:
    """Raises BadRequest: a spec sets variables that the boundary rests on."""
    protected.check_env("codex", names, PROTECTED_ENV, FREE_ENV)


def key_variable(env: Mapping[str, str]) -> str | None:
    """The variable with an API key, where there is one; else the login of `codex login` counts."""
    return next((name for name in KEYS if env.get(name)), None)


def config(
    chosen: Options,
    env: Mapping[str, str],
    catalogue: Path,
    root: Path,
    *,
    native: bool = False,
    models: ModelProxy | None = None,
) -> str:
    """config.toml of the agent's own CODEX_HOME. It names the variable with the key, never the key."""
    provider: dict[str, Any] = {}
    base_url = chosen.base_url or env.get("OPENAI_BASE_URL")
    key = key_variable(env)
    if base_url or key:
        provider = {
            "name": "agentlab",
            "base_url": recorded(models, "openai", base_url or "https://api.openai.com/v1"),
            "wire_api": "responses",
            **({"env_key": key} if key else {"requires_openai_auth": True}),
        }
    tables: dict[str, dict[str, Any]] = {
        "": {
            **({"model_provider": "agentlab"} if provider else {}),
            **({"model_reasoning_effort": chosen.effort} if chosen.effort else {}),
            "model_catalog_json": str(catalogue),
            "check_for_update_on_startup": False,
            "web_search": "disabled",
        },
        "features": dict.fromkeys(OFF if native else (*SHELL, *OFF), False),
        "agents": {"enabled": False},
        "tools": {"view_image": False},
        "analytics": {"enabled": False},
        f"projects.{_toml(str(root))}": {"trust_level": "untrusted"},  # its own .codex must not add servers or hooks
        **({"model_providers.agentlab": provider} if provider else {}),
    }
    return "\n".join(
        (f"[{name}]\n" if name else "") + "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())
        for name, table in tables.items()
    )


def _toml(value: str | bool | int) -> str:
    return json.dumps(value)  # a JSON string, number or boolean is one of TOML too


def bare(catalogue: bytes, model: str | None, *, native: bool = False) -> bytes:
    """The catalogue of models, each without tools of Codex's own (unless `native`) and without its code mode: tools are
    then called one by one, and a wait for a lock is a wait: code mode drops what is held for more than 30 s. A model that
    is not in it is added, for Codex would give it tools by default."""
    changes = _CALLED if native else _BARE
    begin = catalogue.find(b'{"models"')  # a banner may stand before it
    try:
        read = msgspec.json.decode(catalogue[max(0, begin) :])
        models = [{**entry, **changes} for entry in read["models"]]
        slugs = {entry["slug"] for entry in models}
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        said = catalogue[:200].decode("utf-8", "replace").strip()
        raise Unavailable(
            f"`codex debug models` answers in a form that is not known here: {said!r}. {_RENEW}", reason="version"
        ) from None
    if not models:
        raise Unavailable(f"`codex debug models` knows no model at all. {_RENEW}", reason="version")
    if model and model not in slugs:
        pattern = next((entry for entry in models if entry["slug"] == "gpt-5.5"), models[-1])
        models.append({**pattern, "slug": model, "display_name": model})
    if model:
        models = [entry for entry in models if entry["slug"] == model]
    return msgspec.json.encode({**read, "models": models})


_CALLED: dict[str, Any] = {"tool_mode": None, "supports_search_tool": False, "experimental_supported_tools": []}
_BARE: dict[str, Any] = {**_CALLED, "apply_patch_tool_type": None, "shell_type": "disabled"}


def dynamic_tools(tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
    """Our tools as `thread/start` takes them: their calls come to us over the same pipe."""
    return [
        {"type": "function", "name": PREFIX + t.name, "description": t.description, "inputSchema": t.schema}
        for t in tools
    ]


# --- on the disk ---------------------------------------------------------------------------------------------


def make_home(private: Path, shared: Path, user: Path, pattern: Path | None = None) -> Path:
    """The agent's CODEX_HOME, a copy of `pattern`. Its sessions are all agents', so that another one can resume them; its
    login is the user's, by a link."""
    home = private / "codex"
    if pattern is not None and not home.exists():
        shutil.copytree(pattern, home, symlinks=True, ignore=shutil.ignore_patterns("skills"))
        _link(home / "skills", pattern / "skills")  # its own, and many
    home.mkdir(mode=0o700, exist_ok=True)
    (shared / "sessions").mkdir(mode=0o700, exist_ok=True)
    _link(home / "sessions", shared / "sessions")
    if (login := user / "auth.json").exists():
        _link(home / "auth.json", login)
    return home


def _link(link: Path, target: Path) -> None:
    if not link.is_symlink() and not link.exists():
        link.symlink_to(target)


def native(cli: Path) -> tuple[Path, dict[str, str]]:
    """The program itself, where `cli` is npm's script that only starts it, and what the script tells it: a Node process
    less to start, to keep and to end. Laid out otherwise than known here: `cli`."""
    script = cli.resolve()
    arch = {"x86_64": "x64", "aarch64": "arm64"}.get(os.uname().machine, "")
    if script.name != "codex.js" or sys.platform != "linux":
        return cli, {}
    package = script.parent.parent
    for beside in (package.parent, package / "node_modules" / "@openai"):
        found = beside / f"codex-linux-{arch}" / "vendor" / f"{os.uname().machine}-unknown-linux-musl" / "bin" / "codex"
        if os.access(found, os.X_OK):
            return found, {"CODEX_MANAGED_PACKAGE_ROOT": str(package), "CODEX_MANAGED_BY_NPM": "1"}
    return cli, {}


async def pattern(cli: Path, shared: Path, env: Mapping[str, str]) -> Path | None:
    """A home in which Codex was once and did nothing: it makes its databases in each new one, which takes as long as all
    the rest of its start. None: it could not be made, and is not needed."""
    kept = remembered(cli, shared, "home")
    if kept.exists():
        return kept
    draft = Path(tempfile.mkdtemp(prefix="home.", dir=shared))
    try:
        bare = {name: value for name, value in env.items() if name not in KEYS} | {"CODEX_HOME": str(draft)}
        rpc = await JsonRpc.start(
            [str(cli), "app-server"], cwd=draft, env=bare, on_request=_refuse, on_notice=lambda *_: None
        )
        try:
            async with asyncio.timeout(_PATTERN):
                client = {"name": "agentlab", "title": "agentlab", "version": __version__}
                await rpc.request("initialize", {"clientInfo": client})
            await rpc.close()
        finally:
            await processes.end([rpc.child.pid], grace=0)
            await rpc.child.wait()
            await rpc.dispose()
        await asyncio.to_thread(draft.rename, kept)
    except (OSError, TimeoutError, Gone, RpcError):
        await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)  # also where another agent was quicker
    return kept if kept.exists() else None


async def _refuse(method: str, params: Params) -> JSON:
    raise RpcError(f"agentlab does not answer {method}.", METHOD_NOT_FOUND)


async def catalogue(cli: Path, shared: Path, env: Mapping[str, str]) -> bytes:
    """What `codex debug models` says, remembered for as long as the program is the same file. Raises Unavailable."""
    kept = remembered(cli, shared, "models").with_suffix(".json")
    if kept.exists():
        return kept.read_bytes()
    parts: list[bytes] = []

    async def take(data: bytes) -> None:
        parts.append(data)

    try:
        child = processes.spawn([str(cli), "debug", "models"], cwd=shared, env=env)
    except OSError as error:
        raise Unavailable(f"{cli} cannot be started: {error.strerror or error}.") from None
    try:
        await processes.read_pipe(child.stdout, take)
        exit = await child.wait()
    finally:
        await processes.end([child.pid], grace=0)
        child.close_pipes()
    said = b"".join(parts)
    if exit.code != 0 or not said:
        raise Unavailable(f"`{cli} debug models` failed (exit code {exit.code}). {_RENEW}", reason="version")
    remember(kept, said)
    return said
