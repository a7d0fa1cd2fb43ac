"""Where a home's own files are: logs, and the socket, whose name has to be short."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from agentlab.errors import BadRequest

SOCKET_BYTES = 100  # of a unix socket's path: the kernel takes 108 with the final NUL


def prepare(home: Path) -> None:
    """Make the home and its logs folder, 0700. Raises BadRequest: it cannot be made or written."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        (home / "logs").mkdir(exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise BadRequest(
            f"agentlab cannot keep its files in {home}: {error.strerror or error}. "
            "Set AGENTLAB_HOME to a folder that you may write (or pass home=...)."
        ) from None


def log_path(home: Path) -> Path:
    return home / "logs" / "plane.log"


def socket_path(home: Path) -> Path:
    """Where the plane listens: in the home, or where that name is too long for a socket, in a private runtime folder.

    Raises BadRequest: a folder of somebody else is in the way.
    """
    path = home / "plane.sock"
    if len(os.fsencode(path)) <= SOCKET_BYTES:
        return path
    name = f"agentlab-{os.getuid()}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"
    for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - checked below
        if not base or not Path(base).is_dir():
            continue
        path = Path(base) / name / "plane.sock"
        if len(os.fsencode(path)) <= SOCKET_BYTES:
            _private_folder(path.parent)
            return path
    raise BadRequest(
        f"No place for a socket: {home} is too long and so is the temp folder. Choose a shorter AGENTLAB_HOME."
    )


def _private_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise BadRequest(f"{folder}, for the plane's socket, cannot be made: {error.strerror or error}.") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise BadRequest(
            f"{folder}, for the plane's socket, is not a private folder of yours (owner {found.st_uid}, "
            f"mode {stat.filemode(found.st_mode)}). Remove it, or choose a shorter AGENTLAB_HOME."
        )
