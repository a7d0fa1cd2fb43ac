"""Our tools as an MCP server: by raw messages, by the proxy, by HTTP, and with the official client as the peer."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toolbox import Lab, until

from agentlab.core.events import ToolCall, ToolResult
from agentlab.link.sockets import address
from agentlab.runner.mcp import ToolServer, wire
from agentlab.runner.mcp.http import HttpServer
from agentlab.runner.mcp.session import Session


class Peer:
    """A client that speaks by hand, over whatever pair of streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.heard: list[dict[str, Any]] = []

    async def say(self, method: str, id: Any = None, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params} | ({} if id is None else {"id": id})
        await self.raw(json.dumps(message).encode())

    async def raw(self, line: bytes) -> None:
        self.writer.write(line + b"\n")
        await self.writer.drain()

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(30):
            line = await self.reader.readline()
        assert line, "the server hung up"
        self.heard.append(json.loads(line))
        return self.heard[-1]

    async def answer(self, id: Any) -> dict[str, Any]:
        """The answer to a request; progress that comes before it is in `heard`."""
        while (message := await self.hear()).get("id") != id:
            pass
        return message

    async def call(self, id: Any, name: str, *, token: Any = None, **args: Any) -> None:
        meta = {} if token is None else {"_meta": {"progressToken": token}}
        await self.say("tools/call", id, name=name, arguments=args, **meta)

    async def said(self, id: Any) -> tuple[str, bool]:
        """(text, is it an error) of a call's result."""
        result = (await self.answer(id))["result"]
        ((text,), error) = ([part["text"] for part in result["content"]], result["isError"])
        assert "structuredContent" not in result
        return text, error

    def close(self) -> None:
        self.writer.close()


@pytest.fixture
async def server(tool_lab: Lab, tmp_path: Path) -> AsyncIterator[ToolServer]:
    host, _ = tool_lab.agent("a", hold=60.0)
    server = ToolServer(host, tmp_path / ("deep" * 40) / "mcp", beat=0.05)
    await server.start()
    yield server
    await server.close()


@asynccontextmanager
async def connected(server: ToolServer, token: str | None = None) -> AsyncIterator[Peer]:
    with address(server._folder / "mcp.sock") as name:
        reader, writer = await asyncio.open_unix_connection(name, limit=1 << 26)
    peer = Peer(reader, writer)
    await peer.raw((server.token if token is None else token).encode())
    yield peer
    peer.close()


# --- the protocol ------------------------------------------------------------------------------------------


async def test_what_is_offered_is_the_catalogue_with_hints(server: ToolServer, tool_lab: Lab) -> None:
    async with connected(server) as peer:
        await peer.say("initialize", 1, protocolVersion="2025-06-18", capabilities={})
        hello = (await peer.answer(1))["result"]
        assert (hello["protocolVersion"], hello["serverInfo"]["name"]) == ("2025-06-18", "lab")
        assert not server.listed.is_set()
        await peer.say("tools/list", 2)
        tools = {tool["name"]: tool for tool in (await peer.answer(2))["result"]["tools"]}
    assert list(tools) == [spec.name for spec in tool_lab.hosts[0].catalogue()]
    hints = {name: {hint for hint, is_so in tool["annotations"].items() if is_so} for name, tool in tools.items()}
    assert hints["read"] == {"readOnlyHint", "idempotentHint"}
    assert hints["edit"] == {"destructiveHint"}
    assert hints["write"] == {"destructiveHint", "idempotentHint"}
    assert hints["run"] == {"destructiveHint", "openWorldHint"}
    assert hints["claim"] == set()
    assert all(len(tool["annotations"]) == 4 for tool in tools.values()), "what is not said would be guessed"
    assert tools["edit"]["inputSchema"]["required"] == ["path", "old", "new"]
    assert server.listed.is_set()


@pytest.mark.parametrize(("asked", "answered"), [("2024-11-05", "2024-11-05"), ("2199-01-01", wire.VERSIONS[-1])])
async def test_a_version_is_agreed_on(server: ToolServer, asked: str, answered: str) -> None:
    async with connected(server) as peer:
        await peer.say("initialize", "i", protocolVersion=asked)
        assert (await peer.answer("i"))["result"]["protocolVersion"] == answered


async def test_a_call_passes_the_tool_host_and_is_recorded(server: ToolServer, tool_lab: Lab) -> None:
    async with connected(server) as peer:
        await peer.call(1, "write", path="a.txt", data="hello\n")
        text, error = await peer.said(1)
        assert ("created a.txt" in text, error) == (True, False)
        await peer.call(2, "read", path="a.txt")
        result = (await peer.answer(2))["result"]
        assert result["content"][0]["text"] == "     1\thello"
        facts = {"path": "a.txt", "start": 1, "end": 1, "total": 1, "truncated": False}
        assert result["_meta"] == {wire.FACTS: facts}
    gate = tool_lab.hosts[0].gate
    assert [(call.args, call.vendor) for call in gate.of(ToolCall)] == [  # type: ignore[attr-defined]
        ({"path": "a.txt", "data": "hello\n"}, {"tool": "lab/write"}),
        ({"path": "a.txt"}, {"tool": "lab/read"}),
    ]


async def test_a_subagents_call_carries_who_it_is_and_what_it_is_a_part_of(server: ToolServer, tool_lab: Lab) -> None:
    async with connected(server) as peer:
        meta = {wire.ACTOR: "reviewer", wire.PARENT: "call-7"}
        await peer.say("tools/call", 1, name="write", arguments={"path": "a.txt", "data": "x"}, _meta=meta)
        await peer.said(1)
        await peer.say("tools/call", 2, name="list", arguments={}, _meta={wire.ACTOR: 3, wire.PARENT: ""})
        await peer.said(2)
    entries = tool_lab.hosts[0].gate.entries  # type: ignore[attr-defined]
    told = {(entry.name, type(entry.body).__name__): (entry.actor, entry.parent) for entry in entries}
    assert told["write", "ToolCall"] == told["write", "ToolResult"] == ("reviewer", "call-7")
    assert told["a.txt", "FileWrite"][0] == "reviewer", "and so does what it brings about"
    assert told["list", "ToolCall"] == (None, None)


async def test_a_refused_call_is_a_result_with_our_text(server: ToolServer) -> None:
    async with connected(server) as peer:
        await peer.call(1, "read", path="../secret")
        text, error = await peer.said(1)
        assert error
        assert "workspace" in text
        await peer.call(2, "no_such_tool")
        text, error = await peer.said(2)
        assert error
        assert "There is no tool" in text


async def test_garbage_is_answered_and_the_session_goes_on(server: ToolServer) -> None:
    async with connected(server) as peer:
        for line, code in [
            (b"{not json", wire.PARSE_ERROR),
            (b"[]", wire.INVALID_REQUEST),
            (b'{"id": {}, "method": "ping"}', wire.INVALID_REQUEST),
            (b'{"id": 1, "method": 7}', wire.INVALID_REQUEST),
            (b'{"id": 1, "method": "ping", "params": []}', wire.INVALID_REQUEST),
            (b'{"id": 1, "method": "resources/list"}', wire.METHOD_NOT_FOUND),
            (b'{"id": 1, "method": "tools/call", "params": {"name": 1}}', wire.INVALID_PARAMS),
            (b'{"id": 1, "method": "tools/call", "params": {"name": "read", "arguments": []}}', wire.INVALID_PARAMS),
        ]:
            await peer.raw(line)
            assert (await peer.hear())["error"]["code"] == code, line
        await peer.raw(b'{"id": 1, "result": {}}')  # an answer to nothing
        await peer.raw(b'{"method": "notifications/initialized"}')
        await peer.say("ping", 9)
        assert (await peer.hear()) == {"jsonrpc": "2.0", "id": 9, "result": {}}


async def test_a_message_of_ten_megabytes_is_taken_in(server: ToolServer, workspace: Path) -> None:
    async with connected(server) as peer:
        await peer.call(1, "write", path="big.txt", data="x" * 10_000_000)
        assert not (await peer.said(1))[1]
    assert (workspace / "big.txt").stat().st_size == 10_000_000


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_METHODS = st.sampled_from(["initialize", "ping", "tools/list", "tools/call", "notifications/cancelled", "x"]) | _JSON
_MESSAGES = st.fixed_dictionaries(
    {"method": _METHODS},
    optional={
        "id": st.integers(0, 3) | _JSON,
        "params": st.fixed_dictionaries({"name": st.sampled_from(["list", "read", "zzz"]), "arguments": _JSON}) | _JSON,
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_MESSAGES | _JSON, max_size=6))
def test_whatever_is_sent_each_request_is_answered_once_or_was_cancelled(tmp_path: Path, sent: list[Any]) -> None:
    from agentlab.testing.gate import MemoryPlane

    async def scenario() -> None:
        root = tmp_path / "w"
        root.mkdir(exist_ok=True)
        lab = Lab(root, tmp_path / "h", MemoryPlane())
        host, _ = lab.agent("a")
        session, answers, asked = Session(host), [], 0
        for value in sent:
            line = json.dumps(value).encode()
            try:
                message = wire.parse(line)
            except wire.Malformed:
                continue
            asked += wire.is_request(message)
            task = session.receive(message, answers.append)
            if task is not None:
                await asyncio.wait({task})
        await session.close()
        assert len([answer for answer in answers if "id" in answer]) == asked
        await lab.close()

    asyncio.run(scenario())


# --- waiting -----------------------------------------------------------------------------------------------


async def test_a_call_that_waits_says_for_whom_and_in_which_place_and_then_is_done(
    server: ToolServer, tool_lab: Lab, workspace: Path
) -> None:
    _, typist = tool_lab.agent("typist")
    held = await typist.claim(("file:a.txt",))
    async with connected(server) as peer:
        await peer.call(1, "write", token="t", path="a.txt", data="mine")
        said = await peer.hear()
        assert (said["method"], said["params"]["progressToken"]) == ("notifications/progress", "t")
        assert said["params"]["message"] == "waiting for file:a.txt, held by typist; 1st in the queue"
        again = await peer.hear()  # a sign of life, with nothing new
        assert again["params"]["progress"] > said["params"]["progress"]
        await typist.release(held.ticket)
        assert not (await peer.said(1))[1]
    assert (workspace / "a.txt").read_text() == "mine"


async def test_nothing_is_told_to_one_that_did_not_ask_for_progress(server: ToolServer, tool_lab: Lab) -> None:
    _, typist = tool_lab.agent("typist")
    held = await typist.claim(("file:a.txt",))
    async with connected(server) as peer:
        await peer.call(1, "write", path="a.txt", data="mine")
        await until(lambda: len(tool_lab.plane.tickets) == 2)
        await asyncio.sleep(0.2)  # several beats
        await typist.release(held.ticket)
        assert (await peer.hear())["id"] == 1


async def test_a_wait_that_is_over_is_told_to_ask_again_and_keeps_its_place(
    tool_lab: Lab, tmp_path: Path, workspace: Path
) -> None:
    host, _ = tool_lab.agent("b", hold=0.1)
    _, typist = tool_lab.agent("typist")
    held = await typist.claim(("file:a.txt",))
    server = ToolServer(host, tmp_path / "mcp")
    await server.start()
    async with connected(server) as peer:
        await peer.call(1, "write", path="a.txt", data="mine")
        text, error = await peer.said(1)
        assert error
        assert "held by typist; you are 1st in the queue" in text
        assert len(tool_lab.plane.tickets) == 2  # its place is kept
        await peer.call(2, "write", path="a.txt", data="mine")
        await typist.release(held.ticket)
        assert not (await peer.said(2))[1]
    await server.close()


async def test_a_cancelled_call_loses_its_ticket_and_is_not_answered(server: ToolServer, tool_lab: Lab) -> None:
    _, typist = tool_lab.agent("typist")
    await typist.claim(("file:a.txt",))
    async with connected(server) as peer:
        await peer.call(1, "write", path="a.txt", data="mine")
        await until(lambda: len(tool_lab.plane.tickets) == 2)
        await peer.say("notifications/cancelled", requestId=1, reason="interrupted")
        await until(lambda: len(tool_lab.plane.tickets) == 1)
        await peer.say("ping", 2)
        assert (await peer.hear())["id"] == 2
    (result,) = tool_lab.hosts[0].gate.of(ToolResult)  # type: ignore[attr-defined]
    assert result.error == "cancelled"


async def test_a_cancel_of_a_call_that_is_answered_changes_nothing(server: ToolServer) -> None:
    async with connected(server) as peer:
        await peer.call(1, "list")
        await peer.answer(1)
        for id in (1, None, {}, "never"):
            await peer.say("notifications/cancelled", requestId=id)
        await peer.call(1, "list")  # the id may be used again
        await peer.answer(1)


async def test_when_the_client_goes_its_calls_lose_their_tickets(server: ToolServer, tool_lab: Lab) -> None:
    _, typist = tool_lab.agent("typist")
    await typist.claim(("file:a.txt",))
    async with connected(server) as peer:
        await peer.call(1, "write", path="a.txt", data="mine")
        await until(lambda: len(tool_lab.plane.tickets) == 2)
    await until(lambda: len(tool_lab.plane.tickets) == 1)
    assert server.calls == 0


async def test_dropped_calls_are_answered_for_agents_that_wait_for_them_still(
    server: ToolServer, tool_lab: Lab
) -> None:
    _, typist = tool_lab.agent("typist")
    await typist.claim(("file:a.txt",))
    async with connected(server) as peer:
        await peer.call(1, "write", path="a.txt", data="mine")
        await until(lambda: server.calls == 1 and len(tool_lab.plane.tickets) == 2)
        server.drop("The turn was interrupted.")
        assert await peer.said(1) == ("The turn was interrupted.", True)
        assert len(tool_lab.plane.tickets) == 1


# --- who may come in ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "wrong", "x" * 5000])
async def test_without_the_token_nobody_is_let_in(server: ToolServer, token: str) -> None:
    async with connected(server, token) as peer:
        await peer.raw(b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}')
        async with asyncio.timeout(30):
            assert await peer.reader.read() == b""
    assert not server.listed.is_set()


async def test_socket_and_token_are_for_this_user_only_and_gone_in_the_end(tool_lab: Lab, tmp_path: Path) -> None:
    host, _ = tool_lab.agent("b")
    folder = tmp_path / "mcp"
    server = ToolServer(host, folder)
    await server.start()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in ("mcp.sock", "mcp.token")} == {0o600}
    assert server.token not in " ".join(server.proxy())
    await server.close()
    assert list(folder.iterdir()) == []


async def test_two_agents_have_two_tokens(server: ToolServer, tool_lab: Lab, tmp_path: Path) -> None:
    host, _ = tool_lab.agent("b")
    other = ToolServer(host, tmp_path / "other")
    await other.start()
    assert other.token != server.token
    async with connected(other, server.token) as peer:
        async with asyncio.timeout(30):
            assert await peer.reader.read() == b""
    await other.close()


# --- the proxy ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def proxied(server: ToolServer) -> AsyncIterator[tuple[Peer, asyncio.subprocess.Process]]:
    process = await asyncio.create_subprocess_exec(
        *server.proxy(), stdin=-1, stdout=-1, stderr=-1, limit=1 << 26, env={"PATH": os.environ["PATH"]}
    )
    assert process.stdin and process.stdout
    try:
        yield Peer(process.stdout, process.stdin), process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_proxy_passes_calls_and_answers_on(server: ToolServer, workspace: Path) -> None:
    async with proxied(server) as (peer, process):
        await peer.say("initialize", 1, protocolVersion="2025-06-18")
        await peer.answer(1)
        await peer.call(2, "write", path="big.txt", data="é" * 3_000_000)
        assert not (await peer.said(2))[1]
        peer.close()
        assert await process.wait() == 0
    assert (workspace / "big.txt").stat().st_size == 6_000_000


async def test_the_proxy_ends_with_the_server(server: ToolServer) -> None:
    async with proxied(server) as (peer, process):
        await peer.say("ping", 1)
        await peer.answer(1)
        await server.close()
        async with asyncio.timeout(30):
            assert await process.wait() == 0


async def test_a_killed_agent_loses_its_tickets(server: ToolServer, tool_lab: Lab) -> None:
    _, typist = tool_lab.agent("typist")
    await typist.claim(("file:a.txt",))
    async with proxied(server) as (peer, process):
        await peer.call(1, "write", path="a.txt", data="mine")
        await until(lambda: len(tool_lab.plane.tickets) == 2)
        process.kill()
        await until(lambda: len(tool_lab.plane.tickets) == 1)


async def test_the_proxy_says_when_there_is_no_runner(tool_lab: Lab, tmp_path: Path) -> None:
    server = ToolServer(tool_lab.agent("b")[0], tmp_path / "nobody")
    async with proxied(server) as (_, process):
        _, said = await process.communicate()
        assert process.returncode == 1
        assert b"runner cannot be reached" in said


async def test_the_proxy_imports_hardly_anything(server: ToolServer) -> None:
    """It must be there before the agent asks its model for the first time."""
    python, *args = server.proxy()
    await server.close()
    process = await asyncio.create_subprocess_exec(python, "-X", "importtime", *args, stdin=-1, stderr=-1)
    _, said = await process.communicate()
    imported = {
        line.rpartition("|")[2].strip() for line in said.decode().splitlines() if line.startswith("import time:")
    }
    assert "_socket" in imported
    assert not imported & {"socket", "asyncio", "json", "re", "enum", "logging", "typing", "site", "agentlab"}


# --- the official client -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_works_through_the_proxy(server: ToolServer, workspace: Path, mode: str) -> None:
    mcp = pytest.importorskip("mcp")
    from mcp.client.stdio import StdioServerParameters

    command, *args = server.proxy()
    async with mcp.Client(StdioServerParameters(command=command, args=args), mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools["read"].annotations.read_only_hint is True
        done = await client.call_tool("write", {"path": "a.txt", "data": "hi"})
        assert (done.is_error, done.structured_content) == (False, None)
        refused = await client.call_tool("edit", {"path": "a.txt", "old": "nope", "new": "x"})
        assert refused.is_error
    assert (workspace / "a.txt").read_text() == "hi"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_works_by_http_and_hears_of_its_place(
    server: ToolServer, tool_lab: Lab, workspace: Path, mode: str
) -> None:
    mcp = pytest.importorskip("mcp")
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    http = HttpServer(server, beat=0.05)
    await http.start()
    _, typist = tool_lab.agent("typist")
    held = await typist.claim(("file:a.txt",))
    heard: list[str] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(str(message))
        if len(heard) == 3:
            await typist.release(held.ticket)

    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {server.token}"}) as carrier,
        mcp.Client(streamable_http_client(http.url, http_client=carrier), mode=mode) as client,
    ):
        done = await client.call_tool("write", {"path": "a.txt", "data": "hi"}, progress_callback=on_progress)
        assert not done.is_error
    assert heard[0] == "waiting for file:a.txt, held by typist; 1st in the queue"
    assert (workspace / "a.txt").read_text() == "hi"
    await http.close()


# --- HTTP by hand ------------------------------------------------------------------------------------------


@pytest.fixture
async def web(server: ToolServer) -> AsyncIterator[Any]:
    import httpx

    http = HttpServer(server, beat=0.05)
    await http.start()
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {server.token}"}, timeout=30) as client:
        client.base_url = http.url.removesuffix("/mcp")
        yield client
    await http.close()


def _say(method: str, id: Any = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


async def _session(web: Any) -> dict[str, str]:
    answer = await web.post("/mcp", json=_say("initialize", protocolVersion="2025-06-18"))
    return {"mcp-session-id": answer.headers["mcp-session-id"]}


async def test_http_wants_the_token_a_session_and_no_browser(web: Any) -> None:
    listing = _say("tools/list")
    assert (await web.post("/mcp", json=listing, headers={"authorization": "Bearer x"})).status_code == 401
    assert (await web.post("/mcp", json=listing, headers={"authorization": ""})).status_code == 401
    assert (await web.post("/mcp", json=listing, headers={"origin": "http://evil.example"})).status_code == 403
    assert (await web.post("/mcp", json=listing)).status_code == 404
    assert (await web.get("/mcp")).status_code == 405
    assert (await web.post("/mcp", content=b"{")).status_code == 400
    session = await _session(web)
    assert (await web.post("/mcp", json=listing, headers=session)).json()["result"]["tools"]
    assert (await web.delete("/mcp", headers=session)).status_code == 204
    assert (await web.post("/mcp", json=listing, headers=session)).status_code == 404


async def test_a_call_by_http_is_an_event_stream_with_pings(web: Any, tool_lab: Lab) -> None:
    session = await _session(web)
    _, typist = tool_lab.agent("typist")
    held = await typist.claim(("file:a.txt",))
    call = _say("tools/call", 7, name="write", arguments={"path": "a.txt", "data": "x"})
    async with web.stream("POST", "/mcp", json=call, headers=session) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert await anext(lines) == ": open"
        while await anext(lines) != ": ping":
            pass
        await typist.release(held.ticket)
        data = [line.removeprefix("data: ") async for line in lines if line.startswith("data: ")]
    assert json.loads(data[-1])["id"] == 7


async def test_a_caller_by_http_that_hangs_up_loses_its_ticket(web: Any, tool_lab: Lab) -> None:
    session = await _session(web)
    _, typist = tool_lab.agent("typist")
    await typist.claim(("file:a.txt",))
    call = _say("tools/call", 7, name="write", arguments={"path": "a.txt", "data": "x"})
    async with web.stream("POST", "/mcp", json=call, headers=session):
        await until(lambda: len(tool_lab.plane.tickets) == 2)
    await until(lambda: len(tool_lab.plane.tickets) == 1)
