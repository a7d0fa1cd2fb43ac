"""Looking around: what is in a directory, and files by their names. Needs no grant; answers are bounded."""

from __future__ import annotations

import asyncio
import os
from typing import Literal

from agentlab.paths import Workspace

from .patterns import glob_regex
from .walk import Walk

Names = list[str]  # the class below has a method `list`

MAX_NAMES = 5_000


class Look:
    def __init__(self, workspace: Workspace, walk: Walk) -> None:
        self._workspace = workspace
        self._walk = walk

    async def list(self, path: str = ".", pattern: str | None = None) -> Names:
        """Entries of a directory, or files below it that match, relative to the workspace. The last item says if more."""
        name = self._workspace.locate(path).name
        if pattern is None:
            return _at_most(MAX_NAMES, await asyncio.to_thread(self._entries, name))
        return await self.glob(pattern, path, limit=MAX_NAMES, everything=True)

    async def glob(
        self,
        pattern: str,
        path: str = ".",
        *,
        sort: Literal["name", "newest"] = "name",
        limit: int = MAX_NAMES,
        everything: bool = False,
    ) -> Names:
        """Files below a directory that match, relative to the workspace. The last item says if there were more."""
        name = self._workspace.locate(path).name
        root = f"{self._workspace.root}/"
        if pattern.startswith(root):
            name, pattern = ".", pattern.removeprefix(root)
        wanted = glob_regex(pattern)
        start = 0 if name == "." else len(name) + 1
        entries = await asyncio.to_thread(self._walk.files, name, everything=everything)
        found = [entry for entry in entries if wanted.fullmatch(entry.name[start:])]
        if sort == "newest":
            found.sort(key=lambda entry: -entry.mtime)
        return _at_most(limit, [entry.shown for entry in found])

    def _entries(self, name: str) -> Names:
        fd = self._workspace.open_dir(name)
        try:
            with os.scandir(fd) as entries:
                names = [e.name + ("/" if e.is_dir(follow_symlinks=False) else "") for e in entries]
        finally:
            os.close(fd)
        prefix = "" if name == "." else f"{name}/"
        return sorted(prefix + n for n in names if not self._workspace.is_apart(prefix + n.rstrip("/")))


def _at_most(limit: int, names: Names) -> Names:
    more = len(names) - limit
    return names if more <= 0 else [*names[:limit], f"[... {more} more; give a narrower path or pattern]"]
