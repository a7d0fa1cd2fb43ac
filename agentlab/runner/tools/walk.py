"""The files below a directory of the workspace, without those that nobody means: `.gitignore`, and what is always passed over."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from agentlab.errors import AgentlabError
from agentlab.paths import DEEPEST, TEMPORARY, Workspace, shown

from . import patterns
from .patterns import Rule, Rules

FILE = ".gitignore"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_RULES = 1024 * 1024  # bytes of one such file


@dataclass(frozen=True)
class Entry:
    """name: as the disk has it, relative to the workspace."""

    name: str
    size: int
    mtime: int  # ns
    is_link: bool

    @property
    def shown(self) -> str:
        return shown(self.name)


class Walk:
    """ignore: patterns of names, or of paths where they have a slash, that are passed over in any case."""

    def __init__(self, workspace: Workspace, ignore: Sequence[str]) -> None:
        self._workspace = workspace
        self._names = _any(pattern for pattern in ignore if "/" not in pattern)
        self._paths = _any(pattern for pattern in ignore if "/" in pattern)

    def files(self, name: str, *, everything: bool = False) -> list[Entry]:
        """Regular files and links below the directory `name`, by name; links are not followed.

        everything: also what a `.gitignore` names. So is all of a directory that is ignored itself: it was asked for.
        """
        here = "" if name == "." else name
        fd = self._workspace.open_dir(name)
        try:
            found = list(self._below(fd, here, None if everything else self._above(here)))
        finally:
            os.close(fd)
        return sorted(found, key=lambda entry: entry.name)

    def _below(self, fd: int, here: str, rules: Rules | None) -> Iterator[Entry]:
        """rules: of the directories above; None: none count."""
        with os.scandir(fd) as scanned:
            entries = list(scanned)
        if rules is not None and any(entry.name == FILE for entry in entries):
            rules = [*rules, (here, _rules_in(fd))]
        for entry in entries:
            name, is_directory = f"{here}/{entry.name}".lstrip("/"), entry.is_dir(follow_symlinks=False)
            if self._passed_over(name, entry.name) or patterns.ignored(name, rules or (), is_directory=is_directory):
                continue
            try:
                if is_directory:
                    if name.count("/") >= DEEPEST:
                        continue
                    inner = os.open(entry.name, _DIRECTORY, dir_fd=fd)
                else:
                    seen = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # gone, or not ours to read
            if not is_directory:
                if stat.S_ISREG(seen.st_mode) or stat.S_ISLNK(seen.st_mode):
                    yield Entry(name, seen.st_size, seen.st_mtime_ns, stat.S_ISLNK(seen.st_mode))
                continue
            try:
                yield from self._below(inner, name, rules)
            finally:
                os.close(inner)

    def _above(self, here: str) -> Rules:
        """The rules of the directories above; none where they would hide the directory itself."""
        rules: list[tuple[str, Sequence[Rule]]] = []
        parts = here.split("/") if here else []
        for depth in range(len(parts)):
            directory = "/".join(parts[:depth])
            try:
                fd = self._workspace.open_dir(directory or ".")
            except AgentlabError:
                return rules
            try:
                rules.append((directory, _rules_in(fd)))
            finally:
                os.close(fd)
            if patterns.ignored("/".join(parts[: depth + 1]), rules, is_directory=True):
                return []
        return rules

    def _passed_over(self, name: str, last: str) -> bool:
        if last.startswith(TEMPORARY) or self._names.match(last) or self._paths.match(name):
            return True
        return self._workspace.is_apart(name)


def _rules_in(fd: int) -> Sequence[Rule]:
    """Of the directory's own `.gitignore`; none where there is none that can be read."""
    try:
        opened = os.open(FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        return ()
    with os.fdopen(opened, "rb") as file:
        try:
            return patterns.parse(file.read(_MAX_RULES).decode(errors="replace"))
        except OSError:
            return ()


def _any(wanted: Iterable[str]) -> re.Pattern[str]:
    """One of these, as `fnmatch` understands them."""
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in wanted) or r"(?!)")
