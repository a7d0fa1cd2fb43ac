"""The calls that Gemini's model has made, read out of its answers as they pass the recorder.

Gemini CLI asks for permission with a title, and runs no hook of ours where it speaks the protocol of agents. This adds the
arguments to what it asks, and allows nothing. What fits no call, or fits two that differ, has none: then it is asked of a person,
as where nothing is recorded. Another answer that its commands fetch by the recorder can therefore hide arguments, never
change them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, Final

import msgspec
from msgspec import Struct

from agentlab.core.events import JSON

from .acp_wire import Tool

_MARK: Final = b'"functionCall"'
_BACKGROUND: Final = "[background]"


class _Call(Struct):
    name: str = ""
    args: dict[str, Any] | None = None
    id: str | None = None


class _Part(Struct, rename="camel"):
    function_call: _Call | None = None


class _Content(Struct):
    parts: list[_Part] = []


class _Candidate(Struct):
    content: _Content | None = None


class _Answer(Struct):
    candidates: list[_Candidate] = []


class Calls:
    """Of one turn: what was called before it cannot be asked for in it."""

    def __init__(self) -> None:
        self._made: list[_Call] = []
        self._sure = True  # that it has seen all of them

    def forget(self) -> None:
        """A turn begins."""
        self._made, self._sure = [], True

    def heard(self, answer: bytes | None) -> None:
        """An answer of the model, before the program has come to its end. None: it was too large to be kept."""
        if answer is None:
            self._sure = False
            return
        for document in _documents(answer):
            try:
                found = msgspec.json.decode(document, type=_Answer | list[_Answer])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._sure = False
                continue
            for part in found if isinstance(found, list) else [found]:
                self._made += _calls(part)

    def input_of(self, tool: Tool) -> JSON:
        """The arguments of this call, as the model wrote them. None: they are not known for sure."""
        fitting = [call for call in self._made if call.id and tool.call in (call.id, f"{call.name}__{call.id}")]
        if not fitting and self._sure:
            fitting = [call for call in self._made if not call.id and _named_anew(tool.call, call.name)]
        fitting = [call for call in fitting if _is_of(tool, call.args or {})]
        if len({json.dumps(call.args, sort_keys=True) for call in fitting}) == 1:
            return fitting[0].args
        if tool.kind == "execute" and tool.text.endswith(_BACKGROUND):
            return {"is_background": True}  # that much it says itself, and nothing comes after it
        return None


def _documents(answer: bytes) -> Iterator[bytes]:
    """Those of its JSON documents in which something may be called."""
    if _MARK not in answer:
        return
    if answer.lstrip()[:1] in (b"{", b"["):
        yield answer
        return
    for line in answer.splitlines():
        event = line.lstrip()
        if event.startswith(b"data:") and _MARK in event:
            yield event.removeprefix(b"data:")


def _calls(answer: _Answer) -> list[_Call]:
    """What the program makes of an answer: it takes the first of several."""
    content = answer.candidates[0].content if answer.candidates else None
    calls = [part.function_call for part in (content.parts if content else ()) if part.function_call is not None]
    return [msgspec.structs.replace(call, name=call.name.strip()) for call in calls]


def _named_anew(call: str, tool: str) -> bool:
    """Whether this is an id that the program has made, where the model gave none."""
    name = re.escape(tool)
    return re.fullmatch(rf"{name}__(?:{name}_\d+_\d+|synth_.+)", call) is not None


def _is_of(tool: Tool, args: dict[str, Any]) -> bool:
    """Whether what the program shows is what these arguments mean. The title of a command is all of it; of a change it shows the
    file, by another path than the model may have written."""
    if tool.kind == "execute" and tool.title is not None:
        return args.get("command") == tool.title
    if tool.diffs:
        return PurePath(str(args.get("file_path", ""))).name == PurePath(tool.diffs[0][0]).name
    return True
