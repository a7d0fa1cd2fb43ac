"""One MCP client, from `initialize` to the end of its stream. Its calls go through the tool host; their waits are told."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentlab.core.commands import Queued
from agentlab.core.locks import who
from agentlab.errors import AgentlabError, ordinal
from agentlab.runner.drivers.answers import as_text, facts

from . import offer, wire
from .wire import Id, Message

if TYPE_CHECKING:
    from agentlab.core.events import JSON
    from agentlab.runner.tools import ToolHost

Send = Callable[[Message], None]
VendorCall = Callable[[str, "JSON"], Awaitable[str | None]]
"""(tool, arguments) -> the id that the agent itself has given to this call, where it is known."""

BEAT = 15.0
"""s between signs of life of a call that waits. Clients drop streams that are silent for 300 s, calls without progress after 60 s."""

_NAME = 200  # characters of a name that a client gives

log = logging.getLogger(__name__)


async def untold(tool: str, args: JSON) -> str | None:
    """Of an agent that does not tell of its calls."""
    return None


class Session:
    """`receive` takes each message; what it sends goes to the `send` that came with the message it is about.

    listed: called when the client has been told our tools. beat: s.
    """

    def __init__(
        self,
        tools: ToolHost,
        *,
        vendor_call: VendorCall = untold,
        listed: Callable[[], None] = lambda: None,
        beat: float = BEAT,
    ) -> None:
        self._tools = tools
        self._vendor_call = vendor_call
        self._listed = listed
        self._beat = beat
        self._calls: dict[Id, asyncio.Task[None]] = {}
        self._dropped: dict[Id, str] = {}

    @property
    def calls(self) -> int:
        """How many calls are under way."""
        return len(self._calls)

    def receive(self, message: Message, send: Send) -> asyncio.Task[None] | None:
        """Take in a message. A task: a call is under way, and answered when the task is done."""
        if not wire.is_request(message):
            if message.get("method") == "notifications/cancelled":
                self._cancel((message.get("params") or {}).get("requestId"))
            return None  # an answer to nothing that we asked, or a notification that changes nothing
        id, params = message["id"], message.get("params") or {}
        match message["method"]:
            case "initialize":
                send(wire.result(id, offer.welcome(params.get("protocolVersion"))))
            case "ping":
                send(wire.result(id, {}))
            case "tools/list":
                send(wire.result(id, offer.listing(self._tools.catalogue())))
                self._listed()
            case "tools/call":
                return self._begin(id, params, send)
            case method:
                send(wire.error(id, wire.METHOD_NOT_FOUND, f"This server has no {method!r}: it offers tools."))
        return None

    def drop(self, why: str) -> None:
        """Cancel all calls; each is answered with `why`. For agents that forget their calls without saying so."""
        for id in self._calls:
            self._dropped[id] = why
            self._cancel(id)

    async def close(self) -> None:
        """The client is gone: cancel its calls, and return when their tickets are given back."""
        calls = list(self._calls.values())
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    def _cancel(self, id: object) -> None:
        """An id that is not under way was answered already: some clients cancel each call when it is done."""
        if isinstance(id, str | int) and (task := self._calls.get(id)):
            task.cancel()

    def _begin(self, id: Id, params: Message, send: Send) -> asyncio.Task[None] | None:
        name, args = params.get("name"), params.get("arguments")
        args = {} if args is None else args
        if not isinstance(name, str) or not isinstance(args, dict):
            send(wire.error(id, wire.INVALID_PARAMS, "tools/call wants a `name` and an object of `arguments`."))
            return None
        if id in self._calls:
            send(wire.error(id, wire.INVALID_REQUEST, f"The call {id!r} is still under way."))
            return None
        meta = params.get("_meta")
        meta = meta if isinstance(meta, dict) else {}
        wait = _Wait(meta.get("progressToken"), send, self._tools.gate.owner)
        work = self._call(id, name, args, _Caller.of(meta), wait, send)
        task = self._calls[id] = asyncio.create_task(work, name=f"mcp {name}")
        task.add_done_callback(lambda _: self._calls.pop(id, None))
        return task

    async def _call(self, id: Id, name: str, args: Message, caller: _Caller, wait: _Wait, send: Send) -> None:
        ticking = asyncio.create_task(wait.tick(self._beat))
        try:
            answer = await self._answer(name, args, caller, wait)
        except asyncio.CancelledError:
            if why := self._dropped.pop(id, ""):
                send(wire.result(id, wire.text(why, is_error=True)))
            raise
        finally:
            ticking.cancel()
        send(wire.result(id, answer))

    async def _answer(self, name: str, args: Message, caller: _Caller, wait: _Wait) -> Message:
        vendor, call_id = {"tool": f"{offer.SERVER}/{name}"}, await self._vendor_call(name, args)
        try:
            output = await self._tools.call(
                name, args, call_id=call_id, actor=caller.actor, parent=caller.parent, vendor=vendor, queued=wait.at,
                paged=True,
            )  # fmt: skip
        except AgentlabError as error:
            return wire.text(str(error), is_error=True)
        except Exception as error:
            log.exception("the tool %s failed inside", name)
            return wire.text(f"{name} failed inside: {type(error).__name__}: {error}", is_error=True)
        return wire.text(as_text(name, output), facts=facts(output))


@dataclass(frozen=True)
class _Caller:
    """actor: the subagent that calls. parent: the call that it is a part of. None: the agent itself, of its own accord."""

    actor: str | None = None
    parent: str | None = None

    @classmethod
    def of(cls, meta: Message) -> _Caller:
        said = (meta.get(wire.ACTOR), meta.get(wire.PARENT))
        return cls(*(word[:_NAME] if isinstance(word, str) and word else None for word in said))


class _Wait:
    """Tells a client that its call still waits, and for whom. Nothing is told to one that did not ask for it."""

    def __init__(self, token: object, send: Send, owner: str) -> None:
        self._token = token if isinstance(token, str | int) else None
        self._send = send
        self._run = owner.partition("/")[0]
        self._numbers = itertools.count(1)
        self._said = "working"

    def at(self, place: Queued) -> None:
        """A new place in the queue."""
        holders = ", ".join(dict.fromkeys(who(blocker.owner, self._run) for blocker in place.behind)) or "others"
        units = ", ".join(dict.fromkeys(blocker.unit for blocker in place.behind))
        self._said = f"waiting for {units or 'a lock'}, held by {holders}; {ordinal(place.position)} in the queue"
        self._tell()

    async def tick(self, beat: float) -> None:
        while self._token is not None:
            await asyncio.sleep(beat)
            self._tell()

    def _tell(self) -> None:
        if self._token is not None:
            self._send(wire.progress(self._token, next(self._numbers), self._said))
