"""What a tool answered, as the text that a model reads: short, without what it knows already. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from agentlab.core.events import JSON
from agentlab.runner.tools.aliases import NAMES
from agentlab.runner.tools.page import BYTES, LINES, Page, numbered

SHOWN = 30_000  # characters of a list that a model is shown
_HEAD = 2 / 3  # of what is shown of a text that is too long: its beginning; the rest is its end


def as_text(tool: str, answer: JSON) -> str:
    """Of a JSON value as `ToolHost.call` returns it, paged. Never empty: vendors refuse empty texts."""
    return _fitted(_text(NAMES.get(tool, tool), answer))


def _text(tool: str, answer: JSON) -> str:
    match answer:
        case None:
            return "ok"
        case str():
            return answer or "(empty)"
        case [*lines] if all(isinstance(line, str) for line in lines):
            return _lines(lines) or "(nothing found)"
        case dict() if tool in _SHORT:
            return _SHORT[tool](answer)
        case _:
            return msgspec.json.encode(answer).decode()


def facts(answer: JSON) -> dict[str, JSON] | None:
    """What a program may want of an answer that is an object: all but its long texts. None: it is none."""
    return {key: value for key, value in answer.items() if key not in _TEXTS} if isinstance(answer, dict) else None


def _fitted(text: str) -> str:
    """Beginning and end of a text that is more than a page with its last word."""
    lines, most = text.split("\n"), LINES + 5
    if len(lines) > most:
        head, tail = int(most * _HEAD), most - 1 - int(most * _HEAD)
        left_out = f"[... {len(lines) - head - tail} lines left out ...]"
        text = "\n".join([*lines[:head], left_out, *lines[-tail:]])
    data, room = text.encode(errors="replace"), BYTES + 1_000
    if len(data) > room:
        head, tail = int(room * _HEAD), room - int(room * _HEAD)
        begin, end = data[:head].decode(errors="ignore"), data[-tail:].decode(errors="ignore")
        text = f"{begin}\n[... {len(data) - room} bytes left out ...]\n{end}"
    return text


def _lines(lines: Sequence[str]) -> str:
    """As many as a model is shown; a last line of ours, about those left off before, stays the last."""
    if sum(map(len, lines)) + len(lines) <= SHOWN and len(lines) < LINES:
        return "\n".join(lines)
    shown: list[str] = []
    room = SHOWN
    for line in lines[: LINES - 2]:
        room -= len(line) + 1
        if room < 0:
            break
        shown.append(line)
    left = len(lines) - len(shown)
    last = [lines[-1]] if lines[-1].startswith("[... ") else []
    return "\n".join([*shown, f"[... {left} more lines; narrow it down by a path or a pattern]", *last])


def _page(page: Mapping[str, Any]) -> str:
    return numbered(msgspec.convert(page, Page))


def _change(change: Mapping[str, Any]) -> str:
    """The diff is left out: the model has just made it."""
    path, before, after = change["path"], change["before"], change["after"]
    if change.get("to"):
        return f"{path} is now {change['to']}"
    if after is None:
        return f"deleted {path}"
    if before == after:
        return f"{path} is unchanged: it had this content already"
    verb = "created" if before is None else "changed"
    return f"{verb} {path}: +{change.get('added', 0)} -{change.get('removed', 0)} lines"


def _ran(ran: Mapping[str, Any]) -> str:
    if "running" in ran:
        return _printed(ran)
    ended = f"exit code {ran['code']}" if ran.get("signal") is None else f"ended by signal {ran['signal']}"
    parts = [f"{ended}, timed out" if ran.get("timed_out") else ended]
    streams = {name: ran[name].rstrip() for name in ("stdout", "stderr") if ran.get(name)}
    most = (
        LINES - 100 - min([LINES // 2, *(text.count("\n") for text in streams.values())] if len(streams) == 2 else [0])
    )
    stored = ran.get("stored") or {}
    parts += [f"--- {name}\n{_ends_of(text, most, stored.get(name, ''))}" for name, text in streams.items()]
    if ran.get("wrote"):
        parts.append(f"--- wrote\n{', '.join(ran['wrote'])}")
    parts += [f"--- {title}\n{ran[key]}" for key, title in _REMARKS if ran.get(key)]
    return "\n".join(parts)


def _ends_of(text: str, most: int, stored: str) -> str:
    """The first and the last lines of a long output, and where all of it is."""
    lines = text.split("\n")
    if len(lines) <= most:
        return text
    head = int(most * _HEAD)
    where = f"; page through it with read({stored!r}, start=..., end=...)" if stored else ""
    left_out = f"[... {len(lines) - most} lines left out{where} ...]"
    return "\n".join([*lines[:head], left_out, *lines[head - most :]])


def _printed(printed: Mapping[str, Any]) -> str:
    name, start, end, size = printed["id"], printed["start"], printed["end"], printed["size"]
    if printed["running"]:
        state = f"{name} runs in the background: output({name!r}) shows what it prints, stop({name!r}) ends it"
    else:
        ended = f"exit code {printed['code']}" if printed.get("signal") is None else f"signal {printed['signal']}"
        state = f"{name} has ended with {ended}" + (f" ({printed['why']})" if printed.get("why") else "")
    where = f"bytes {start}-{end} of {size}" + (f"; read on with since={end}" if end < size else "")
    parts = [state, f"--- output, {where}\n{printed['text'].rstrip()}" if end > start else "--- no further output"]
    if printed.get("wrote"):
        parts.append(f"--- wrote\n{', '.join(printed['wrote'])}")
    parts += [f"--- {title}\n{printed[key]}" for key, title in _REMARKS if printed.get(key)]
    return "\n".join(parts)


def _todos(todos: Mapping[str, Any]) -> str:
    signs = {"done": "[x]", "in_progress": "[>]"}
    return "\n".join(f"{signs.get(item['status'], '[ ]')} {item['text']}" for item in todos["items"]) or "nothing to do"


def _granted(grant: Mapping[str, Any]) -> str:
    return f"granted: {', '.join(grant['units'])} (ticket {grant['ticket']}). Release when done."


_REMARKS = (("violations", "undone"), ("hint", "hint"))
_TEXTS = frozenset({"text", "stdout", "stderr", "diff"})

_SHORT: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "read": _page,
    "write": _change,
    "edit": _change,
    "multi_edit": _change,
    "patch": _change,
    "delete": _change,
    "move": _change,
    "run": _ran,
    "output": _printed,
    "stop": _printed,
    "todo": _todos,
    "claim": _granted,
}
