"""Search files for a regular expression. A program of its own: a bad pattern may take forever, and is killed then.

    python -I grep.py REGEX PATH GLOB IGNORE...   in the workspace's root; prints path NUL line ":" text, GLOB may be ""

Imports nothing of ours, so that it starts fast. Links are not followed.
"""

from __future__ import annotations

import fnmatch
import os
import re
import sys
from collections.abc import Iterator
from typing import IO

MAX_FILE = 8 * 1024 * 1024  # bytes; larger files are passed over
MAX_LINE = 500  # characters shown


def main(regex: str, path: str, glob: str, *ignore: str) -> int:
    pattern = re.compile(regex)
    for name, file in files(path, ignore):
        with file:
            if matches(name, glob):
                search(name, file, pattern)
    return 0


def files(path: str, ignore: tuple[str, ...]) -> Iterator[tuple[str, IO[bytes]]]:
    if not os.path.isdir(path):  # noqa: PTH112
        yield path, os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
        return
    for directory, inner, names, fd in os.fwalk(path):
        inner[:] = sorted(d for d in inner if not any(fnmatch.fnmatchcase(d, i) for i in ignore))
        for each in sorted(names):
            try:
                opened = os.open(each, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fd)
            except OSError:
                continue
            yield os.path.normpath(f"{directory}/{each}"), os.fdopen(opened, "rb")


def matches(name: str, glob: str) -> bool:
    return not glob or fnmatch.fnmatchcase(name, glob) or fnmatch.fnmatchcase(name.rpartition("/")[2], glob)


def search(name: str, file: IO[bytes], pattern: re.Pattern[str]) -> None:
    try:
        data = file.read(MAX_FILE + 1)
    except OSError:
        return
    if len(data) > MAX_FILE or b"\0" in data[:8192]:
        return
    for number, line in enumerate(data.decode(errors="replace").split("\n"), 1):
        if pattern.search(line):
            sys.stdout.write(f"{name}\0{number}:{line[:MAX_LINE]}\n")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.exit(main(*sys.argv[1:]))
