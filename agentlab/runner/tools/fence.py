"""Fences: the highest token that ever wrote a file, kept on the machine whose disk has it.

A grant is only as good as the clock of its holder. Whoever was stopped past its lease and wakes up with an old token
meets here the token of its successor. Writers of one file take turns on the fence's file lock.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

from agentlab.errors import StaleToken, Unavailable

_PATIENCE = 30.0  # s to wait for another writer of the same file: it holds the fence for one rename


class Fence:
    """The open and locked fence of one file. What is written must be written before it is closed."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name

    @property
    def token(self) -> int:
        text = os.pread(self._fd, 32, 0)
        return int(text) if text.strip().isdigit() else 0

    def raise_to(self, token: int) -> None:
        """Done before the write: a crash between the two must not leave a low fence behind a new content.

        Raises StaleToken where a later grant has written already.
        """
        highest = self.token
        if token < highest:
            raise StaleToken(
                f"{self._name} was written under a later grant (token {highest}; yours is {token}, it has ended). "
                f"Claim it again, read it again, then write.",
                path=self._name,
                token=token,
                fence=highest,
            )
        if token > highest:
            os.pwrite(self._fd, b"%020d\n" % token, 0)


class Fences:
    """All fences of one machine, in a directory that its agents share."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    @asynccontextmanager
    async def locked(self, path: Path, name: str) -> AsyncIterator[Fence]:
        """The fence of the file at the absolute `path`, ours alone meanwhile."""
        at = self.directory / sha256(os.fsencode(path)).hexdigest()
        fd = os.open(at, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            await _lock(fd, name)
            yield Fence(fd, name)
        finally:
            os.close(fd)  # and unlocks


async def _lock(fd: int, name: str) -> None:
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    pause = 0.001
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(
                    f"Another writer of {name} does not finish. Nothing was written; try again."
                ) from None
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.05)
        else:
            return
