"""The Agent Client Protocol as we speak it: what we say is made, and what an agent says is checked, by the models of
agent-client-protocol (0.11 and 0.12, loaded when first used). Nothing else here knows that package, or version 1 of the protocol.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from agentlab.__about__ import __version__
from agentlab.core.events import JSON
from agentlab.errors import Unavailable
from agentlab.runner.mcp.offer import Address

Params = dict[str, Any]
Server = tuple[str, ...] | Address
"""An MCP server: the command that starts it, or where it is reached by HTTP."""
VERSION: Final = 1


def require() -> None:
    """Raises Unavailable: the extra is not installed."""
    if importlib.util.find_spec("acp") is None:
        raise Unavailable(
            "Agents of this kind need the extra `agents`: pip install 'agentlab[agents]'.", reason="missing"
        )


@cache
def schema() -> ModuleType:
    """The package's models. It takes about a second to load, which the agent's program needs to start anyway."""
    require()
    import acp.schema

    return acp.schema  # type: ignore[no-any-return]


def _plain(model: Any) -> Params:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)  # type: ignore[no-any-return]


# --- what we say -------------------------------------------------------------------------------------------


def initialize(*, writes: bool) -> Params:
    """writes: whether the agent may hand its writes to us. Reads and terminals are never offered: with reads, agents
    that make a new file take our "not found" for a failure."""
    s = schema()
    files = {"readTextFile": False, "writeTextFile": writes}
    capabilities = s.ClientCapabilities.model_validate({"fs": files, "terminal": False})
    info = s.Implementation(name="agentlab", title="agentlab", version=__version__)
    said = s.InitializeRequest(protocol_version=VERSION, client_capabilities=capabilities, client_info=info)
    return _plain(said)


def open_session(cwd: Path, servers: Sequence[tuple[str, Server]], session: str | None = None) -> Params:
    """Of session/new, or with a session's id of session/load and session/resume. servers: MCP servers by name."""
    s = schema()
    listed = [_server(name, server) for name, server in servers]
    if session is None:
        return _plain(s.NewSessionRequest(cwd=str(cwd), mcp_servers=listed))
    return _plain(s.LoadSessionRequest(cwd=str(cwd), mcp_servers=listed, session_id=session))


def _server(name: str, server: Server) -> Any:
    s = schema()
    if not isinstance(server, Address):
        return s.McpServerStdio(name=name, command=server[0], args=list(server[1:]), env=[])
    headers = [s.HttpHeader(name=header, value=value) for header, value in server.headers.items()]
    return s.HttpMcpServer(type="http", name=name, url=server.url, headers=headers)


def takes_http(able: Params) -> bool:
    """Whether an agent says that it reaches MCP servers by HTTP."""
    mcp = able.get("mcpCapabilities")
    return isinstance(mcp, dict) and mcp.get("http") is True


def prompt(session: str, text: str) -> Params:
    s = schema()
    return _plain(s.PromptRequest(session_id=session, prompt=[s.TextContentBlock(type="text", text=text)]))


def selected(option: str | None) -> Params:
    """The answer to a request for permission; None: the turn was cancelled."""
    outcome: Params = {"outcome": "cancelled"} if option is None else {"outcome": "selected", "optionId": option}
    return _plain(schema().RequestPermissionResponse.model_validate({"outcome": outcome}))


# --- what an agent says ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """A piece of a text. role: assistant | thinking. message: the vendor's id of what it is a piece of."""

    role: str
    text: str
    message: str = ""


@dataclass(frozen=True)
class Tool:
    """A tool call of the agent's, as far as it is told: a later one of the same `call` adds to it.

    kind: read edit delete move search execute think fetch switch_mode other. status: pending in_progress completed failed.
    """

    call: str
    title: str | None = None
    kind: str | None = None
    status: str | None = None
    input: JSON = None
    text: str = ""  # what came out of it
    paths: tuple[str, ...] = ()
    diffs: tuple[tuple[str, str | None, str], ...] = ()  # (path, old text, new text)
    new: bool = False  # it is told of for the first time


@dataclass(frozen=True)
class Plan:
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Spent:
    """Of the session so far, where the agent knows it. cost: USD."""

    cost: float | None


Update = Said | Tool | Plan | Spent


def update(params: Params) -> tuple[str, Update | None]:
    """(session, what was said). None: of a kind that means nothing here, or that this version does not know."""
    from pydantic import ValidationError

    session = str(params.get("sessionId", ""))
    try:
        found = schema().SessionNotification.model_validate(params).update
    except ValidationError:
        return session, None
    match found.session_update:
        case "agent_message_chunk" | "agent_thought_chunk" as kind:
            role = "assistant" if kind == "agent_message_chunk" else "thinking"
            text = getattr(found.content, "text", None)
            said = Said(role, text, str(getattr(found, "message_id", None) or "")) if isinstance(text, str) else None
            return session, said
        case "tool_call" | "tool_call_update":
            return session, replace(_tool(found), new=found.session_update == "tool_call")
        case "plan":
            return session, Plan(tuple(f"{entry.content} [{entry.status}]" for entry in found.entries))
        case "usage_update":
            cost = getattr(found, "cost", None)
            return session, Spent(cost.amount if cost is not None and cost.currency == "USD" else None)
    return session, None


def _tool(found: Any) -> Tool:
    texts, diffs = [], []
    for part in found.content or ():
        if part.type == "diff":
            diffs.append((part.path, part.old_text, part.new_text))
        elif part.type == "content" and isinstance(text := getattr(part.content, "text", None), str):
            texts.append(text)
    return Tool(
        call=found.tool_call_id,
        title=found.title,
        kind=found.kind,
        status=found.status,
        input=found.raw_input,
        text="\n".join(texts),
        paths=tuple(place.path for place in found.locations or ()),
        diffs=tuple(diffs),
    )


@dataclass(frozen=True)
class Ask:
    """A request for permission. options: kind of option -> its id, the first of each kind."""

    tool: Tool
    options: dict[str, str]

    def allow(self, *, always: bool = False) -> str | None:
        """The option that allows it, for this once where there is one."""
        order = ("allow_always", "allow_once") if always else ("allow_once", "allow_always")
        return next((self.options[kind] for kind in order if kind in self.options), None)

    def reject(self) -> str | None:
        return self.options.get("reject_once") or self.options.get("reject_always")


def ask(params: Params) -> Ask:
    """Raises ValueError: it is no request for permission."""
    found = schema().RequestPermissionRequest.model_validate(params)
    options: dict[str, str] = {}
    for option in found.options:
        options.setdefault(option.kind, option.option_id)
    return Ask(_tool(found.tool_call), options)


def written(params: Params) -> tuple[str, str]:
    """(path, text) of fs/write_text_file. Raises ValueError."""
    found = schema().WriteTextFileRequest.model_validate(params)
    return found.path, found.content


@dataclass(frozen=True)
class Ended:
    """How a prompt ended. stop: end_turn | max_tokens | max_turn_requests | refusal | cancelled. models: name -> (in, out, cached)."""

    stop: str
    models: dict[str, tuple[int, int, int]]


def ended(result: Any, model: str) -> Ended:
    """Tokens are told in two ways: by `usage`, and by Gemini in `_meta.quota`, for each model."""
    result = result if isinstance(result, dict) else {}
    models: dict[str, tuple[int, int, int]] = {}
    meta = result.get("_meta")
    quota = meta.get("quota") if isinstance(meta, dict) else None
    usage = result.get("usage")
    if isinstance(usage, dict):
        models[model] = (
            _count(usage, "inputTokens") + _count(usage, "cachedWriteTokens"),
            _count(usage, "outputTokens") + _count(usage, "thoughtTokens"),
            _count(usage, "cachedReadTokens"),
        )
    elif isinstance(quota, dict):
        for used in quota.get("model_usage") or ():
            counts = used.get("token_count") or {}
            models[str(used.get("model"))] = (_count(counts, "input_tokens"), _count(counts, "output_tokens"), 0)
    return Ended(str(result.get("stopReason", "")), models)


def _count(counts: Params, name: str) -> int:
    value = counts.get(name)
    return int(value) if isinstance(value, int | float) else 0
