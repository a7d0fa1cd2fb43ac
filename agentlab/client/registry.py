"""An ACP registry's JSON file: which program an entry is. Read, never fetched; nothing is installed."""

from __future__ import annotations

import json
import platform
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec
from msgspec import Struct

from agentlab.errors import BadRequest


class Start(NamedTuple):
    """How an entry is started. env: variables that the registry sets for it; public, as the file is."""

    command: tuple[str, ...]
    env: dict[str, str]


class _Package(Struct, frozen=True):
    package: str
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}


class _Binary(Struct, frozen=True):
    cmd: str
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}


class _Ways(Struct, frozen=True):
    npx: _Package | None = None
    uvx: _Package | None = None
    binary: dict[str, _Binary] = {}  # by system and machine, such as linux-x86_64


class _Entry(Struct, frozen=True):
    distribution: _Ways = _Ways()


def start(path: Path, id: str, machine: str | None = None) -> Start:
    """An entry by npx, uvx, or a binary that is installed already: `./dist/agent` of its archive is `agent` on PATH.

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
    try:
        ways = msgspec.convert(entries[id], _Entry).distribution
    except msgspec.ValidationError as error:
        raise BadRequest(f"The entry {id!r} of {path} cannot be read: {error}.") from None
    for runner, way in ((("npx", "-y"), ways.npx), (("uvx",), ways.uvx)):
        if way is not None:
            return Start((*runner, way.package, *way.args), way.env)
    here = f"linux-{machine or platform.machine()}"
    binary = ways.binary.get(here)
    if binary is None:
        there = ", ".join(sorted(ways.binary)) or "no distribution"
        raise BadRequest(f"{id!r} of {path} has nothing for {here}: there is {there}.")
    program = PurePosixPath(binary.cmd)
    return Start((str(program) if program.is_absolute() else program.name, *binary.args), binary.env)
