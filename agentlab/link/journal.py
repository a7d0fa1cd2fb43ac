"""What an agent did, on its own disk before it is told: nothing is lost while the plane is down or when the runner dies.

    <home>/journals/<run>/<agent>.journal     "AGLJ1\\n", then records: length and CRC-32 of a payload, big endian, and
                                              the payload in msgpack: [0, blob] or [1, n, entry]

Places in it are counted from its first byte ever, so that they go on rising when its space is given back.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Raw, Struct

from agentlab.core.commands import Entry
from agentlab.core.events import Blob
from agentlab.errors import BadRequest, Unavailable

MAGIC = b"AGLJ1\n"
TRIM = 1024 * 1024  # bytes; an acknowledged journal larger than this is emptied

_HEAD = struct.Struct(">II")

log = logging.getLogger(__name__)


class BlobRecord(Struct, frozen=True, array_like=True, tag=0):
    blob: Raw


class EntryRecord(Struct, frozen=True, array_like=True, tag=1):
    n: int
    entry: Raw


Record = BlobRecord | EntryRecord

_encoder = msgspec.msgpack.Encoder()
_records: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(BlobRecord | EntryRecord)
_blobs = msgspec.msgpack.Decoder(Blob)
_entries = msgspec.msgpack.Decoder(Entry)


def path_of(home: Path, agent: str) -> Path:
    """Where the journal of run/agent is."""
    run, _, name = agent.partition("/")
    if not run or not name or {run, name} & {".", ".."} or "/" in name or "\0" in agent:
        raise BadRequest(f"{agent!r} is no agent: write run/agent.")
    return home / "journals" / run / f"{name}.journal"


def read(path: Path, after_n: int = 0) -> tuple[list[Blob], list[Entry]]:
    """All blobs, and the entries after the `n` that is known. A torn tail is left out; no file is an empty journal."""
    blobs: list[Blob] = []
    entries: list[Entry] = []
    try:
        with path.open("rb") as file:
            for record, _ in _scan(file):
                if isinstance(record, BlobRecord):
                    blobs.append(_blobs.decode(record.blob))
                elif record.n > after_n:
                    entries.append(_entries.decode(record.entry))
    except FileNotFoundError:
        pass
    return blobs, entries


def _scan(file: BinaryIO) -> Iterator[tuple[Record, int]]:
    """The whole records from the beginning, each with the place in the file where it ends."""
    if file.read(len(MAGIC)) != MAGIC:
        return
    at = len(MAGIC)
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        length, crc = _HEAD.unpack(head)
        payload = file.read(length)
        if len(payload) < length or zlib.crc32(payload) != crc:
            return
        at += _HEAD.size + length
        yield _records.decode(payload), at


class Journal:
    """The journal of one runner, open for writing. An older one of the same agent is gone on with.

    `last`: the highest `n` in it; `end`: the place behind its last record.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = 0
        path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._size = self._recover()
        self._base = 0  # place of the first byte of the file

    @property
    def start(self) -> int:
        """The place of the first record that is still there."""
        return self._base + len(MAGIC)

    @property
    def end(self) -> int:
        return self._base + self._size

    def append(self, entry: Entry) -> None:
        """Raises Unavailable: the disk does not take it."""
        self.append_encoded(entry.n, _encoder.encode(entry))

    def append_encoded(self, n: int, entry: bytes) -> None:
        self._write(_encoder.encode(EntryRecord(n, Raw(entry))))
        self.last = n

    def keep(self, blob: Blob) -> None:
        """Raises Unavailable: the disk does not take it."""
        self._write(_encoder.encode(BlobRecord(Raw(_encoder.encode(blob)))))

    def slice(self, place: int, size: int) -> tuple[list[Record], int]:
        """The records from a place on, up to about `size` bytes but one at least, and the place behind them."""
        at = place - self._base
        data = os.pread(self._fd, max(size, _HEAD.size), at)
        if len(data) >= _HEAD.size and (first := _HEAD.size + _HEAD.unpack_from(data)[0]) > len(data):
            data = os.pread(self._fd, first, at)
        records: list[Record] = []
        used = 0
        while used + _HEAD.size <= len(data):
            begin = used + _HEAD.size
            stop = begin + _HEAD.unpack_from(data, used)[0]
            if stop > len(data):
                break
            records.append(_records.decode(memoryview(data)[begin:stop]))
            used = stop
        return records, place + used

    def acknowledged(self, place: int) -> None:
        """Everything before this place is in the log. When that is all there is, a large file is emptied."""
        if place == self.end and self._size > TRIM:
            os.ftruncate(self._fd, len(MAGIC))
            self._base += self._size - len(MAGIC)
            self._size = len(MAGIC)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """It has told everything: away with it."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _recover(self) -> int:
        size = 0
        with open(self._fd, "rb", closefd=False) as file:
            for record, stop in _scan(file):
                size = stop
                if isinstance(record, EntryRecord):
                    self.last = max(self.last, record.n)
            there = file.seek(0, os.SEEK_END)
        if size and there > size:
            log.warning("%s had a torn tail of %d bytes", self.path, there - size)
        if not size:
            size = len(MAGIC)
            os.pwrite(self._fd, MAGIC, 0)
        os.ftruncate(self._fd, size)
        return size

    def _write(self, payload: bytes) -> None:
        left = memoryview(_HEAD.pack(len(payload), zlib.crc32(payload)) + payload)
        at = self._size
        try:
            while left:
                written = os.pwrite(self._fd, left, at)
                left, at = left[written:], at + written
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            raise Unavailable(
                f"The journal {self.path} takes no more ({error.strerror}): nothing can be recorded, so nothing may be done. "
                "Make room on that disk and try again."
            ) from None
        self._size = at
