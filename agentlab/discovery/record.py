"""The state file: which process is the plane of a home, and where it answers."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec
from msgspec import Struct

from agentlab import processes
from agentlab.__about__ import PROTOCOL, __version__


class Plane(Struct, frozen=True, kw_only=True):
    """A running plane. `started` is the kernel's start time of `pid`; together they name one process."""

    pid: int
    started: int
    address: str  # unix:/path
    token: str  # of the admin
    http: str = ""  # url, '' where HTTP is switched off
    version: str = __version__
    protocol: int = PROTOCOL
    log: str = ""

    @classmethod
    def here(cls, *, address: str, token: str, http: str = "", log: str = "") -> Plane:
        """This very process, as a plane."""
        pid = os.getpid()
        return cls(pid=pid, started=start_time(pid) or 0, address=address, token=token, http=http, log=log)

    @property
    def identity(self) -> str:
        return f"{self.pid}:{self.started}"

    def __repr__(self) -> str:  # the token stays out of logs and tracebacks
        return f"Plane(pid={self.pid}, address={self.address!r}, http={self.http!r}, version={self.version!r})"


def read(home: Path) -> Plane | None:
    """The plane of a home, or None: there is no state file, or what it names is gone."""
    plane = _recorded(home)
    return plane if plane is not None and processes.alive(plane.identity) else None


def write(home: Path, plane: Plane) -> None:
    """Say where the plane is. To be called when it answers, not before."""
    draft = home / f".plane.json.{plane.pid}"
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(plane)) + b"\n")
    draft.replace(home / "plane.json")


def remove(home: Path, pid: int) -> None:
    """Take the state file away if it is still that process's."""
    plane = _recorded(home)
    if plane is not None and plane.pid == pid:
        (home / "plane.json").unlink(missing_ok=True)


def start_time(pid: int) -> int | None:
    """When a process was started, as the kernel counts it; None: there is none, or only its zombie."""
    found = processes.info(pid)
    return None if found is None or found.dead else found.start


def new_token() -> str:
    return secrets.token_urlsafe(32)


def _recorded(home: Path) -> Plane | None:
    """What the file says, true or not. One that cannot be read says nothing."""
    try:
        return msgspec.json.decode((home / "plane.json").read_bytes(), type=Plane)
    except (OSError, msgspec.DecodeError):
        return None
