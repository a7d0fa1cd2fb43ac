"""What a command in the background has printed, both streams as they came: to be read on from anywhere. Kept on disk."""

from __future__ import annotations

import codecs
import os
import shutil
import tempfile
from pathlib import Path

PAGE = 30_000  # bytes of one answer
LINES = 1_900  # of one answer
KEPT = 32 * 1024 * 1024  # bytes at the end that can be read in any case


class Transcript:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._spool = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
        self._begin = 0  # what was before this byte is no more
        self.size = 0  # bytes
        self.read = 0  # bytes that were shown already

    def add(self, data: bytes) -> None:
        self._spool.seek(0, 2)
        self._spool.write(data)
        self.size += len(data)
        if self.size - self._begin > 2 * KEPT:
            self._forget()

    def _forget(self) -> None:
        """All but the last KEPT bytes: a server may talk for days."""
        self._spool.seek(-KEPT, os.SEEK_END)
        with self._spool as old:
            self._spool = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115
            shutil.copyfileobj(old, self._spool)
        self._begin = self.size - KEPT

    def page(self, since: int | None, *, over: bool) -> tuple[int, str, int]:
        """(where it begins, text, where the next one begins). since: bytes from the beginning, or where it is negative from
        the end; None: what was not shown yet. over: nothing more will come, not even the rest of a character."""
        start = self.read if since is None else max(self.size + since, 0) if since < 0 else min(since, self.size)
        start = max(start, self._begin)
        self._spool.seek(start - self._begin)
        data = _lines(self._spool.read(PAGE))
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data, final=over and start + len(data) >= self.size)
        self.read = start + len(data) - len(decoder.getstate()[0])
        return start, text, self.read

    def close(self) -> None:
        self._spool.close()


def _lines(data: bytes) -> bytes:
    """At most so many of its lines."""
    at = -1
    for _ in range(LINES):
        at = data.find(b"\n", at + 1)
        if at < 0:
            return data
    return data[: at + 1]
