"""What one agent has seen and done: its records, the content it keeps, the bases that its writes are made from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from agentlab.core.events import JSON, AnyBody, Artifact
from agentlab.runner.gate import Gate

from . import patch
from .results import digest
from .texts import plain

BLOB_LIMIT = 64 * 1024 * 1024  # bytes; larger content is recorded by its hash only
INLINE = 8 * 1024  # characters; longer strings in arguments and outputs go to blobs
_DIFFABLE = 4 * 1024 * 1024  # bytes; larger texts have no diff
_REMEMBERED = 16 * 1024 * 1024  # bytes of content kept in memory, to show what changed since


@dataclass(frozen=True)
class Scope:
    """On whose behalf records are made, and below which span."""

    actor: str | None = None
    span: str | None = None
    task_id: str | None = None


_NOBODY = Scope()
_scope: ContextVar[Scope] = ContextVar("scope", default=_NOBODY)


class Ledger:
    def __init__(self, gate: Gate, *, blob_limit: int = BLOB_LIMIT) -> None:
        self.gate = gate
        self.blob_limit = blob_limit
        self._bases: dict[str, str | None] = {}
        self._contents: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._kept: dict[str, str] = {}  # hash of the content -> hash under which it is stored

    # --- records -------------------------------------------------------------------------------------------

    @contextmanager
    def within(self, scope: Scope) -> Iterator[None]:
        before = _scope.set(scope)
        try:
            yield
        finally:
            _scope.reset(before)

    def record(self, body: AnyBody, **columns: JSON) -> None:
        scope = _scope.get()
        self.gate.record(body, **({"actor": scope.actor, "parent": scope.span} | columns))

    async def keep(self, data: bytes) -> tuple[str, bool]:
        """Store content: the hash under which it is found, and whether it was stored or is over the limit.

        Content that holds a secret is found under the hash of what is left when the secret is taken out.
        """
        hash = digest(data)
        if len(data) > self.blob_limit:
            return hash, False
        if hash not in self._kept:
            self._kept[hash] = await self.gate.keep(data)
        return self._kept[hash], True

    async def keep_diff(
        self, name: str, old: bytes | None, new: bytes | None, *, existed: bool
    ) -> tuple[patch.Diff, tuple[str, int] | None]:
        """The unified diff, and (hash, size) of it in the store; nothing for binary or very large content.

        old None: it is not known; `existed` says whether there was something. new None: the file is gone.
        """
        made = difference(name, old, new, existed=existed)
        if made is None:
            return patch.Diff("", 0, 0), None
        if not made.text:
            return made, None
        data = made.text.encode()
        hash, _ = await self.keep(data)
        return made, (hash, len(data))

    async def artifact(
        self, name: str, data: bytes, kind: str, *, media: str = "text/plain", path: str | None = None
    ) -> str:
        """Keep and declare it; the hash."""
        hash, _ = await self.keep(data)
        self.record(Artifact(kind=kind, hash=hash, size=len(data), media=media, path=path), name=name)
        return hash

    async def spill(self, value: JSON) -> JSON:
        """The value with every long string in it replaced by {"$blob": hash, "size": bytes}."""
        match value:
            case str() if len(value) > INLINE:
                data = value.encode(errors="surrogatepass")
                hash, _ = await self.keep(data)
                return {"$blob": hash, "size": len(data)}
            case list() | tuple():
                return [await self.spill(v) for v in value]
            case dict():
                return {key: await self.spill(v) for key, v in value.items()}
            case _:
                return value

    # --- bases ---------------------------------------------------------------------------------------------

    def saw(self, name: str, hash: str | None, data: bytes | None = None) -> None:
        """The agent knows the file in this state now: the base of its next write."""
        self._bases[name] = hash
        if hash is None or data is None or hash in self._contents or len(data) > _REMEMBERED // 4:
            return
        self._contents[hash] = data
        self._size += len(data)
        while self._size > _REMEMBERED:
            _, old = self._contents.popitem(last=False)
            self._size -= len(old)

    def knows(self, name: str) -> bool:
        return name in self._bases

    def base(self, name: str) -> str | None:
        """Hash of the file as this agent last read or wrote it. None: it was not there, or is unknown to it."""
        return self._bases.get(name)

    async def content(self, hash: str) -> bytes | None:
        """What had this hash, where anybody still has it."""
        found = self._contents.get(hash)
        return found if found is not None else await self.gate.fetch(hash)


def difference(name: str, old: bytes | None, new: bytes | None, *, existed: bool) -> patch.Diff | None:
    """From old to new, as `Ledger.keep_diff` has them; None for binary or very large content."""
    if old is None or max(len(old), len(new or b"")) > _DIFFABLE:
        return None
    a, b = plain(old), plain(new or b"")
    if a is None or b is None:
        return None
    return patch.make(a if existed else None, b if new is not None else None, name)
