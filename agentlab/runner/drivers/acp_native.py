"""What an agent does with its own tools, where it may: asked for, under locks, and written by us where it lets us.

This rests on the agent asking: one that does not is held by the sandbox alone, where there is one.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from agentlab.errors import AgentlabError, BadRequest, NotHeld
from agentlab.runner.gate import Permission

from .base import Context

if TYPE_CHECKING:
    from .acp_wire import Ask

_READS = frozenset({"read", "search", "think"})
_WHOLE = "dir:."
"""What a command may change is not known beforehand: it holds the workspace."""


class Native:
    """The locks of an agent's own tool calls: taken with the permission, given back with the result."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._holds: dict[str, asyncio.Event] = {}
        self._holding: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[str | None]] = set()
        self._bases: dict[str, str | None] = {}

    async def permit(self, ask: Ask) -> str | None:
        """The option to choose: a person or a rule has allowed it and its units are held, or it is rejected. None: the
        turn was cancelled meanwhile."""
        work = asyncio.ensure_future(self._decide(ask))
        self._asking.add(work)
        try:
            return await work
        except asyncio.CancelledError:
            return None
        finally:
            self._asking.discard(work)

    def cancel(self) -> None:
        """The turn is over: nobody waits for permissions any more."""
        for work in list(self._asking):
            work.cancel()

    async def _decide(self, ask: Ask) -> str | None:
        tool = ask.tool
        units = self._units(ask)
        if tool.kind in _READS:
            return ask.allow()
        diff = "".join(_diff(path, old, new) for path, old, new in tool.diffs)
        request = Permission(
            question=tool.title or f"May it {tool.kind or 'do this'}?", tool=tool.kind or "other", units=units,
            input=tool.input, diff=diff or None, options=("approve", "deny"),
        )  # fmt: skip
        verdict = await self._context.tools.approve(request)
        if not verdict.allowed:
            return ask.reject()
        try:
            await self._hold(tool.call, units)
        except AgentlabError:
            return ask.reject()
        for path, old, _ in tool.diffs:
            self._bases[str(self._name(path))] = sha256(old.encode()).hexdigest() if old else None
        return ask.allow()

    def _units(self, ask: Ask) -> tuple[str, ...]:
        named = [path for path, _, _ in ask.tool.diffs] or list(ask.tool.paths)
        if ask.tool.kind == "execute" or not named:
            return (_WHOLE,)
        return tuple(dict.fromkeys(f"file:{self._name(path)}" for path in named))

    def _name(self, path: str) -> Path:
        """Relative to the workspace. Raises BadRequest: it is outside."""
        place = Path(path)
        try:
            return place.relative_to(self._context.root) if place.is_absolute() else place
        except ValueError:
            raise BadRequest(f"{path} is outside of the workspace {self._context.root}.") from None

    async def _hold(self, call: str, units: Sequence[str]) -> None:
        """Return when all are held; they are, until `release`. It waits as long as it takes."""
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        over = self._holds[call] = asyncio.Event()
        task = asyncio.create_task(self._keep(units, held, over))
        self._holding.add(task)
        task.add_done_callback(self._holding.discard)
        try:
            await asyncio.shield(held)
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def _keep(self, units: Sequence[str], held: asyncio.Future[None], over: asyncio.Event) -> None:
        while not over.is_set():
            try:
                async with self._context.tools.holding(*units):
                    if not held.done():
                        held.set_result(None)
                    await over.wait()
            except NotHeld:
                continue  # its place is kept: ask again
            except AgentlabError as error:
                if not held.done():
                    held.set_exception(error)
                return

    def release(self, call: str) -> None:
        if over := self._holds.pop(call, None):
            over.set()

    def release_all(self) -> None:
        self.cancel()
        for call in list(self._holds):
            self.release(call)

    async def write(self, path: str, text: str) -> None:
        """fs/write_text_file, through the tool host: diff first, locked, fenced, refused where somebody else was faster."""
        name = str(self._name(path))
        base = self._bases.pop(name, "auto")
        await self._context.tools.write(name, text, base=base, overwrite=base == "auto")


def _diff(path: str, old: str | None, new: str) -> str:
    before, after = (old or "").splitlines(keepends=True), new.splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, f"a/{path}", f"b/{path}"))
