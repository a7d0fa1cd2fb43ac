"""The vendor's ids of tool calls, carried from where they are told to where the call arrives. Pure."""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from typing import Final

from agentlab.core.events import JSON

_KEPT: Final = 256


class CallIds:
    """A vendor tells the id of a call in its own stream, and makes the call elsewhere: it may come before all is told of it."""

    def __init__(self) -> None:
        self._waiting = OrderedDict[str, tuple[str, str | None]]()  # id -> tool, arguments where they are known
        self._told = deque[str](maxlen=_KEPT)  # ids, those that were taken too

    def announce(self, tool: str, args: JSON, id: str) -> None:
        """args: None as long as they are not known; told again with them, it is the same call."""
        if id not in self._waiting:
            if id in self._told:
                return  # it has come already
            self._told.append(id)
            if len(self._waiting) == _KEPT:
                self._waiting.popitem(last=False)
        self._waiting[id] = tool, None if args is None else _canonical(args)

    def take(self, tool: str, args: JSON, *, exact: bool = False) -> str | None:
        """The oldest id announced for this very call, else for one of this tool whose arguments are not known, else, unless
        `exact`, for this tool; None where there was none."""
        wanted = _canonical(args)
        of_tool = {id: given for id, (name, given) in self._waiting.items() if name == tool}
        fitting = [id for fits in (wanted, None) for id, given in of_tool.items() if given == fits]
        if not exact:
            fitting += of_tool
        if not fitting:
            return None
        del self._waiting[fitting[0]]
        return fitting[0]

    def forget(self, id: str) -> None:
        """This call has ended: whatever comes is another one."""
        self._waiting.pop(id, None)


def _canonical(args: JSON) -> str:
    return json.dumps(args, sort_keys=True)
