"""Agents with names of their own: `[agents.NAME]` of config.toml, and entries of an ACP registry. Read, never fetched."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentlab import config
from agentlab.errors import BadRequest
from agentlab.kinds import kinds


def names(home: Path | None) -> dict[str, str]:
    """Name -> what it is, for people. A configuration that cannot be read has none: whoever uses it says why."""
    if home is None:
        return {}
    try:
        return {name: f"profile of {profile.kind}" for name, profile in config.load(home).agents.items()}
    except BadRequest:
        return {}


def resolve(home: Path | None, kind: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind behind a name, and what was given laid over what its profile says. A kind is its own name.

    Raises BadRequest: the profile makes no sense, or the options given would replace what it fixes.
    """
    if home is None or kind in kinds():
        return kind, dict(given)
    profile = config.load(home).agents.get(kind)
    if profile is None:
        return kind, dict(given)
    where = f"[agents.{kind}] of {home / 'config.toml'}"
    if profile.protocol != "acp":
        raise BadRequest(f"{where}: protocol={profile.protocol!r} is not spoken here. There is: acp.")
    if profile.kind not in kinds():
        raise BadRequest(f"{where}: there are no agents of kind {profile.kind!r}. There are: {', '.join(kinds())}.")
    options = dict(profile.options) | {"profile": kind}
    if profile.args:
        options["args"] = list(profile.args)
    if profile.kind == "acp":
        options["command"] = list(_command(profile, where))
        if profile.builtins_off is not None:
            options["builtins_off"] = list(profile.builtins_off)
        if profile.mode:
            options["mode"] = profile.mode
    elif profile.command:
        options["cli"] = profile.command[0]
        options["args"] = [*profile.command[1:], *profile.args]
    own = dict(given.get("options") or {})
    if fixed := sorted(own.keys() & {"command", "builtins_off", "cli", "profile"} & options.keys()):
        raise BadRequest(f"{where} says {', '.join(fixed)} already: its boundary rests on it. Change it there.")
    merged = dict(given)
    merged["options"] = options | own | {"args": [*options.get("args", ()), *own.get("args", ())]}
    if not merged["options"]["args"]:
        del merged["options"]["args"]
    merged["env"] = {**profile.env, **(given.get("env") or {})}
    merged["model"] = given.get("model") or profile.model
    if profile.boundary and given.get("boundary") in (None, "tools"):
        merged["boundary"] = profile.boundary
    return profile.kind, merged


def _command(profile: config.Profile, where: str) -> tuple[str, ...]:
    if profile.registry is None:
        if not profile.command:
            raise BadRequest(
                f'{where} needs a command, such as command = ["my-agent", "--acp"], or a registry and an id.'
            )
        return profile.command
    if not profile.id:
        raise BadRequest(f"{where} names a registry, and no id of an entry in it.")
    return registry_command(Path(profile.registry).expanduser(), profile.id)


def registry_command(path: Path, id: str, machine: str | None = None) -> tuple[str, ...]:
    """The command of an entry of an ACP registry's JSON file: by npx, uvx, or a binary that is installed already.

    Raises BadRequest: no such file or entry, or nothing in it for this machine.
    """
    try:
        listed = json.loads(path.read_text())["agents"]
        entries = {entry["id"]: entry for entry in listed}
    except OSError as error:
        raise BadRequest(f"The registry {path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError):
        raise BadRequest(
            f"{path} is no registry of ACP agents: it has no list `agents` of entries with an `id`."
        ) from None
    if id not in entries:
        raise BadRequest(f"{path} has no agent {id!r}. It has: {', '.join(sorted(entries))}.")
    ways = entries[id].get("distribution") or {}
    for way, runner in (("npx", ("npx", "-y")), ("uvx", ("uvx",))):
        if found := ways.get(way):
            return (*runner, str(found["package"]), *map(str, found.get("args", ())))
    here = f"linux-{machine or platform.machine()}"
    binary = (ways.get("binary") or {}).get(here)
    if binary is None:
        raise BadRequest(
            f"{id!r} of {path} has nothing for {here}: there is {', '.join(sorted(ways)) or 'no distribution'}."
        )
    return (str(binary["cmd"]).removeprefix("./"), *map(str, binary.get("args", ())))
