"""Unified diffs: made from two texts, and applied to one. Pure.

Lines end with "\\n" and nothing else, so that no other separator is ever lost. `apply(a, make(a, b)) == b`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from agentlab.errors import PatchFailed

NO_NEWLINE = "\\ No newline at end of file"
CONTEXT = 3
_EXACT = 4_000  # changed lines on one side; beyond it the middle is shown as replaced, not aligned
_SHOWN = 12  # lines of the file in an error
_HEADER = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")

Opcode = tuple[str, int, int, int, int]


@dataclass(frozen=True)
class Diff:
    text: str  # "" where nothing differs
    added: int  # lines
    removed: int


@dataclass(frozen=True)
class Hunk:
    """`old` and `new` are whole lines with their ends; `start` counts from 1, 0 is before the first line."""

    number: int
    start: int
    old: tuple[str, ...]
    new: tuple[str, ...]
    text: str


def lines_of(text: str) -> list[str]:
    """With their ends; the last one may have none."""
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def make(before: str | None, after: str | None, name: str) -> Diff:
    """The unified diff. None stands for: there is no such file."""
    a, b = lines_of(before or ""), lines_of(after or "")
    opcodes = _opcodes(a, b)
    removed = sum(op[2] - op[1] for op in opcodes if op[0] != "equal")
    added = sum(op[4] - op[3] for op in opcodes if op[0] != "equal")
    if before == after:
        return Diff("", 0, 0)
    old = "/dev/null" if before is None else f"a/{name}"
    new = "/dev/null" if after is None else f"b/{name}"
    out = [f"--- {old}\n", f"+++ {new}\n"]
    for group in _groups(opcodes):
        out.append(_hunk_header(group))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                out.extend(_body(" ", a[i1:i2]))
            else:
                out.extend(_body("-", a[i1:i2]))
                out.extend(_body("+", b[j1:j2]))
    return Diff("".join(out), added, removed)


def apply(text: str, diff: str, name: str = "the file") -> str:
    """The text with the diff applied. Context must match to the letter; a hunk may sit elsewhere where that is unique.

    Raises PatchFailed, with the hunk and what the file has in its place; nothing is applied by halves.
    """
    lines = lines_of(text)
    out: list[str] = []
    done = 0  # lines of the file that are already in `out`
    shift = 0
    for hunk in parse(diff):
        at = _place(lines, hunk, done, shift, name)
        shift = at - _position(hunk)
        out += lines[done:at]
        out += hunk.new
        done = at + len(hunk.old)
    out += lines[done:]
    _check_ends(out, name)
    return "".join(out)


def parse(diff: str) -> list[Hunk]:
    """The hunks of a diff of one file, whatever its header calls it. Raises PatchFailed."""
    lines = diff.split("\n")
    if lines[-1] == "":
        lines.pop()
    hunks: list[Hunk] = []
    files = 0
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("@@"):
            hunk, at = _parse_hunk(lines, at, len(hunks) + 1)
            hunks.append(hunk)
            continue
        files += line.startswith("+++ ")
        if files > 1:
            raise PatchFailed("The diff changes several files. Call patch once for each of them.")
        if hunks and line.strip() and not line.startswith(("diff ", "index ", "--- ", "+++ ")):
            raise _malformed(hunks[-1].number, hunks[-1].text, f"has more lines than its header says: {line!r} is left")
        at += 1
    if not hunks:
        raise PatchFailed("There is no hunk in the diff. Begin each with a line such as '@@ -1,3 +1,4 @@'.")
    return hunks


# --- making ------------------------------------------------------------------------------------------------


def _opcodes(a: Sequence[str], b: Sequence[str]) -> list[Opcode]:
    head = 0
    while head < min(len(a), len(b)) and a[head] == b[head]:
        head += 1
    tail = 0
    while tail < min(len(a), len(b)) - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    a_end, b_end = len(a) - tail, len(b) - tail
    found: list[Opcode] = [("equal", 0, head, 0, head)] if head else []
    if max(a_end, b_end) - head > _EXACT:
        found.append(("replace", head, a_end, head, b_end))
    elif a_end > head or b_end > head:
        matcher = difflib.SequenceMatcher(None, a[head:a_end], b[head:b_end])
        found += [(t, i1 + head, i2 + head, j1 + head, j2 + head) for t, i1, i2, j1, j2 in matcher.get_opcodes()]
    if tail:
        found.append(("equal", a_end, len(a), b_end, len(b)))
    return found


def _groups(opcodes: Sequence[Opcode]) -> Iterator[list[Opcode]]:
    """Changes with their context; those that touch go together."""
    group: list[Opcode] = []
    for index, (tag, i1, i2, j1, j2) in enumerate(opcodes):
        if tag != "equal":
            group.append((tag, i1, i2, j1, j2))
            continue
        last = index == len(opcodes) - 1
        if not group:
            group.append((tag, max(i1, i2 - CONTEXT), i2, max(j1, j2 - CONTEXT), j2))
        elif last or i2 - i1 > 2 * CONTEXT:
            group.append((tag, i1, min(i2, i1 + CONTEXT), j1, min(j2, j1 + CONTEXT)))
            yield group
            group = [] if last else [(tag, i2 - CONTEXT, i2, j2 - CONTEXT, j2)]
        else:
            group.append((tag, i1, i2, j1, j2))
    if any(op[0] != "equal" for op in group):
        yield group


def _hunk_header(group: Sequence[Opcode]) -> str:
    old = _span(group[0][1], group[-1][2])
    new = _span(group[0][3], group[-1][4])
    return f"@@ -{old} +{new} @@\n"


def _span(start: int, stop: int) -> str:
    count = stop - start
    if count == 1:
        return f"{start + 1}"
    return f"{start + 1 if count else start},{count}"


def _body(sign: str, lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield f"{sign}{line}" if line.endswith("\n") else f"{sign}{line}\n{NO_NEWLINE}\n"


# --- applying ----------------------------------------------------------------------------------------------


def _parse_hunk(lines: Sequence[str], at: int, number: int) -> tuple[Hunk, int]:
    header = _HEADER.match(lines[at])
    if header is None:
        raise _malformed(number, lines[at], "has no line numbers: write '@@ -start,count +start,count @@'")
    start, old_count, _, new_count = (int(g) if g is not None else 1 for g in header.groups())
    begin = at
    old: list[str] = []
    new: list[str] = []
    at += 1
    while at < len(lines):
        line = lines[at]
        if line.startswith("\\"):
            _cut_newline(old if lines[at - 1][:1] in "- " else None, new if lines[at - 1][:1] in "+ " else None)
        elif len(old) >= old_count and len(new) >= new_count:
            break
        elif line[:1] in ("-", " ", ""):
            old.append(line[1:] + "\n")
            if line[:1] != "-":
                new.append(line[1:] + "\n")
        elif line[:1] == "+":
            new.append(line[1:] + "\n")
        else:
            break
        at += 1
    text = "\n".join(lines[begin:at])
    if (len(old), len(new)) != (old_count, new_count):
        raise _malformed(
            number,
            text,
            f"has {len(old)} old and {len(new)} new lines, but its header says {old_count} and {new_count}",
        )
    return Hunk(number, start, tuple(old), tuple(new), text), at


def _cut_newline(*sides: list[str] | None) -> None:
    for side in sides:
        if side:
            side[-1] = side[-1].removesuffix("\n")


def _malformed(number: int, text: str, why: str) -> PatchFailed:
    return PatchFailed(f"Hunk {number} {why}. Nothing was changed.\n{text}", hunk=text)


def _position(hunk: Hunk) -> int:
    """Index of its first old line by its header. One without old lines goes *after* the line that it names."""
    return hunk.start - 1 if hunk.old else hunk.start


def _place(lines: Sequence[str], hunk: Hunk, done: int, shift: int, name: str) -> int:
    guess = _position(hunk) + shift
    size = len(hunk.old)
    if done <= guess <= len(lines) - size and tuple(lines[guess : guess + size]) == hunk.old:
        return guess
    places = [
        i
        for i in range(done, len(lines) - size + 1)
        if size and lines[i] == hunk.old[0] and tuple(lines[i : i + size]) == hunk.old
    ]
    if len(places) == 1:
        return places[0]
    if places:
        where = ", ".join(str(i + 1) for i in places[:8])
        why = f"fits at several places (lines {where}); give it more context"
    else:
        why = "does not match; read the file again and make the diff from what is there" + _hint(lines, hunk)
    shown = lines[max(guess, 0) : max(guess, 0) + min(max(size, 1), _SHOWN)]
    there = "".join(_body(" ", shown)) or " (the file ends before)\n"
    raise PatchFailed(
        f"Hunk {hunk.number} {why}. Nothing was changed in {name}.\n{hunk.text}\n"
        f"What is there, from line {max(guess, 0) + 1} of {len(lines)}:\n{there}",
        hunk=hunk.text,
        there=there,
    )


def _hint(lines: Sequence[str], hunk: Hunk) -> str:
    if any(line.endswith("\r\n") for line in lines[:100]) and not any(o.endswith("\r\n") for o in hunk.old):
        return " (its lines end with CRLF)"
    if lines and not lines[-1].endswith("\n") and f"{lines[-1]}\n" in hunk.old:
        return f" (its last line has no newline: say so by '{NO_NEWLINE}')"
    return ""


def _check_ends(lines: Sequence[str], name: str) -> None:
    if any(not line.endswith("\n") for line in lines[:-1]):
        raise PatchFailed(f"The diff would join two lines of {name}: its '{NO_NEWLINE}' is not at the end.")
