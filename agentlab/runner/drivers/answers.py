"""What a tool answered, as the text that a model reads: short, without what it knows already. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from agentlab.core.events import JSON


def as_text(tool: str, answer: JSON) -> str:
    """Of a JSON value as `ToolHost.call` returns it. Never empty: vendors refuse empty texts."""
    match answer:
        case None:
            return "ok"
        case str():
            return answer or "(empty)"
        case [*lines] if all(isinstance(line, str) for line in lines):
            return "\n".join(lines) or "(nothing found)"
        case dict() if tool in _SHORT:
            return _SHORT[tool](answer)
        case _:
            return msgspec.json.encode(answer).decode()


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
    ended = f"exit code {ran['code']}" if ran.get("signal") is None else f"ended by signal {ran['signal']}"
    parts = [f"{ended}, timed out" if ran.get("timed_out") else ended]
    parts += [f"--- {name}\n{ran[name].rstrip()}" for name in ("stdout", "stderr") if ran.get(name)]
    if ran.get("wrote"):
        parts.append(f"--- wrote\n{', '.join(ran['wrote'])}")
    if ran.get("violations"):
        parts.append(f"--- undone\n{ran['violations']}")
    return "\n".join(parts)


def _granted(grant: Mapping[str, Any]) -> str:
    return f"granted: {', '.join(grant['units'])} (ticket {grant['ticket']}). Release when done."


_SHORT: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "write": _change,
    "edit": _change,
    "patch": _change,
    "delete": _change,
    "move": _change,
    "run": _ran,
    "claim": _granted,
}
