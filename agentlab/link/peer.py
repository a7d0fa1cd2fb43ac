"""The server's side of one connection, whatever carries it: who is there, what it asks, what it is told."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from agentlab.errors import AgentlabError, BadRequest, Forbidden

from .frames import PushFrame, ReplyFrame, RequestFrame, ServerFrame, encode, encode_error, encode_push
from .messages import AnyRequest, AnyResponse, Hello

HELLO_WITHIN = 10.0  # s

log = logging.getLogger(__name__)


class Handler(Protocol):
    """What a server does. All three are called on the event loop, in order of arrival, and must not block.

    Answers may come at any time, in any order. The handler checks the token and the protocol of `Hello`, sets
    `peer.identity` and replies `Welcome`; an error instead ends the connection. Until `identity` is set nothing but
    the `Hello` reaches it.
    """

    def opened(self, peer: Peer) -> None: ...

    def received(self, peer: Peer, id: int, request: AnyRequest) -> None:
        """An AgentlabError raised here is the answer."""

    def closed(self, peer: Peer) -> None:
        """Once for each `opened`. What is sent to the peer from now on goes nowhere."""


class Channel(Protocol):
    """What carries the payloads of one connection."""

    def send(self, payload: bytes) -> None: ...

    def close(self) -> None:
        """Send what was given to it, as far as the other side takes it within a few seconds, then end."""

    def backlog(self) -> int:
        """Bytes given to it that the other side has not taken."""


class Peer:
    """One client. `data` is the handler's own, to keep with it what it likes."""

    def __init__(self, channel: Channel, handler: Handler) -> None:
        self.hello: Hello | None = None
        self.identity = ""
        self.data: dict[str, Any] = {}
        self.open = True
        self._channel = channel
        self._handler = handler
        self._hello_id: int | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        client = self.hello.client if self.hello else ""
        return f"Peer({self.identity or 'unknown'}{', ' + client if client else ''})"

    # what a handler does

    def reply(self, id: int, body: AnyResponse) -> None:
        try:
            payload = encode(ReplyFrame(id, body))
        except BadRequest as error:
            self.error(id, error)
        else:
            self._send(payload)

    def error(self, id: int, exc: AgentlabError) -> None:
        self._send(encode_error(id, exc))
        if id == self._hello_id and not self.identity:
            self.close()

    def push(self, id: int, body: AnyResponse) -> None:
        """One more item for the subscription `id`; 0 is the connection itself."""
        self._send(encode(PushFrame(id, body)))

    def push_raw(self, id: int, encoded: bytes) -> None:
        """The same with a body made once by `frames.encode_body`, for many peers."""
        self._send(encode_push(id, encoded))

    def close(self) -> None:
        """Send what is on its way, then end the connection. Nothing is received any more."""
        if self.open:
            self.open = False
            self._channel.close()

    def backlog(self) -> int:
        """Bytes not yet sent."""
        return self._channel.backlog()

    # what a channel does

    def begin(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(HELLO_WITHIN, self._hello_is_late)
        self._guarded(self._handler.opened, self)

    def take(self, frame: ServerFrame) -> None:
        """One frame has come."""
        if not self.open:
            return
        try:
            self._admit(frame)
        except AgentlabError as error:
            self.error(frame.id, error)
            if self.hello is None:
                self.close()
        except Exception as error:
            log.exception("%r: a request failed", self)
            self.error(
                frame.id, AgentlabError(f"This failed inside the plane ({type(error).__name__}); its log says more.")
            )

    def fail(self, error: AgentlabError) -> None:
        """What came is no frame: say so and end."""
        if self.open:
            self._send(encode_error(0, error))
            self.close()

    def end(self) -> None:
        """The connection is gone."""
        self.open = False
        if self._deadline:
            self._deadline.cancel()
        self._guarded(self._handler.closed, self)

    def _admit(self, frame: ServerFrame) -> None:
        if not isinstance(frame, RequestFrame):
            raise frame.error
        request = frame.body
        if self.hello is None:
            if not isinstance(request, Hello):
                raise BadRequest("The first request of a connection must be Hello.")
            self.hello, self._hello_id = request, frame.id
            if self._deadline:
                self._deadline.cancel()
        elif isinstance(request, Hello):
            raise BadRequest("Hello was said already.")
        elif not self.identity:
            raise Forbidden("Wait for the answer to Hello before anything else is asked.")
        self._handler.received(self, frame.id, request)

    def _hello_is_late(self) -> None:
        self.fail(BadRequest(f"No Hello within {HELLO_WITHIN:g} s."))

    def _send(self, payload: bytes) -> None:
        if self.open:
            self._channel.send(payload)

    def _guarded(self, call: Any, *args: object) -> None:
        try:
            call(*args)
        except Exception:
            log.exception("%r: the handler failed", self)
