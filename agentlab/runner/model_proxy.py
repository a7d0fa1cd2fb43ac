"""Between an agent's program and its model: what they say to each other passes through here and is recorded, byte for byte.

The program is told a base URL on loopback instead of its vendor's. Nothing is changed on the way but what a proxy must
(headers of one hop, compression). Bodies are kept as blobs; headers are not, for they carry keys, nor a key in a query.
What cannot be recorded is passed on all the same: the record is never in the way of the agent.

The path that leads here has a token of the agent; a key is the program's own, and passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec.structs import replace

from agentlab.core.events import ModelExchange
from agentlab.link import sockets
from agentlab.sandbox import Door

from .model_limits import REFUSED, resets
from .model_usage import Used, used

if TYPE_CHECKING:
    import httpx
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from .gate import Gate

_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"}
    | {"transfer-encoding", "upgrade", "host", "content-length", "accept-encoding", "content-encoding", "expect"}
)
"""Headers that end at us, and those of a compression that we undo."""

_QUERY: Final = frozenset({"alt", "beta", "api-version"})  # what is recorded of a query: never a key
_CONNECT: Final = 30.0  # s; an answer itself may take as long as it likes
_ID: Final = re.compile(rb'"(?:id|responseId)"\s*:\s*"([^"]{1,200})"')
_HEAD: Final = 16_384  # bytes of an answer in which its id stands
_TAIL: Final = 65_536  # bytes at the end of an answer that is too large to be kept: its usage stands there
_SETTLE: Final = 2.0  # s for an answer whose end the program did not wait for
_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def preload() -> None:
    """All that is imported, read and made for a first exchange, by having one: with ourselves, which nobody records."""
    asyncio.run(_rehearse())


async def _rehearse() -> None:
    import httpx

    proxy = ModelProxy(cast("Gate", _Nobody()), limit=0, direct=True)
    nothing, _, _ = proxy.url("", "").rpartition("/")
    with contextlib.suppress(httpx.HTTPError):
        async with httpx.AsyncClient(verify=trusted(os.environ), trust_env=False) as program:
            await program.post(proxy.url("", f"{nothing}/99"), content=b"{}")
    await proxy.close()


class _Nobody:
    """As a gate."""

    def record(self, body: ModelExchange, **columns: object) -> None:
        pass


class Answered(NamedTuple):
    """An answer that used tokens. began: monotonic ns, of the request."""

    provider: str
    response_id: str
    began: int
    used: Used


Meter = Callable[[Answered], None]


class _Asked(msgspec.Struct):
    model: str = ""


@dataclass
class _Exchange:
    """One request and its answer, as they come."""

    provider: str
    method: str
    path: str
    request: bytes
    recorded: asyncio.Future[None]
    began: int = field(default_factory=time.monotonic_ns)
    status: int = 0
    first_ns: int | None = None
    media: str = ""
    answer: bytearray = field(default_factory=bytearray)
    tail: bytes = b""  # of an answer that is larger than what is kept
    size: int = 0
    error: str = ""


class ModelProxy:
    """All models of one agent. limit: bytes of a body that is kept; a larger one is recorded by its size alone.

    direct: not through the HTTP proxy that the environment may name.
    local: where it also listens on a unix socket, 0600, for a program that reaches nothing else; None: nowhere.

    meter: told of each answer what it used, by drivers whose programs tell that too late or not at all; it records. listener: told
    each answer before its end is passed on, None of one that is too large to be kept; it raises nothing.

    `url` may be called before `start`, and by a thread: requests wait until it serves.
    """

    def __init__(self, gate: Gate, *, limit: int, direct: bool = False, local: Path | None = None) -> None:
        self._gate = gate
        self._local = local
        self._local_listener: socket.socket | None = None
        self._limit = limit
        self._direct = direct
        self._token = secrets.token_urlsafe(24)
        self._upstreams: list[tuple[str, str]] = []  # provider, base URL
        self._listener: socket.socket | None = None
        self._client: httpx.AsyncClient | None = None
        self._uvicorn: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._keeping: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.Future[None]] = set()  # exchanges that are not recorded yet
        self.meter: Meter | None = None
        self.listener: Callable[[bytes | None], None] | None = None
        self.resets: float | None = None  # s since the epoch: when the limit that was run into last resets
        self.refused: int | None = None  # the HTTP status of the model's last answer, where that was no good
        self._loop = asyncio.get_running_loop()

    def url(self, provider: str, upstream: str) -> str:
        """The base URL to tell a program instead of `upstream`."""
        if self._listener is None:
            if self._local is not None:
                self._local_listener = sockets.listen(self._local, backlog=128)
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
            self._loop.call_soon_threadsafe(self._start)
        where = (provider, upstream.rstrip("/"))
        if where not in self._upstreams:
            self._upstreams.append(where)
        port = self._listener.getsockname()[1]
        return f"http://127.0.0.1:{port}/{self._token}/{self._upstreams.index(where)}"

    def plain(self, text: str) -> str:
        """`text` with the addresses that programs ask for us in place of ours, which are nobody else's."""
        if self._listener is None or self._token not in text:
            return text
        for provider, upstream in reversed(self._upstreams):  # so that 1 is no beginning of 10
            text = text.replace(self.url(provider, upstream), upstream)
        return text

    def door(self) -> Door | None:
        """How a program without network reaches what `url` has named. None: it has named nothing, or we do not listen there."""
        if self._listener is None or self._local is None:
            return None
        return Door(place=self._local, port=self._listener.getsockname()[1])

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """`env`, with variables that keep a program from asking the machine's HTTP proxy for us."""
        if not any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") and env[name] for name in env):
            return dict(env)
        spared = env.get("NO_PROXY") or env.get("no_proxy") or ""
        spared = ",".join(filter(None, (spared, "127.0.0.1")))
        return {**env, "NO_PROXY": spared, "no_proxy": spared}

    def _start(self) -> None:
        self._serving = self._loop.create_task(self._serve(), name="model proxy")

    async def _serve(self) -> None:
        import httpx
        import uvicorn

        logging.getLogger("httpx").setLevel(
            logging.WARNING
        )  # it would log whole URLs, and some have a key in their query
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=_CONNECT), verify=trusted(os.environ), follow_redirects=False,
            trust_env=not self._direct,
        )  # fmt: skip
        settings = uvicorn.Config(
            self._app(), log_level="critical", lifespan="off", access_log=False, ws="none", server_header=False,
            date_header=False, timeout_keep_alive=300, timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._uvicorn = uvicorn.Server(settings)
        listeners = [listener for listener in (self._listener, self._local_listener) if listener is not None]
        await self._uvicorn._serve(listeners)  # not `serve`: it would take the signals of the runner

    async def close(self) -> None:
        """What was said so far is in the journal afterwards."""
        if self._serving is not None:
            for server in getattr(self._uvicorn, "servers", ()):
                server.close()
            self._serving.cancel()  # it would look only ten times a second whether it should end
            await asyncio.wait({self._serving}, timeout=5.0)
        if self._client is not None:
            await self._client.aclose()
        for listener in (self._listener, self._local_listener):
            if listener is not None:
                listener.close()
        if self._local_listener is not None and self._local is not None:
            self._local.unlink(missing_ok=True)
        if self._keeping:
            await asyncio.wait(self._keeping, timeout=5.0)

    async def settled(self) -> None:
        """What was answered so far is recorded. One that is still being answered is waited for a little."""
        if self._open:
            await asyncio.wait(self._open, timeout=_SETTLE)

    # --- one exchange ------------------------------------------------------------------------------------------

    def _app(self) -> Starlette:
        from starlette.applications import Starlette
        from starlette.routing import Route

        route = Route(f"/{self._token}/{{n:int}}{{path:path}}", self._pass_on, methods=_METHODS)
        return Starlette(routes=[route])

    async def _pass_on(self, request: Request) -> Response:
        import httpx
        from starlette.responses import JSONResponse, Response, StreamingResponse

        n, path = request.path_params["n"], request.path_params["path"]
        if n >= len(self._upstreams) or path[:1] not in ("", "/"):  # "0@evil" or "0.evil" would be another machine
            return Response("There is no such model here.", 404)
        provider, base = self._upstreams[n]
        query = request.url.query
        asked = self._begun(provider, request.method, path + recorded_query(query), await request.body())
        headers = [(name, value) for name, value in request.headers.items() if name not in _HOP]
        assert self._client is not None
        upstream = self._client.build_request(
            request.method, f"{base}{path}{'?' if query else ''}{query}", content=asked.request,
            headers=[*headers, ("accept-encoding", "identity")],
        )  # fmt: skip
        try:
            answer = await self._client.send(upstream, stream=True)
        except httpx.HTTPError as error:
            asked.error = f"{type(error).__name__}: {error}"
            self._keep(asked)
            said = f"agentlab could not reach the model at {base}: {asked.error}"
            return JSONResponse({"error": {"type": "api_error", "message": said}}, 502)
        asked.status, asked.media = answer.status_code, answer.headers.get("content-type", "")
        told = {name: value for name, value in answer.headers.items() if name not in _HOP}
        return StreamingResponse(self._stream(answer, asked), answer.status_code, told)

    def _begun(self, provider: str, method: str, path: str, body: bytes) -> _Exchange:
        recorded: asyncio.Future[None] = self._loop.create_future()
        self._open.add(recorded)
        return _Exchange(provider, method, path, body, recorded)

    async def _stream(self, answer: httpx.Response, asked: _Exchange) -> AsyncIterator[bytes]:
        asked.error = "The program went away."  # unless we come to the end
        try:
            async for piece in answer.aiter_bytes():
                if asked.first_ns is None:
                    asked.first_ns = time.monotonic_ns() - asked.began
                asked.size += len(piece)
                if asked.size <= self._limit:
                    asked.answer += piece
                else:
                    asked.tail = (asked.tail + piece)[-_TAIL:]
                yield piece
            asked.error = ""
        except Exception as error:
            asked.error = f"{type(error).__name__}: {error}"
            raise
        finally:
            if self.listener:
                self.listener(bytes(asked.answer) if asked.size <= self._limit else None)
            self._keep(asked, answer)

    def _keep(self, asked: _Exchange, answer: httpx.Response | None = None) -> None:
        """In a task of its own: we may be in the middle of being cancelled."""
        task = self._loop.create_task(self._record(asked, time.monotonic_ns() - asked.began, answer))
        self._keeping.add(task)

        def over(task: asyncio.Task[None]) -> None:
            self._keeping.discard(task)
            self._open.discard(asked.recorded)
            asked.recorded.cancel()

        task.add_done_callback(over)

    async def _record(self, asked: _Exchange, took: int, answer: httpx.Response | None) -> None:
        if answer is not None:
            with contextlib.suppress(Exception):
                await answer.aclose()
        if answer is not None:
            self.refused = asked.status if asked.status >= 400 else None
        if answer is not None and (asked.status in REFUSED or asked.status < 300):
            self.resets = resets(asked.status, answer.headers, bytes(asked.answer), time.time())
        found = _ID.search(asked.answer, 0, _HEAD)
        body = ModelExchange(
            provider=asked.provider, method=asked.method, path=asked.path, code=asked.status, media=asked.media,
            request=await self._blob(asked.request, len(asked.request)), request_size=len(asked.request),
            response=await self._blob(bytes(asked.answer), asked.size), response_size=asked.size,
            response_id=found[1].decode("utf-8", "replace") if found else "", first_ns=asked.first_ns, error=asked.error,
        )  # fmt: skip
        good = not asked.error and asked.status < 400
        model = model_of(asked.path, asked.request)
        self._gate.record(body, name=model or None, status="ok" if good else "error", dur_ns=took)
        if self.meter and asked.status < 400 and (much := used(b"\n".join((asked.answer, asked.tail)))):
            much = replace(much, model=model or much.model)
            self.meter(Answered(asked.provider, body.response_id, asked.began, much))

    async def _blob(self, data: bytes, size: int) -> str | None:
        """Its hash; None: there is none, or it is too large."""
        return await self._gate.keep(data) if data and size <= self._limit else None


def recorded_query(query: str) -> str:
    """What of a query may be recorded."""
    kept = [(name, value) for name, value in parse_qsl(query) if name in _QUERY]
    return f"?{urlencode(kept)}" if kept else ""


def model_of(path: str, request: bytes) -> str:
    """The model that was asked: in the body, or (Gemini) in the path. Empty where none is named."""
    if "/models/" in path:
        return path.partition("/models/")[2].partition(":")[0].partition("?")[0]
    try:
        return msgspec.json.decode(request, type=_Asked).model
    except msgspec.DecodeError:
        return ""


def trusted(env: Mapping[str, str]) -> ssl.SSLContext:
    """The certificates that the programs trust too: the usual ones, and what these variables name."""
    named = (env.get(name) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"))
    return _trusting(tuple(path for path in named if path))


@cache
def _trusting(paths: tuple[str, ...]) -> ssl.SSLContext:
    import certifi

    context = ssl.create_default_context(cafile=certifi.where())
    for path in paths:
        with contextlib.suppress(OSError, ssl.SSLError):
            context.load_verify_locations(path)
    return context


def recorded(models: ModelProxy | None, provider: str, upstream: str) -> str:
    """The base URL for a program: ours before `upstream`, or that itself where nothing is recorded."""
    return models.url(provider, upstream) if models else upstream


BASE_URLS: Final = {
    "ANTHROPIC_BASE_URL": "anthropic", "OPENAI_BASE_URL": "openai", "OPENAI_API_BASE": "openai",
    "GOOGLE_GEMINI_BASE_URL": "google",
}  # fmt: skip
"""Variables by which programs are commonly told where their model is, and whose it is."""


def with_recorded_urls(models: ModelProxy | None, env: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """`env`, with each of its variables in `names` (variable: provider) that has a base URL led through us."""
    if models is None:
        return dict(env)
    led = {name: models.url(provider, env[name]) for name, provider in names.items() if env.get(name)}
    return models.environment({**env, **led}) if led else dict(env)
