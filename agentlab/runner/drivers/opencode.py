"""opencode by its ACP server: its configuration is given inline, where nothing overrides it, and denies all but our tools. It
starts in an empty folder, for it runs the plugins of the one it stands in whatever it is told."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Final

from msgspec import Struct

from agentlab.core.events import JSON
from agentlab.errors import BadRequest, Unavailable
from agentlab.runner.mcp.offer import Address
from agentlab.runner.model_proxy import ModelProxy

from . import acp_setup, protected, sharing
from .acp import AcpDriver
from .acp_setup import SERVER, Setup, Transport
from .acp_wire import Server
from .base import Context
from .options import read_options
from .program import find
from .start import write_anew

LOGIN: Final = "log in once with `opencode auth login`, or hand it the key of its provider with --env"
PREFIX: Final = f"{SERVER}_"
HOLD_MS: Final = 7_200_000  # a call may wait for a lock: the tool host ends a wait, not the CLI (its default: 60 s)

_LOOK = 0.1  # s between two looks whether the first start is over

PROTECTED_ARGS: Final = ("acp", "--cwd", "--port", "--hostname", "--mdns", "--cors", "--pure")
PROTECTED_ENV: Final = (
    "OPENCODE_CONFIG", "OPENCODE_CONFIG_*", "OPENCODE_PERMISSION", "OPENCODE_DISABLE_*", "OPENCODE_PURE",
    "OPENCODE_SERVER_*", "OPENCODE_TEST_*", "XDG_CONFIG_HOME",
)  # fmt: skip


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of an agent of kind `opencode`. provider: of its configuration, by name, as opencode.json has it; keys in
    it are references such as {env:NAME}. mcp: how it reaches our tools."""

    cli: str | None = None
    args: list[str] = []
    provider: dict[str, Any] = {}
    mcp: Transport = "stdio"
    profile: str = ""


class Recipe:
    def check(self, options: Mapping[str, JSON], boundary: str) -> Options:
        read = read_options(Options, options, "opencode")
        protected.check_args("opencode", read.args, PROTECTED_ARGS)
        return read

    def prepare(self, context: Context, options: Options, server: Server) -> Setup:
        spec = context.spec
        if spec.model is not None and "/" not in spec.model:
            raise BadRequest(f"opencode names models as provider/model, not {spec.model!r}.")
        protected.check_env("opencode", spec.env, PROTECTED_ENV)
        cli = find("opencode", context.env, options.cli)
        home = context.private / "opencode"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        nothing_to_install(home / "opencode")
        notes = home / "lab.md"
        native = spec.boundary == "native"
        told = acp_setup.away(context.root, native=native) + sharing.instructions(
            PREFIX, spec.instructions, spec.boundary
        )
        write_anew(notes, told)
        project = [str(path) for path in (context.root / "AGENTS.md",) if path.is_file()]
        chosen = config(
            server, [str(notes), *project], spec.model, options.provider, native=context.root if native else None
        )
        if context.models:
            record(chosen, spec.model, context.env, context.models)
        env = {
            **(context.models.environment(context.env) if context.models else context.env),
            "XDG_CONFIG_HOME": str(
                home
            ),  # the user's plugins, agents and servers stay out; the login is data, and stays
            "OPENCODE_TEST_HOME": str(home),  # what it looks into for .opencode; the real one stays that of its login
            "OPENCODE_CONFIG_CONTENT": json.dumps(chosen),
            "OPENCODE_DISABLE_PROJECT_CONFIG": "1",
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_CLAUDE_CODE": "1",
            "OPENCODE_DISABLE_EXTERNAL_SKILLS": "1",
            "OPENCODE_PURE": "1",
        }
        writes = native and context.sandbox is None  # its commands may leave something where it stands
        start = acp_setup.start_folder(home) if writes else start_folder(context.shared)
        opens = (home, *shared_places(context, env)) if native and context.sandbox is not None else ()
        return Setup(
            title="opencode", name="opencode", argv=(str(cli), "acp", *options.args), env=env,
            cwd=start, login=LOGIN, told=True, opens=opens, reads=(start,), asks=True, listed=spec.model,
            own={"XDG_CACHE_HOME": str(context.shared / "cache"), "XDG_STATE_HOME": str(home / "state")},
        )  # fmt: skip


def nothing_to_install(folder: Path) -> None:
    """In a folder of settings opencode has npm install, from a registry, what plugins are written with, unless it finds that done:
    a second of each start, for plugins that it is told not to load. What is there already may be the agent's own, and a link."""
    if os.path.lexists(folder):
        return
    (folder / "node_modules").mkdir(mode=0o700, parents=True)
    (folder / "package-lock.json").write_text('{"packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}')


def config(
    server: Server,
    notes: list[str],
    model: str | None,
    provider: dict[str, Any],
    *,
    native: Path | None = None,
) -> dict[str, Any]:
    """What opencode.json would say. A permission that is denied for good is a tool that is not offered. native: the workspace
    of one that keeps its own tools: to be in there is no question of its own."""
    own = "ask" if native else "deny"
    outside = {"external_directory": {"*": "ask", f"{native}/*": "allow"}} if native else {}
    models = {"model": model, "small_model": model} if model else {}
    return {
        "autoupdate": False,
        "share": "disabled",
        **models,
        **({"provider": provider, "enabled_providers": sorted(provider)} if provider else {}),
        "permission": {"*": own, **outside, f"{SERVER}*": "allow"},
        "instructions": notes,
        "experimental": {"mcp_timeout": HOLD_MS},
        "mcp": {SERVER: {**_reached(server), "enabled": True, "timeout": HOLD_MS}},
    }


def _reached(server: Server) -> dict[str, Any]:
    if isinstance(server, Address):
        return {"type": "remote", "url": server.url, "headers": server.headers, "oauth": False}
    return {"type": "local", "command": list(server)}


_APIS: Final = {
    "anthropic": ("ANTHROPIC_API_KEY", "https://api.anthropic.com/v1"),
    "openai": ("OPENAI_API_KEY", "https://api.openai.com/v1"),
    "google": ("GOOGLE_GENERATIVE_AI_API_KEY", "https://generativelanguage.googleapis.com/v1beta"),
}
"""Providers that opencode knows by itself: the variable of the key, and where it asks."""

_REFERENCE: Final = re.compile(r"\{env:([^}]+)\}")


def record(chosen: dict[str, Any], model: str | None, env: Mapping[str, str], models: ModelProxy) -> None:
    """Lead the providers whose address is known through the recorder: those that name one, and that of the model."""
    providers: dict[str, Any] = chosen.setdefault("provider", {})
    name = (model or "").partition("/")[0]
    if name in _APIS and env.get(_APIS[name][0]) and not providers.get(name, {}).get("options", {}).get("baseURL"):
        own = providers.get(name, {})
        providers[name] = {**own, "options": {**own.get("options", {}), "baseURL": _APIS[name][1]}}
    for name, own in providers.items():
        address = own.get("options", {}).get("baseURL") if isinstance(own, dict) else None
        if isinstance(address, str):
            upstream = _REFERENCE.sub(lambda found: env.get(found[1], ""), address)
            providers[name] = {**own, "options": {**own["options"], "baseURL": models.url(name, upstream)}}


class OpencodeDriver(AcpDriver):
    boundaries: ClassVar[frozenset[str]] = frozenset({"tools", "native"})
    recipe = Recipe()

    async def start(self) -> None:
        """All agents of a user share opencode's database. Its first start makes it, or makes it over after an update, and
        fails where two do so at once: that one is had alone."""
        cli = find("opencode", self._context.env, self._options.cli)
        if not self._made(cli).exists():
            async with alone(self._context.shared / "database.lock"):
                if not self._made(cli).exists():
                    await super().start()
                    self._made(cli).touch(mode=0o600)
                    return
        await super().start()

    def _made(self, cli: Path) -> Path:
        """There once this program has opened this very database."""
        seen = repr((_identity(cli.resolve()), _identity(database(self._context.env))))
        return self._context.shared / f"database-{sha256(seen.encode()).hexdigest()[:24]}"


@asynccontextmanager
async def alone(path: Path) -> AsyncIterator[None]:
    """While no other process is in here with the same file."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOOK)
        yield
    finally:
        os.close(fd)


def start_folder(shared: Path) -> Path:
    """Where its agents start that cannot write it: a session is gone on with where it began, also by an agent in a sandbox, which
    sees nothing of another agent's own folder. Raises Unavailable: something is in it."""
    folder = acp_setup.start_folder(shared)
    if found := sorted(path.name for path in folder.iterdir()):
        raise Unavailable(
            f"opencode starts in {folder}, which has to be empty, for it runs what it finds there; now there is {', '.join(found[:5])}. "
            "See where that came from, and remove it.",
            reason="process",
        )
    return folder


def shared_places(context: Context, env: Mapping[str, str]) -> tuple[Path, ...]:
    """What opencode writes for all its agents: sessions and logins where it always has them, made if it was not there; and a cache
    of agentlab's own, for what it loads from there must not be what an agent wrote for the user."""
    data, cache = database(env).parent, context.shared / "cache"
    for folder in (data, cache):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return data, cache


def database(env: Mapping[str, str]) -> Path:
    """Where opencode keeps what is said in its sessions, and its logins."""
    return (
        Path(env.get("XDG_DATA_HOME") or Path(env.get("HOME", "/")) / ".local" / "share") / "opencode" / "opencode.db"
    )


def _identity(file: Path) -> tuple[object, ...]:
    """Of a file that may change its content, but not be replaced."""
    try:
        seen = file.stat()
    except OSError:
        return (str(file),)
    return (str(file), seen.st_dev, seen.st_ino)
