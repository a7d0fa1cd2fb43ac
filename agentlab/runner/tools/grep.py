"""Search files for a regular expression. A program of its own: a bad pattern may take forever, and is killed then.

    python -I -S grep.py MODE CONTEXT CASE REGEX   in the workspace's root; names of files on standard input, each ended by NUL

MODE: content | files | count. CONTEXT: lines around. CASE: "" or "i". Prints what ripgrep does with `--null`: a name and NUL;
then for content a line's number, ":" or in the context "-", its text; for count a number. Imports nothing of ours.
"""

from __future__ import annotations

import os
import re
import sys

MAX_LINE = 600  # characters printed


def main(mode: str, context: str, case: str, regex: str) -> int:
    pattern = re.compile(regex, re.IGNORECASE if case else 0)
    for name in sys.stdin.buffer.read().split(b"\0")[:-1]:
        try:
            with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                data = file.read()
        except OSError:
            continue
        search(os.fsdecode(name), data, pattern, mode, int(context))
    return 0


def search(name: str, data: bytes, pattern: re.Pattern[str], mode: str, context: int) -> None:
    lines = data.decode(errors="replace").removesuffix("\n").split("\n") if data else []
    if mode == "files":
        if any(pattern.search(line) for line in lines):
            sys.stdout.write(f"{name}\0")
        return
    found = [number for number, line in enumerate(lines) if pattern.search(line)]
    if mode == "count":
        if found:
            sys.stdout.write(f"{name}\0{len(found)}\n")
        return
    hits = set(found)
    around = {n for hit in hits for n in range(hit - context, hit + context + 1) if 0 <= n < len(lines)}
    for number in sorted(around):
        sys.stdout.write(f"{name}\0{number + 1}{':' if number in hits else '-'}{lines[number][:MAX_LINE]}\n")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    sys.exit(main(*sys.argv[1:]))
