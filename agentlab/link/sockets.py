"""Unix sockets in private folders, of any length of path, replaced only when nobody answers on them."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from agentlab.errors import NameTaken, Refused

SUN_PATH = 107  # bytes: what the kernel takes in an address


@contextlib.contextmanager
def address(path: Path) -> Iterator[str]:
    """A name for `path` that fits into a socket address: through an open folder where the path itself is too long."""
    if len(os.fsencode(path)) <= SUN_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def answers(path: Path) -> bool:
    """Whether somebody listens there. A full queue of connections counts: it is busy, not dead."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, address(path) as name:
        probe.setblocking(False)
        try:
            probe.connect(name)
        except OSError as error:
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
                return False
            if error.errno != errno.EAGAIN:
                raise
        return True


def listen(path: Path, backlog: int = 1024) -> socket.socket:
    """A listening socket at `path`, 0600, in a folder that is made 0700 if there is none.

    Raises NameTaken (somebody answers there) and Refused (something that is no socket is there, or others may write
    to the folder and so could take its place).
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = path.parent.stat()
    if folder.st_uid != os.geteuid() or folder.st_mode & 0o022:
        raise Refused(
            f"Others may write to {path.parent} ({stat.filemode(folder.st_mode)}); a socket there could be replaced. "
            f"Use a folder of your own: chmod 700 {path.parent}."
        )
    if path.is_socket():
        if answers(path):
            raise NameTaken(f"Somebody answers on {path} already. Stop that one first, or choose another path.")
    elif os.path.lexists(path):
        raise Refused(f"{path} is there and is no socket. Remove it, or choose another path.")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    draft = path.with_name(f".{secrets.token_hex(4)}.sock")
    try:
        listener.setblocking(False)
        with address(draft) as name:
            listener.bind(name)
        draft.chmod(0o600)
        listener.listen(backlog)
        draft.replace(path)  # at once: who connects meets the old one or the new one
    except BaseException:
        listener.close()
        draft.unlink(missing_ok=True)
        raise
    return listener


async def connect(path: Path) -> socket.socket:
    """A connected socket. Raises OSError."""
    import asyncio

    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with address(path) as name:
            await asyncio.get_running_loop().sock_connect(sock, name)
    except BaseException:
        sock.close()
        raise
    return sock
