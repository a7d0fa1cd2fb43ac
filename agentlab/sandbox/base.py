"""What every sandbox promises, and the folders that one is told to open."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

DEVICES = ("dri", "kfd", "nvidia*")  # below /dev: GPUs
KEPT = ("Cypress", "huggingface", "ms-playwright", "puppeteer", "pypoetry", "torch")
"""Below the user's cache folder: rather installations than caches. They stay visible, and read-only."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A folder, or a file, that may be written. sealed: what in it may not, because only a file of it was asked for.

    missing: what it is to be; it is not there yet. modes: only the permissions of what is in it may be changed.
    """

    folder: Path
    sealed: tuple[Path, ...] = ()
    missing: Literal["", "file", "folder"] = ""
    modes: bool = False

    def __contains__(self, path: Path) -> bool:
        if self.modes or not path.is_relative_to(self.folder):
            return False
        return not any(path.is_relative_to(sealed) for sealed in self.sealed)


@dataclass(frozen=True, kw_only=True)
class Door:
    """The one way out of a sandbox without network: what is sent to this port of its own loopback arrives at a unix socket."""

    place: Path
    port: int


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a program needs that is no command of an agent: the agent's own, or one of ours. opened: may be written, shown: may be
    read, both also in what is hidden. seen: what it finds below /tmp."""

    opened: tuple[Path, ...] = ()
    shown: tuple[Path, ...] = ()
    seen: tuple[Path, ...] = ()
    door: Door | None = None


NO_NEEDS = Needs()


class Sandbox(Protocol):
    """Something that commands of one agent are executed in. It shows what can be read but for what is hidden, and opens
    what it is told to."""

    @property
    def name(self) -> str:
        """As users see it: bubblewrap | landlock."""

    @property
    def seals(self) -> bool:
        """Whether it can keep a part of an opened folder closed. Where not, files are opened one by one."""

    @property
    def doors(self) -> bool:
        """Whether a program without network can have a `Door`."""

    @property
    def mark(self) -> str:
        """What its only line on standard error begins with where there was no command, because it failed. The code is 1."""

    def placed(self, scratch: Path, env: Mapping[str, str]) -> Self:
        """The same for an agent with this folder for temporary files, which need not be there yet, and environment."""

    def around(self, needs: Needs) -> Self:
        """The same for a program with such needs. Raises Unavailable: it cannot have such a door."""

    def argv(self, root: Path, opened: Iterable[Opened], command: tuple[str, ...]) -> tuple[str, ...]:
        """What to execute instead of `command`. opened: outer ones first."""

    def handed(self, argv: tuple[str, ...], fd: int) -> tuple[str, ...]:
        """An `argv` of ours, whose command also finds the `variables` that this descriptor holds. What starts it does not: a
        variable such as LD_PRELOAD would make that, which is not confined yet, load what the agent says."""

    def environment(self, root: Path, opened: Iterable[Opened], given: Mapping[str, str]) -> dict[str, str]:
        """What a command needs beyond `given`, so that tools put their caches where they may be written."""


def variables(given: Mapping[str, str]) -> bytes:
    """As `Sandbox.handed` wants them: in the words of bubblewrap."""
    words = [word for name, value in given.items() for word in ("--setenv", name, value)]
    return b"".join(os.fsencode(word) + b"\0" for word in words)


def caches(tmp: Path, root: Path, opened: Iterable[Opened], given: Mapping[str, str]) -> dict[str, str]:
    """Environment that sends temporary files and caches below `tmp`."""
    always = {"TMPDIR": str(tmp), "XDG_CACHE_HOME": f"{tmp}/.cache"}
    own = {"npm_config_cache": f"{tmp}/.npm", "JUPYTER_RUNTIME_DIR": f"{tmp}/.jupyter"}
    if not any(one.folder == root and not one.sealed and not one.modes for one in opened):
        own |= {
            "PYTEST_ADDOPTS": f"-o cache_dir={tmp}/.pytest_cache",
            "MYPY_CACHE_DIR": f"{tmp}/.mypy_cache",
            "RUFF_CACHE_DIR": f"{tmp}/.ruff_cache",
            "COVERAGE_FILE": f"{tmp}/.coverage",
        }
    return always | {name: value for name, value in own.items() if name not in given}


def notebooks() -> tuple[Path, ...]:
    """Where Jupyter keeps what opens a user's servers and kernels: tokens, and keys of sockets on loopback. Whoever reads them
    runs what he likes in a notebook, and answers questions of agents in the user's name."""
    named = [Path(os.environ[name]) for name in ("JUPYTER_RUNTIME_DIR",) if os.environ.get(name)]
    named += [Path(os.environ[name]) / "runtime" for name in ("JUPYTER_DATA_DIR",) if os.environ.get(name)]
    named += [Path(os.environ[name]) / "jupyter" for name in ("XDG_RUNTIME_DIR",) if os.environ.get(name)]
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")  # noqa: PTH111
    named.append(Path(data) / "jupyter" / "runtime")
    return tuple(dict.fromkeys(path.resolve() for path in named if path.is_absolute()))


def kept_caches() -> list[Path]:
    """Those of KEPT that there are."""
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        cache = Path(named) if named else Path.home() / ".cache"
    except RuntimeError:  # no home
        return []
    return [path for path in (cache / name for name in KEPT) if path.is_dir()]


def devices() -> list[str]:
    return sorted(str(path) for pattern in DEVICES for path in Path("/dev").glob(pattern))
