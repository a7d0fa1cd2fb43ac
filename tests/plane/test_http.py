"""The HTTP API: the same plane, a token on every route, and errors that say what to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from agentlab.client import spec
from agentlab.core import commands as c
from agentlab.core.events import Message, ModelCall
from agentlab.errors import OutsideWorkspace
from agentlab.plane.routes import ROUTES, openapi

from .conftest import DEADLINE, Lab, until


@pytest.fixture
async def http(lab: Lab) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {lab.plane.token}"}
    async with httpx.AsyncClient(base_url=lab.plane.http, headers=headers, timeout=DEADLINE) as client:
        yield client


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: r.operation)
async def test_every_route_asks_for_the_token(lab: Lab, route: object) -> None:
    path = route.path.replace("{", "").replace("}", "")  # type: ignore[attr-defined]
    async with httpx.AsyncClient(base_url=lab.plane.http) as nobody:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {lab.plane.token}"}):
            answer = await nobody.request(route.method, path, headers=headers)  # type: ignore[attr-defined]
            assert answer.status_code == 403
            assert answer.json()["code"] == "Forbidden"
            assert lab.plane.token not in answer.text


async def test_an_agents_life_over_http(lab: Lab, http: httpx.AsyncClient) -> None:
    root = str(lab.root)
    opened = await http.post("/api/runs", json={"run_id": "r1", "name": "one", "root": root, "host": "here"})
    assert opened.json() == {"type": "opened", "run_id": "r1"}
    spawned = await http.post("/api/agents", json={"run_id": "r1", "spec": {"kind": "script", "name": "a"}})
    assert spawned.json()["agent"] == "r1/a"
    runner = await lab.runner("r1/a")
    await http.post("/api/agents/r1/a/send", json={"text": "hello"})
    await runner.request(
        c.Report(agent="r1/a", entries=(c.Entry(n=1, ts=1, body=Message(role="assistant", text="<b>hi</b>")),))
    )
    assert any("<b>hi</b>" in line for line in (await http.get("/api/agents/r1/a/logs")).json())
    assert len((await http.get("/api/agents/r1/a/logs?tail=1")).json()) == 1
    assert (await http.post("/api/agents/r1/a/pause")).json() == {"type": "done"}
    assert (await http.get("/api/agents/r1/a")).json()["status"] == "paused"
    assert (await http.post("/api/agents/r1/a/resume", json={})).status_code == 200
    assert "usage" in (await http.get("/api/agents/r1/a/metrics")).json()
    await runner.request(c.Finish(agent="r1/a", status="done", output="ok"))
    assert (await http.get("/api/agents/r1/a")).json()["output"] == "ok"
    assert (await http.post("/api/runs/r1/end", json={})).status_code == 200
    events = (await http.get("/api/runs/r1/events?since=2&limit=3")).json()
    assert [event["seq"] for event in events] == [3, 4, 5]
    then = (await http.get("/api/runs/r1/state?seq=3")).json()
    assert then["tables"]["agents"]["r1/a"]["status"] == "queued"
    assert [run["run_id"] for run in (await http.get("/api/runs")).json()] == ["r1", "plane"]


async def test_what_a_run_used_is_listed_while_it_goes_on_and_when_its_agents_are_forgotten(
    open_lab: Callable[[], Awaitable[Lab]],
) -> None:
    async def listed(lab: Lab) -> dict[str, object]:
        headers = {"authorization": f"Bearer {lab.plane.token}"}
        async with httpx.AsyncClient(base_url=lab.plane.http, headers=headers, timeout=DEADLINE) as http:
            return {
                run["run_id"]: run["usage"] for run in (await http.get("/api/runs")).json() if run["name"] != "plane"
            }

    lab = await open_lab()
    for run in ("r1", "r2", "r3"):
        await lab.run(run)
        agent = await lab.spawn("a", run)
        runner = await lab.runner(agent)
        if run != "r3":
            call = c.Entry(n=1, ts=1, body=ModelCall(provider="p"), tok_in=10, tok_out=2)
            await runner.request(c.Report(agent=agent, entries=(call,)))
    assert await listed(lab) == {"r1": {"in": 10, "out": 2}, "r2": {"in": 10, "out": 2}, "r3": None}, "so far"
    await runner.request(c.Finish(agent="r3/a", status="done"))
    await lab.client.request(c.EndRun(run_id="r3"))
    runner = await lab.runner("r1/a")
    await runner.request(c.Finish(agent="r1/a", status="done", usage={"in": 10.0, "out": 4.0, "cost": 0.5}))
    await lab.client.request(c.EndRun(run_id="r1"))
    known = {"r1": {"in": 10, "out": 4, "cost": 0.5}, "r2": {"in": 10, "out": 2}, "r3": None}
    assert await listed(lab) == known
    lab.plane.engine.trim(0)
    assert "r1/a" not in lab.plane.engine.state.agents
    assert await listed(lab) == known, "forgotten"
    await lab.close()  # type: ignore[attr-defined]
    lab = await open_lab()
    assert set(lab.plane.engine.state.agents) == {"r2/a"}
    assert await listed(lab) == known, "by another plane"


@pytest.mark.parametrize("unit", ["file:home/agentlab.db", "dir:./home", "file:link/x", "file:../elsewhere"])
async def test_a_claim_that_is_none_of_the_workspaces_is_refused_at_once_as_everywhere(
    lab: Lab, http: httpx.AsyncClient, unit: str
) -> None:
    """An agent's, and a person's own. The home lies in the workspace here."""
    workspace = lab.root.parent
    (workspace / "link").symlink_to(lab.plane.home)
    opened = {"run_id": "r1", "name": "one", "root": str(workspace), "host": "here"}
    assert (await http.post("/api/runs", json=opened)).status_code == 200
    with pytest.raises(OutsideWorkspace) as told:
        spec.canonical_units([unit], workspace, lab.plane.home)
    asked = {
        "/api/agents": {"run_id": "r1", "spec": {"kind": "script", "name": "a", "claims": ["file:fine.txt", unit]}},
        "/api/claims": {"run_id": "r1", "owner": "user:ada", "units": ["file:fine.txt", unit]},
    }
    for path, body in asked.items():
        answer = await http.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "OutsideWorkspace"), path
        assert answer.json()["message"] == str(told.value)
    assert (await http.get("/api/agents")).json() == []
    assert (await http.get("/api/locks")).json() == []


async def test_a_claim_over_http_is_one_of_what_the_disk_has_under_that_name(lab: Lab, http: httpx.AsyncClient) -> None:
    await lab.run()
    (lab.root / "src").mkdir()
    (lab.root / "also").symlink_to("src")
    made = await http.post(
        "/api/claims", json={"run_id": "r1", "owner": "user:ada", "units": ["file:also/x", "dir:src"]}
    )
    assert made.json()["units"] == ["file:src/x", "dir:src"]


async def test_deleting_an_agent_kills_it(lab: Lab, http: httpx.AsyncClient) -> None:
    await lab.run()
    agent = await lab.spawn("a")
    await lab.runner(agent)
    await until(lambda: lab.plane.engine.state.agents[agent].place)
    await http.delete("/api/agents/r1/a")
    await until(lambda: lab.status(agent) == "cancelled")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/api/runs", "{", 400, "no JSON"),
        ("POST", "/api/runs", "[]", 400, "JSON object"),
        ("POST", "/api/runs", '{"run_id": "x", "name": "x", "root": "rel", "host": "h"}', 400, "absolute"),
        ("POST", "/api/runs", '{"run_id": "x", "name": "x", "root": "/no/such/dir", "host": "h"}', 400, "/no/such/dir"),
        ("POST", "/api/runs", '{"nmae": "x"}', 400, "nmae"),
        ("POST", "/api/agents", '{"run_id": "none", "spec": {"kind": "script"}}', 404, "none"),
        ("POST", "/api/agents", '{"run_id": "r1", "spec": {"kind": "nonsense"}}', 400, "Kinds: "),
        ("POST", "/api/agents", '{"run_id": "r1", "spec": {"kind": "acp"}}', 400, "Say boundary='native'"),
        ("POST", "/api/agents", '{"run_id": "r1", "spec": {"kind": "cli", "boundary": "tools"}}', 400, "it has native"),
        ("GET", "/api/agents/r1/ghost", "", 404, "ghost"),
        ("GET", "/api/runs/ghost", "", 404, "ghost"),
        ("GET", "/api/runs/r1/events?sicne=1", "", 400, "sicne"),
        ("GET", "/api/runs/r1/events?since=x", "", 400, "since"),
        ("GET", "/api/blobs/00", "", 404, "00"),
        (
            "POST",
            "/api/claims",
            '{"owner": "user:a", "run_id": "r1", "units": ["file:../x"]}',
            409,
            "out of the workspace",
        ),
    ],
)
async def test_bad_input_is_answered_with_what_is_wrong(
    lab: Lab, http: httpx.AsyncClient, method: str, path: str, body: str, status: int, says: str
) -> None:
    await lab.run()
    answer = await http.request(method, path, content=body)
    assert (answer.status_code, says in answer.json()["message"]) == (status, True), answer.text


async def test_the_openapi_document_describes_every_route_and_resolves() -> None:
    document = openapi()
    assert {(m.upper(), p) for p, item in document["paths"].items() for m in item} == {
        (r.method, r.path) for r in ROUTES
    }
    text = json.dumps(document)
    refs = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
    for ref in refs:
        node = document
        for step in ref.removeprefix("#/").split("/"):
            node = node[step]


async def test_the_stream_pushes_rows_and_resumes(lab: Lab) -> None:
    headers = {"authorization": f"Bearer {lab.plane.token}"}
    url = lab.plane.http.replace("http", "ws")
    async with connect(f"{url}/api/stream", additional_headers=headers, proxy=None) as socket:
        first = json.loads(await socket.recv())
        assert first["full"]
        await lab.run()
        delta = json.loads(await asyncio.wait_for(socket.recv(), DEADLINE))
        assert "r1" in delta["tables"]["runs"]
    async with connect(f"{url}/api/runs/r1/stream?since=0", additional_headers=headers, proxy=None) as socket:
        pushed = json.loads(await asyncio.wait_for(socket.recv(), DEADLINE))
        assert [event["seq"] for event in pushed["events"]] == [1]


@pytest.mark.parametrize("path", ["/api/stream", "/api/runs/r1/stream"])
async def test_sockets_ask_for_the_token_too(lab: Lab, path: str) -> None:
    with pytest.raises((InvalidStatus, ConnectionClosed)):
        async with connect(lab.plane.http.replace("http", "ws") + path, proxy=None) as socket:
            await socket.recv()


async def test_followed_logs_end_with_the_agent(lab: Lab, http: httpx.AsyncClient) -> None:
    await lab.run()
    agent = await lab.spawn("a")
    runner = await lab.runner(agent)

    async def read() -> list[str]:
        async with http.stream("GET", "/api/agents/r1/a/logs?follow=true") as answer:
            return [line async for line in answer.aiter_lines()]

    reading = asyncio.create_task(read())
    for n in range(1, 4):
        await runner.request(
            c.Report(agent=agent, entries=(c.Entry(n=n, ts=n, body=Message(role="assistant", text=f"word {n}")),))
        )
    await runner.request(c.Finish(agent=agent, status="done"))
    lines = await asyncio.wait_for(reading, DEADLINE)
    assert [line.split()[-1] for line in lines if "word" in line] == ["1", "2", "3"]
