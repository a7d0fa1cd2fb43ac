"""Serving the link: a unix socket, or an endpoint for WebSockets, with one handler and one kind of peer."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agentlab.errors import BadRequest

from . import sockets
from .frames import FrameReader, ServerFrame, decode_request, header
from .messages import MAX_FRAME
from .peer import Handler, Peer
from .streams import StreamProtocol

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

__all__ = ["WEBSOCKET_SETTINGS", "Handler", "Peer", "Server", "serve_unix", "websocket_endpoint"]

HIGH_WATER = 1024 * 1024  # bytes not taken by a peer, from which on it is not read from either
LINGER = 3.0  # s that a peer has to take what is left when it is closed

log = logging.getLogger(__name__)

WEBSOCKET_SETTINGS: Final[dict[str, Any]] = {
    "ws": "websockets-sansio",
    "ws_max_size": MAX_FRAME,
    "ws_per_message_deflate": False,
}
"""What uvicorn has to be told to serve the link: `uvicorn.Config(app, **WEBSOCKET_SETTINGS)`."""


async def serve_unix(path: Path | str, handler: Handler) -> Server:
    """Listen at `path`. Raises NameTaken (somebody answers there) and Refused (no private place for a socket)."""
    path = Path(path)
    listener = sockets.listen(path)
    try:
        return await Server._start(path, listener, handler)
    except BaseException:
        listener.close()
        path.unlink(missing_ok=True)
        raise


class Server:
    """A listening socket and the peers that came through it."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self.path = path
        self._handler = handler
        self._streams: set[_Stream] = set()
        self._unsent: list[_Stream] = []
        self._empty = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._inode = path.stat().st_ino

    @classmethod
    async def _start(cls, path: Path, listener: socket.socket, handler: Handler) -> Server:
        server = cls(path, handler)
        loop = asyncio.get_running_loop()
        server._listener = await loop.create_unix_server(lambda: _Stream(server, handler), sock=listener)
        return server

    @property
    def address(self) -> str:
        return f"unix:{self.path}"

    @property
    def peers(self) -> tuple[Peer, ...]:
        return tuple(stream.peer for stream in self._streams)

    async def close(self) -> None:
        """Take the socket away, send what is on its way, and end all connections."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        if self.path.is_socket() and self.path.stat().st_ino == self._inode:
            self.path.unlink()
        listener.close()
        for peer in self.peers:
            peer.close()
        while self._streams:
            self._empty.clear()
            await self._empty.wait()
        await listener.wait_closed()

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def _send_soon(self, stream: _Stream) -> None:
        """What all peers are sent within one turn of the loop is written in the next: a write for each peer."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        self._unsent.append(stream)

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        for stream in unsent:
            stream.flush()

    def _joined(self, stream: _Stream) -> None:
        self._streams.add(stream)
        if self._listener is None:  # it was accepted while the server closed
            stream.peer.close()

    def _left(self, stream: _Stream) -> None:
        self._streams.discard(stream)
        if not self._streams:
            self._empty.set()


class _Stream(StreamProtocol):
    """One connection of a stream socket: the channel of its peer. What is sent within one turn of the loop is one write."""

    _transport: asyncio.Transport

    def __init__(self, server: Server, handler: Handler) -> None:
        self.peer = Peer(self, handler)
        self._server = server
        self._reader: FrameReader[ServerFrame] = FrameReader(decode_request)
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._linger: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self._server._joined(self)
        self.peer.begin()

    def received(self, data: memoryview) -> None:
        for frame in self._reader.feed(data):
            self.peer.take(frame)
        if self._reader.error:
            self.peer.fail(self._reader.error)

    def pause_writing(self) -> None:
        self._transport.pause_reading()  # who does not take answers is not asked for more questions

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._linger:
            self._linger.cancel()
        self._out.clear()
        self._out_bytes = 0
        self.peer.end()
        self._server._left(self)

    def send(self, payload: bytes) -> None:
        if not self._out:
            self._server._send_soon(self)
        self._out += (header(payload), payload)
        self._out_bytes += len(payload)

    def flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._out_bytes = 0
            self._transport.write(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()
        self._linger = self._loop.call_later(LINGER, self._transport.abort)

    def backlog(self) -> int:
        return self._out_bytes + self._transport.get_write_buffer_size()


def websocket_endpoint(handler: Handler) -> Callable[[WebSocket], Awaitable[None]]:
    """An endpoint for `starlette.routing.WebSocketRoute`. Serve it with `WEBSOCKET_SETTINGS`."""

    async def link(websocket: WebSocket) -> None:
        await websocket.accept()
        await _Socket(websocket, handler).run()

    return link


class _Socket:
    """One WebSocket: the channel of its peer."""

    def __init__(self, websocket: WebSocket, handler: Handler) -> None:
        self.peer = Peer(self, handler)
        self._websocket = websocket
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._wake = asyncio.Event()  # there is something to send, or nothing more will come
        self._room = asyncio.Event()  # the other side takes what it is sent
        self._room.set()
        self._closing = asyncio.Event()

    async def run(self) -> None:
        """Return when the connection is gone."""
        self.peer.begin()
        tasks = [asyncio.create_task(work()) for work in (self._read, self._write, self._linger)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    log.error("%r: the connection broke", self.peer, exc_info=result)
            self._out_bytes = 0
            self.peer.end()

    async def _read(self) -> None:
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            try:
                self.peer.take(_request_of(message.get("bytes")))
            except BadRequest as error:
                self.peer.fail(error)
            await self._room.wait()

    async def _write(self) -> None:
        from starlette.websockets import WebSocketDisconnect

        try:
            while self._out or not self._closing.is_set():
                out, self._out = self._out, []
                for payload in out:
                    await self._websocket.send_bytes(payload)
                    self._out_bytes -= len(payload)
                if self._out_bytes <= HIGH_WATER:
                    self._room.set()
                if not self._out and not self._closing.is_set():
                    self._wake.clear()
                    await self._wake.wait()
            await self._websocket.close()
        except (WebSocketDisconnect, OSError):
            return  # it went away while we wrote

    async def _linger(self) -> None:
        await self._closing.wait()
        await asyncio.sleep(LINGER)

    def send(self, payload: bytes) -> None:
        self._out.append(payload)
        self._out_bytes += len(payload)
        if self._out_bytes > HIGH_WATER:
            self._room.clear()
        self._wake.set()

    def close(self) -> None:
        self._closing.set()
        self._wake.set()

    def backlog(self) -> int:
        return self._out_bytes


def _request_of(data: bytes | None) -> ServerFrame:
    if data is None:
        raise BadRequest("The link speaks binary messages, not text.")
    if len(data) > MAX_FRAME:
        raise BadRequest(f"A frame of {len(data)} bytes is too large: {MAX_FRAME} at most.")
    return decode_request(data)
