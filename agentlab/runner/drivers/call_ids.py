"""The vendor's ids of tool calls, carried from where they are told to where the call arrives. Pure."""

from __future__ import annotations

import json
from collections import deque

from agentlab.core.events import JSON


class CallIds:
    """A vendor tells the id of a call in its own stream, and makes the call elsewhere."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, str, str]] = deque(maxlen=256)  # tool, arguments, id

    def announce(self, tool: str, args: JSON, id: str) -> None:
        self._waiting.append((tool, _canonical(args), id))

    def take(self, tool: str, args: JSON) -> str | None:
        """The oldest id announced for this very call, else for this tool; None where there was none."""
        same_tool = [entry for entry in self._waiting if entry[0] == tool]
        wanted = _canonical(args)
        entry = next((e for e in same_tool if e[1] == wanted), same_tool[0] if same_tool else None)
        if entry is None:
            return None
        self._waiting.remove(entry)
        return entry[2]


def _canonical(args: JSON) -> str:
    return json.dumps(args, sort_keys=True)
