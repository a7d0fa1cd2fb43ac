"""A text file as a model reads it: a page of numbered lines, sized for a context window. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from msgspec import Struct

from agentlab.errors import BadRequest

LINES = (
    1_990  # of one page; opencode cuts results at 2,000 lines or 50 KiB, and puts the rest where agents cannot read it
)
BYTES = 48_000  # of one page, with its numbers
WIDTH = 2_000  # characters shown of a line
_KEPT = 4 * WIDTH  # bytes kept of a line: as many as that many characters can have
_CR = "\r"
_NUMBER = 8  # bytes before and after a line
_LOOKED_AT = 8192  # bytes in which a NUL makes a file a binary one


class Page(Struct, frozen=True, kw_only=True):
    """Lines `start` to `end` (from 1, inclusive; end < start: none) of the `total` of a file. truncated: more were asked
    for than a page takes. text: those lines, without numbers; very long ones are cut and say so."""

    path: str
    start: int
    end: int
    total: int
    truncated: bool
    text: str


def page_of(pieces: Iterable[bytes], path: str, start: int | None = None, end: int | None = None) -> tuple[Page, str]:
    """A page of the content that comes in these pieces, and the hash of all of it; in bounded memory.

    Raises BadRequest: it is binary, or the lines are no UTF-8.
    """
    hasher, taken = sha256(), _Lines(path, start or 1, end)
    head, ends_in_newline = b"", True
    for piece in pieces:
        if len(head) < _LOOKED_AT:
            head += piece[: _LOOKED_AT - len(head)]
            if b"\0" in head:
                raise BadRequest(
                    f"{path} is binary. Read its bytes with read_bytes({path!r}, start=0, end=4096), or use a program through run."
                )
        hasher.update(piece)
        taken.feed(piece)
        ends_in_newline = piece.endswith(b"\n") if piece else ends_in_newline
    taken.finish()
    total = taken.line - ends_in_newline
    last = taken.first + len(taken.kept) - 1
    text = "\n".join(taken.kept) + ("\n" if taken.kept and (last < total or ends_in_newline) else "")
    truncated = last < min(total, total if end is None else end)
    return Page(path=path, start=taken.first, end=last, total=total, truncated=truncated, text=text), hasher.hexdigest()


class _Lines:
    """`line`: the number of the line that comes next, or goes on."""

    def __init__(self, path: str, first: int, last: int | None) -> None:
        self.first = first
        self.kept: list[str] = []
        self.line = 1
        self._path = path
        self._stop = min(first + LINES, float("inf") if last is None else last + 1)
        self._room = BYTES
        self._current = b""
        self._left_out = 0  # bytes of the current line

    def feed(self, piece: bytes) -> None:
        at = 0
        while self.line < self._stop:
            end = piece.find(b"\n", at)
            part = piece[at:] if end < 0 else piece[at:end]
            if self.line >= self.first:
                room = _KEPT - len(self._current)
                self._current += part[:room]
                self._left_out += max(len(part) - room, 0)
            if end < 0:
                return
            at = end + 1
            self._close()
            self.line += 1
        self.line += piece.count(b"\n", at)

    def finish(self) -> None:
        """The last line may have no newline."""
        if self._current:
            self._close()

    def _close(self) -> None:
        if self.line < self.first:
            return
        text = self._shown()
        self._current, self._left_out = b"", 0
        self._room -= len(text.encode()) + _NUMBER
        if self._room < 0 and self.kept:
            self._stop = self.line
            return
        self.kept.append(text)

    def _shown(self) -> str:
        try:
            text = self._current.decode(errors="ignore" if self._left_out else "strict")
        except UnicodeDecodeError as error:
            raise BadRequest(
                f"Line {self.line} of {self._path} is no UTF-8 text (byte 0x{self._current[error.start]:02x}). Use "
                f"read_bytes({self._path!r}) for its bytes, or convert it through run(['iconv', ...])."
            ) from None
        more = len(text) - WIDTH + self._left_out
        return text if more <= 0 else f"{text[:WIDTH]} [... {more} more in this line]"


def numbered(page: Page) -> str:
    """For the model: each line with its number, and a last one that says what is not shown and how to read on."""
    lines = page.text.removesuffix("\n").split("\n") if page.end >= page.start else []
    shown = [f"{number:>6}\t{line.removesuffix(_CR)}" for number, line in enumerate(lines, page.start)]
    crlf = ["[lines end with CRLF]"] if any(line.endswith(_CR) for line in lines) else []
    return "\n".join([*shown, *crlf, *_note(page)])


def _note(page: Page) -> list[str]:
    if page.total == 0:
        return [f"[{page.path} is empty]"]
    if page.end < page.start <= page.total:
        return [f"[no lines: the end is before the start; {page.path} has {page.total} lines]"]
    if page.end < page.start:
        return [f"[there is no line {page.start}: {page.path} has {page.total} lines]"]
    if page.truncated:
        return [f"[lines {page.start}-{page.end} of {page.total}; read on with start={page.end + 1}]"]
    return [f"[lines {page.start}-{page.end} of {page.total}]"] if page.end - page.start + 1 < page.total else []
