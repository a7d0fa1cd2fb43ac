"""From what an ACP agent says to events of the log. Calls of our tools are recorded by the tool host, not here."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from agentlab.core.events import JSON, Guard, Message, ModelCall, ToolCall, ToolResult
from agentlab.runner.gate import Gate
from agentlab.runner.model_proxy import Answered
from agentlab.runner.model_usage import Used

from .acp_wire import Ended, Said, Tool
from .call_ids import CallIds

_OURS = re.compile(r"(?:mcp_+)?lab(?:__|[_./])(\w+)|(\w+) \(lab MCP Server\)")
"""Our tools as agents title their calls: lab_read, mcp__lab__read, read (lab MCP Server)."""

_ACTS = frozenset({"edit", "delete", "move", "execute", "other", None})
_ASKED = frozenset({"edit", "delete", "move", "execute"})
"""What no agent does without asking first, where it keeps its own tools."""

_NAMES = {"execute": "run", "fetch": "fetch", "switch_mode": "mode"}
_DONE = ("completed", "failed")

_MOMENT = 1.0  # s that a call waits to be told of
_UNTOLD = 3  # calls
_PAST = 256  # calls that are remembered after their turn


def our_tool(tool: Tool) -> str | None:
    """The name of our tool that this is a call of. The title of a command is the command, which a model may word as it
    likes: what is of another kind than MCP tools have is none of ours."""
    found = _OURS.fullmatch(tool.title or "") if tool.kind in (None, "other") else None
    return (found[1] or found[2]) if found else None


@dataclass
class _Open:
    """A call of the agent's own, recorded and without its result yet."""

    tool: Tool
    begun: int = field(default_factory=time.monotonic_ns)
    told: bool = False  # that it has begun


class Recorder:
    """breach: told of a tool of the agent's own that has acted although all of them were to be off, or without asking. native:
    they may."""

    def __init__(self, gate: Gate, ids: CallIds, *, native: bool, breach: Callable[[str], None]) -> None:
        self._gate = gate
        self._ids = ids
        self._native = native
        self._breach = breach
        self._tools: dict[str, Tool] = {}
        self._past: dict[str, Tool | None] = {}  # calls whose turn has ended before them; None: nothing can come of it
        self._open: dict[str, _Open] = {}
        self._denied: set[str] = set()
        self._taken: set[str] = set()  # acts that were asked for: recorded by who lets them begin
        self._commands: set[str] = set()  # that our own `run` was called with in this turn
        self._announced = asyncio.Event()
        self._untold = 0  # calls one after the other that were not told of in time
        self._role = ""
        self._message = ""
        self._parts: list[str] = []
        self.last = ""  # what the agent said last
        self._metered: dict[str, Used] = {}  # of each model, since the last turn ended

    def begin_turn(self) -> None:
        self.flush()  # of a turn that was cancelled: none of its words belong to this one
        self.last = ""

    def served(self, tool: str, args: JSON) -> str | None:
        """One of our tools is called: the agent's own id of this call, where it told it."""
        if isinstance(args, dict) and isinstance(command := args.get("command"), str):
            self._commands.add(command)
        return self._ids.take(tool, args, exact=True)

    async def called(self, tool: str, args: JSON) -> str | None:
        """The same. What tells of a call may come a moment after the call, for it comes another way; an agent that has not told
        of several is not waited for any more."""
        found = self.served(tool, args)
        if found is not None or self._untold == _UNTOLD:
            return found
        try:
            async with asyncio.timeout(_MOMENT):
                while found is None:
                    await self._announced.wait()
                    found = self._ids.take(tool, args, exact=True)
        except TimeoutError:
            self._untold += 1
            return None
        self._untold = 0
        return found

    def said(self, piece: Said) -> None:
        if (piece.role, piece.message) != (self._role, self._message):
            self.flush()
            self._role, self._message = piece.role, piece.message
        self._parts.append(piece.text)

    def flush(self) -> None:
        """No more of this message comes."""
        text, self._parts = "".join(self._parts), []
        if not text.strip():
            return
        self._gate.record(Message(role=self._role, text=text))
        if self._role == "assistant":
            self.last = text

    def tool(self, told: Tool) -> None:
        if told.new:
            self._past.pop(told.call, None)  # some count their calls anew
        elif told.call in self._past:
            self._late(told)
            return
        self.flush()
        known = self._tools.get(told.call)
        tool = self._tools[told.call] = _merged(known, told) if known else told
        if name := our_tool(tool):
            if tool.status in _DONE:
                self._ids.forget(tool.call)
            elif tool.input != {} or tool.status == "in_progress":  # {}: its arguments are on their way
                self._ids.announce(name, tool.input, tool.call)
                self._announced.set()  # whoever waits looks
                self._announced.clear()
        elif self._called_by_its_command(tool):
            pass
        elif self._native or tool.kind not in _ACTS:
            self._check(tool)
            self._own(tool)
        elif tool.status == "failed":
            self.deny(tool)
        else:
            self._check(tool)
        if tool.status in _DONE:
            self._tools.pop(told.call, None)

    def _called_by_its_command(self, tool: Tool) -> bool:
        """Gemini titles each call that has a `command` by that, also one of ours."""
        return tool.kind in (None, "other") and tool.title in self._commands

    def _check(self, tool: Tool) -> None:
        """That a tool of the agent's own has not acted where it may not, or without asking."""
        acts = _ASKED if self._native else _ACTS
        if tool.kind in acts and tool.status == "completed" and tool.call not in self._taken:
            self._breach(tool.title or tool.call)

    def _late(self, told: Tool) -> None:
        """Told of a call after its turn, where it stands as cancelled: it is none of this one. What it did is done all the same."""
        if (before := self._past[told.call]) is not None:
            tool = self._past[told.call] = _merged(before, told)
            self._check(tool)

    def knows(self, call: str) -> bool:
        """Whether it was told of a call that has not ended."""
        return call in self._tools

    def deny(self, tool: Tool) -> None:
        """A tool of the agent's own was not let through. Recorded once, whoever notices first."""
        if tool.call not in self._denied:
            self._denied.add(tool.call)
            what = tool.title or tool.kind or "a tool"
            detail = f"{what}: files and processes are reached by the tools of the server lab only."
            self._gate.record(Guard(rule="boundary", detail=detail), name=tool.kind or "other", status="denied")

    def metered(self, answer: Answered) -> None:
        """An answer of a model passed by. What it used is recorded as it comes, not at the end of the turn."""
        much = answer.used
        self._metered[much.model] = self._metered.get(much.model, Used()) + much
        self._call(answer.provider, much, answer.began, response_id=answer.response_id)

    def end_turn(self, ended: Ended | None, cost: float | None, began: int) -> Used | None:
        """What the turn has used, by what passed by and by its own account: whichever is more. None: neither tells."""
        self.flush()
        for call in list(self._open):
            self._close(call, "cancelled", "the turn has ended")
        self._leave(self._tools)
        self._tools.clear()
        self._taken.clear()
        self._commands.clear()
        metered, self._metered = self._metered, {}
        seen = sum(metered.values(), Used())
        told = {model: Used(*counts, model) for model, counts in (ended.models if ended else {}).items()}
        stop, per = ended.stop if ended else "", {"per": "turn"}
        if sum(much.total for much in told.values()) > seen.total:
            rests = told if not metered else {"": _rest(sum(told.values(), Used()), seen)}
        else:
            rests = {next(iter(metered), ""): Used()} if cost else {}
        for number, (model, much) in enumerate(rests.items()):
            price = cost if number == 0 else None
            self._call("acp", Used(much.inp, much.out, much.cached, model), began, stop=stop, detail=per, cost=price)
            seen += much
        return seen if metered or told else None

    def _leave(self, tools: Mapping[str, Tool]) -> None:
        """The turn has ended before these."""
        for call, tool in tools.items():
            self._ids.forget(call)  # it comes no more: the next one like it is another
            harmless = our_tool(tool) or self._called_by_its_command(tool) or call in self._taken
            self._past[call] = None if harmless else tool
        for call in list(self._past)[:-_PAST]:
            del self._past[call]

    def _call(
        self, provider: str, much: Used, began: int, *, stop: str = "", response_id: str = "", detail: JSON = None,
        cost: float | None = None,
    ) -> None:  # fmt: skip
        self._gate.record(
            ModelCall(provider=provider, stop=stop, response_id=response_id, detail=detail),
            name=much.model or None, status="ok", dur_ns=time.monotonic_ns() - began,
            tok_in=much.inp, tok_out=much.out, tok_cache=much.cached, cost=cost,
        )  # fmt: skip

    def taken(self, tool: Tool) -> Tool:
        """This act was asked for and is recorded as one, with all that is known of it: what is told of it is no second call."""
        self._taken.add(tool.call)
        known = self._tools.get(tool.call)
        return _merged(known, tool) if known else tool

    def _own(self, tool: Tool) -> None:
        own = self._open.setdefault(tool.call, _Open(tool))
        own.tool = tool
        if tool.kind not in _ACTS and tool.call not in self._taken:  # else it may yet be asked for, or was
            self._tell(own)
        if tool.status in _DONE:
            failed = tool.status == "failed"
            self._close(tool.call, "error" if failed else "ok", tool.text if failed else "")

    def _tell(self, own: _Open) -> None:
        if own.told:
            return
        own.told, tool = True, own.tool
        args = tool.input if tool.input is not None else {"paths": list(tool.paths)}
        vendor = {"tool": tool.title, "kind": tool.kind}
        self._gate.record(ToolCall(call=tool.call, args=args, vendor=vendor), name=name_of(tool), span=tool.call)

    def _close(self, call: str, status: str, error: str) -> None:
        own = self._open.pop(call)
        if call in self._taken:
            return
        self._tell(own)
        body = ToolResult(call=call, output=own.tool.text or None, error=error)
        took = time.monotonic_ns() - own.begun
        self._gate.record(body, name=name_of(own.tool), span=call, status=status, dur_ns=took)


def _rest(told: Used, seen: Used) -> Used:
    """What an agent tells of beyond what passed by. Some count among `in` what was read from the cache."""
    return Used(max(0, told.inp + told.cached - seen.inp - seen.cached), max(0, told.out - seen.out))


def name_of(tool: Tool) -> str:
    return _NAMES.get(tool.kind or "other", tool.kind or "other")


def _merged(before: Tool, told: Tool) -> Tool:
    return replace(
        told,
        title=told.title or before.title,
        kind=told.kind or before.kind,
        status=told.status or before.status,
        input=told.input if told.input else before.input,
        text=told.text or before.text,
        paths=told.paths or before.paths,
        diffs=told.diffs or before.diffs,
    )
