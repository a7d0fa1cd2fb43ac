"""How an ACP agent is started so that its boundary holds: a recipe for each kind. This one is for any agent.

A recipe says what is protected: arguments and variables that a profile's own may not override.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from msgspec import Struct

from agentlab.core import vendors
from agentlab.core.events import JSON
from agentlab.errors import BadRequest, Unavailable
from agentlab.runner.model_proxy import BASE_URLS, with_recorded_urls

from . import protected
from .acp_wire import Server, Tool
from .base import Context
from .failures import Failure
from .options import read_options
from .start import Start

SERVER = "lab"

Transport = Literal["stdio", "http"]
"""How a program reaches our MCP server: a command that it starts, or HTTP on loopback with a token."""


class Inputs(Protocol):
    """What an agent's model has called, read out of its answers."""

    def heard(self, answer: bytes | None) -> None:
        """An answer has come, and its end is not passed on yet. None: it is larger than what is kept. Raises nothing."""

    def forget(self) -> None:
        """A turn begins: no call of an earlier one is made any more."""

    def input_of(self, tool: Tool) -> JSON:
        """The arguments of a call that it tells of, or asks for. None: they are not known for sure."""


@dataclass(frozen=True, kw_only=True)
class Setup(Start):
    """How its session is opened, too.

    name: of the program in `runtimes.detect`, whose minimum counts. login: how one logs in.
    told: whether our MCP server stands in the agent's own configuration; else it is handed over with the session.
    mode: of the session, to be set. model: to be set over the protocol, where the program was not told it already. listed: one that it
    was told, and without a word goes on with another where it does not know it.
    leaves: whether it ends when its input is closed. stops: what a reason to stop means of this one, where that is not what the
    protocol says. inputs: whence the arguments of its calls are known, where it does not tell them.
    """

    name: str
    cwd: Path
    login: str
    told: bool = False
    mode: str | None = None
    model: str | None = None
    listed: str | None = None
    leaves: bool = True
    stops: Mapping[str, Failure] = field(default_factory=dict)
    inputs: Inputs | None = None


class Recipe(Protocol):
    def check(self, options: Mapping[str, JSON], boundary: str) -> Any:
        """The options of this kind. Raises BadRequest: there is no such option, or the boundary cannot be had with them."""

    def prepare(self, context: Context, options: Any, server: Server) -> Setup:
        """Write the agent's own configuration; what to start. server: our MCP server. Raises Unavailable."""


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of an agent of kind `acp`. command: as a list, or one text that is split like a shell would.

    builtins_off: arguments that switch off all tools of its own; [] where it has none. Only who names them can have
    boundary="tools": the protocol has no way to switch them off. env: variables that are no secret, recorded as they are;
    what the agent's own `env` names goes before. mcp: how it reaches our tools; http for one that starts no servers itself.
    """

    command: str | list[str] | None = None
    args: list[str] = []
    builtins_off: list[str] | None = None
    mode: str | None = None
    mcp: Transport = "stdio"
    env: dict[str, str] = {}
    profile: str = ""


class AnyAgent:
    """Any program that speaks the protocol: `--command "my-agent --acp"`, a profile, an entry of the registry."""

    def check(self, options: Mapping[str, JSON], boundary: str) -> Options:
        read = read_options(Options, options, "acp")
        if not words(read.command):
            raise BadRequest(
                "An acp agent wants a command, such as --command 'my-agent --acp' (in Python options={'command': ...}), or a "
                "profile [agents.NAME] in config.toml that has one."
            )
        vendors.check_boundary("acp", boundary, vendors.BOUNDARIES["acp"], options)
        off = read.builtins_off or []
        if clash := protected.protected_args(read.args, [word for word in off if word.startswith("-")]):
            raise BadRequest(
                f"The arguments of {read.profile or 'an acp agent'} may not set {clash}: its boundary rests on it."
            )
        return read

    def prepare(self, context: Context, options: Options, server: Server) -> Setup:
        protected.check_env(context.spec.kind, [*options.env, *context.spec.env], ())
        program, *rest = words(options.command)
        off = options.builtins_off if context.spec.boundary == "tools" and options.builtins_off else []
        env = {**context.env, **{name: value for name, value in options.env.items() if name not in context.spec.env}}
        return Setup(
            title=Path(program).name, name=Path(program).name, cwd=context.root,
            env=with_recorded_urls(context.models, env, BASE_URLS),
            argv=(executable(program, env), *rest, *options.args, *off),
            login="log in with its own program first, or hand it a key with --env", mode=options.mode,
            model=context.spec.model,
        )  # fmt: skip


# --- for all recipes ---------------------------------------------------------------------------------------


def words(command: str | list[str] | None) -> list[str]:
    try:
        return shlex.split(command) if isinstance(command, str) else list(command or ())
    except ValueError as error:
        raise BadRequest(f"The command {command!r} cannot be read: {error}.") from None


def executable(program: str, env: Mapping[str, str]) -> str:
    """Raises Unavailable."""
    if found := shutil.which(program, path=env.get("PATH")):
        return found
    raise Unavailable(
        f"There is no program {program!r} here: neither on PATH nor as a path. Install it, or name it in full.",
        reason="missing",
    )


def start_folder(home: Path) -> Path:
    """An empty folder to start in: what a program reads of the folder that it stands in is then nothing of the workspace's."""
    folder = home / "start"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def away(root: Path, *, native: bool) -> str:
    """What an agent that starts in such a folder is told first."""
    own = " Your own tools start in another folder: give them absolute paths, and commands this one as theirs."
    return f"The workspace is {root}.{own if native else ''}\n\n"


def link_logins(user: Path, private: Path, names: Iterable[str]) -> None:
    """The user's login by a link, so that it is renewed where it is; its content is never copied."""
    for name in names:
        link, target = private / name, user / name
        if target.exists() and not os.path.lexists(link):
            link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            link.symlink_to(target)
