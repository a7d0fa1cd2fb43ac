"""What was made, empty, so that a command may write it: where a sandbox opens files one by one, it cannot open what is
not there. Nobody is to see it before it is written, and it goes again if it was not."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from agentlab.sandbox import MADE, Opened


def untouched(seen: tuple[int, int, int]) -> bool:
    """Of (mode, size, mtime in ns): an empty file of that time, which no other has by chance."""
    mode, size, mtime = seen
    return stat.S_ISREG(mode) and size == 0 and mtime == MADE


class Placeholders:
    """Of the commands of one agent. Those that run at the same time have what any of them was told to make."""

    def __init__(self) -> None:
        self._running: list[tuple[Opened, ...]] = []
        self._made: set[Path] = set()

    def begin(self, opened: Iterable[Opened]) -> None:
        opened = tuple(opened)
        self._running.append(opened)
        self._made.update(one.folder for one in opened if one.missing)

    def end(self, opened: Iterable[Opened]) -> None:
        """To be called once for each begin: takes away what nobody wrote and no other command may still write."""
        self._running.remove(tuple(opened))
        wanted = {one.folder for other in self._running for one in other}
        for path in self._made - wanted:
            _take_away(path)
        self._made &= wanted


def _take_away(path: Path) -> None:
    try:
        seen = path.lstat()
        if untouched((seen.st_mode, seen.st_size, seen.st_mtime_ns)):
            path.unlink()
        elif stat.S_ISDIR(seen.st_mode) and seen.st_mtime_ns == MADE:
            path.rmdir()
    except OSError:
        pass  # it is gone, or in use after all
