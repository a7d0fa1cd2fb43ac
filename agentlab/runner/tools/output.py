"""What a process prints: into the log as it comes, whole into the store, shortened to the agent. Memory is bounded."""

from __future__ import annotations

import codecs
import tempfile
from pathlib import Path

from agentlab.core.events import ProcOutput

from .ledger import Ledger
from .results import SHOWN_HEAD, SHOWN_TAIL, shorten

CHUNK = 8 * 1024  # bytes of one ProcOutput
STREAMED = 1024 * 1024  # bytes of a stream that go into the log piece by piece; the rest is only in its artifact
PART = 16 * 1024 * 1024  # bytes of one artifact; more becomes several
KEPT = 64 * 1024 * 1024  # bytes of a stream that are kept, as of a file; of more its end is shown as well
HELD = 32 * 1024  # bytes that wait for what comes next, because a secret may have begun in them
_SHOWN_END = SHOWN_TAIL * 4  # bytes that hold at least so many characters


class Output:
    """One stream (fd 1 or 2) of one process. `feed` what comes, then `finish` once."""

    def __init__(self, ledger: Ledger, proc: str, fd: int, directory: Path) -> None:
        self._ledger = ledger
        self._proc = proc
        self._fd = fd
        self._spool = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
        self._pending = b""
        self._streamed = 0
        self._tail = b""  # the end of what is not kept
        self._hashes: list[str] = []
        self.size = 0  # bytes

    @property
    def name(self) -> str:
        return f"{self._proc}.{'stdout' if self._fd == 1 else 'stderr'}"

    async def feed(self, data: bytes) -> None:
        self._spool.write(data[: max(KEPT - self.size, 0)])
        if self.size + len(data) > KEPT:
            self._tail = (self._tail + data[max(KEPT - self.size, 0) :])[-_SHOWN_END:]
        self.size += len(data)
        room = STREAMED - self._streamed
        if room > 0:
            self._streamed += min(room, len(data))
            self._pending += data[:room]
            await self._emit(final=False)

    async def finish(self) -> None:
        """Record the rest, and the whole as an artifact where it is long."""
        if self.size > self._streamed:  # not the first half of a secret
            end = self._ledger.gate.settled(self._pending)
            self._streamed -= len(self._pending) - end
            self._pending = self._pending[:end]
        await self._emit(final=True)
        if self.size > self._streamed:
            lost = f", the first {KEPT} of all" if self.size > KEPT else ""
            text = f"[... {self.size - self._streamed} bytes more, in the artifact {self.name}{lost} ...]\n"
            self._ledger.record(ProcOutput(proc=self._proc, fd=self._fd, data=text))
        if self.size > CHUNK:
            await self._store()

    @property
    def stored(self) -> str:
        """Where the whole of it can be read; "": it was short, or is in several parts."""
        return f"artifact:{self._hashes[0]}" if len(self._hashes) == 1 else ""

    def text(self) -> str:
        """For the agent: all of it, or head and tail with a note of where the rest is."""
        head, tail = SHOWN_HEAD * 4, _SHOWN_END  # bytes that hold at least so many characters
        self._spool.seek(0)
        if self.size <= head + tail:
            return shorten(self._spool.read().decode(errors="replace"), self._where())
        begin = self._spool.read(head).decode(errors="replace")[:SHOWN_HEAD]
        end = self._last(tail).decode(errors="replace")[-SHOWN_TAIL:]
        return f"{begin}\n[... about {self.size - len(begin) - len(end)} bytes left out; {self._where()} ...]\n{end}"

    def tail(self, size: int = 4096) -> str:
        """The last bytes, as text."""
        return self._last(size).decode(errors="replace")

    def _last(self, size: int) -> bytes:
        self._spool.seek(max(min(self.size, KEPT) - max(size - len(self._tail), 0), 0))
        return (self._spool.read() + self._tail)[-size:]

    def close(self) -> None:
        self._spool.close()

    def _where(self) -> str:
        parts = " then ".join(f'read("artifact:{hash}", start=..., end=...)' for hash in self._hashes[:3])
        lost = f" (its first {KEPT} bytes are kept)" if self.size > KEPT else ""
        return f"page through it with {parts}{lost}" if parts else "run it again with less output"

    async def _emit(self, *, final: bool) -> None:
        while self._pending:
            piece = self._pending[: self._next(final=final)]
            if not piece:
                return  # the rest of a character, or perhaps of a secret, is still to come
            self._pending = self._pending[len(piece) :]
            try:
                self._ledger.record(ProcOutput(proc=self._proc, fd=self._fd, data=piece.decode()))
            except UnicodeDecodeError:
                raw, _ = await self._ledger.keep(piece)
                self._ledger.record(
                    ProcOutput(proc=self._proc, fd=self._fd, data=piece.decode(errors="replace"), raw=raw)
                )

    def _next(self, *, final: bool) -> int:
        """Length of the next piece: CHUNK at most, and more only where that would cut a secret in two. 0: wait."""
        size = CHUNK
        while True:
            end = _cut(self._pending, size, final=final)
            if final and end == len(self._pending):
                return end
            if settled := self._ledger.gate.settled(self._pending[:end]):
                return settled
            if size >= HELD:
                return end
            if size >= len(self._pending) and not final:
                return 0
            size *= 2

    async def _store(self) -> None:
        self._spool.seek(0)
        count = -(-min(self.size, KEPT) // PART)
        rest = b""
        for n in range(1, count + 1):
            name = self.name if count == 1 else f"{self.name}.{n}"
            data = rest + self._spool.read(PART)
            whole = n == count and self.size <= KEPT
            end = len(data) if whole else self._ledger.gate.settled(data)
            rest = data[end:]
            self._hashes.append(await self._ledger.artifact(name, data[:end], "output"))


def _cut(data: bytes, size: int, *, final: bool) -> int:
    """Length of the next piece: at most `size`, and not in the middle of a character."""
    piece = data[:size]
    if final and len(data) <= size:
        return len(piece)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(piece)
    waiting, _ = decoder.getstate()
    return len(piece) - len(waiting)
