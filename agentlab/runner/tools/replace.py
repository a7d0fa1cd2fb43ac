"""Exact replacement in a text, and what to say where it cannot be done: the lines that match, or come closest. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Protocol

from agentlab.errors import BadRequest, PatchFailed

_PLACES = 10  # line numbers that an error names
_SHOWN = 12  # lines of the file that an error shows
_WIDTH = 200  # characters of a line that an error shows
_COMPARED = 2_000  # lines that are looked at for likeness; beyond that a search would hold up the loop
_ALIKE = 0.6  # likeness of two lines, 0 to 1, below which nothing is shown; difflib's own "close match"


class Replacement(Protocol):
    @property
    def old(self) -> str: ...
    @property
    def new(self) -> str: ...
    @property
    def all(self) -> bool: ...


def replaced(text: str, old: str, new: str, *, all: bool, name: str) -> str:
    """`text` with `new` for `old`, which must be in it once unless `all`. Raises BadRequest, PatchFailed.

    Where all lines of the text end with CRLF, lines that are given without it are meant with it: a model does not see it.
    """
    if not old:
        raise BadRequest("The text to replace is empty. Give the exact text, or use write.")
    if old == new:
        raise BadRequest("The text to replace and its replacement are the same.")
    if "\r" not in old + new and 0 < text.count("\n") == text.count("\r\n"):
        old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
    count = text.count(old)
    if count == 0:
        raise PatchFailed(f"The text to replace is not in {name}. {_advice(text, old)}", hunk=old)
    if count > 1 and not all:
        raise PatchFailed(
            f"The text to replace is {count} times in {name}, at {_places(text, old, count)}. "
            "Give more of what surrounds it, or pass all=True.",
            hunk=old,
        )
    return text.replace(old, new)


def all_replaced(text: str, edits: Sequence[Replacement], *, name: str) -> str:
    """The replacements made one after the other. Raises as `replaced`, naming the first that cannot be made."""
    for number, edit in enumerate(edits, 1):
        try:
            text = replaced(text, edit.old, edit.new, all=edit.all, name=name)
        except (BadRequest, PatchFailed) as error:
            which = f"Edit {number} of {len(edits)}: {error} Nothing was changed."
            raise (BadRequest(which) if isinstance(error, BadRequest) else PatchFailed(which, hunk=edit.old)) from None
    return text


def _places(text: str, old: str, count: int) -> str:
    numbers: list[str] = []
    at, line, seen = text.find(old), 1, 0
    while at >= 0 and len(numbers) < _PLACES:
        line += text.count("\n", seen, at)
        numbers.append(str(line))
        seen, at = at, text.find(old, at + len(old))
    more = f" and {count - len(numbers)} more" if count > len(numbers) else ""
    return f"lines {', '.join(numbers)}{more}"


def _advice(text: str, old: str) -> str:
    lines, wanted = text.split("\n"), old.strip("\n").split("\n")
    start = _but_for_space(lines, wanted)
    if start is not None:
        part = _shown(lines, start, len(wanted))
        return f"It differs in white space only from these lines; give them to the letter:\n{part}"
    start = _closest(lines, wanted)
    if start is not None:
        return f"The closest lines are these; give them to the letter:\n{_shown(lines, start, len(wanted))}"
    return "Read it again and give it to the letter."


def _but_for_space(lines: list[str], wanted: list[str]) -> int | None:
    """Where the wanted lines begin if white space counts for nothing."""
    bare, sought = ["".join(line.split()) for line in lines], ["".join(line.split()) for line in wanted]
    if not any(sought):
        return None
    starts = range(len(bare) - len(sought) + 1)
    return next((at for at in starts if bare[at] == sought[0] and bare[at : at + len(sought)] == sought), None)


def _closest(lines: list[str], wanted: list[str]) -> int | None:
    """Where the line is that is most like the first wanted one that says something; None: nothing is like it."""
    skip = next((n for n, line in enumerate(wanted) if line.strip()), None)
    if skip is None:
        return None
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted[skip].strip()[:_WIDTH])
    best, start = _ALIKE, None
    for at, line in enumerate(lines[:_COMPARED]):
        matcher.set_seq1(line.strip()[:_WIDTH])
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best and (ratio := matcher.ratio()) > best:
            best, start = ratio, max(at - skip, 0)
    return start


def _shown(lines: list[str], start: int, count: int) -> str:
    """Lines with their numbers, as many as were asked for, bounded."""
    part = lines[start : start + min(count, _SHOWN)]
    return "\n".join(f"{number}\t{line[:_WIDTH]}" for number, line in enumerate(part, start + 1))
