"""Behind a real JupyterHub: its login is the only way in, and its users are who the log names."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.stack.conftest import until

from . import hub as hubs
from .conftest import end_agents
from .hub import DEADLINE, Hub, Person

pytest.importorskip("jupyterhub")
pytestmark = pytest.mark.timeout(600)

ROUTES = [
    ("GET", "agentlab/status"),
    ("GET", "agentlab/api/state"),
    ("POST", "agentlab/spawn"),
    ("POST", "agentlab/api/claims"),
]
WAITING = {"kind": "script", "task": "- ask: go on?", "keep": True, "workdir": "work"}


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    if why := hubs.why_not():
        pytest.skip(why)
    with hubs.serve() as hub:
        yield hub
        end_agents(hub.home)


@pytest.fixture(scope="module")
def people(hub: Hub) -> Iterator[list[Person]]:
    with hub.users("ann", "bob") as people:
        for person in people:
            (hub.people / person.name / "work").mkdir()
        yield people


@pytest.fixture
def ann(people: list[Person]) -> Person:
    return people[0]


@pytest.fixture
def bob(people: list[Person]) -> Person:
    return people[1]


def statuses(client: httpx.Client, server: str, **options: Any) -> set[int]:
    return {client.request(method, server + path, json={}, **options).status_code for method, path in ROUTES}


@contextlib.contextmanager
def socket(server: str, **headers: str) -> Iterator[ClientConnection]:
    url = server.replace("http", "ws", 1) + "agentlab/api/stream"
    with connect(url, proxy=None, additional_headers=headers, open_timeout=DEADLINE) as socket:
        yield socket


def events(person: Person, run: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = person.get(f"agentlab/api/runs/{run}/events").json()
    return found


def test_who_has_not_logged_in_is_sent_to_the_hub_and_gets_nothing_of_the_server(ann: Person) -> None:
    with httpx.Client(timeout=DEADLINE, trust_env=False) as stranger:
        assert statuses(stranger, ann.server) == {403}
        page = stranger.get(f"{ann.server}lab", follow_redirects=True)
        assert page.url.path == f"{hubs.BASE}hub/login"
        assert statuses(stranger, ann.server) == {403}
    with pytest.raises(InvalidStatus, match="403"), socket(ann.server):
        pass


def test_another_user_of_the_hub_gets_nothing_by_a_cookie_a_login_or_a_token(ann: Person, bob: Person) -> None:
    assert statuses(bob.client, bob.server, headers=bob.xsrf).isdisjoint({403})
    assert statuses(bob.client, ann.server, headers=bob.xsrf) == {403}
    assert bob.client.get(f"{ann.server}lab").status_code == 403  # the hub knows him, and says no
    assert statuses(bob.client, ann.server, headers=bob.xsrf) == {403}
    token = {"Authorization": f"token {bob.token()}"}
    with httpx.Client(timeout=DEADLINE, trust_env=False, headers=token) as program:
        assert statuses(program, ann.server) == {403}
        assert program.get(f"{bob.server}agentlab/status").json()["ok"]
    for headers in (token, {"Cookie": bob.cookies}):
        with pytest.raises(InvalidStatus, match="403"), socket(ann.server, **headers):
            pass


def test_what_a_user_does_is_in_the_log_under_the_name_that_the_hub_knows(ann: Person) -> None:
    assert ann.client.post(f"{ann.server}agentlab/spawn", json=WAITING).status_code == 403  # no XSRF token
    made = ann.post("agentlab/spawn", WAITING | {"name": "asks"})
    assert made.status_code == 201, made.text
    run, agent = made.json()["run_id"], made.json()["agent"]
    sent = ann.post(f"agentlab/api/agents/{agent}/send", {"text": "hello", "by": "somebody else"})
    assert sent.status_code == 200, sent.text
    assert ann.get(f"agentlab/api/runs/{run}").json()["user"] == "ann"
    told = {event["body"]["type"]: event["actor"] for event in events(ann, run) if event["actor"].startswith("user:")}
    assert {"run.start", "task.create", "message"} <= told.keys()
    assert set(told.values()) == {"user:ann"}
    assert "somebody else" not in str(events(ann, run))


def test_two_users_of_one_plane_keep_their_names_and_their_locks_apart(ann: Person, bob: Person) -> None:
    made = ann.post("agentlab/spawn", WAITING | {"name": "shared"}).json()
    run = made["run_id"]
    granted = ann.post("agentlab/api/claims", {"run_id": run, "units": ["file:plan.md"]}).json()
    refused = bob.post("agentlab/api/releases", {"tickets": [granted["ticket"]]})
    assert refused.status_code == 403 and "belongs to ann" in refused.json()["message"]
    asked: list[dict[str, Any]] = []

    def question() -> bool:
        asked[:] = [
            row for row in bob.get("agentlab/api/state").json()["tables"]["approvals"].values()
            if row["agent"] == made["agent"]
        ]  # fmt: skip
        return bool(asked)

    until(question, "ann's agent asks, and bob sees it")
    answered = bob.post(f"agentlab/api/approvals/{asked[0]['approval']}", {"status": "answered", "answer": "go"})
    assert answered.status_code == 200, answered.text
    told = events(ann, run)
    assert [each["actor"] for each in told if each["body"]["type"] == "lock.grant"] == ["user:ann"]
    ends = [each["body"] for each in told if each["body"]["type"] == "approval" and each["body"].get("by")]
    assert [(each["by"], each["answer"]) for each in ends] == [("bob", "go")]


def test_rows_come_through_the_hubs_proxy_as_they_change(ann: Person) -> None:
    with socket(ann.server, Cookie=ann.cookies) as rows:
        assert json.loads(rows.recv(DEADLINE))["full"]
        made = ann.post("agentlab/spawn", WAITING | {"name": "watched", "task": "- say: hi", "keep": False}).json()
        seen: dict[str, Any] = {}
        while not (seen.get(made["agent"]) or {}).get("ended"):
            seen |= json.loads(rows.recv(DEADLINE))["tables"].get("agents", {})
