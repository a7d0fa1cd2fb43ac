"""The runner's link to the plane, for as long as it takes: found again, adopted again, what was under way asked again."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import secrets
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agentlab.core.commands import AnyCommand, Hired, Ready
from agentlab.errors import AgentlabError, PlaneUnavailable, Unavailable, VersionMismatch
from agentlab.link.client import LinkClient, OnMessage, hello
from agentlab.link.journal import Journal
from agentlab.link.messages import AnyRequest, AnyResponse
from agentlab.runtimes.base import Launch

from .outbox import Outbox
from .revive import Finder

FIRST = 300.0  # s in which a plane must be found at first; afterwards there is no limit
SHAKE = 10.0  # s for one attempt to connect and be adopted
ALONE = 2.0  # s without a plane until one is started
LONGEST_PAUSE = 1.0  # s between attempts
RETRY = 0.1  # s until what the plane could not do just now is asked again

C = TypeVar("C", bound=AnyCommand)
T = TypeVar("T")

Adopted = Callable[[Hired, float], None]
"""Called on each connection with the answer to `Ready`, and when (monotonic) that was sent."""

log = logging.getLogger(__name__)


class Uplink:
    """Everything recorded goes before everything asked afterwards.

    `refused` is done when the plane will never have this runner again (its agent has ended, the token or the version
    is wrong): the reason, which is also what everything asked fails with.
    """

    def __init__(self, launch: Launch, journal: Journal, on_message: OnMessage, adopted: Adopted) -> None:
        self.outbox = Outbox(journal, launch.agent, self._refuse)
        self.refused: asyncio.Future[AgentlabError] = asyncio.get_running_loop().create_future()
        self._launch = launch
        self._on_message = on_message
        self._adopted = adopted
        self._finder = Finder(launch.address, Path(launch.home))
        self._client: LinkClient | None = None
        self._turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # the next change of connection
        self._alone = time.monotonic()
        self._ids = itertools.count(1)
        self._start = secrets.token_hex(4)  # tells this runner's requests from those of an earlier one
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Return when the plane has adopted this runner. Raises PlaneUnavailable, Forbidden, VersionMismatch, NotFound."""
        self.background(self._run())
        try:
            async with asyncio.timeout(FIRST):
                await self._connected()
        except TimeoutError:
            raise PlaneUnavailable(f"No plane answered at {self._launch.address} for {FIRST:g} s.") from None

    async def close(self) -> None:
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.outbox.detach()
        if self._client:
            await self._client.close()

    async def ask(self, request: AnyRequest) -> AnyResponse:
        """The plane's answer, however long the plane is away. What is asked again is the same, its `rid` included."""
        while True:
            client = await self._connected()
            await self.outbox.sent()
            if client is not self._client:
                continue
            try:
                return await client.request(request)
            except VersionMismatch:
                raise
            except Unavailable as error:
                log.debug("%s is asked again: %s", type(request).__name__, error)
                if not client.closed.done():
                    await asyncio.sleep(RETRY)

    async def once(self, request: AnyRequest) -> AnyResponse:
        """The plane's answer, now or not at all. Raises PlaneUnavailable."""
        if self._client is None:
            raise PlaneUnavailable("The plane is away.")
        return await self._client.request(request)

    def named(self, command: C) -> C:
        """With an id that no other request has, unless it has one."""
        rid = command.rid or f"{self._launch.agent}:{self._start}:{next(self._ids)}"
        return msgspec.structs.replace(command, rid=rid)

    def background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Done whether or not anybody waits for it, until `close`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def flush(self) -> None:
        """Return when all that was recorded is in the log."""
        if self.refused.done():
            raise self.refused.result()
        await self.outbox.acknowledged()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            level = logging.DEBUG if isinstance(error, AgentlabError) else logging.ERROR
            log.log(level, "in the background: %s", error, exc_info=level > logging.DEBUG and error)

    async def _connected(self) -> LinkClient:
        while self._client is None or self._client.closed.done():
            if self.refused.done():
                raise self.refused.result()
            await asyncio.shield(self._turn)
        return self._client

    async def _run(self) -> None:
        try:
            await self._stay_connected()
        except Exception as error:
            self._refuse(AgentlabError(f"The link to the plane broke inside: {error!r}"))
            raise

    async def _stay_connected(self) -> None:
        pause = 0.02
        while not self.refused.done():
            try:
                await self._connect()
            except VersionMismatch as error:
                self._refuse(error)
            except Unavailable as error:
                log.info("no plane: %s", error)
                if time.monotonic() - self._alone > ALONE:
                    await self._finder.revive()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            except AgentlabError as error:
                self._refuse(error)
            else:
                pause = 0.02
                assert self._client is not None
                await self._client.closed
                self._alone = time.monotonic()
                self._client = None
                self.outbox.detach()

    async def _connect(self) -> None:
        address = self._finder.address()
        greeting = hello(self._launch.token, "runner")
        client = await LinkClient.connect(address, greeting, SHAKE, self._on_message)
        try:
            sent = time.monotonic()
            async with asyncio.timeout(SHAKE):
                hired = await client.request(Ready(agent=self._launch.agent, pid=os.getpid()))
        except TimeoutError:
            await client.close()
            raise PlaneUnavailable(f"The plane at {address} does not answer.") from None
        except BaseException:
            await client.close()
            raise
        if not isinstance(hired, Hired):
            await client.close()
            raise PlaneUnavailable(f"The plane at {address} answered Ready with {type(hired).__name__}.")
        self._finder.reached(address)
        self._adopted(hired, sent)
        self._client = client
        self.outbox.attach(client, hired.journal)
        self._wake()

    def _refuse(self, error: AgentlabError) -> None:
        if not self.refused.done():
            self.refused.set_result(error)
            self.outbox.fail(error)
            self._wake()

    def _wake(self) -> None:
        turn, self._turn = self._turn, asyncio.get_running_loop().create_future()
        turn.set_result(None)
