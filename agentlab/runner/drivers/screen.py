"""What a program shows in its terminal, and what that means: busy, ready for more, or blocked on a question. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pyte
from pyte import modes

ROWS, COLUMNS = 40, 120
KEPT = 5000  # lines that have left the screen
LAST = 6  # lines at the end that say how a program is
_TEXT = re.compile(rb"[^\x00-\x1f\x7f]+")  # without line breaks, and without what moves the cursor
_BREAK = re.compile(rb"[\x00-\x1f\x7f]")
_PASTE = 2004 << 5  # the private mode in which a pasted text may have line breaks, as pyte counts it

SECRET = re.compile(r"\b(password|passphrase|api key|access token|secret)\b[^\n]*[:?]\s*$", re.IGNORECASE)
"""How programs ask for what must not be in a log."""

QUESTIONS = (
    r"\[y/n\]|\(y/n\)|\(yes/no\)|\[yes/no\]",
    SECRET.pattern,
    r"press (enter|return|any key)",
    r"(do you want to|would you like to|are you sure|allow|proceed).*\?\s*$",
    r"(log ?in|sign ?in|authenticate).*(:|\?)\s*$",
    r"use (the )?arrow keys",
)
"""What programs say when they wait for a person's answer and not for a prompt."""


class Look(StrEnum):
    BUSY = "busy"
    READY = "ready"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Rules:
    """quiet: s without output after which a program is no longer busy. ready: what its last lines then look like."""

    quiet: float = 2.0
    ready: re.Pattern[str] | None = None
    questions: tuple[re.Pattern[str], ...] = field(
        default_factory=lambda: tuple(re.compile(q, re.IGNORECASE) for q in QUESTIONS)
    )


def judge(rules: Rules, tail: str, silent: float, unanswered: Sequence[str] | None = None) -> Look:
    """tail: the last lines that are not empty. silent: s since anything was printed. unanswered: those of the tail in which a
    question is one; None: all."""
    lines = tail.splitlines()[-LAST:]
    asking = lines if unanswered is None else unanswered
    if silent < min(rules.quiet, 0.5):
        return Look.BUSY
    # Blanks at the end of a line cannot be seen: a prompt of "> " is one with them or without.
    if rules.ready is not None and any(rules.ready.search(seen) for line in lines for seen in (line, f"{line} ")):
        return Look.READY
    if any(question.search(line) for question in rules.questions for line in asking):
        return Look.BLOCKED
    return Look.READY if rules.ready is None and silent >= rules.quiet else Look.BUSY


class Screen:
    """A terminal of `ROWS` by `COLUMNS`, fed with what a program prints."""

    def __init__(self, rows: int = ROWS, columns: int = COLUMNS) -> None:
        self._screen: Any = pyte.HistoryScreen(columns, rows, history=KEPT, ratio=0.5)
        self._screen.set_mode(modes.LNM)
        self._stream = pyte.ByteStream(self._screen)
        self._full = rows * columns
        self._run = 0  # bytes of text since the last control character
        self._answered: dict[
            int, str
        ] = {}  # row, counted from where the history began -> what it showed when that was answered

    def feed(self, data: bytes) -> None:
        """Of text without a break only as much is drawn as fills the screen: ten megabytes of it would take minutes."""
        self._stream.feed(_TEXT.sub(self._cut, data))
        broken = _BREAK.search(data[::-1])
        self._run = broken.start() if broken else self._run + len(data)
        if self._answered:
            shown = dict(self._rows())
            self._answered = {row: text for row, text in self._answered.items() if shown.get(row, "").startswith(text)}

    def _cut(self, text: re.Match[bytes]) -> bytes:
        before = self._run if text.start() == 0 else 0
        return text[0][: max(0, self._full - before)]

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without the blanks to its right and below."""
        rows = (self._text(self._screen.buffer[y]) for y in range(self._screen.lines))
        return "\n".join(rows).rstrip("\n").split("\n")

    @property
    def tail(self) -> str:
        """Its last lines that are not empty."""
        return "\n".join([line for line in self.lines if line.strip()][-10:])

    def answer(self) -> None:
        """What it shows now is answered: of the same lines, in the same place, none is a question any more."""
        self._answered = {row: line for row, line in self._rows() if line.strip()}

    @property
    def unanswered(self) -> list[str]:
        """Those of the last lines of `tail` in which a question may be one. An answered line stays on the screen with what was
        typed behind it, or with what came of it below; where nothing came of it, or it was drawn anew, it asks again."""
        found: list[str] = []
        followed = False
        for row, line in reversed([(row, line) for row, line in self._rows() if line.strip()][-LAST:]):
            before = self._answered.get(row)
            if before is None:
                followed = True
            if before is None or (line == before and not followed):
                found.append(line)
        return found[::-1]

    def _rows(self) -> list[tuple[int, str]]:
        return list(enumerate(self.lines, start=len(self._screen.history.top)))

    @property
    def wants_secret(self) -> bool:
        """Whether its last line asks for a password, or the like."""
        return SECRET.search(self.tail.rpartition("\n")[2]) is not None

    @property
    def transcript(self) -> list[str]:
        """All lines that there ever were, as far as they are kept, those on the screen last."""
        return [*(self._text(row) for row in self._screen.history.top), *self.lines]

    def _text(self, row: Any) -> str:
        """pyte's own `display` fails on half of a wide character that was written over."""
        return "".join(row[x].data for x in range(self._screen.columns)).rstrip()

    def typed(self, text: str) -> bytes:
        """The keys for a text and Enter. Several lines are pasted as one where the program can take that."""
        body = text.replace("\r\n", "\n").strip("\n")
        if "\n" in body and _PASTE in self._screen.mode:
            return f"\x1b[200~{body}\x1b[201~\r".encode()
        return body.replace("\n", "\r").encode() + b"\r"


def news(before: list[str], after: list[str]) -> str:
    """What a transcript has more than an earlier one had; of a screen that was redrawn, what it shows."""
    same = 0
    for old, new in zip(before, after, strict=False):
        if old != new:
            break
        same += 1
    return "\n".join(after[same:]).strip("\n")
