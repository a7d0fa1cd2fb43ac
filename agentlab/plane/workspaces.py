"""The workspace of a run: what was in it when the run began, and when it ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec

from agentlab.config import Limits
from agentlab.core import commands as c
from agentlab.core.events import Blob
from agentlab.errors import BadRequest, NameTaken
from agentlab.paths import Workspace
from agentlab.store import snapshots
from agentlab.store.base import Snapshot

from .engine import Engine

log = logging.getLogger(__name__)

CHUNK = 16 * 1024 * 1024  # bytes of content that one commit takes


class Workspaces:
    """home: the plane's own, which is no part of any of them."""

    def __init__(self, engine: Engine, limits: Limits, home: Path) -> None:
        self._engine = engine
        self._limits = limits
        self._home = home

    async def open(self, command: c.StartRun) -> c.AnyReply:
        """Open a run, its base tree recorded. Raises BadRequest: the workspace cannot be used."""
        if command.run_id in self._engine.state.runs:
            return await self._engine.submit(command)
        root = Path(command.root)
        if not root.is_absolute():
            raise BadRequest(f"The workspace must be an absolute path, not {command.root!r}.")
        await asyncio.to_thread(Workspace(root, self._home).check_root)
        async for _ in self._engine.store.run_events(command.run_id, until=1):
            raise NameTaken(
                f"Run id {command.run_id} is in the log already; ids are never used twice.", run=command.run_id
            )
        tree = await self._record(command.run_id, root)
        return await self._engine.submit(msgspec.structs.replace(command, base_tree=tree))

    async def close(self, command: c.EndRun) -> c.AnyReply:
        """Close a run; the tree that it leaves is part of its end."""
        run = self._engine.state.runs.get(command.run_id)
        if run is not None and run.status == "open" and not run.live and command.final_tree is None:
            try:
                taken = await self._taken(run.root)
            except BadRequest as error:  # the workspace is gone: no reason to keep the run open
                log.warning("run %s: %s", command.run_id, error)
            else:
                command = msgspec.structs.replace(command, final_tree=taken.manifest.tree)
        return await self._engine.submit(command)

    async def spelled(self, run_id: str, units: tuple[str, ...]) -> tuple[str, ...]:
        """Units that somebody typed, as the disk has them. Raises OutsideWorkspace, also of agentlab's home; BadRequest."""
        run = self._engine.state.runs.get(run_id)
        if run is None or not units:
            return units  # who carries it out says what is wrong
        place = Workspace(Path(run.root), self._home)
        return await asyncio.to_thread(lambda: tuple(dict.fromkeys(map(place.canonical_unit, units))))

    async def _record(self, run_id: str, root: Path) -> str:
        """Store the contents of a workspace; the hash of its tree."""
        manifest, contents = await self._taken(root)
        known = await self._engine.store.has_blobs([file.hash for file in manifest.files])
        blobs = contents(known)
        while some := await asyncio.to_thread(_some, blobs):
            self._engine.keep(some)
            await self._engine.settled()
        listing = manifest.blob()
        self._engine.keep([listing], Snapshot(run_id=run_id, seq=0, tree=manifest.tree, manifest=listing.hash))
        return manifest.tree

    async def _taken(self, root: str | Path) -> snapshots.Taken:
        return await asyncio.to_thread(snapshots.snapshot, root, home=self._home, limits=self._limits)


def _some(blobs: Iterator[Blob]) -> list[Blob]:
    """The next blobs, as many as one commit takes; none when there are no more."""
    some: list[Blob] = []
    size = 0
    for blob in blobs:
        some.append(blob)
        size += len(blob.data)
        if size >= CHUNK:
            break
    return some
