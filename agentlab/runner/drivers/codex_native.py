"""Codex with its own tools (`boundary="native"`): each change of a file and each command waits for our word.

Codex asks before it changes a file or runs a command. A change goes ahead when it was approved *and* its files are held,
for as long as it lasts; whatever goes wrong on the way refuses it. A command runs in Codex's sandbox, which can only
read; but where that stops a command that was approved, Codex runs it again without: in ours alone, where there is one
(`boxed`). There the whole workspace can be written, so such a command holds all of it. Once an act has ended it is looked at
what was written: it is recorded, and files that were not held are put back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentlab.core.events import JSON, Guard, Mode, ToolCall, ToolResult
from agentlab.core.looks import only_looks
from agentlab.errors import AgentlabError, BadRequest, Refused
from agentlab.runner.gate import Permission
from agentlab.runner.tools import Outcome

from .acts import WHOLE, Act, guard, settle
from .base import Context

Item = dict[str, Any]

ACTS = frozenset({"fileChange", "commandExecution"})
"""Items by which Codex acts, where it may."""

_READS = frozenset({"read", "listFiles", "search"})
"""Commands that Codex itself takes for looks."""

_RUN = "proc:run"  # what a command holds, shared, that no pattern is about
_STATUS = {"completed": "ok", "declined": "denied", "failed": "error"}


@dataclass
class _Act(Act[Item]):
    """One item, from its beginning to its end."""

    item: Item


class Native:
    """The acts of one Codex. `tell` says something to its model in the middle of a turn: a refusal alone has no reason.
    lost: told that an act goes on without the locks it stands on."""

    def __init__(self, context: Context, tell: Callable[[str], None], lost: Callable[[str], None]) -> None:
        self._context = context
        self._tell = tell
        self._lost = lost
        self._acts: dict[str, _Act] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what Codex says, in order -----------------------------------------------------------------------------

    def started(self, item: Item) -> None:
        self._acts.setdefault(str(item["id"]), _Act(item))

    async def approve(self, params: Item) -> JSON:
        """The answer to a request for approval. Anything but a clear yes is a no."""
        act = self._acts.get(str(params.get("itemId")))
        if act is None or act.task is not None or params.get("grantRoot") or params.get("additionalPermissions"):
            return {"decision": "decline"}  # nobody knows what it is for, or it is for more than this once
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        act.task = task = asyncio.create_task(self._act(act, begun))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await begun
        except AgentlabError as error:
            self._tell(f"{_what(act.item)} was refused: {error}")
            return {"decision": "decline"}
        finally:
            if not act.accepted:
                task.cancel()  # nobody waits for it any more
        return {"decision": "accept"}

    def completed(self, item: Item) -> bool:
        """False: Codex has done it without our word."""
        act = self._acts.pop(str(item["id"]), None)
        if act is None or not act.accepted:
            return item.get("status") in ("declined", "failed")
        if not act.ended.done():
            act.ended.set_result(item)
        return True

    async def settle(self) -> None:
        """No more of them comes, for now: wait until what has ended was looked at, and its locks are given back."""
        await settle(self._acts, self._tasks)

    # --- one of them -------------------------------------------------------------------------------------------

    async def _act(self, act: _Act, begun: asyncio.Future[None]) -> None:
        """Ask, take the locks, let it begin, and look at what it did when it has ended."""
        try:
            name, args, units, mode = self._needs(act.item)
            call, vendor = str(act.item["id"]), {"tool": act.item["type"], "item": act.item["id"]}
            try:
                await self._ask(act.item, units)
            except Refused as refusal:
                record = self._context.gate.record
                record(ToolCall(call=call, args=args, vendor=vendor), name=name, span=call)
                record(ToolResult(call=call, error=str(refusal)), name=name, span=call, status="denied")
                raise
            around = self._context.tools.around(name, args, units, mode, call=call, vendor=vendor)
            async with around as outcome:
                act.accepted = True
                begun.set_result(None)
                watching = asyncio.create_task(guard(self._context.gate, units, _what(act.item), self._lost))
                try:
                    _tell_outcome(outcome, await act.ended)
                finally:
                    watching.cancel()
        except AgentlabError as error:
            if not begun.done():
                begun.set_exception(error)
        except Exception as error:
            if not begun.done():
                begun.set_exception(Refused(f"{type(error).__name__} inside agentlab."))
            raise
        finally:
            begun.cancel()

    def _needs(self, item: Item) -> tuple[str, dict[str, JSON], tuple[str, ...], Mode]:
        """As a call of which tool of ours it counts, and what it has to hold. Raises OutsideWorkspace, BadRequest."""
        if item["type"] == "commandExecution":
            args = {"argv": item.get("command"), "cwd": item.get("cwd")}
            units = self._context.tools.processes(args)
            if not _only_looks(item):
                whole = self._context.tools.workspace.canonical_unit(WHOLE)
                return "run", args, (whole, *units), Mode.EXCLUSIVE
            return ("run", args, units, Mode.EXCLUSIVE) if units else ("run", args, (_RUN,), Mode.SHARED)
        try:
            units = tuple(dict.fromkeys(self._context.tools.workspace.unit(path) for path in _paths(item)))
        except AgentlabError as error:
            self._context.gate.record(Guard(rule="boundary", detail=str(error)), status="denied")
            raise
        if not units:
            raise BadRequest("Codex did not say which files it wants to change.")
        return "patch", {"changes": item["changes"]}, units, Mode.EXCLUSIVE

    async def _ask(self, item: Item, units: tuple[str, ...]) -> None:
        """Raises Refused: somebody, or a rule, said no, or nobody said yes."""
        if item["type"] == "commandExecution" and _only_looks(item):
            given = {"command": item.get("command")}
            if not self._context.tools.against_look(("exec_command", "read"), (), given, wide=True):
                return
        changes = item["type"] == "fileChange"
        verdict = await self._context.tools.approve(
            Permission(
                question=f"Codex asks for its {_what(item)}.",
                tool="apply_patch" if changes else "exec_command",
                units=units,
                input=None if changes else {"command": item.get("command"), "cwd": item.get("cwd")},
                diff=_diff(item) if changes else None,
            )
        )
        if not verdict.allowed:
            said = f" {verdict.reason}" if verdict.reason and verdict.reason != verdict.answer else ""
            raise Refused(f"{verdict.answer} by {verdict.by or 'nobody'}.{said}")


def _tell_outcome(outcome: Outcome, item: Item | None) -> None:
    if item is None:
        return
    outcome.status = _STATUS.get(str(item.get("status")), "error")
    if item["type"] == "commandExecution":
        outcome.output = {"code": item.get("exitCode"), "stdout": item.get("aggregatedOutput") or ""}


def _only_looks(item: Item) -> bool:
    """What Codex says of a command is for people to read: `find . -delete` lists files, for it."""
    actions = item.get("commandActions") or ()
    return bool(actions) and all(action.get("type") in _READS for action in actions) and only_looks(item)


def _paths(item: Item) -> list[str]:
    """Of all files that it would change, also those that it moves them to."""
    found = []
    for change in item.get("changes") or ():
        moved = (change.get("kind") or {}).get("move_path")
        found += [str(path) for path in (change.get("path"), moved) if path]
    return found


def _diff(item: Item) -> str:
    """For people to read: Codex tells a new file by its content alone."""
    return "\n".join(
        f"--- {(change.get('kind') or {}).get('type', 'change')} {change.get('path')}\n{change.get('diff') or ''}"
        for change in item.get("changes") or ()
    )


def _what(item: Item) -> str:
    if item["type"] == "fileChange":
        return f"change of {', '.join(path.rpartition('/')[2] for path in _paths(item)) or 'something'}"
    return f"command {str(item.get('command'))[:500]!r}"
