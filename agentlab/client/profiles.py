"""Agents with names of their own: `[agents.NAME]` of config.toml, as what an agent of their kind is spawned with."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from agentlab import config
from agentlab.core import vendors
from agentlab.errors import BadRequest
from agentlab.kinds import DRIVERS, kinds

from . import registry

TAKES: Final[Mapping[str, tuple[str, ...]]] = {
    "acp": ("protocol", "command", "args", "builtins_off", "mode", "registry", "id"),
    "gemini": ("protocol", "command", "args"),
    "opencode": ("protocol", "command", "args"),
    "claude": ("command",),
    "codex": ("command",),
    "cli": ("command", "args"),
}
"""What a profile of a kind may say beside what all may: kind, env, model, boundary, options."""

PROTOCOLS: Final = ("acp",)
FIXED: Final = frozenset({"command", "builtins_off", "cli", "env", "profile"})
"""Options that are the profile's alone once it has said them."""


def names(home: Path | None) -> dict[str, str]:
    """Name -> what it is, for people. A configuration that cannot be read has none: whoever uses it says why."""
    if home is None:
        return {}
    try:
        return {name: f"profile of {profile.kind}" for name, profile in config.load(home).agents.items()}
    except BadRequest:
        return {}


def problems(home: Path | None) -> dict[str, str]:
    """Name -> why nothing can be spawned by it."""
    found = {}
    for name in names(home):
        try:
            resolve(home, name, {})
        except BadRequest as error:
            found[name] = str(error)
    return found


def programs(home: Path | None) -> dict[str, str]:
    """Name -> the program that its entry in a registry is started by, where that can be read."""
    found = {}
    for name in names(home):
        assert home is not None
        profile = config.load(home).agents[name]
        if profile.registry is not None and profile.id and not profile.command:
            with suppress(BadRequest):
                found[name] = _start(profile, home, "").command[0]
    return found


def resolve(home: Path | None, kind: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind behind a name, and what was given laid over what its profile says. A kind is its own name.

    Raises BadRequest: the profile makes no sense, or what is given would replace what it fixes: its command, its boundary.
    """
    if home is None or (kind in kinds() and kind not in names(home)):
        return kind, dict(given)
    profile = config.load(home).agents.get(kind)
    if profile is None:
        return kind, dict(given)
    where = f"[agents.{kind}] of {home / 'config.toml'}"
    if kind in kinds():
        raise BadRequest(f"{where} has the name of a kind of agents. Give it another, with kind = {kind!r} in it.")
    _check(profile, where)
    options = _options(profile, home, where) | ({"profile": kind} if profile.kind in DRIVERS else {})
    if profile.boundary and profile.kind in vendors.BOUNDARIES:
        vendors.check_boundary(profile.kind, profile.boundary, vendors.BOUNDARIES[profile.kind], options)
    own = dict(given.get("options") or {})
    if fixed := sorted(own.keys() & FIXED & options.keys()):
        raise BadRequest(f"{where} says {', '.join(fixed)} already: its boundary rests on it. Change it there.")
    merged = dict(given)
    if "args" in options and "args" in own:
        own["args"] = [*options["args"], *own["args"]]
    merged["options"] = options | own
    merged["env"] = {**profile.env, **(given.get("env") or {})}
    merged["model"] = given.get("model") or profile.model
    merged["boundary"] = _boundary(profile.boundary, given.get("boundary"), where)
    return profile.kind, merged


def _check(profile: config.Profile, where: str) -> None:
    if profile.kind not in kinds():
        raise BadRequest(f"{where}: there are no agents of kind {profile.kind!r}. There are: {', '.join(kinds())}.")
    if profile.protocol not in (None, *PROTOCOLS):
        raise BadRequest(
            f"{where}: protocol={profile.protocol!r} is not spoken here. There is: {', '.join(PROTOCOLS)}; leave it out "
            "for what the kind speaks."
        )
    takes = TAKES.get(profile.kind, ())
    for field in TAKES["acp"]:
        if field not in takes and getattr(profile, field) not in (None, ()):
            known = ", ".join(["env", "model", "boundary", "options", *takes])
            raise BadRequest(f"{where}: an agent of kind {profile.kind!r} has no {field}. It may say: {known}.")


def _options(profile: config.Profile, home: Path, where: str) -> dict[str, Any]:
    """The options of its driver."""
    options = dict(profile.options)
    args = list(profile.args)
    match profile.kind:
        case "acp":
            found = _start(profile, home, where)
            options["command"] = list(found.command)
            if found.env:
                options["env"] = dict(found.env)
            if profile.builtins_off is not None:
                options["builtins_off"] = list(profile.builtins_off)
            if profile.mode:
                options["mode"] = profile.mode
        case "cli":
            if not profile.command:
                raise BadRequest(f'{where} needs a command, such as command = ["my-agent"].')
            options["command"], args = [*profile.command, *args], []
        case "claude" | "codex" if len(profile.command) > 1:
            raise BadRequest(
                f"{where}: the command of a {profile.kind} agent is its program alone, without arguments: what it is told "
                "stands in `model` and `options`."
            )
        case _ if profile.command:
            options["cli"], args = profile.command[0], [*profile.command[1:], *args]
    return options | ({"args": args} if args else {})


def _start(profile: config.Profile, home: Path, where: str) -> registry.Start:
    if profile.registry is None:
        if not profile.command:
            raise BadRequest(
                f'{where} needs a command, such as command = ["my-agent", "--acp"], or a registry and an id.'
            )
        return registry.Start(profile.command, {})
    if profile.command:
        raise BadRequest(f"{where} names a command and a registry. Say one.")
    if not profile.id:
        raise BadRequest(f"{where} names a registry, and no id of an entry in it.")
    return registry.start(home / Path(profile.registry).expanduser(), profile.id)


def _boundary(profile: str | None, given: str | None, where: str) -> str | None:
    if profile and given and profile != given:
        raise BadRequest(f"{where} says boundary = {profile!r}, not {given!r}. Leave it out here, or change it there.")
    return profile or given
