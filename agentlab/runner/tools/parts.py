"""Parts of files, and the hash of the whole, in one pass and in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Literal

from agentlab.errors import BadRequest

Part = tuple[Literal["lines", "bytes"], int, int | None]
"""Lines from 1, both inclusive; or bytes from 0, the end exclusive."""


def pieces(fd: int) -> Iterator[bytes]:
    while piece := os.read(fd, 1 << 20):
        yield piece


def scan_part(fd: int, part: Part | None, limit: int, name: str) -> tuple[bytes, str]:
    """A part of a file and the hash of all of it, in one pass and in bounded memory."""
    hasher = sha256()
    kept: list[bytes] = []
    size = at = 0
    kind, first, last = part or ("bytes", 0, None)
    position = 1 if kind == "lines" else 0  # of the line, or the byte, that begins at `at`
    for piece in pieces(fd):
        hasher.update(piece)
        if kind == "bytes":
            stop = len(piece) if last is None else last - at
            chosen = piece[max(first - at, 0) : max(stop, 0)]
        else:
            chosen, position = _lines_within(piece, position, first, last)
        at += len(piece)
        size += len(chosen)
        if size > limit:
            raise BadRequest(f"That part of {name} has more than {limit} bytes. Read a smaller one.")
        if chosen:
            kept.append(chosen)
    return b"".join(kept), hasher.hexdigest()


def _lines_within(piece: bytes, line: int, first: int, last: int | None) -> tuple[bytes, int]:
    """What of the piece lies in the lines asked for, and the number of the line that it ends in."""
    chosen: list[bytes] = []
    parts: Sequence[bytes] = piece.split(b"\n")
    for index, part in enumerate(parts):
        ended = index < len(parts) - 1
        if line >= first and (last is None or line <= last):
            chosen.append(part + b"\n" if ended else part)
        line += ended
    return b"".join(chosen), line


def hash_of(fd: int) -> str:
    hasher = sha256()
    for piece in pieces(fd):
        hasher.update(piece)
    return hasher.hexdigest()
