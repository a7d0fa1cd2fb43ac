"""A private copy of the small files of a workspace, so that what nobody allowed can be undone."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from agentlab.errors import AgentlabError
from agentlab.paths import Workspace

from .results import digest
from .scan import Entry, Snapshot

MAX_BYTES = 64 * 1024 * 1024
MAX_FILES = 2_000
MAX_FILE = 8 * 1024 * 1024  # bytes of one file


@dataclass(frozen=True, slots=True)
class _Copy:
    entry: Entry
    hash: str
    size: int


class Shadow:
    """Copies by content in `directory`. What does not fit the budget is simply not there."""

    def __init__(self, directory: Path, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self.max_files = max_files
        self._copies: dict[str, _Copy] = {}
        self._uses: Counter[str] = Counter()
        self._size = 0

    def refresh(self, workspace: Workspace, now: Snapshot) -> None:
        """Copy what is new or changed. Reads files: not on the event loop."""
        for name in self._copies.keys() - now.keys():
            self.forget(name)
        for name, entry in now.items():
            copy = self._copies.get(name)
            if entry.kind != "file" or (copy is not None and copy.entry == entry and not entry.racy):
                continue
            self.forget(name)
            if entry.size > MAX_FILE or not self._fits(entry.size):
                continue
            try:
                data = workspace.read(name)
            except AgentlabError:
                continue  # it changed under our eyes, or may not be read
            self.put(name, entry, data)

    def put(self, name: str, entry: Entry, data: bytes) -> None:
        self.forget(name)
        if len(data) > MAX_FILE or not self._fits(len(data)):
            return
        hash = digest(data)
        if not self._uses[hash]:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            at = self.directory / hash
            at.touch(mode=0o600)
            at.write_bytes(data)
        self._uses[hash] += 1
        self._size += len(data)
        self._copies[name] = _Copy(entry, hash, len(data))

    def forget(self, name: str) -> None:
        copy = self._copies.pop(name, None)
        if copy is None:
            return
        self._size -= copy.size
        self._uses[copy.hash] -= 1
        if not self._uses[copy.hash]:
            (self.directory / copy.hash).unlink(missing_ok=True)

    def hash(self, name: str) -> str | None:
        copy = self._copies.get(name)
        return copy.hash if copy else None

    def content(self, name: str) -> bytes | None:
        copy = self._copies.get(name)
        return (self.directory / copy.hash).read_bytes() if copy else None

    def close(self) -> None:
        self._copies.clear()
        self._uses.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _fits(self, size: int) -> bool:
        return len(self._copies) < self.max_files and self._size + size <= self.max_bytes
