"""The client's side of the link: requests with answers in any order, subscriptions, pushes."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from agentlab.__about__ import PROTOCOL, __version__
from agentlab.errors import AgentlabError, BadRequest, PlaneUnavailable, from_code

from . import sockets
from .frames import (
    ClientFrame,
    ErrorFrame,
    FrameReader,
    PushFrame,
    ReplyFrame,
    RequestFrame,
    decode_response,
    encode,
    header,
)
from .messages import MAX_FRAME, AnyRequest, AnyResponse, Hello, Message, Unsubscribe, Welcome
from .streams import StreamProtocol

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

OnMessage = Callable[[Message], None]


def hello(token: str, client: str = "", *, session_id: str = "", user: str = "") -> Hello:
    """The first request, with the versions that are spoken here."""
    return Hello(token=token, protocol=PROTOCOL, version=__version__, client=client, session_id=session_id, user=user)


class Line(Protocol):
    """What carries the payloads."""

    def send(self, payload: bytes) -> None: ...

    def close(self) -> None:
        """Send what was given to it, then end."""

    def abort(self) -> None:
        """End at once."""


class LinkClient:
    """One connection. It does not come back by itself: when `closed` is done, connect again.

    `on_message` is called for what the plane says on its own (pushes under id 0).
    """

    welcome: Welcome

    def __init__(self, address: str, on_message: OnMessage | None = None) -> None:
        self.address = address
        self.on_message = on_message
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line: Line | None = None
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[AnyResponse]] = {}
        self._subscriptions: dict[int, asyncio.Queue[AnyResponse | AgentlabError]] = {}
        self._why = ""

    @classmethod
    async def connect(
        cls, address: str, hello: Hello, timeout: float = 10.0, on_message: OnMessage | None = None
    ) -> LinkClient:
        """Connect to `unix:/path` or `ws://host:port/link` and shake hands.

        Raises PlaneUnavailable (nobody answers there in time), VersionMismatch, Forbidden (the token), BadRequest
        (that is no address).
        """
        self = cls(address, on_message)
        try:
            async with asyncio.timeout(timeout):
                self._line = await _open(address, self)
                welcome = await self.request(hello)
        except TimeoutError:
            self._abort()
            raise PlaneUnavailable(f"The plane at {address} does not answer within {timeout:g} s.") from None
        except BaseException:
            self._abort()
            raise
        if not isinstance(welcome, Welcome):
            self._abort()
            raise PlaneUnavailable(f"{address} is no plane: it answered Hello with {type(welcome).__name__}.")
        self.welcome = welcome
        return self

    def send(self, body: AnyRequest) -> asyncio.Future[AnyResponse]:
        """Send a request; the future is its answer. The order of calls is the order on the wire.

        Raises BadRequest: it is too large or cannot be encoded. The future fails with the plane's error, or with
        PlaneUnavailable where the connection is, or gets, lost.
        """
        return self._send(next(self._ids), body)

    async def request(self, body: AnyRequest) -> AnyResponse:
        return await self.send(body)

    def subscribe(self, body: AnyRequest) -> AsyncGenerator[AnyResponse, None]:
        """Send `Follow` or `Watch` now, and iterate over what is pushed. Closing the iterator unsubscribes.

        Raises the plane's error where it refuses, and PlaneUnavailable when the connection ends.
        """
        id = next(self._ids)
        items: asyncio.Queue[AnyResponse | AgentlabError] = asyncio.Queue()
        self._subscriptions[id] = items
        opened = self._send(id, body)
        opened.add_done_callback(lambda future: _pass_error(future, items))
        return self._items(id, items)

    async def close(self) -> None:
        """Send what is on its way and end the connection; what is pending fails."""
        if not self.closed.done() and self._line:
            self._why = "it was closed here"
            self._line.close()
            try:
                await asyncio.wait_for(asyncio.shield(self.closed), 2.0)
            except TimeoutError:
                self._line.abort()
                await self.closed

    # what a line does

    def take(self, frame: ClientFrame) -> None:
        """One frame has come."""
        match frame:
            case ReplyFrame(id, body):
                if (future := self._pending.pop(id, None)) and not future.done():
                    future.set_result(body)
            case PushFrame(0, body):
                self._message(body)
            case PushFrame(id, body):
                if items := self._subscriptions.get(id):
                    items.put_nowait(body)
            case ErrorFrame(0, (_, text, _)):
                self._why = text
            case ErrorFrame(id, (code, text, data)):
                self._fail(id, from_code(code, text, data))
            case _:
                self._fail(frame.id, frame.error)

    def lost(self, why: str = "") -> None:
        """The connection is gone."""
        if self.closed.done():
            return
        self._why = self._why or why
        self.closed.set_result(None)
        pending, self._pending = self._pending, {}
        for future in pending.values():
            _fail(future, self._gone())
        for items in self._subscriptions.values():
            items.put_nowait(self._gone())

    # inside

    def _send(self, id: int, body: AnyRequest) -> asyncio.Future[AnyResponse]:
        future: asyncio.Future[AnyResponse] = asyncio.get_running_loop().create_future()
        if self.closed.done() or self._line is None:
            _fail(future, self._gone())
            return future
        payload = encode(RequestFrame(id, body))
        self._pending[id] = future
        self._line.send(payload)
        return future

    async def _items(
        self, id: int, items: asyncio.Queue[AnyResponse | AgentlabError]
    ) -> AsyncGenerator[AnyResponse, None]:
        try:
            while True:
                item = await items.get()
                if isinstance(item, AgentlabError):
                    raise item
                yield item
        finally:
            del self._subscriptions[id]
            if not self.closed.done():
                self.send(Unsubscribe(id=id)).add_done_callback(_forget)

    def _message(self, body: AnyResponse) -> None:
        if self.on_message is None or not isinstance(body, Message):
            return
        try:
            self.on_message(body)
        except Exception:
            log.exception("on_message failed for %s", body.verb)

    def _fail(self, id: int, error: AgentlabError) -> None:
        if (future := self._pending.pop(id, None)) and not future.done():
            future.set_exception(error)
        elif items := self._subscriptions.get(id):
            items.put_nowait(error)

    def _gone(self) -> PlaneUnavailable:
        why = f": {self._why}" if self._why else ""
        return PlaneUnavailable(f"The connection to the plane at {self.address} is gone{why}.")

    def _abort(self) -> None:
        if self._line:
            self._line.abort()
        self.lost()


def _fail(future: asyncio.Future[AnyResponse], error: AgentlabError) -> None:
    """The future of somebody who may not be listening any more: that is no reason for a warning."""
    if not future.done():
        future.set_exception(error)
        future.exception()


def _pass_error(future: asyncio.Future[AnyResponse], items: asyncio.Queue[AnyResponse | AgentlabError]) -> None:
    """The answer to a subscription says no more than that it is open; an error ends it."""
    error = None if future.cancelled() else future.exception()
    if isinstance(error, AgentlabError):
        items.put_nowait(error)


def _forget(future: asyncio.Future[AnyResponse]) -> None:
    if not future.cancelled() and (error := future.exception()):
        log.debug("unsubscribe: %s", error)


async def _open(address: str, client: LinkClient) -> Line:
    scheme, _, rest = address.partition(":")
    try:
        if scheme == "unix" and rest:
            return await _Stream.open(Path(rest), client)
        if scheme in ("ws", "wss") and rest.startswith("//"):
            return await _Socket.open(address, client)
    except OSError as error:
        raise PlaneUnavailable(f"No plane answers at {address}: {error.strerror or error}.") from None
    raise BadRequest(f"{address!r} is no address of a plane. Write unix:/path or ws://host:port/link.")


class _Stream(StreamProtocol):
    """A unix socket."""

    _transport: asyncio.Transport

    def __init__(self, client: LinkClient) -> None:
        self._client = client
        self._reader: FrameReader[ClientFrame] = FrameReader(decode_response)

    @classmethod
    async def open(cls, path: Path, client: LinkClient) -> _Stream:
        sock = await sockets.connect(path)
        try:
            _, line = await asyncio.get_running_loop().create_unix_connection(lambda: cls(client), sock=sock)
        except BaseException:
            sock.close()
            raise
        return line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def received(self, data: memoryview) -> None:
        for frame in self._reader.feed(data):
            self._client.take(frame)
        if self._reader.error:
            self._client.lost(str(self._reader.error))
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.lost(str(exc or ""))

    def send(self, payload: bytes) -> None:
        self._transport.write(header(payload) + payload)

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()


class _Socket:
    """A WebSocket: one task reads, one writes in the order of `send`."""

    def __init__(self, client: LinkClient, socket: ClientConnection) -> None:
        self.socket = socket
        self._client = client
        self._out: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, address: str, client: LinkClient) -> _Socket:
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidHandshake, InvalidURI

        try:
            socket = await connect(
                address, max_size=MAX_FRAME, compression=None, proxy=None, open_timeout=None, close_timeout=2.0
            )
        except InvalidURI as error:
            raise BadRequest(f"{address!r} is no address of a plane: {error}") from None
        except InvalidHandshake as error:
            raise PlaneUnavailable(f"No plane answers at {address}: {error}") from None
        self = cls(client, socket)
        self._task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        from websockets.exceptions import ConnectionClosed

        writing = asyncio.create_task(self._write())
        why = ""
        try:
            async for data in self.socket:
                if isinstance(data, str):
                    raise BadRequest("The link speaks binary messages, not text.")
                self._client.take(decode_response(data))
        except (BadRequest, ConnectionClosed) as error:
            why = str(error)
        finally:
            writing.cancel()
            self._client.lost(why)
            await asyncio.gather(writing, self.socket.close(), return_exceptions=True)

    async def _write(self) -> None:
        while (payload := await self._out.get()) is not None:
            await self.socket.send(payload)
        await self.socket.close()

    def send(self, payload: bytes) -> None:
        self._out.put_nowait(payload)

    def close(self) -> None:
        self._out.put_nowait(None)

    def abort(self) -> None:
        if self._task:
            self._task.cancel()
