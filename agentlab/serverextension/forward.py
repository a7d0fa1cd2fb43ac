"""A request of the list, passed on to the plane; its answer, passed back as it comes."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlencode

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httputil import HTTPHeaders, parse_response_start_line
from tornado.iostream import StreamClosedError
from tornado.simple_httpclient import HTTPTimeoutError

from agentlab.errors import AgentTimeout, BadRequest, NotFound, OutcomeUnknown, Unavailable

from .forwarded import Actor, Forwarded, fill
from .handlers import GatewayHandler, guarded
from .upstream import Door

TRIES = 3  # a command has an id, so that a repeat happens once; a look changes nothing
TIMEOUT = 300.0  # s: the end of a run waits for a snapshot of its workspace
_KEPT = ("Content-Type", "Content-Disposition", "X-Content-Type-Options", "Date")


class ForwardHandler(GatewayHandler):
    """One path of the list. `routes`: method -> what is passed on."""

    def initialize(self, gateway: Any, routes: dict[str, Forwarded]) -> None:  # type: ignore[override]
        super().initialize(gateway)
        self.routes = routes
        self._track_activity = False  # a page that looks does not keep a server from being culled

    @web.authenticated
    @authorized
    @guarded
    async def get(self, **parts: str) -> None:
        await self._forward(parts)

    @web.authenticated
    @authorized
    @guarded
    async def post(self, **parts: str) -> None:
        self._track_activity = True
        await self._forward(parts)

    @web.authenticated
    @authorized
    @guarded
    async def delete(self, **parts: str) -> None:
        self._track_activity = True
        await self._forward(parts)

    async def _forward(self, parts: dict[str, str]) -> None:
        method = self.request.method or ""
        route = self.routes.get(method)
        if route is None:
            raise NotFound(f"{method} {self.request.path} is no route of agentlab. There is: {', '.join(self.routes)}.")
        path = fill(route.path, parts) + self._query(route)
        body = self._command(route) if route.command else None
        for left in reversed(range(TRIES)):
            door = await self.gateway.upstream.find()
            try:
                await Passing(self, door, method, path, body).run()
                return
            except Gone as gone:
                self.gateway.upstream.lost(door)
                if not left or self._headers_written:
                    error = OutcomeUnknown if route.command else Unavailable
                    raise error(f"The plane went away while it was asked ({gone}).") from None

    def _query(self, route: Forwarded) -> str:
        values = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        values = {name: value for name, value in values.items() if name != "token" and not name.isdigit()}  # Jupyter's
        if unknown := sorted(values.keys() - set(route.query)):
            there = f"there are: {', '.join(route.query)}" if route.query else "there are none"
            raise BadRequest(f"Unknown parameter {', '.join(unknown)!r}; {there}.")
        return f"?{urlencode(values)}" if values else ""

    def _command(self, route: Forwarded) -> bytes:
        """The body with who asks, and with an id, so that it may be sent again."""
        values = self.json_body(route.limit)
        if route.actor is Actor.BY:
            values["by"] = self.who
        elif route.actor is Actor.OWNER:
            values["owner"] = f"user:{self.who}"
        if not isinstance(values.get("rid"), str) or not values["rid"]:
            values["rid"] = secrets.token_hex(12)
        return msgspec.json.encode(values)


class Gone(Exception):
    """The connection to the plane broke, or its token is that of an earlier one: nothing of the answer was passed on."""


class Passing:
    """One answer on its way from the plane to the browser. What the browser does not take, the plane is not asked for."""

    def __init__(self, handler: ForwardHandler, door: Door, method: str, path: str, body: bytes | None) -> None:
        self._handler = handler
        self._upstream = handler.gateway.upstream
        self._door = door
        self._request = HTTPRequest(
            door.url + path, method=method, headers={**door.headers, "Content-Type": "application/json"}, body=body,
            connect_timeout=5.0, request_timeout=TIMEOUT, allow_nonstandard_methods=True, follow_redirects=False,
            decompress_response=False, header_callback=self._header, streaming_callback=self._chunk,
        )  # fmt: skip
        self._status = 0
        self._headers = HTTPHeaders()
        self._begun = False
        self._left = False  # the browser is gone
        self._refused = bytearray()  # an answer of which it is not known yet whether it is the browser's matter

    async def run(self) -> None:
        try:
            response = await self._upstream.client.fetch(self._request, raise_error=False)
        except HTTPTimeoutError:
            raise AgentTimeout(f"The plane did not answer within {TIMEOUT:.0f} s.") from None
        except (OSError, HTTPClientError) as error:  # also tornado's StreamClosedError
            raise Gone(str(error) or "connection closed") from None
        if response.code == 403 and not await self._upstream.knows(self._door):
            raise Gone("its token is another one by now")
        if self._left:
            return
        self._begin()
        if self._refused:
            self._handler.write(bytes(self._refused))
        self._handler.finish(set_content_type=self._handler._headers.get("Content-Type"))

    def _header(self, line: str) -> None:
        if line.startswith("HTTP/"):
            self._status = parse_response_start_line(line.strip()).code
            self._headers.clear()
        elif line.strip():
            self._headers.parse_line(line)

    async def _chunk(self, chunk: bytes) -> None:
        if self._left:
            return
        if self._status == 403:
            self._refused += chunk
            return
        self._begin()
        self._handler.write(chunk)
        try:
            await self._handler.flush()
        except StreamClosedError:
            self._left = True  # the rest is let go of as it comes

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        self._handler.set_status(self._status)
        for name in _KEPT:
            if name in self._headers:
                self._handler.set_header(name, self._headers[name])
        self._handler.set_header("X-Content-Type-Options", "nosniff")
        if "/api/blobs/" in self._request.url:  # content is an agent's: never rendered in the origin of the server
            self._handler.set_header("Content-Disposition", "attachment")
