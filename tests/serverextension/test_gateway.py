"""What passes through the gateway, and what is said on bad days: each says what is so and what to do."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

import agentlab
from agentlab import discovery
from agentlab.serverextension import upstream as upstream_room
from tests.stack.conftest import kill_plane, plane_pid

from .conftest import DEADLINE, Jupyter, next_of

Serve = Callable[..., Awaitable[Jupyter]]
STEPS = "- say: one\n- write: [a.txt, hello]\n- say: two\n"


async def ended(jupyter: Jupyter, agent: str) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE):
        while True:
            row: dict[str, Any] = (await jupyter.script.get(f"agentlab/api/agents/{agent}")).json()
            if row["ended"]:
                return row
            await asyncio.sleep(0.05)


async def spawned(jupyter: Jupyter, **wanted: Any) -> dict[str, str]:
    answer = await jupyter.script.post("agentlab/spawn", json={"kind": "script", "task": STEPS} | wanted)
    assert answer.status_code == 201, answer.text
    found: dict[str, str] = answer.json()
    return found


# --- what passes -------------------------------------------------------------------------------------------


async def test_an_agent_from_spawn_to_its_log(jupyter: Jupyter, tmp_path: Path) -> None:
    made = await spawned(jupyter, name="ann", claims=["file:a.txt"])
    row = await ended(jupyter, made["agent"])
    assert (row["status"], row["name"]) == ("done", "ann")
    assert (tmp_path / "files" / "a.txt").read_text() == "hello"
    run = made["run_id"]
    events = (await jupyter.script.get(f"agentlab/api/runs/{run}/events", params={"since": 2, "limit": 3})).json()
    assert [event["seq"] for event in events] == [3, 4, 5]
    then = (await jupyter.script.get(f"agentlab/api/runs/{run}/state?seq=3&1764150000000")).json()  # as JupyterLab asks
    assert then["seq"] == 3
    lines = (await jupyter.script.get(f"agentlab/api/agents/{made['agent']}/logs?tail=1")).json()
    assert len(lines) == 1


async def test_content_of_agents_is_never_rendered_in_the_origin_of_the_server(jupyter: Jupyter) -> None:
    page = "<script>alert(1)</script>"
    made = await spawned(jupyter, task=[{"write": ["page.html", page]}])
    await ended(jupyter, made["agent"])
    answer = await jupyter.script.get(f"agentlab/api/blobs/{hashlib.sha256(page.encode()).hexdigest()}")
    assert answer.text == page
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_a_run_is_found_by_its_name_and_checked_like_any_spawn(jupyter: Jupyter, tmp_path: Path) -> None:
    (tmp_path / "files" / "sub").mkdir()
    first = await spawned(jupyter, run="both", workdir="sub", name="a")
    second = await spawned(jupyter, run="both", name="b")
    assert first["run_id"] == second["run_id"]
    assert (await jupyter.script.get(f"agentlab/api/runs/{first['run_id']}")).json()["root"] == str(
        tmp_path / "files/sub"
    )
    for made in (first, second):
        await ended(jupyter, made["agent"])


NONSENSE: list[tuple[dict[str, Any], str]] = [
    ({"kind": "nonsense"}, "There are no agents of kind 'nonsense'"),
    ({"kind": "script", "task": "- {"}, "no YAML"),
    ({"workdir": "no/such/folder"}, "no/such/folder"),
    ({"workdir": "/"}, "/"),
    ({"name": "../x"}, "is no name for an agent"),
    ({"claims": ["file:../x"]}, "out of the workspace"),
    ({"env": {"KEY": "secret"}}, "env"),
    ({"task": None}, "script agent wants"),
    ({"priority": "highest"}, "normal"),
    ({"max_cost": 0.5}, "Use max_time instead"),
    ({"max_tokens": 1000}, "Use max_time instead"),
    ({"boundary": "native"}, "it has tools"),
    ({"env": {"KEY": "hunter2"}}, "the value of KEY in env must be a reference, env:NAME or file:/path"),
    ({"env": {"KEY": "env:THERE_IS_NONE"}}, "'THERE_IS_NONE' is not set here"),
    ({"kind": "acp", "task": "x", "options": {"command": "my-agent"}}, "Say boundary='native'"),
]


async def test_what_a_form_may_say_of_an_agent_is_what_the_client_takes(jupyter: Jupyter) -> None:
    said = {
        "claims_mode": "shared", "tools": ["read", "edit"], "permissions": ["reject tool=run"], "max_time": 60.0,
        "wait_limits": True, "instructions": "Be brief.",
    }  # fmt: skip
    made = await spawned(jupyter, **said)
    row = (await jupyter.script.get("agentlab/api/state")).json()["tables"]["agents"][made["agent"]]
    spec = row["spec"]
    assert (spec["tools"], spec["claims_mode"], spec["instructions"]) == (["read", "edit"], "S", "Be brief.")
    assert spec["budget"] == {"time": 60.0} and spec["wait_limits"] is True
    assert "reject" in str(spec["permissions"])


async def test_a_spawn_that_makes_no_sense_is_refused_with_what_is_wrong(jupyter: Jupyter) -> None:
    for wanted, says in NONSENSE:
        answer = await jupyter.script.post("agentlab/spawn", json={"kind": "script", "task": STEPS} | wanted)
        assert answer.status_code in (400, 409), answer.text
        assert says in answer.json()["message"]
        assert "hunter2" not in answer.text


async def test_a_form_hands_on_references_to_what_the_server_can_look_up(
    jupyter: Jupyter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "correct-horse")
    (tmp_path / "key").write_text("battery-staple\n")
    env = {"TOKEN": "env:MY_TOKEN", "KEY": f"file:{tmp_path}/key"}
    code = "import os\nresult = [os.environ['TOKEN'] == 'correct-horse', os.environ['KEY'] == 'battery-staple']"
    made = await spawned(jupyter, kind="python", task=code, env=env)
    row = await ended(jupyter, made["agent"])
    assert (row["output"], row["spec"]["env"]) == ([True, True], env)


BAD: list[tuple[str, str, bytes, int, str]] = [
    ("POST", "api/bumps", b"{", 400, "no JSON"),
    ("POST", "api/bumps", b"[]", 400, "JSON object"),
    ("POST", "api/bumps", b'{"ticket": 999}', 404, "999"),
    ("POST", "api/bumps", b'{"tikcet": 1}', 400, "tikcet"),
    ("POST", "spawn", b'{"kind": "script"}', 400, "task"),
    ("POST", "api/approvals/none", b'{"status": "' + b"x" * 1024 * 1024 + b'"}', 413, "1,048,576"),
    ("GET", "api/runs/none/events?sicne=1", b"", 400, "sicne"),
    ("GET", "api/state?token=sesame&_=1", b"", 400, "_"),
    ("GET", "api/runs/none", b"", 404, "none"),
]


async def test_bad_requests_are_answered_in_the_planes_shape(jupyter: Jupyter) -> None:
    for method, path, body, status, says in BAD:
        answer = await jupyter.script.request(method, f"agentlab/{path}", content=body)
        assert answer.status_code == status, answer.text
        assert {"code", "message", "data"} <= answer.json().keys()
        assert says in answer.json()["message"]


# --- sockets -----------------------------------------------------------------------------------------------


async def test_rows_come_as_they_change_and_go_on_where_they_were_cut(jupyter: Jupyter) -> None:
    async with jupyter.socket("agentlab/api/stream") as socket:
        first = await next_of(socket)
        assert first["full"]
        made = await spawned(jupyter, name="ann", task=STEPS)
        known = (await next_of(socket))["seq"]
        seen: dict[str, Any] = {}
        while not (seen.get(made["agent"]) or {}).get("ended"):
            delta = await next_of(socket)
            assert not delta.get("full")
            seen |= delta["tables"].get("agents", {})
    async with jupyter.socket(f"agentlab/api/stream?since={known}") as socket:
        again = await next_of(socket)
        assert not again.get("full") and again["seq"] > known


async def test_events_of_a_run_come_from_where_they_are_asked_for(jupyter: Jupyter) -> None:
    made = await spawned(jupyter)
    await ended(jupyter, made["agent"])
    async with jupyter.socket(f"agentlab/api/runs/{made['run_id']}/stream?since=2") as socket:
        assert (await next_of(socket))["events"][0]["seq"] == 3


async def test_a_position_that_is_none_is_refused_before_a_socket_is_made(jupyter: Jupyter) -> None:
    answer = await jupyter.script.get("agentlab/api/stream?since=x")
    assert answer.status_code == 400


async def test_a_plane_that_is_killed_while_watched_comes_back(jupyter: Jupyter, home: Path) -> None:
    async with jupyter.socket("agentlab/api/stream") as socket:
        before = await next_of(socket)
        killed = plane_pid(home)
        await asyncio.to_thread(kill_plane, home)
        with pytest.raises(ConnectionClosed) as closed:
            await next_of(socket)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, "plane went away" in closed.value.rcvd.reason) == (1012, True)
    status = (await jupyter.script.get("agentlab/status")).json()
    assert status["ok"] and status["plane"]["pid"] != killed
    async with jupyter.socket(f"agentlab/api/stream?since={before['seq']}") as socket:
        assert (await next_of(socket))["seq"] >= before["seq"]


async def test_a_request_finds_the_next_plane_by_itself_and_a_command_happens_once(
    jupyter: Jupyter, home: Path
) -> None:
    made = await spawned(jupyter, task="- sleep: 600", name="long", run="long")
    await asyncio.to_thread(kill_plane, home)
    assert (await jupyter.script.get("agentlab/api/state")).status_code == 200
    await asyncio.to_thread(kill_plane, home)
    body = {"text": "hello", "rid": "r-1"}
    sent = f"agentlab/api/agents/{made['agent']}/send"
    first, again = [(await jupyter.script.post(sent, json=body)).json() for _ in range(2)]
    assert first == again
    events = (await jupyter.script.get(f"agentlab/api/runs/{made['run_id']}/events")).json()
    assert len([event for event in events if event["body"].get("text") == "hello"]) == 1


async def test_a_plane_that_was_stopped_on_purpose_stays_stopped_until_somebody_spawns(
    jupyter: Jupyter, home: Path
) -> None:
    await jupyter.script.get("agentlab/status")
    await asyncio.to_thread(discovery.stop, home)
    status = (await jupyter.script.get("agentlab/status")).json()
    assert (status["ok"], status["plane"], status["problem"]["code"]) == (False, None, "PlaneUnavailable")
    assert "on purpose" in status["problem"]["message"] and "spawned" in status["problem"]["next"]
    answer = await jupyter.script.get("agentlab/api/state")
    assert (answer.status_code, answer.json()["code"]) == (503, "PlaneUnavailable")
    async with jupyter.socket("agentlab/api/stream") as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await next_of(socket)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013
        assert "on purpose" in closed.value.rcvd.reason
    assert discovery.read(home) is None
    await ended(jupyter, (await spawned(jupyter))["agent"])


async def test_closing_the_server_leaves_the_plane_and_its_agents(serve: Serve, home: Path) -> None:
    first = await serve()
    made = await spawned(first, task="- sleep: 600", name="long")
    await first.app._cleanup()
    second = await serve()
    row = (await second.script.get(f"agentlab/api/agents/{made['agent']}")).json()
    assert row["ended"] is None


# --- which plane -------------------------------------------------------------------------------------------


async def test_the_loop_goes_on_while_a_plane_is_slow_to_start(
    jupyter: Jupyter, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, goes_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    ensure = discovery.ensure

    def slow(home: Path) -> discovery.Plane:
        loop.call_soon_threadsafe(began.set)
        assert goes_on.wait(DEADLINE)
        return ensure(home)

    monkeypatch.setattr(upstream_room.discovery, "ensure", slow)
    asking = [asyncio.create_task(jupyter.script.get("agentlab/status")) for _ in range(3)]
    await began.wait()
    assert (await jupyter.script.get("api/status")).status_code == 200
    goes_on.set()
    answers = [(await one).json()["plane"]["pid"] for one in asking]
    assert len(set(answers)) == 1


@pytest.fixture
async def plane(home: Path) -> agentlab.discovery.Plane:
    return await asyncio.to_thread(discovery.ensure, home)


async def test_a_plane_elsewhere_is_reached_by_its_url_and_never_started(
    serve: Serve, home: Path, plane: discovery.Plane, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(plane.token + "\n")
    jupyter = await serve(
        AgentLabApp={
            "mode": "connect",
            "url": plane.http,
            "token_file": str(tmp_path / "token"),
            "home": str(tmp_path / "none"),
        }
    )
    status = (await jupyter.script.get("agentlab/status")).json()
    assert (status["ok"], status["plane"]["url"]) == (True, plane.http)
    await ended(jupyter, (await spawned(jupyter))["agent"])
    await asyncio.to_thread(kill_plane, home)
    status = (await jupyter.script.get("agentlab/status")).json()
    assert (status["ok"], status["problem"]["code"]) == (False, "PlaneUnavailable")
    assert discovery.read(home) is None and not (tmp_path / "none").exists()


async def test_a_token_that_the_plane_does_not_know_is_said_with_where_to_put_the_right_one(
    serve: Serve, plane: discovery.Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTLAB_URL", plane.http)
    monkeypatch.setenv("AGENTLAB_TOKEN", "wrong")
    jupyter = await serve(AgentLabApp={"mode": "connect"})
    status = (await jupyter.script.get("agentlab/status")).json()
    assert (status["ok"], status["problem"]["code"]) == (False, "Forbidden")
    assert "token_file" in status["problem"]["next"]


async def test_what_the_plane_refuses_is_passed_on_as_it_says_it_and_asked_once(
    jupyter: Jupyter, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await spawned(jupyter, task="- sleep: 600", name="holder", claims=["file:a.txt"])
    async with asyncio.timeout(DEADLINE):
        while not (locks := (await jupyter.script.get("agentlab/api/state")).json()["tables"]["locks"]):
            await asyncio.sleep(0.05)
    (ticket,) = (row["ticket"] for row in locks.values())
    lost: list[object] = []
    monkeypatch.setattr(upstream_room.Upstream, "lost", lambda self, door: lost.append(door))
    answer = await jupyter.script.post("agentlab/api/releases", json={"tickets": [ticket]})
    assert (answer.status_code, answer.json()["code"]) == (403, "Forbidden")
    assert "holder" in answer.json()["message"] and "not to you" in answer.json()["message"]
    assert lost == []
    row = (await jupyter.script.get(f"agentlab/api/agents/{made['agent']}")).json()
    assert row["holds"] == ["file:a.txt"]


@asynccontextmanager
async def answering(body: bytes, status: str = "200 OK") -> AsyncIterator[str]:
    """Something on loopback that answers everything alike."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b'{"ok": true, "protocol": 99, "version": "9.0"}', "VersionMismatch", "agentlab 9.0 (protocol 99)"),
        (b"<html>somebody else</html>", "PlaneUnavailable", "no plane of agentlab"),
    ],
)
async def test_what_is_no_plane_of_ours_is_named(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, body: bytes, code: str, says: str
) -> None:
    async with answering(body) as url:
        monkeypatch.setenv("AGENTLAB_TOKEN", "t")
        jupyter = await serve(AgentLabApp={"mode": "connect", "url": url})
        problem = (await jupyter.script.get("agentlab/status")).json()["problem"]
        assert (problem["code"], says in problem["message"]) == (code, True)
        assert problem["next"]
        answer = await jupyter.script.get("agentlab/api/state")
        assert (answer.status_code, answer.json()["code"]) == (503, code)


async def test_a_log_that_cannot_be_written_is_a_problem_not_a_blank(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with answering(b'{"ok": false, "reason": "the disk is full"}', "503 Service Unavailable") as url:
        monkeypatch.setenv("AGENTLAB_TOKEN", "t")
        jupyter = await serve(AgentLabApp={"mode": "connect", "url": url})
        status = (await jupyter.script.get("agentlab/status")).json()
        assert (status["ok"], "disk is full" in status["problem"]["message"]) == (False, True)


def test_the_package_is_light_without_jupyter_and_says_what_is_missing() -> None:

    code = """
import sys
sys.modules["jupyter_server"] = None
import agentlab
assert "tornado" not in sys.modules and "agentlab.serverextension" not in sys.modules
try:
    agentlab._jupyter_server_extension_points()
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": ""}
    )
    assert "pip install 'agentlab[notebook]'" in done.stdout, done.stderr


@asynccontextmanager
async def plane_of(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """The URL of a plane that is well and answers all else with this, from its last headers on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
        if b"/api/health" in asked:
            writer.write(b'Content-Length: 27\r\n\r\n{"ok":true,  "protocol": 1}')
        else:
            await answer(writer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_big_answer_is_passed_on_as_it_comes(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first bytes are with the browser while the plane has not said its last."""
    goes_on = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n10000\r\n" + b" " * 65536)
        await goes_on.wait()
        writer.write(b"\r\n4\r\nlast\r\n0\r\n\r\n")

    monkeypatch.setenv("AGENTLAB_TOKEN", "t")
    async with plane_of(answer) as url:
        jupyter = await serve(AgentLabApp={"mode": "connect", "url": url})
        async with jupyter.script.stream(
            "GET", "agentlab/api/runs/r1/events", headers={"accept-encoding": "identity"}
        ) as stream:
            parts = stream.aiter_bytes()
            first = await asyncio.wait_for(anext(parts), DEADLINE)
            assert first.startswith(b"  ")
            goes_on.set()
            rest = b"".join([part async for part in parts])
    assert rest.endswith(b"last")


async def test_an_answer_that_the_plane_does_not_finish_is_cut_not_ended(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"Content-Length: 100000\r\n\r\n" + b" " * 65536)

    monkeypatch.setenv("AGENTLAB_TOKEN", "t")
    async with plane_of(answer) as url:
        jupyter = await serve(AgentLabApp={"mode": "connect", "url": url})
        with pytest.raises(httpx.RemoteProtocolError):
            await jupyter.script.get("agentlab/api/runs/r1/events")
