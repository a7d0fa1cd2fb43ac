"""What agents and their processes say, as lines: all at once, or as they come."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from agentlab.core import events as e
from agentlab.core.transcript import log_lines
from agentlab.errors import AgentlabError, Unavailable
from agentlab.link.messages import Events, Follow, GetState, View

from . import background
from .text import visible

if TYPE_CHECKING:
    from .lab import Lab

_END = object()


def readable(data: Any) -> str:
    """The answer of `GetLogs` as one text that a terminal or a browser does not obey."""
    lines = data.get("lines", ()) if isinstance(data, dict) else data
    return visible(lines if isinstance(lines, str) else "\n".join(map(str, lines or ())))


class Follower:
    """The lines of an agent from the beginning (or the last `tail` of those there are), then as they come."""

    def __init__(self, lab: Lab, agent: str, tail: int | None = None) -> None:
        self._lines: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._lab = lab
        self._run_id, _, self._actor = agent.partition("/")
        self._tail = tail
        self._work = background.submit(self._follow())

    def __iter__(self) -> Iterator[str]:
        try:
            while (item := self._lines.get()) is not _END:
                if isinstance(item, BaseException):
                    raise item
                yield str(item)
        finally:
            self.close()

    def close(self) -> None:
        self._work.cancel()
        self._lines.put(_END)

    async def _follow(self) -> None:
        try:
            await self._read()
        except AgentlabError as error:
            self._lines.put(error)
        finally:
            self._lines.put(_END)

    async def _read(self) -> None:
        since, known = 0, 0
        recent: deque[str] | None = None
        if self._tail is not None:
            view = await self._lab._connection.ask(GetState(run_id=self._run_id), View)
            known = int(view.data["tables"]["runs"].get(self._run_id, {}).get("seq", 0))
            recent = deque(maxlen=self._tail)
        while True:
            try:
                pushes = self._lab._connection.pushes(Follow(run_id=self._run_id, since=since), start=True)
                async with contextlib.aclosing(pushes):
                    async for push in pushes:
                        if not isinstance(push, Events):
                            continue
                        for event in push.events:
                            since = event.seq
                            if recent is not None and since > known:
                                self._put(recent)
                                recent = None
                            over = self._take(event, recent)
                            if over:
                                self._put(recent or ())
                                return
                        if recent is not None and since >= known:
                            self._put(recent)
                            recent = None
            except Unavailable:
                await asyncio.sleep(0.2)

    def _take(self, event: e.Event, recent: deque[str] | None) -> bool:
        """True: that was its end."""
        lines = [visible(said) for said in log_lines((event,), self._actor)]
        (self._put if recent is None else recent.extend)(lines)
        return isinstance(event.body, e.AgentEnd) and event.actor == self._actor

    def _put(self, lines: Any) -> None:
        for text in lines:
            self._lines.put(text)
