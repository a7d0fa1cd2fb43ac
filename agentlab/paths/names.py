"""What a path that anybody gave means to the disk: links, `..`, Unicode spellings."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections import deque

from agentlab.errors import BadRequest

IGNORED = (
    ".git", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", "node_modules", ".venv", ".ipynb_checkpoints",
    # A log, of whatever home: whoever closes it in the process that writes it takes away its locks.
    "agentlab.db", "agentlab.db-wal", "agentlab.db-shm",
)  # fmt: skip
"""Names of directories and files that are neither kept nor watched, at any depth of a workspace."""

DEEPEST = 100
"""Folders in each other that are looked into. Who makes more wants to end whoever walks them, or to hide there."""

_MAX_LINKS = 40  # as in the kernel


def shown(name: str) -> str:
    """A name of the disk as it can be told: NFC, and escapes where it is no UTF-8."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode(errors="backslashreplace"))


def check_text(path: str) -> None:
    if "\0" in path:
        raise BadRequest(f"The path {path!r} has a NUL in it; no file can be named so.")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"The path {path!r} is no UTF-8. Rename the file before agents may use it.") from None


def resolve(at: list[str], path: str) -> list[str]:
    """The parts, from /, of what the path means when it is read in the directory `at`. Like realpath, for any spelling."""
    pending = deque(path.split("/"))
    links = 0
    while pending:
        part = pending.popleft()
        if part in ("", "."):
            continue
        if part == "..":
            del at[-1:]
            continue
        here = "/" + "/".join(at)
        part = spelling(here, part)
        try:
            target = os.readlink(os.path.join(here, part))  # noqa: PTH115, PTH118
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise BadRequest(f"The path {path[:80]!r}... is longer than any file name may be.") from None
            at.append(part)  # no link, or not there (yet)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise BadRequest(f"{path!r} goes in circles through symbolic links.")
        if target.startswith("/"):
            at.clear()
        pending.extendleft(reversed(target.split("/")))
    return at


def spelling(directory: int | str, part: str) -> str:
    """How the disk spells this part. Names that differ only in their Unicode form are one; the NFC one is preferred."""
    if part.isascii():
        return part
    wanted = unicodedata.normalize("NFC", part)
    try:
        entries = os.listdir(directory)  # noqa: PTH208 - by descriptor
    except OSError:
        return wanted
    if wanted in entries:
        return wanted
    return min((e for e in entries if unicodedata.normalize("NFC", e) == wanted), default=wanted)
