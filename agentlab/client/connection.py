"""A link that comes back: found or started when needed, found again when the plane was restarted.

A request whose link broke is sent again with the same id, so that it happens once. Lives on the background loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from agentlab import discovery
from agentlab.core.commands import Command
from agentlab.errors import AgentlabError, Forbidden, OutcomeUnknown, PlaneUnavailable, Unavailable, VersionMismatch
from agentlab.link.client import LinkClient

from .target import Target

if TYPE_CHECKING:
    from agentlab.link.messages import AnyRequest, AnyResponse, Delta, Events, Hello, Welcome

T = TypeVar("T")

PATIENCE = 60.0  # s that a request is repeated after its link was lost, or its outcome unknown
CONNECT = 10.0  # s for one attempt to shake hands
RESTART = 5.0  # s that there may be no plane after one was lost: perhaps it is being restarted


class Connection:
    """`hello` makes the first request of a link from the token of the plane that was found."""

    def __init__(self, target: Target, hello: Callable[[str], Hello]) -> None:
        self.target = target
        self.welcome: Welcome | None = None
        self._hello = hello
        self._link: LinkClient | None = None
        self._connecting = asyncio.Lock()
        self.closed = False

    async def link(self, *, start: bool = True) -> LinkClient:
        """An open link. Raises PlaneUnavailable, VersionMismatch."""
        async with self._connecting:
            if self.closed:
                raise PlaneUnavailable("This lab was closed. agentlab.connect() opens a new one.")
            if self._link is None or self._link.closed.done():
                self._link = await self._connect(start)
            return self._link

    async def _connect(self, start: bool) -> LinkClient:
        deadline = time.monotonic() + CONNECT
        refused: str | None = None  # the token that was
        while True:
            address = await asyncio.to_thread(self.target.find, start=start)
            try:
                link = await LinkClient.connect(address.link, self._hello(address.token), timeout=CONNECT)
            except PlaneUnavailable as error:
                # The plane that was found is just going away; the next look finds its successor.
                if time.monotonic() > deadline:
                    raise PlaneUnavailable(f"The plane at {address.link} cannot be reached: {error}") from error
                await asyncio.sleep(0.05)
                continue
            except Forbidden:
                if address.token == refused:
                    raise
                refused = address.token  # perhaps that of a plane whose successor has not said yet where it is
                await asyncio.sleep(0.05)
                continue
            self.welcome = link.welcome
            return link

    async def ask(self, body: AnyRequest, answer: type[T], *, start: bool = True) -> T:
        """The plane's answer. A command gets an id here if it has none, and keeps it when it is sent again."""
        response = await self._request(_with_id(body), start=start)
        if not isinstance(response, answer):
            raise AgentlabError(f"The plane answered {type(body).__name__} with {type(response).__name__}.")
        return response

    async def _request(self, body: AnyRequest, *, start: bool) -> AnyResponse:
        give_up: float | None = None
        lost_at: float | None = None
        pause = 0.02
        while True:
            try:
                link = await self.link(start=start)
            except PlaneUnavailable:
                if lost_at is None or self.closed or time.monotonic() > lost_at + RESTART:
                    raise
                await asyncio.sleep(pause)
                continue
            try:
                return await link.request(body)
            except (Unavailable, ConnectionError) as error:
                give_up = give_up or time.monotonic() + PATIENCE  # it may have been answered late, and lost only now
                lost = link.closed.done() and not isinstance(error, VersionMismatch)
                if not (lost or isinstance(error, OutcomeUnknown)) or self.closed or time.monotonic() > give_up:
                    raise
                lost_at = lost_at or time.monotonic()
                if discovery.stopped_on_purpose(self.target.home):
                    start = False  # a wait that was under way does not undo `agentlab daemon stop`
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def pushes(self, body: AnyRequest, *, start: bool = False) -> AsyncGenerator[Delta | Events, None]:
        """What a subscription brings, as long as this link lives. Raises Unavailable when it is lost: subscribe anew `since`."""
        link = await self.link(start=start)
        async with contextlib.aclosing(link.subscribe(body)) as items:
            async for item in items:
                yield item  # type: ignore[misc]
        raise PlaneUnavailable("The subscription ended.")

    async def database(self) -> Path:
        """Where the log is. Raises Unavailable: not on this machine."""
        if self.welcome is None:  # the log can be read while no plane runs: ask only once where it is
            await self.link()
        path = Path(self.welcome.database) if self.welcome is not None and self.welcome.database else None
        if path is None or not path.exists():
            raise Unavailable(
                f"The log ({path or 'of this plane'}) is not on this machine: read frames where the plane runs."
            )
        return path

    async def close(self) -> None:
        self.closed = True
        link, self._link = self._link, None
        if link is not None:
            await link.close()


def _with_id(body: AnyRequest) -> AnyRequest:
    if isinstance(body, Command) and not body.rid:
        return msgspec.structs.replace(body, rid=secrets.token_hex(12))
    return body
