"""What agents and their processes said, as lines for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import UTC, datetime

from . import events as e


def log_lines(events: Iterable[e.Event], agent_id: str) -> list[str]:
    """What an agent (its subagents included) and its processes said, as lines with the time (UTC) in front."""
    lines: list[str] = []
    for event in events:
        if event.actor != agent_id and not event.actor.startswith(f"{agent_id}/"):
            continue
        text = _text(event)
        if text:
            at = datetime.fromtimestamp(event.ts / 1e9, UTC).strftime("%H:%M:%S.%f")[:-3]
            lines += [f"{at} {line}" for line in text.rstrip("\n").split("\n")]
    return lines


def _text(event: e.Event) -> str:
    match event.body:
        case e.Message(role=role, text=text):
            return f"{role}: {text}"
        case e.ProcStart(argv=argv):
            return f"$ {shlex.join(argv)}"
        case e.ProcOutput(data=data):
            return data
        case e.ProcExit(code=code, signal=signal):
            return f"exit {code}" if signal is None else f"killed by signal {signal}"
        case e.ToolResult(error=error) if error:
            return f"{event.name}: {event.status}: {error}"
        case e.Error(message=message):
            return f"error: {message}"
        case e.Guard(rule=rule, detail=detail):
            return f"{rule}: {event.status}: {detail}"
        case e.LockRequest(units=units, behind=behind) if behind:
            return f"waits for {', '.join(units)} behind {behind[0].owner}"
        case e.LockDeny(reason=reason):
            return f"refused: {reason}"
        case e.AgentEnd(error=error, last_lines=last):
            said = f"{event.status}{f': {error}' if error else ''}"
            return f"{said}\nIts program's last lines:\n{last.strip()}" if error and last.strip() not in error else said
    return ""
