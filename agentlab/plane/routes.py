"""The table of the HTTP API: each route once, for the server and for the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from agentlab.__about__ import __version__
from agentlab.core import commands as c
from agentlab.errors import (
    AgentlabError,
    AgentTimeout,
    BadRequest,
    Forbidden,
    NameTaken,
    NotFound,
    Refused,
    Unavailable,
)


@dataclass(frozen=True)
class Route:
    """`asks`: the request that the path, the query and the JSON body make together. `query`: name -> type."""

    method: str
    path: str
    summary: str
    asks: type[Any] | None = None
    fixed: dict[str, Any] = field(default_factory=dict)
    query: dict[str, type] = field(default_factory=dict)
    look: str = ""  # name of the method of `Api` that answers, where no request does

    @property
    def operation(self) -> str:
        words = [w for w in self.path.replace("{", "").replace("}", "").split("/") if w and w != "api"]
        return "_".join([self.method.lower(), *words])


_AGENT: Final = "/api/agents/{run_id}/{agent_id}"

ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/api/health", "Whether the plane can decide, and what it has to do", look="health"),
    Route("GET", "/api/openapi.json", "This document", look="openapi"),
    Route("GET", "/api/state", "All rows and the position they are of", look="state"),
    Route("GET", "/api/agents", "Agents in memory: live ones and those that ended lately", look="agents"),
    Route("POST", "/api/agents", "Spawn an agent in an open run", asks=c.Spawn),
    Route("GET", _AGENT, "One agent", look="agent"),
    Route("DELETE", _AGENT, "Kill an agent: its processes at once, its locks after them", asks=c.Signal, fixed={"verb": "kill"}),
    Route("POST", f"{_AGENT}/send", "Send it a follow-up", asks=c.SendText),
    Route("POST", f"{_AGENT}/pause", "Freeze it; it keeps its locks for a while", asks=c.Signal, fixed={"verb": "pause"}),
    Route("POST", f"{_AGENT}/resume", "Let it go on", asks=c.Signal, fixed={"verb": "resume"}),
    Route("POST", f"{_AGENT}/interrupt", "End what it does now", asks=c.Signal, fixed={"verb": "interrupt"}),
    Route("POST", f"{_AGENT}/stop", "Ask it to end; kill it if it does not", asks=c.Signal, fixed={"verb": "stop"}),
    Route("GET", f"{_AGENT}/metrics", "Processor time, memory, processes, tokens, cost", look="metrics"),
    Route(
        "GET", f"{_AGENT}/logs", "What it said, as lines; `follow` keeps the answer open until it has ended",
        query={"tail": int, "since": int, "follow": bool}, look="logs",
    ),
    Route("GET", "/api/runs", "All runs of the log, newest first", query={"limit": int}, look="runs"),
    Route("POST", "/api/runs", "Open a run over a workspace", asks=c.StartRun),
    Route("GET", "/api/runs/{run_id}", "One run", look="run"),
    Route("POST", "/api/runs/{run_id}/begin", "Let the agents of a `turns` run go", asks=c.BeginRun),
    Route("POST", "/api/runs/{run_id}/end", "Close a run", asks=c.EndRun),
    Route("GET", "/api/runs/{run_id}/events", "Its events after seq `since`", query={"since": int, "limit": int}, look="events"),
    Route("GET", "/api/runs/{run_id}/state", "Its rows, now or as they were after event `seq`", query={"seq": int}, look="run_state"),
    Route("GET", "/api/locks", "Who holds what, who waits for what", look="locks"),
    Route("POST", "/api/claims", "Claim units for a person", asks=c.Claim),
    Route("POST", "/api/releases", "Give them back", asks=c.Release),
    Route("POST", "/api/bumps", "Move a waiting ticket to the front", asks=c.Bump),
    Route("POST", "/api/revokes", "Take a ticket from its owner, or end its wait", asks=c.Revoke),
    Route("GET", "/api/runtimes", "Runtimes with health, slots and agent programs", look="runtimes"),
    Route("GET", "/api/approvals", "Questions of agents", look="approvals"),
    Route("POST", "/api/approvals/{approval}", "Answer one; the first answer wins", asks=c.Answer),
    Route("GET", "/api/blobs/{hash}", "Content by its sha256", look="blob"),
)  # fmt: skip

SOCKETS: Final[dict[str, str]] = {
    "/api/stream": "WebSocket. Row deltas as JSON: a snapshot first, or what came after `since`",
    "/api/runs/{run_id}/stream": "WebSocket. The events of a run as JSON, from after seq `since`; nothing is lost",
    "/link": "WebSocket. The link of clients and runners (MessagePack)",
}

STATUS: Final[tuple[tuple[type[AgentlabError], int], ...]] = (
    (NotFound, 404),
    (NameTaken, 409),
    (BadRequest, 400),
    (Forbidden, 403),
    (Refused, 409),
    (Unavailable, 503),
    (AgentTimeout, 504),
)


def status_of(error: AgentlabError) -> int:
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def request_of(route: Route, path: dict[str, str], body: dict[str, Any]) -> c.AnyCommand:
    """The request that a call of this route makes. Raises BadRequest, naming the field that does not fit."""
    values = dict(body)
    if "agent_id" in path:
        values["agent"] = f"{path['run_id']}/{path['agent_id']}"
    else:
        values |= path
    values |= route.fixed
    assert route.asks is not None
    unknown = set(values) - set(route.asks.__struct_fields__) - {"type"}
    if unknown:
        known = ", ".join(route.asks.__struct_fields__)
        raise BadRequest(f"Unknown field {', '.join(sorted(unknown))!r}. {route.path} takes: {known}.")
    values.pop("type", None)
    try:
        return msgspec.convert(values, route.asks)  # type: ignore[no-any-return]
    except msgspec.ValidationError as error:
        raise BadRequest(f"{route.method} {route.path}: {error}") from None


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document of the table."""
    bodies = [route.asks for route in ROUTES if route.asks is not None]
    _, schemas = msgspec.json.schema_components([*bodies, c.AnyReply], ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
        parameters: list[dict[str, Any]] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ] + [{"name": name, "in": "query", "schema": msgspec.json.schema(kind)} for name, kind in route.query.items()]
        operation: dict[str, Any] = {
            "operationId": route.operation,
            "summary": route.summary,
            "parameters": parameters,
            "responses": {
                "200": {"description": "It is so", "content": {"application/json": {}}},
                "default": {"$ref": "#/components/responses/error"},
            },
        }
        if route.asks is not None:
            schema = {"$ref": f"#/components/schemas/{route.asks.__name__}"}
            operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "agentlab", "version": __version__, "description": _sockets()},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas | {"Error": _ERROR},
            "responses": {
                "error": {
                    "description": "What happened and what to do",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


_ERROR: Final = {
    "type": "object",
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "data": {"type": "object"}},
    "required": ["code", "message"],
}


def _sockets() -> str:
    return "\n".join(f"`{path}`: {text}." for path, text in SOCKETS.items())
