"""What processes did to the workspace: recorded where it was claimed, undone where nobody allowed it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agentlab.core.events import Artifact, FileDelete, FileWrite, Guard
from agentlab.errors import AgentlabError, StaleBase, StaleToken
from agentlab.paths import ANYTHING, Workspace
from agentlab.sandbox import Opened

from .fence import Fences
from .grants import Grants
from .ledger import Ledger
from .results import digest
from .scan import Entry, entry_of, ignored, recent, snapshot, suspects
from .shadow import Shadow

Reach = tuple[Opened, ...] | None
"""What a process may write: these folders, or everything."""

_NAMED = 20  # paths that a text lists before it says how many more there are

UNKNOWN = ""
"""As `FileWrite.before`: the file was there, but its content was not known."""


@dataclass(frozen=True)
class Found:
    """wrote: what the agent may have changed, and did. undone, left: what it may not; `left` could not be put back."""

    wrote: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def and_then(self, later: Found) -> Found:
        pairs = ((self.wrote, later.wrote), (self.undone, later.undone), (self.left, later.left))
        return Found(*(tuple(sorted({*before, *after})) for before, after in pairs))

    @property
    def violations(self) -> str:
        texts = []
        if self.undone:
            texts.append(f"Undone, because you hold no claim on it: {_listed(self.undone)}.")
        if self.left:
            texts.append(f"Changed without a claim, and could not be put back: {_listed(self.left)}.")
        if texts:
            declared = list((self.undone + self.left)[:_NAMED])
            texts.append(f"Declare what the command writes: run(..., writes={declared!r}).")
        return " ".join(texts)


@dataclass(frozen=True)
class _Suspect:
    """A path that looks changed. Hashes None: it was, or is, not there."""

    name: str
    was: Entry | None
    now: Entry | None
    before: str | None
    after: str | None
    data: bytes | None = field(repr=False)  # what it holds now, where that is small enough to keep

    @property
    def unit(self) -> str:
        return f"file:{self.name}"


class Watch:
    """Scans around processes. Runs may overlap: all of one agent's are seen as one."""

    def __init__(
        self,
        workspace: Workspace,
        ledger: Ledger,
        grants: Grants,
        fences: Fences,
        shadow: Shadow,
        ignore: Sequence[str],
    ) -> None:
        self.turn = asyncio.Lock()
        """One change at a time: held by every write, and while what a process wrote is sorted out."""
        self._workspace = workspace
        self._ledger = ledger
        self._grants = grants
        self._fences = fences
        self._shadow = shadow
        self._ignore = ignore
        self._seen: dict[str, Entry] = {}
        self._since = 0
        self._reaches: list[Reach] = []  # of the processes that run
        self._untold = Found()  # sorted out while they went on

    async def begin(self, reach: Reach = None) -> None:
        """Remember how things are, unless a process of ours runs already.

        reach: all that its sandbox lets it write; None: everything.
        """
        async with self.turn:
            if self._reaches:  # what was changed so far is none of its doing
                self._untold = await self._sort(tuple(self._reaches))
            else:
                self._since = await self._ledger.gate.position()
                self._seen = await asyncio.to_thread(self._look_at_all)
            self._reaches.append(reach)

    async def settle(self, reach: Reach = None) -> Found:
        """Sort out what has changed since `begin`. To be called once for each begin, when its process is gone.

        What none of the processes could reach was changed by somebody else: it is left alone.
        """
        async with self.turn:
            reaches = tuple(self._reaches)
            self._reaches.remove(reach)
            found, self._untold = await self._sort(reaches), Found()
            return found

    async def look(self) -> Found:
        """Sort out what has changed by now, while processes go on."""
        async with self.turn:
            found, self._untold = await self._sort(tuple(self._reaches)) if self._reaches else self._untold, Found()
            return found

    async def _sort(self, reaches: tuple[Reach, ...]) -> Found:
        """Since it was sorted out last; with what nobody was told of yet."""
        since, self._since = self._since, await self._ledger.gate.position()
        now = await asyncio.to_thread(snapshot, self._workspace, self._ignore)
        was, self._seen = self._seen, now
        names = suspects(was, now)
        reached = await asyncio.to_thread(self._reached, reaches, names, now)
        found = [await self._suspect(name, was.get(name), now.get(name)) for name in reached]
        loose = _modes(reaches, self._workspace.root, set(names).difference(reached), was, now)
        modes = [await self._suspect(name, was.get(name), now.get(name)) for name in loose]
        changed = [s for s in found if _changed(s)] + [s for s in modes if _only_mode(s)]
        mine = [s for s in changed if self._ledger.gate.held(s.unit) is not None]
        others = [s for s in changed if self._ledger.gate.held(s.unit) is None]
        touched = set(await self._ledger.gate.touched(tuple(s.unit for s in others), since)) if others else set()
        for suspect in mine:
            await self._adopt(suspect)
        undone, left = await self._undo([s for s in others if s.unit not in touched], was)
        if self._reaches:
            self._remember(s for s in changed if s.name not in undone)
        return self._untold.and_then(Found(tuple(s.name for s in mine), undone, left))

    def note(self, name: str, data: bytes | None) -> None:
        """A tool of ours changed this file just now; None: it is gone, or too large to keep."""
        if not self._reaches or ignored(name, self._ignore):
            return
        seen = self._workspace.stat(name)
        if seen is None:
            self._seen.pop(name, None)
            self._shadow.forget(name)
            return
        self._seen[name] = entry_of(seen, recent())
        if data is not None:
            self._shadow.put(name, self._seen[name], data)
        for parent in _parents(name):
            self._seen.setdefault(parent, Entry("dir", 0o755))

    def close(self) -> None:
        self._shadow.close()

    def _remember(self, suspects: Iterable[_Suspect]) -> None:
        """What is so now is how it was, for the processes that still run."""
        for suspect in suspects:
            if suspect.now is not None and suspect.now.kind == "file" and suspect.data is not None:
                self._shadow.put(suspect.name, suspect.now, suspect.data)
            else:
                self._shadow.forget(suspect.name)

    def _reached(self, reaches: Sequence[Reach], names: Sequence[str], now: Mapping[str, Entry]) -> list[str]:
        """Those of the names that one of these could have changed, by their own path or by another link to the file."""
        if any(reach is None for reach in reaches):
            return list(names)
        opened = [one for reach in reaches for one in reach or ()]
        root = self._workspace.root
        within = {name for name in (*names, *now) if any(root / name in one for one in opened)}
        inodes = {now[name].inode for name in within if name in now and now[name].kind == "file"}
        return [name for name in names if name in within or (name in now and now[name].inode in inodes)]

    def _look_at_all(self) -> dict[str, Entry]:
        now = snapshot(self._workspace, self._ignore)
        self._shadow.refresh(self._workspace, now)
        return now

    async def _suspect(self, name: str, was: Entry | None, now: Entry | None) -> _Suspect:
        before = self._hash_before(name, was)
        data: bytes | None = None
        match now:
            case Entry(kind="file", size=size) if size <= self._ledger.blob_limit:
                try:
                    data = await asyncio.to_thread(self._workspace.read, name)
                    after: str | None = digest(data)
                except AgentlabError:
                    after = UNKNOWN
            case Entry(kind="file"):
                after = await asyncio.to_thread(self._workspace.hash, name)
            case Entry(kind="link"):
                data = os.fsencode(now.target)
                after = digest(data)
            case _:
                after = None
        return _Suspect(name, was, now, before, after, data)

    def _hash_before(self, name: str, was: Entry | None) -> str | None:
        match was:
            case Entry(kind="file"):
                return self._shadow.hash(name) or UNKNOWN
            case Entry(kind="link"):
                return digest(os.fsencode(was.target))
            case _:
                return None

    # --- ours ----------------------------------------------------------------------------------------------

    async def _adopt(self, suspect: _Suspect) -> None:
        """It was claimed: record it, and let the agent know its new base."""
        granted = self._ledger.gate.held(suspect.unit)
        token = granted.token if granted else 0
        try:
            async with self._fences.locked(self._workspace.root / suspect.name, suspect.name) as fence:
                fence.raise_to(token)
        except StaleToken:
            pass  # a later holder has written it: its fence stands higher, and its record follows ours
        await self._record(suspect, suspect.before, suspect.after, suspect.now, suspect.data, "scan", token)
        self._ledger.saw(suspect.name, suspect.after, suspect.data)

    async def _record(
        self,
        suspect: _Suspect,
        before: str | None,
        after: str | None,
        entry: Entry | None,
        data: bytes | None,
        via: str,
        token: int,
    ) -> None:
        name, unit = suspect.name, suspect.unit
        if after is None or entry is None:
            if before is not None:
                self._ledger.record(FileDelete(path=name, before=before, via=via, token=token), name=name, unit=unit)
            return
        stored = data is not None
        if data is not None:
            await self._ledger.keep(data)
        old = b"" if before is None else await self._ledger.content(before) if before else None
        if old is None and via == "scan":
            old = self._shadow.content(name)
            if old is not None:
                await self._ledger.keep(old)
        difference, kept = await self._ledger.keep_diff(name, old, data if stored else None, existed=before is not None)
        link = entry.target if entry.kind == "link" else None
        body = FileWrite(
            path=name,
            before=before,
            after=after,
            size=len(data) if data is not None else entry.size,
            mode=entry.mode,
            added=difference.added,
            removed=difference.removed,
            diff=kept[0] if kept else None,
            via=via,
            link=link,
            stored=stored,
            token=token,
        )
        self._ledger.record(body, name=name, unit=unit)
        if kept and via == "scan":
            diff = Artifact(kind="diff", hash=kept[0], size=kept[1], media="text/x-diff", path=name)
            self._ledger.record(diff, name=f"{name}.diff")

    # --- not ours ------------------------------------------------------------------------------------------

    async def _undo(
        self, suspects: Sequence[_Suspect], was: dict[str, Entry]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        undone: list[str] = []
        left: list[str] = []
        created_first = sorted(
            suspects, key=lambda s: (s.was is not None, s.name)
        )  # a file may be where a directory was
        for suspect in created_first:
            match await self._put_back(suspect, was):
                case True:
                    undone.append(suspect.name)
                case False:
                    left.append(suspect.name)
        for names, status, what in ((undone, "rolled_back", "undone"), (left, "warned", "not restored")):
            if names:
                names.sort()
                detail = f"changed by a process without a claim; {what}"
                body = Guard(rule="unclaimed-write", detail=detail, paths=tuple(names))
                self._ledger.record(body, name="unclaimed-write", status=status)
        return tuple(undone), tuple(left)

    async def _put_back(self, suspect: _Suspect, was: dict[str, Entry]) -> bool | None:
        """Whether it is as before. None: somebody who may has written it since, it is no more about us."""
        name, entry = suspect.name, suspect.was
        data = self._shadow.content(name) if entry is not None and entry.kind == "file" else None
        if entry is not None and (entry.kind == "other" or (entry.kind == "file" and data is None)):
            await self._leave(suspect)
            return False
        if suspect.data is not None:
            await self._ledger.keep(suspect.data)  # nobody may lose work by this: it can be had from the log
        if data is not None:
            await self._ledger.keep(data)
        try:
            async with (
                self._grants.seized(suspect.unit) as token,
                self._fences.locked(self._workspace.root / name, name) as fence,
            ):
                fence.raise_to(token)
                self._restore(suspect, data, was)
                await self._record(
                    suspect,
                    suspect.after,
                    suspect.before,
                    entry,
                    data if data is not None else os.fsencode(entry.target) if entry else None,
                    "rollback",
                    token,
                )
        except StaleBase:
            return None
        except AgentlabError:
            await self._leave(suspect)
            return False
        return True

    def _restore(self, suspect: _Suspect, data: bytes | None, was: dict[str, Entry]) -> None:
        name, entry = suspect.name, suspect.was
        plain = suspect.now is None or (suspect.now.kind == "file" and suspect.after != UNKNOWN)
        expect = suspect.after if plain else ANYTHING
        if entry is None:
            self._workspace.remove(name, expect=expect)
            self._seen.pop(name, None)
            for parent in _parents(name):
                if (parent in was and was[parent].kind == "dir") or not self._workspace.remove_empty(parent):
                    break
            return
        if entry.kind == "link":
            self._workspace.symlink(name, entry.target)
        elif data is not None:
            if suspect.now is not None and suspect.now.kind in ("link", "other"):
                self._workspace.remove(name)
                expect = None
            self._workspace.replace(name, data, mode=entry.mode, expect=expect)
        seen = self._workspace.stat(name)
        if seen is not None:
            self._seen[name] = entry if entry.kind == "link" else entry_of(seen, recent())
            if data is not None:
                self._shadow.put(name, self._seen[name], data)

    async def _leave(self, suspect: _Suspect) -> None:
        """It stays as the process left it: the log must say so, or it would tell of a file that is no more."""
        await self._record(suspect, suspect.before, suspect.after, suspect.now, suspect.data, "scan", 0)


def _changed(suspect: _Suspect) -> bool:
    was, now = suspect.was, suspect.now
    if was is None or now is None or was.kind != now.kind or was.mode != now.mode:
        return True
    if was.kind == "other":
        return True
    if suspect.before == UNKNOWN:
        return (was.size, was.mtime, was.inode) != (now.size, now.mtime, now.inode)
    return suspect.before != suspect.after


def _modes(
    reaches: Sequence[Reach], root: Path, names: Iterable[str], was: Mapping[str, Entry], now: Mapping[str, Entry]
) -> list[str]:
    """The files whose permissions have changed where one of these could change them, even if nothing else."""
    folders = [one.folder for reach in reaches for one in reach or () if one.modes]
    return [
        name for name in sorted(names)
        if any((root / name).is_relative_to(folder) for folder in folders)
        and (before := was.get(name)) and (after := now.get(name))
        and before.kind == after.kind == "file" and before.inode == after.inode and before.mode != after.mode
    ]  # fmt: skip


def _only_mode(suspect: _Suspect) -> bool:
    """Whether the content is the same, or cannot be read any more: who changes content too is somebody else."""
    was, now = suspect.was, suspect.now
    if suspect.after == UNKNOWN or suspect.before == UNKNOWN:
        return was is not None and now is not None and (was.size, was.mtime) == (now.size, now.mtime)
    return suspect.before == suspect.after


def _parents(name: str) -> list[str]:
    """Directories above, the innermost first."""
    parts = name.split("/")[:-1]
    return ["/".join(parts[:n]) for n in range(len(parts), 0, -1)]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
