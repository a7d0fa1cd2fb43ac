"""Rows and events as they happen: a socket of the browser, fed from one of the plane no faster than it takes."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, WebSocketHandler, websocket_connect

from agentlab.errors import AgentlabError, BadRequest

from .forwarded import Forwarded, fill
from .handlers import RESOURCE

MESSAGE = 1 << 30  # bytes of one: a snapshot is one message
GOING_AWAY = 1012  # "service restart": come again
TRY_LATER = 1013
REASON = 120  # bytes that a close may say


class StreamHandler(JupyterHandler, WebSocketHandler):
    """One stream. It ends with a code and a reason when the plane is gone; the browser comes again with `since`."""

    auth_resource = RESOURCE
    _track_activity = False

    def initialize(self, gateway: Any, route: Forwarded) -> None:
        self.gateway = gateway
        self.route = route
        self._pumping: asyncio.Task[None] | None = None

    @ws_authenticated
    async def get(self, *args: str, **parts: str) -> None:
        user = self.current_user
        if not await ensure_async(self.authorizer.is_authorized(self, user, "read", self.auth_resource)):
            raise web.HTTPError(403, f"User is not authorized to read on resource: {self.auth_resource}.")
        try:
            self._path = fill(self.route.path, parts) + self._since()
        except AgentlabError as error:
            raise web.HTTPError(400, str(error)) from None
        await super().get(*args)

    def open(self, *args: str, **parts: str) -> None:
        self._pumping = asyncio.create_task(self._pump())

    def on_message(self, message: str | bytes) -> None:
        """Nothing is asked for on this socket."""

    def on_close(self) -> None:
        if self._pumping is not None:
            self._pumping.cancel()

    def _since(self) -> str:
        since = self.get_query_argument("since", "")
        if since and not since.isdecimal():
            raise BadRequest(f"since={since!r} is no position.")
        return f"?{urlencode({'since': since})}" if since else ""

    async def _pump(self) -> None:
        upstream = self.gateway.upstream
        try:
            door = await upstream.find()
        except AgentlabError as error:
            self._end(TRY_LATER, str(error))
            return
        request = HTTPRequest(door.socket + self._path, headers=door.headers, connect_timeout=5.0, request_timeout=10.0)
        plane: WebSocketClientConnection | None = None
        try:
            plane = await websocket_connect(request, max_message_size=MESSAGE)
            while (message := await plane.read_message()) is not None:
                await self.write_message(message, binary=isinstance(message, bytes))
            upstream.lost(door)
            self._end(GOING_AWAY, plane.close_reason or "The plane went away; come again.")
        except WebSocketClosedError:
            pass  # the browser left
        except (OSError, HTTPClientError) as error:
            upstream.lost(door)
            self._end(GOING_AWAY, f"The plane does not answer: {error}")
        finally:
            if plane is not None:
                plane.close()

    def _end(self, code: int, reason: str) -> None:
        self.close(code, reason.encode()[:REASON].decode(errors="ignore"))
