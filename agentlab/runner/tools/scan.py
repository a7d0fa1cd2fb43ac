"""What is in a workspace, by stat: taken before and after a process, to find what it changed."""

from __future__ import annotations

import fnmatch
import os
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentlab.paths import DEEPEST, IGNORED, TEMPORARY, Workspace, shown

from .placeholders import untouched

_RACY = 50_000_000  # ns; file times are as coarse as a kernel tick: a later change may leave them as they are


@dataclass(frozen=True, slots=True)
class Entry:
    kind: str  # file | link | dir | other
    mode: int
    size: int = 0
    mtime: int = 0  # ns
    ctime: int = 0
    inode: int = 0
    target: str = ""  # of a link
    racy: bool = False  # changed so shortly before that its times may not show the next change


Snapshot = Mapping[str, Entry]
"""By canonical name."""


def snapshot(workspace: Workspace, ignore: Sequence[str] = IGNORED) -> dict[str, Entry]:
    """Everything in the workspace but what `ignore` names: patterns for a name, or for a path where they have a /."""
    found: dict[str, Entry] = {}
    fd = os.open(workspace.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _walk(workspace, fd, "", ignore, time.time_ns() - _RACY, found)
    finally:
        os.close(fd)
    return found


def _walk(
    workspace: Workspace, fd: int, prefix: str, ignore: Sequence[str], recent: int, found: dict[str, Entry]
) -> None:
    with os.scandir(fd) as entries:
        for entry in entries:
            name = prefix + shown(entry.name)  # one that is no UTF-8 cannot be a unit, but it is not overlooked
            if ignored(name, ignore) or workspace.is_apart(name):
                continue
            try:
                seen = entry.stat(follow_symlinks=False)
                if untouched((seen.st_mode, seen.st_size, seen.st_mtime_ns)):
                    continue
                found[name] = entry_of(seen, recent, fd, entry.name)
                if not stat.S_ISDIR(seen.st_mode):
                    continue
                if name.count("/") >= DEEPEST:
                    found[name] = Entry("other", stat.S_IMODE(seen.st_mode), mtime=seen.st_mtime_ns, inode=seen.st_ino)
                    continue
                inner = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            except OSError:
                continue  # gone, or swapped, while we looked
            try:
                _walk(workspace, inner, f"{name}/", ignore, recent, found)
            finally:
                os.close(inner)


def entry_of(seen: os.stat_result, recent: int, fd: int | None = None, name: str = "") -> Entry:
    mode = stat.S_IMODE(seen.st_mode)
    racy = max(seen.st_mtime_ns, seen.st_ctime_ns) >= recent
    match stat.S_IFMT(seen.st_mode):
        case stat.S_IFREG:
            return Entry("file", mode, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, racy=racy)
        case stat.S_IFDIR:
            return Entry("dir", mode)
        case stat.S_IFLNK:
            return Entry("link", mode, target=os.readlink(name, dir_fd=fd) if fd is not None else "")
        case _:
            return Entry("other", mode, mtime=seen.st_mtime_ns, inode=seen.st_ino)


def recent() -> int:
    """Files changed after this may change again without a trace in their times."""
    return time.time_ns() - _RACY


def ignored(name: str, ignore: Sequence[str]) -> bool:
    last = name.rpartition("/")[2]
    return last.startswith(TEMPORARY) or any(
        fnmatch.fnmatchcase(name if "/" in pattern else last, pattern) for pattern in ignore
    )


def suspects(before: Snapshot, after: Snapshot) -> list[str]:
    """Names that may have changed, in order: those whose stat differs, and those where it could not tell."""
    return sorted(name for name in before.keys() | after.keys() if _differs(before.get(name), after.get(name)))


def _differs(before: Entry | None, after: Entry | None) -> bool:
    if before is None or after is None:
        present = before or after
        return present is not None and present.kind != "dir"
    if before.kind == after.kind == "dir":
        return False
    return (
        before.racy
        or (before.kind, before.mode, before.size, before.mtime, before.ctime, before.inode)
        != (
            after.kind,
            after.mode,
            after.size,
            after.mtime,
            after.ctime,
            after.inode,
        )
        or before.target != after.target
    )
