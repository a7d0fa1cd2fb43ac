"""The HTTP around the script."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from . import anthropic, chat, gemini, responses
from .script import INPUT, Body, Conversation, Reply, next_reply
from .wire import Ids, Wire

_METHODS = ["GET", "POST", "PUT", "HEAD", "DELETE"]
_KEPT = 10_000  # requests remembered


@dataclass(frozen=True)
class Seen:
    """One request: what was asked, what was on offer, what the script made of it."""

    path: str
    time: float  # s since the epoch
    agent: str = ""  # the user agent
    model: str = ""
    tools: tuple[str, ...] = ()
    last: str = ""  # the newest prompt or tool result
    call: tuple[str, Body] | None = None  # the tool called in the answer
    error: int = 0  # the HTTP status answered, where it was one
    body: Body = field(default_factory=dict, repr=False)


class Record:
    """What was asked of a server, newest last; each also as a line of JSON in the file `log`."""

    def __init__(self, log: Path | None = None) -> None:
        self.seen: deque[Seen] = deque(maxlen=_KEPT)
        self._log = log

    def note(self, request: Request, body: Body, talk: Conversation | None = None, reply: Reply | None = None) -> None:
        talk, reply = talk or Conversation(), reply or Reply()
        seen = Seen(
            path=request.url.path,
            time=time.time(),
            agent=request.headers.get("user-agent", ""),
            model=talk.model,
            tools=tuple(sorted(talk.tools)),
            last=talk.events[-1][1] if talk.events else "",
            call=(reply.call.tool.name, reply.call.args) if reply.call else None,
            error=reply.error,
            body=body,
        )
        self.seen.append(seen)
        if self._log:
            with self._log.open("a") as file:
                file.write(json.dumps(_summary(seen)) + "\n")


def _summary(seen: Seen) -> Body:
    return {key: value for key, value in asdict(seen).items() if key != "body"} | {"last": seen.last[-400:]}


async def _body(request: Request) -> Body:
    raw = await request.body()
    if request.headers.get("content-encoding") == "gzip":
        raw = gzip.decompress(raw)
    body = json.loads(raw or b"{}")
    return body if isinstance(body, dict) else {}


async def _paced(frames: Iterator[str], delay: float) -> AsyncIterator[str]:
    """The frames, with the delay after the first: the client waits in the middle of an answer."""
    for number, frame in enumerate(frames):
        if number == 1 and delay:
            await asyncio.sleep(delay)
        yield frame


def make_app(record: Record | None = None) -> Starlette:
    """The server as an ASGI application."""
    record = record or Record()
    ids = Ids()

    async def respond(request: Request, wire: Wire, body: Body, talk: Conversation) -> Response:
        reply = next_reply(talk)
        record.note(request, body, talk, reply)
        if reply.error or not talk.stream:
            await asyncio.sleep(reply.delay)
        if reply.error:
            return JSONResponse(wire.error(reply.error, reply.text), reply.error)
        answer = wire.answer(talk, reply, ids)
        if not talk.stream:
            return JSONResponse(answer)
        headers = {"x-request-id": ids("req")}
        return StreamingResponse(_paced(wire.frames(answer), reply.delay), 200, headers, "text/event-stream")

    def model(path: str, wire: Wire) -> Route:
        async def endpoint(request: Request) -> Response:
            body = await _body(request)
            return await respond(request, wire, body, wire.read(body))

        return Route(path, endpoint, methods=["POST"])

    async def generate(request: Request) -> Response:
        body = await _body(request)
        name, _, verb = str(request.path_params["rest"]).rpartition(":")
        if verb == "countTokens":
            record.note(request, body)
            return JSONResponse({"totalTokens": INPUT})
        talk = replace(gemini.read(body), model=name, stream=verb == "streamGenerateContent")
        return await respond(request, gemini.WIRE, body, talk)

    async def count_tokens(request: Request) -> Response:
        record.note(request, await _body(request))
        return JSONResponse({"input_tokens": INPUT})

    async def models(request: Request) -> Response:
        record.note(request, {})
        known = [{"id": "scripted", "object": "model"}]
        return JSONResponse({"object": "list", "data": known, "models": [], "has_more": False})

    async def requests_seen(request: Request) -> Response:
        return JSONResponse([_summary(seen) for seen in record.seen])

    async def anything(request: Request) -> Response:
        record.note(request, {})  # shows what else a CLI asks for
        return JSONResponse({})

    return Starlette(
        routes=[
            Route("/v1/messages/count_tokens", count_tokens, methods=["POST"]),
            model("/v1/messages", anthropic.WIRE),
            model("/v1/responses", responses.WIRE),
            model("/v1/chat/completions", chat.WIRE),
            Route("/v1/models", models),
            Route("/v1beta/models/{rest:path}", generate, methods=["POST"]),
            Route("/_seen", requests_seen),
            Route("/{rest:path}", anything, methods=_METHODS),
        ]
    )


class ScriptedModel:
    """A scripted model server on a free loopback port, in a thread of its own, for the length of a `with`."""

    def __init__(self, log: Path | None = None) -> None:
        self._record = Record(log)
        self._server = uvicorn.Server(
            uvicorn.Config(
                make_app(self._record),
                log_level="error",
                access_log=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=1,
            )
        )

    @property
    def seen(self) -> tuple[Seen, ...]:
        """Every request so far."""
        return tuple(self._record.seen)

    @property
    def turns(self) -> tuple[Seen, ...]:
        """The requests that were put to the model with tools: not the side questions, nor the other paths."""
        return tuple(seen for seen in self._record.seen if seen.tools)

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0))  # it listens from here on: no wait for the thread
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="scripted-model", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()
