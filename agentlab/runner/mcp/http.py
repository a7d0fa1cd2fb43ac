"""The same server by streamable HTTP, on loopback. A call is answered by an event stream that is opened at once.

A plain response would come too late for most clients: they give up after 60 s without headers, and drop a stream that
was silent for 300 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from agentlab.errors import Unavailable

from . import wire
from .offer import Address
from .server import ToolServer
from .session import BEAT, Session

PATH: Final = "/mcp"
_SESSION: Final = "mcp-session-id"
_BODY: Final = 64 * 1024 * 1024  # bytes
_SESSIONS: Final = 64  # an agent has one, and one for each of its subagents


class HttpServer:
    """`ToolServer` by HTTP: `url`, with its token as the bearer. beat: s between pings."""

    def __init__(self, server: ToolServer, *, beat: float = BEAT) -> None:
        self._server = server
        self._beat = beat
        self._sessions: dict[str, Session] = {}
        self._uvicorn: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.url = ""

    async def start(self) -> None:
        """Raises Unavailable."""
        listener = socket.create_server(("127.0.0.1", 0))
        settings = uvicorn.Config(
            self.app(), log_level="warning", lifespan="off", access_log=False, ws="none", server_header=False,
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = self._uvicorn = uvicorn.Server(settings)
        # not `serve`: it would take the signals of the runner
        self._serving = asyncio.create_task(server._serve([listener]), name="mcp http")
        while not server.started:
            if self._serving.done():
                raise Unavailable(f"The tools could not be served by HTTP: {self._serving.exception()}")
            await asyncio.sleep(0.005)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}{PATH}"

    @property
    def address(self) -> Address:
        return Address(self.url, self._server.token)

    async def close(self) -> None:
        for id in list(self._sessions):
            await self._server.end(self._sessions.pop(id))
        if self._uvicorn and self._serving:
            self._uvicorn.should_exit = True
            await asyncio.wait({self._serving}, timeout=5.0)

    def app(self) -> Starlette:
        return Starlette(routes=[Route(PATH, self._answer, methods=["GET", "POST", "DELETE"])])

    # --- one request ---------------------------------------------------------------------------------------

    async def _answer(self, request: Request) -> Response:
        if refused := self._refused(request.headers):
            return refused
        match request.method:
            case "POST":
                return await self._post(request)
            case "DELETE" if session := self._sessions.pop(request.headers.get(_SESSION, ""), None):
                await self._server.end(session)
                return Response(status_code=204)
            case "DELETE":
                return _no_session()
            case _:
                return Response("We have nothing to say unasked.", 405, {"allow": "POST, DELETE"})

    def _refused(self, headers: Mapping[str, str]) -> Response | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), self._server.token.encode()):
            return Response("Whose tools? Send the agent's token.", 401, {"www-authenticate": "Bearer"})
        if "origin" in headers:  # browsers send it; no agent does
            return Response("This is not for web pages.", 403)
        return None

    async def _post(self, request: Request) -> Response:
        try:
            message = wire.parse(await _body(request))
        except wire.Malformed as problem:
            return _json(problem.answer, 400)
        except ClientDisconnect:
            return Response(status_code=400)
        id = request.headers.get(_SESSION, "")
        headers: dict[str, str] = {}
        if message.get("method") == "initialize":
            if len(self._sessions) >= _SESSIONS:
                return Response("Too many sessions: end some with DELETE.", 429)
            id = secrets.token_urlsafe(16)
            headers[_SESSION] = id
            self._sessions[id] = self._server.session()
        session = self._sessions.get(id)
        if session is None:
            return _no_session()
        sent: asyncio.Queue[wire.Message] = asyncio.Queue()
        call = session.receive(message, sent.put_nowait)
        if not wire.is_request(message):
            return Response(status_code=202)
        if call is None:
            return _json(sent.get_nowait(), 200, headers)
        stream = self._stream(call, sent)
        return StreamingResponse(stream, 200, headers | {"cache-control": "no-store"}, "text/event-stream")

    async def _stream(self, call: asyncio.Task[None], sent: asyncio.Queue[wire.Message]) -> AsyncIterator[bytes]:
        """What is said about a call, until it is done. Closed before that, its caller is gone: it is cancelled."""
        call.add_done_callback(lambda _: sent.put_nowait({}))
        try:
            yield b": open\n\n"
            while True:
                try:
                    async with asyncio.timeout(self._beat):
                        message = await sent.get()
                except TimeoutError:
                    yield b": ping\n\n"
                    continue
                if not message:
                    return
                yield b"event: message\ndata: " + wire.encode(message) + b"\n\n"
        finally:
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(call, return_exceptions=True)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY:
            raise wire.Malformed(wire.INVALID_REQUEST, f"A message may have {_BODY} bytes at most.")
    return bytes(body)


def _json(message: wire.Message, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(wire.encode(message), status, headers, "application/json")


def _no_session() -> Response:
    return Response("There is no such session: begin with initialize.", 404)
