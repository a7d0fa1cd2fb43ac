"""Reading and changing files: under a grant, above the fence, from the base that the agent knows."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from difflib import get_close_matches
from typing import BinaryIO, Final

from msgspec import UNSET, UnsetType

from agentlab.core.events import Artifact, FileDelete, FileRead, FileRename, FileWrite
from agentlab.errors import AgentlabError, BadRequest, NotFound, Refused, StaleBase
from agentlab.paths import Workspace

from . import patch as unified
from .contents import Content, Now, all_edited, edited, patched
from .fence import Fences
from .grants import Grants
from .ledger import Ledger, difference
from .page import Page, page_of
from .parts import Part, hash_of, pieces, scan_part
from .replace import Replacement
from .results import Change, digest
from .texts import decode, plain
from .watch import Watch

Base = str | None | UnsetType
"""Hash of what a write was made from; None: the file must not exist; UNSET: what this agent last saw of it."""

ARTIFACT: Final = "artifact:"
_SMALL = 4 * 1024 * 1024  # bytes that may be read and hashed on the event loop
_FEW = 24 * 1024  # bytes that a model is shown at once
_MEANT = 3  # names like the one that is missing
_SHOWN_DIFF = 8_000  # characters of the diff in an error
_TRIES = 3  # of a write whose file changes between our look and our rename


class Files:
    def __init__(self, workspace: Workspace, ledger: Ledger, grants: Grants, fences: Fences, watch: Watch) -> None:
        self._workspace = workspace
        self._ledger = ledger
        self._grants = grants
        self._fences = fences
        self._watch = watch

    # --- reading -------------------------------------------------------------------------------------------

    async def read(self, path: str, start: int | None = None, end: int | None = None) -> str:
        if path.startswith(ARTIFACT):
            return _lines(await self._artifact(path), start, end)
        name = self._workspace.locate(path).name
        data = await self._read(name, None if start is None and end is None else ("lines", start or 1, end))
        return decode(data, name)

    async def read_bytes(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        name = self._workspace.locate(path).name
        return await self._read(name, None if start is None and end is None else ("bytes", start or 0, end))

    async def page(self, path: str, start: int | None = None, end: int | None = None) -> Page:
        """As `read`, for a model: no more than it can take at once."""
        if path.startswith(ARTIFACT):
            return page_of([(await self._artifact(path)).encode()], path, start, end)[0]
        name = self._workspace.locate(path).name
        with self._opened(name) as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read() if size <= _SMALL else None
            read = pieces(file.fileno()) if data is None else [data]
            page, hash = await asyncio.to_thread(page_of, read, name, start, end)
        self._knows(name, hash, size, data)
        return page

    async def few_bytes(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """As `read_bytes`, for a model. Raises BadRequest: that is more than it can take at once."""
        name = self._workspace.locate(path).name
        with self._opened(name) as file:
            size = os.fstat(file.fileno()).st_size
        if min(size, size if end is None else end) - (start or 0) > _FEW:
            raise BadRequest(
                f"{name} has {size} bytes; at most {_FEW} are shown at once. Read a part: "
                f"read_bytes({name!r}, start={start or 0}, end={(start or 0) + _FEW}).",
                size=size,
            )
        return await self.read_bytes(path, start, end)

    async def _artifact(self, path: str) -> str:
        data = await self._ledger.content(path.removeprefix(ARTIFACT))
        if data is None:
            raise NotFound(f"There is no stored output {path!r}.")
        return data.decode(errors="replace")

    async def _read(self, name: str, part: Part | None) -> bytes:
        with self._opened(name) as file:
            size = os.fstat(file.fileno()).st_size
            limit = self._ledger.blob_limit
            if part is None and size > limit:
                raise BadRequest(
                    f"{name} has {size} bytes, more than the {limit} that are read at once. Read a part of it: "
                    f"read({name!r}, start=1, end=1000) by lines, or read_bytes({name!r}, start=0, end=65536).",
                    size=size,
                )
            if part is None and size <= _SMALL:
                data = file.read()
                hash = digest(data)
            else:
                data, hash = await asyncio.to_thread(scan_part, file.fileno(), part, limit, name)
        self._knows(name, hash, size, data if part is None else None)
        return data

    def _opened(self, name: str) -> BinaryIO:
        try:
            return os.fdopen(self._workspace.open_read(name), "rb")
        except NotFound as missing:
            self._ledger.saw(name, None)
            self._ledger.record(FileRead(path=name, hash=None), name=name)
            raise NotFound(f"{missing}{self._meant(name)}", path=name) from None

    def _meant(self, name: str) -> str:
        """What there is of a similar name in that directory."""
        folder, _, last = name.rpartition("/")
        try:
            there = [entry.name for entry in (self._workspace.root / folder).iterdir()]
        except OSError:
            return ""
        close = [f"{folder}/{each}" if folder else each for each in get_close_matches(last, there, _MEANT)]
        return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""

    def _knows(self, name: str, hash: str, size: int, data: bytes | None) -> None:
        self._ledger.saw(name, hash, data)
        self._ledger.record(FileRead(path=name, hash=hash, size=size), name=name)

    # --- changing ------------------------------------------------------------------------------------------

    async def write(self, path: str, data: bytes, *, base: Base = UNSET, overwrite: bool = False) -> Change:
        name = self._workspace.locate(path).name
        async with self._turn(name):
            return await self._put(name, lambda now: data, base=base, literal=data, blind=overwrite)

    async def edit(self, path: str, old: str, new: str, *, all: bool = False) -> Change:
        name = self._workspace.locate(path).name
        async with self._turn(name):
            return await self._put(name, edited(name, old, new, all=all))

    async def multi_edit(self, path: str, edits: Sequence[Replacement]) -> Change:
        name = self._workspace.locate(path).name
        async with self._turn(name):
            return await self._put(name, all_edited(name, edits))

    async def patch(self, path: str, diff: str) -> Change:
        name = self._workspace.locate(path).name
        content = patched(name, diff)
        async with self._turn(name):
            return await self._put(name, content)

    async def delete(self, path: str) -> Change:
        name = self._named(path)
        async with self._turn(name):
            now = await self._look(name)
            if now is None:
                self._ledger.saw(name, None)
                raise NotFound(f"There is no file {name!r} to delete.", path=name)
            await self._check_base(name, now, UNSET, blind=True)
            difference, kept = await self._keep(name, now, None)
            async with self._fences.locked(self._workspace.root / name, name) as fence:
                token = self._grants.token(f"file:{name}")
                fence.raise_to(token)
                self._workspace.remove(name, expect=now.hash)
                self._gone(name)
                self._ledger.record(FileDelete(path=name, before=now.hash, token=token), name=name, unit=f"file:{name}")
                self._declare(name, kept)
            return Change(path=name, before=now.hash, after=None, removed=difference.removed, diff=difference.text)

    async def move(self, path: str, to: str) -> Change:
        name, target = self._named(path), self._workspace.locate(to).name
        if name == target:
            raise BadRequest(f"{name!r} is already there: both names mean the same file.")
        async with self._turn(name, target):
            now = await self._look(name)
            if now is None:
                raise NotFound(f"There is no file {name!r} to move.", path=name)
            await self._check_base(name, now, UNSET, blind=True)
            if now.data is not None:
                await self._ledger.keep(now.data)
            async with AsyncExitStack() as stack:
                for each in sorted((name, target)):  # one order for everybody
                    fence = await stack.enter_async_context(self._fences.locked(self._workspace.root / each, each))
                    token = self._grants.token(f"file:{each}")
                    fence.raise_to(token)
                token = self._grants.token(f"file:{target}")
                self._workspace.rename(name, target, expect=now.hash)
                self._gone(name)
                self._ledger.saw(target, now.hash, now.data)
                self._watch.note(target, now.data)
                self._ledger.record(
                    FileRename(path=name, to=target, before=now.hash, token=token), name=name, unit=f"file:{name}"
                )
            return Change(path=name, before=now.hash, after=now.hash, to=target)

    async def preview(self, path: str, content: Content | None) -> str:
        """The difference that a change would make to what is there now, for a person to look at before it is allowed. content
        None: the file goes. "" where there is none to show; where the change cannot be made, the call itself will say why."""
        try:
            name = self._workspace.locate(path).name
            now = await self._look(name)
            after = content(now) if content else None
        except (AgentlabError, OSError):
            return ""
        made = difference(name, now.data if now else b"", after, existed=now is not None)
        return made.text if made else ""

    # --- the way of one write ------------------------------------------------------------------------------

    @asynccontextmanager
    async def _turn(self, *names: str) -> AsyncIterator[None]:
        """The grant first, which may take long; then our turn among this agent's own changes."""
        async with self._grants.holding(f"file:{name}" for name in names), self._watch.turn:
            yield

    async def _put(
        self,
        name: str,
        content: Content,
        *,
        base: Base = UNSET,
        literal: bytes | None = None,
        blind: bool | None = None,
    ) -> Change:
        """literal: the content where it does not depend on what is there. blind: the file need not have been read;
        None where the content proves that it was known, as the context of a patch does."""
        for last in (False,) * (_TRIES - 1) + (True,):
            now = await self._look(name)
            same = literal is not None and base is UNSET and now is not None and now.hash == digest(literal)
            if not same:
                await self._check_base(name, now, base, blind=blind is not False)
                if blind is None and now is not None and not self._ledger.knows(name):
                    self._ledger.record(FileRead(path=name, hash=now.hash, size=now.size), name=name)
            data = content(now)
            after = digest(data)
            if now is not None and now.hash == after:
                self._ledger.saw(name, after, data)
                return Change(path=name, before=after, after=after)
            if now is not None and not now.mode & 0o222:
                raise Refused(
                    f"{name} is read-only: somebody wants it as it is. Nothing was written. Write another file; if this one has to "
                    f"be changed, first run(['chmod', 'u+w', {name!r}], writes=[{name!r}]).",
                    path=name,
                )
            difference, kept = await self._keep(name, now, data)
            try:
                await self._commit(name, now, data, difference, kept)
            except StaleBase:
                if last:
                    raise
                continue
            before = now.hash if now else None
            return Change(
                path=name,
                before=before,
                after=after,
                added=difference.added,
                removed=difference.removed,
                diff=difference.text,
            )
        raise AssertionError("unreachable")

    async def _commit(
        self, name: str, now: Now | None, data: bytes, difference: unified.Diff, kept: tuple[str, int] | None
    ) -> None:
        """From the lock of the fence to the record nothing is awaited: no cancellation falls in between."""
        async with self._fences.locked(self._workspace.root / name, name) as fence:
            token = self._grants.token(f"file:{name}")
            fence.raise_to(token)
            before = now.hash if now else None
            self._workspace.replace(name, data, mode=now.mode if now else None, expect=before)
            after = digest(data)
            self._ledger.saw(name, after, data)
            self._watch.note(name, data)
            found = self._workspace.stat(name)
            body = FileWrite(
                path=name,
                before=before,
                after=after,
                size=len(data),
                mode=stat.S_IMODE(found.st_mode) if found else 0o644,
                added=difference.added,
                removed=difference.removed,
                diff=kept[0] if kept else None,
                stored=len(data) <= self._ledger.blob_limit,
                token=token,
            )
            self._ledger.record(body, name=name, unit=f"file:{name}")
            self._declare(name, kept)

    async def _keep(
        self, name: str, now: Now | None, data: bytes | None
    ) -> tuple[unified.Diff, tuple[str, int] | None]:
        """Both contents and their difference into the store, before anything is changed."""
        for content in (now.data if now else None, data):
            if content is not None:
                await self._ledger.keep(content)
        return await self._ledger.keep_diff(name, now.data if now else b"", data, existed=now is not None)

    def _declare(self, name: str, kept: tuple[str, int] | None) -> None:
        if kept is not None:
            hash, size = kept
            body = Artifact(kind="diff", hash=hash, size=size, media="text/x-diff", path=name)
            self._ledger.record(body, name=f"{name}.diff")

    def _gone(self, name: str) -> None:
        self._ledger.saw(name, None)
        self._watch.note(name, None)

    async def _look(self, name: str) -> Now | None:
        try:
            fd = self._workspace.open_read(name)
        except NotFound:
            return None
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            mode = stat.S_IMODE(found.st_mode) & ~(
                stat.S_ISUID | stat.S_ISGID
            )  # not for other content, as with any write
            if found.st_size > self._ledger.blob_limit:
                hash = await asyncio.to_thread(hash_of, file.fileno())
                return Now(hash, found.st_size, mode, None)
            data = file.read() if found.st_size <= _SMALL else await asyncio.to_thread(file.read)
            return Now(digest(data), len(data), mode, data)

    async def _check_base(self, name: str, now: Now | None, base: Base, *, blind: bool) -> None:
        """Raises StaleBase where the file is not what the agent believes it to be."""
        if base is UNSET:
            if not self._ledger.knows(name):
                if now is None or blind:
                    return
                raise StaleBase(
                    f"{name} exists, and you never read it. Read it first and write what takes its content into account, "
                    f"or pass overwrite=True to replace it unseen.",
                    path=name,
                    base=None,
                    now=now.hash,
                    diff="",
                )
            base = self._ledger.base(name)
        if base == (now.hash if now else None):
            return
        what = (
            "was deleted" if now is None else "was created by somebody" if base is None else "was changed by somebody"
        )
        diff = await self._since(name, base, now)
        raise StaleBase(
            f"{name} {what} since you last saw it. Nothing was written. Read it again and redo your change on what is there"
            + (f"; since then:\n{diff}" if diff else "."),
            path=name,
            base=base,
            now=now.hash if now else None,
            diff=diff,
        )

    async def _since(self, name: str, base: str | None, now: Now | None) -> str:
        """What changed, as a diff of bounded length; "" where it cannot be told."""
        old = b"" if base is None else await self._ledger.content(base)
        new = now.data if now else b""
        if old is None or new is None:
            return ""
        texts = [plain(content) for content in (old, new)]
        if None in texts:
            return ""
        text = unified.make(texts[0] if base else None, texts[1] if now else None, name).text
        return text if len(text) <= _SHOWN_DIFF else f"{text[:_SHOWN_DIFF]}\n[... {len(text)} characters in all]\n"

    def _named(self, path: str) -> str:
        """The name of the file itself. A link is refused: it would be its target that goes."""
        located = self._workspace.locate(path)
        if not path.startswith("/") and os.path.islink(self._workspace.root / path.rstrip("/")):  # noqa: PTH114
            raise BadRequest(f"{path!r} is a link to {located.name!r}. Name that file itself, or use run(['rm', ...]).")
        return located.name


# --- texts -------------------------------------------------------------------------------------------------


def _lines(text: str, start: int | None, end: int | None) -> str:
    return "".join(unified.lines_of(text)[(start or 1) - 1 : end])
