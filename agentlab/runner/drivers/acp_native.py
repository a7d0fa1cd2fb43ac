"""What an agent does with its own tools, where it may: asked for, under locks, looked at afterwards, and written by us where
it lets us.

This rests on the agent asking: its program may write the whole workspace, in its sandbox (`boxed`) with what it starts, or
without one. What it does without asking ends the turn, once it is told. What it wrote without holding it is put back at the end of an act that was asked for.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from agentlab.core.events import Guard
from agentlab.errors import AgentlabError, Refused
from agentlab.runner.gate import Permission
from agentlab.runner.tools import Outcome

from .acp_record import Recorder, name_of
from .acts import WHOLE, Act, guard, settle
from .base import Context

if TYPE_CHECKING:
    from .acp_wire import Ask, Tool

_READS = frozenset({"read", "search", "think"})
_BACKGROUND = ("run_in_background", "is_background")
"""What vendors call the argument of a command that they do not wait for."""


@dataclass
class _Act(Act["Tool"]):
    """One call that was asked for. bases: of the files
    that it said it would change, by name, as it showed them."""

    tool: Tool
    units: tuple[str, ...]
    bases: dict[str, str | None]
    begun: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Native:
    """The acts of one agent: its locks are taken with the permission, and given back when it was looked at what it did.

    lost: told that an act goes on without the locks it stands on. cwd: where the agent's own paths begin.
    """

    def __init__(self, context: Context, record: Recorder, lost: Callable[[str], None]) -> None:
        self.cwd = context.root
        self._context = context
        self._record = record
        self._lost = lost
        self._acts: dict[str, _Act] = {}
        self._refused: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[str | None]] = set()
        self._reasons: dict[str, str] = {}  # of refusals that the agent was not told yet

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

    def refusal(self, call: str) -> str:
        """Why it was rejected, for an agent that is told at once. "": it was not."""
        self._reasons.pop(call, None)
        return self._refused.pop(call, "")

    def cancel(self) -> None:
        """The turn is over: nobody waits for permissions any more."""
        for work in list(self._asking):
            work.cancel()

    def reasons(self) -> str:
        """Why something was refused, for the model: the protocol's answer to a request is a bare no. Once."""
        told, self._reasons = self._reasons, {}
        return "\n".join(told.values())

    def completed(self, told: Tool) -> None:
        """A call has ended, as the agent says."""
        if (act := self._acts.pop(told.call, None)) and not act.ended.done():
            act.ended.set_result(told)

    async def settle(self) -> None:
        """No more comes, for now: wait until all that was done was looked at, and its locks are given back."""
        self.cancel()
        self._refused.clear()
        await settle(self._acts, self._tasks)

    # --- one of them -------------------------------------------------------------------------------------------

    async def _decide(self, ask: Ask) -> str | None:
        tool = ask.tool
        if tool.kind in _READS:
            return await self._look(ask)
        if isinstance(tool.input, dict) and any(tool.input.get(name) for name in _BACKGROUND):
            said = (
                "A command of its own in the background would outlive the locks it stands on. Run it in the foreground, or use "
                "the tool run of the server lab, with background."
            )
            self._reasons[tool.call] = f"{tool.title!r} was refused: {said}"
            return self._reject(ask, said)
        try:
            act = _Act(tool, self._units(ask), self._bases(ask))
        except AgentlabError as error:
            self._context.gate.record(Guard(rule="boundary", detail=str(error)), status="denied")
            return self._reject(ask, str(error))
        diff = "".join(_diff(path, old, new) for path, old, new in tool.diffs)
        if (why := await self._asked(ask, act.units, diff)) is not None:
            return self._reject(ask, why)
        try:
            await self._begin(act)
        except AgentlabError as error:
            return self._reject(ask, str(error))
        return ask.allow()

    async def _look(self, ask: Ask) -> str | None:
        """It needs nobody's word and no lock, but where a rule has something against it."""
        tool, wide = ask.tool, ask.tool.kind != "read" or not ask.tool.paths
        units = tuple(self._seen(path, "dir" if tool.kind == "search" else "file") for path in tool.paths)
        if tool.kind == "think" or not self._context.tools.against_look(
            (str(tool.kind), "read"), units, tool.input, wide=wide
        ):
            return ask.allow()
        why = await self._asked(ask, units, "")
        return ask.allow() if why is None else self._reject(ask, why)

    def _seen(self, path: str, kind: str) -> str:
        """As the unit of a rule: reading, it may be outside of the workspace."""
        try:
            return self._context.tools.workspace.canonical_unit(f"{kind}:{self._name(path)}")
        except AgentlabError:
            return f"{kind}:{path}"

    async def _asked(self, ask: Ask, units: tuple[str, ...], diff: str) -> str | None:
        """None: a person or a rule has allowed it; else why not."""
        tool = ask.tool
        request = Permission(
            question=tool.title or f"May it {tool.kind or 'do this'}?", tool=tool.kind or "other", units=units,
            input=tool.input, diff=diff or None, options=("approve", "deny"),
        )  # fmt: skip
        verdict = await self._context.tools.approve(request)
        if verdict.allowed:
            return None
        said = f": {verdict.reason}" if verdict.reason and verdict.reason != verdict.answer else ""
        why = f"{verdict.answer} by {verdict.by or 'nobody'}{said}."
        if said:
            self._reasons[tool.call] = f"{request.question!r} was {why}"
        return why

    def _reject(self, ask: Ask, why: str) -> str | None:
        self._refused[ask.tool.call] = why
        return ask.reject()

    def _units(self, ask: Ask) -> tuple[str, ...]:
        named = [path for path, _, _ in ask.tool.diffs] or list(ask.tool.paths)
        workspace = self._context.tools.workspace
        if ask.tool.kind == "execute" or not named:
            told = ask.tool.input or {"command": ask.tool.title}  # Gemini's title, where no more is known
            return (workspace.canonical_unit(WHOLE), *self._context.tools.processes(told))
        return tuple(dict.fromkeys(workspace.unit(str(self.cwd / path)) for path in named))

    def _bases(self, ask: Ask) -> dict[str, str | None]:
        return {self._name(path): sha256(old.encode()).hexdigest() if old else None for path, old, _ in ask.tool.diffs}

    def _name(self, path: str) -> str:
        """Relative to the workspace. Raises OutsideWorkspace."""
        return self._context.tools.workspace.locate(str(self.cwd / path)).name

    async def _begin(self, act: _Act) -> None:
        """Return when it may begin: all is held until it has ended. Raises what a claim raises."""
        self._acts[act.tool.call] = act
        act.task = task = asyncio.create_task(self._act(act))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.shield(act.begun)
        finally:
            if not act.accepted:
                task.cancel()  # nobody waits for it any more
                self._acts.pop(act.tool.call, None)

    async def _act(self, act: _Act) -> None:
        """Take the locks, let it begin, and look at what it did when it has ended."""
        tool = self._record.taken(act.tool)
        args = tool.input if isinstance(tool.input, dict) else {"paths": [*(tool.paths or act.bases)]}
        around = self._context.tools.around(
            name_of(tool), args, act.units, call=tool.call, vendor={"tool": tool.title, "kind": tool.kind}
        )
        try:
            async with around as outcome:
                act.accepted = True
                act.begun.set_result(None)
                what = tool.title or tool.kind or "a tool of its own"
                watching = asyncio.create_task(guard(self._context.gate, act.units, what, self._lost))
                try:
                    _tell_outcome(outcome, await act.ended)
                finally:
                    watching.cancel()
        except AgentlabError as error:
            if not act.begun.done():
                act.begun.set_exception(error)
        except Exception as error:
            if not act.begun.done():
                act.begun.set_exception(Refused(f"{type(error).__name__} inside agentlab."))
            raise
        finally:
            act.begun.cancel()

    # --- written by us ------------------------------------------------------------------------------------------

    async def write(self, path: str, text: str) -> None:
        """fs/write_text_file, through the tool host: diff first, locked, fenced, refused where somebody else was faster."""
        name = self._name(path)
        act = next((act for act in self._acts.values() if act.accepted and name in act.bases), None)
        if act is None:
            await self._context.tools.write(name, text, overwrite=True)
        else:
            await self._context.tools.write_within(act.tool.call, name, text, base=act.bases[name])


def _tell_outcome(outcome: Outcome, tool: Tool | None) -> None:
    if tool is None:
        return
    failed = tool.status == "failed"
    outcome.status = "error" if failed else "ok"
    outcome.output, outcome.error = tool.text or None, tool.text if failed else ""


def _diff(path: str, old: str | None, new: str) -> str:
    before, after = (old or "").splitlines(keepends=True), new.splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, f"a/{path}", f"b/{path}"))
