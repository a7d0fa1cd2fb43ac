"""The HTTP API: REST and WebSockets on loopback, the same requests as the link, a token on every route."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.routing import Route as HttpRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from agentlab.core import views
from agentlab.core.rows import ENDED
from agentlab.core.transcript import log_lines
from agentlab.errors import AgentlabError, BadRequest, Forbidden, Unavailable
from agentlab.link import messages as m
from agentlab.link.server import WEBSOCKET_SETTINGS, websocket_endpoint
from agentlab.store import reader

from . import history, routes
from .auth import ADMIN

if TYPE_CHECKING:
    from .daemon import Plane

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Api:
    """The answers that are not simply a command carried out."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.engine, self.feed = plane.engine, plane.feed

    # --- looks -------------------------------------------------------------------------------------------------

    async def health(self, request: Request) -> Response:
        status = self.plane.status()
        return _json(status, 200 if status["ok"] else 503)

    async def openapi(self, request: Request) -> Response:
        return _json(routes.openapi())

    async def state(self, request: Request) -> Response:
        delta = self.feed.snapshot()
        return _json({"seq": delta.seq, "tables": delta.tables})

    async def agents(self, request: Request) -> Response:
        return self._table("agents")

    async def locks(self, request: Request) -> Response:
        return self._table("locks")

    async def runtimes(self, request: Request) -> Response:
        return self._table("runtimes")

    async def approvals(self, request: Request) -> Response:
        return self._table("approvals")

    async def agent(self, request: Request) -> Response:
        view = await self.plane.handler.agent(self._agent(request))
        return _json(view.data)

    async def metrics(self, request: Request) -> Response:
        key = self._agent(request)
        row = (await self.plane.handler.agent(key)).data
        return _json({"agent": key, "usage": row["usage"], **await self.plane.supervisor.stats(key)})

    async def logs(self, request: Request) -> Response:
        key = self._agent(request)
        query = self._query(request, {"tail": int, "since": int, "follow": bool})
        await self.plane.handler.agent(key)
        run_id, _, agent_id = key.partition("/")
        since, tail = query.get("since", 0), query.get("tail")
        lines, seq = await history.logs(self.engine.store, run_id, agent_id, since, tail)
        if not query.get("follow"):
            return _json(lines)
        return StreamingResponse(self._follow(key, lines, seq), media_type="text/plain; charset=utf-8")

    async def _follow(self, key: str, lines: list[str], since: int) -> AsyncIterator[str]:
        run_id, _, agent_id = key.partition("/")
        yield "".join(f"{line}\n" for line in lines)
        sink = _Queue()
        number = self.feed.follow(sink, run_id, since)
        decode = msgspec.json.Decoder(m.Events).decode
        try:
            while True:
                row = self.engine.state.agents.get(key)
                over = row is None or row.status in ENDED
                try:
                    data = await asyncio.wait_for(sink.queue.get(), 0.2 if over else 3600.0)
                except TimeoutError:
                    if over:
                        return
                    continue
                yield "".join(f"{line}\n" for line in log_lines(decode(data).events, agent_id))
        finally:
            self.feed.drop(number)

    async def runs(self, request: Request) -> Response:
        limit = self._query(request, {"limit": int}).get("limit", 1000)
        path = self.plane.home / "agentlab.db"
        rows = await asyncio.to_thread(_run_rows, path, limit)
        live = self.engine.state.runs
        for row in rows:
            if (run := live.get(row["run_id"])) is not None:
                row |= {"status": run.status, "n_events": run.seq, "live": run.live, "usage": run.usage or None}
        return _json(rows)

    async def run(self, request: Request) -> Response:
        run_id = request.path_params["run_id"]
        live = self.engine.state
        state = live if run_id in live.runs else await self.plane.handler.history.state_at(run_id)
        return _json(views.row(state, "runs", run_id))

    async def run_state(self, request: Request) -> Response:
        seq = self._query(request, {"seq": int}).get("seq")
        view = await self.plane.handler.look_up(m.GetState(run_id=request.path_params["run_id"], seq=seq))
        assert isinstance(view, m.View)
        return _json(view.data)

    async def events(self, request: Request) -> Response:
        query = self._query(request, {"since": int, "limit": int})
        limit = min(query.get("limit", 10_000), 100_000)
        ask = m.GetEvents(run_id=request.path_params["run_id"], since=query.get("since", 0), limit=limit)
        found = await self.plane.handler.look_up(ask)
        assert isinstance(found, m.Events)
        return _json(found.events)

    async def blob(self, request: Request) -> Response:
        found = await self.plane.handler.look_up(m.GetBlob(hash=request.path_params["hash"]))
        assert isinstance(found, m.BlobData)
        # Content is an agent's: never rendered, never sniffed.
        headers = {"content-disposition": "attachment", "x-content-type-options": "nosniff"}
        return Response(found.data, media_type="application/octet-stream", headers=headers)

    # --- commands ----------------------------------------------------------------------------------------------

    async def command(self, route: routes.Route, request: Request) -> Response:
        body = await request.body()
        try:
            values = msgspec.json.decode(body) if body.strip() else {}
        except msgspec.DecodeError as error:
            raise BadRequest(f"The body is no JSON: {error}") from None
        if not isinstance(values, dict):
            raise BadRequest("The body must be a JSON object.")
        asked = routes.request_of(route, dict(request.path_params), values)
        reply = await self.plane.handler.carry_out(asked)
        return _json(reply)

    # --- helpers -----------------------------------------------------------------------------------------------

    def _table(self, table: str) -> Response:
        rows = self.feed.snapshot().tables[table]
        return _json(list(rows.values()))

    def _agent(self, request: Request) -> str:
        return f"{request.path_params['run_id']}/{request.path_params['agent_id']}"

    def _query(self, request: Request, known: dict[str, type]) -> dict[str, Any]:
        unknown = set(request.query_params) - set(known)
        if unknown:
            raise BadRequest(f"Unknown parameter {', '.join(sorted(unknown))!r}; there are: {', '.join(known)}.")
        values: dict[str, Any] = {}
        for name, text in request.query_params.items():
            try:
                values[name] = msgspec.convert(text, known[name], strict=False)
            except msgspec.ValidationError:
                raise BadRequest(f"{name}={text!r} is no {known[name].__name__}.") from None
        return values


class _Queue:
    """A subscription that an async generator or a WebSocket takes from."""

    format = "json"

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._bytes = 0

    def push(self, data: bytes) -> None:
        self._bytes += len(data)
        self.queue.put_nowait(data)

    async def take(self) -> bytes:
        data = await self.queue.get()
        self._bytes -= len(data)
        return data

    def backlog(self) -> int:
        return self._bytes


def app(plane: Plane) -> Starlette:
    api = Api(plane)

    def guarded(route: routes.Route) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            try:
                _admit(plane, request)
                if route.asks is not None:
                    return await api.command(route, request)
                answer: Response = await getattr(api, route.look)(request)
                return answer
            except AgentlabError as error:
                return _json({"code": error.code, "message": str(error), "data": error.data}, routes.status_of(error))

        endpoint.__name__ = route.operation
        return endpoint

    async def stream(websocket: WebSocket) -> None:
        sink = _Queue()
        await _stream(websocket, sink, lambda since: plane.feed.watch(sink, since))

    async def run_stream(websocket: WebSocket) -> None:
        sink = _Queue()
        run_id = websocket.path_params["run_id"]
        await _stream(websocket, sink, lambda since: plane.feed.follow(sink, run_id, since or 0))

    async def _stream(websocket: WebSocket, sink: _Queue, begin: Callable[[int | None], int]) -> None:
        try:
            _admit(plane, websocket)
            since = websocket.query_params.get("since")
            start = int(since) if since else None
        except (AgentlabError, ValueError):
            await websocket.close(1008)
            return
        await websocket.accept()
        number = begin(start)
        listening = asyncio.create_task(_until_gone(websocket))
        try:
            while not listening.done():
                taking = asyncio.create_task(sink.take())
                await asyncio.wait({listening, taking}, return_when=asyncio.FIRST_COMPLETED)
                if not taking.done():
                    taking.cancel()
                    break
                await websocket.send_text(taking.result().decode())
        except (WebSocketDisconnect, RuntimeError):
            pass  # it went away while something was on its way to it
        finally:
            listening.cancel()
            plane.feed.drop(number)

    table: list[BaseRoute] = [HttpRoute(r.path, guarded(r), methods=[r.method]) for r in routes.ROUTES]
    table += [
        WebSocketRoute("/api/stream", stream),
        WebSocketRoute("/api/runs/{run_id}/stream", run_stream),
        WebSocketRoute("/link", websocket_endpoint(plane.handler)),
    ]
    return Starlette(routes=table)


@asynccontextmanager
async def serve_http(plane: Plane) -> AsyncIterator[str]:
    """Serve the API on a free port of loopback; gives its url."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app(plane), log_level="warning", lifespan="off", access_log=False, timeout_graceful_shutdown=2,
        server_header=False, **WEBSOCKET_SETTINGS,
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server._serve([listener]), name="agentlab-http")
    try:
        while not server.started:
            if serving.done():
                raise Unavailable(f"The HTTP API did not start: {serving.exception()}")
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.wait({serving}, timeout=5.0)
        listener.close()


async def _until_gone(websocket: WebSocket) -> None:
    try:
        while True:
            await websocket.receive_bytes()
    except (WebSocketDisconnect, KeyError, RuntimeError):
        return


def _admit(plane: Plane, connection: HTTPConnection) -> None:
    """The admin token, as a bearer. Never in the URL: URLs are logged."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or plane.handler.authority.identify(token.strip()) != ADMIN:
        raise Forbidden("Send `Authorization: Bearer <token>` with the token of the plane's state file.")


def _run_rows(path: Path, limit: int) -> list[dict[str, Any]]:
    """The newest runs of the log, newest first."""
    with closing(reader.open_reader(path)) as db:
        return [msgspec.structs.asdict(row) for row in reader.runs(db)[-limit:][::-1]]


def _json(value: Any, status: int = 200) -> Response:
    return Response(_encode(value), status, media_type="application/json")
