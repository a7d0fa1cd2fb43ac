"""Who gets in: Jupyter's login, its XSRF check, its origins and its authorizer, on every route of the gateway."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from jupyter_server.auth import Authorizer, IdentityProvider, User
from jupyter_server.utils import JupyterServerAuthWarning
from websockets.exceptions import InvalidStatus

from agentlab import discovery
from agentlab.plane.routes import ROUTES as PLANE_ROUTES
from agentlab.serverextension.forwarded import ROUTES, SOCKETS, Forwarded

from .conftest import TOKEN, Jupyter, next_of

Serve = Callable[..., Awaitable[Jupyter]]
SAY_HI = {"kind": "script", "task": "- say: hi", "name": "hi", "run": "greeting"}
EVIL = {"Origin": "http://evil.example"}


def filled(route: Forwarded) -> str:
    return "agentlab" + route.path.replace("{", "").replace("}", "")


async def test_nobody_gets_in_without_logging_in(jupyter: Jupyter) -> None:
    asked = [("GET", "agentlab/status"), ("POST", "agentlab/spawn"), ("GET", "agentlab"), ("PUT", "agentlab/x")]
    for method, path in asked + [(route.method, filled(route)) for route in ROUTES + SOCKETS]:
        answer = await jupyter.stranger.request(method, path, json={})
        assert answer.status_code == 403, (method, path)
    for route in SOCKETS:
        with pytest.raises(InvalidStatus, match="403"):
            async with jupyter.socket(filled(route), Authorization=""):
                pass


async def test_a_command_of_a_browser_needs_its_own_xsrf_token(jupyter: Jupyter) -> None:
    await jupyter.log_in()
    stolen = jupyter.client(cookies={"_xsrf": jupyter.xsrf["X-XSRFToken"]})
    thief = await stolen.get("login")
    await stolen.aclose()
    for headers in ({}, {"X-XSRFToken": "wrong"}, {"X-XSRFToken": thief.cookies.get("_xsrf", "2|0|0|0")}):
        for path in ("agentlab/spawn", "agentlab/api/bumps"):
            answer = await jupyter.browser.post(path, json=SAY_HI, headers=headers)
            assert answer.status_code == 403, answer.text
    assert (await jupyter.browser.post("agentlab/spawn", json=SAY_HI, headers=jupyter.xsrf)).status_code == 201


async def test_the_right_xsrf_token_opens_nothing_without_the_session_that_it_belongs_to(jupyter: Jupyter) -> None:
    await jupyter.log_in()
    xsrf = jupyter.xsrf["X-XSRFToken"]
    async with jupyter.client(cookies={"_xsrf": xsrf}) as thief:
        answer = await thief.post("agentlab/spawn", json=SAY_HI, headers=jupyter.xsrf)
    assert answer.status_code == 403


async def test_another_origin_gets_nothing_with_the_cookies_of_a_browser(jupyter: Jupyter) -> None:
    await jupyter.log_in()
    cookies = "; ".join(f"{name}={value}" for name, value in jupyter.browser.cookies.items())
    assert (await jupyter.browser.get("agentlab/api/state", headers=EVIL)).status_code in (403, 404)
    answer = await jupyter.browser.post("agentlab/spawn", json=SAY_HI, headers=EVIL | jupyter.xsrf)
    assert answer.status_code in (403, 404)
    with pytest.raises(InvalidStatus, match="403"):
        async with jupyter.socket("agentlab/api/stream", Authorization="", Cookie=cookies, **EVIL):
            pass
    async with jupyter.socket("agentlab/api/stream", Authorization="", Cookie=cookies) as socket:
        assert (await next_of(socket))["full"]


async def test_it_answers_below_the_base_url_and_nowhere_else(jupyter: Jupyter) -> None:
    root = jupyter.url.split("/user/")[0]
    for path in ("/agentlab/status", "/lab/agentlab/status"):
        assert (await jupyter.script.get(root + path)).status_code == 404
    assert (await jupyter.script.get("agentlab/status")).status_code == 200


NOT_THERE = [
    ("GET", "agentlab"),
    ("GET", "agentlab/"),
    ("GET", "agentlab/link"),
    ("GET", "agentlab/api/openapi.json"),
    ("POST", "agentlab/api/agents"),  # spawning is `agentlab/spawn`, with its checks
    ("POST", "agentlab/api/runs"),
    ("PUT", "agentlab/api/state"),
    ("PATCH", "agentlab/api/anything"),
    ("DELETE", "agentlab/api/runs/r1"),
    ("GET", "agentlab/api/runs/r1%2Fevents"),  # one part that would be two
    ("GET", "agentlab/api/runs/.."),
    ("GET", "agentlab/api/blobs/..%2f..%2fstate"),
    ("POST", "agentlab/api/agents/r1/a%2Fsend/stop"),
]


async def test_what_is_not_in_the_list_is_not_there(jupyter: Jupyter) -> None:
    for method, path in NOT_THERE:
        answer = await jupyter.script.request(method, path, json={})
        assert answer.status_code in (404, 405), answer.text
        if answer.status_code == 404 and not path.endswith(".."):  # that one is resolved by the client
            assert answer.json()["code"] == "NotFound"


def test_every_route_of_the_list_is_one_of_the_planes() -> None:
    there = {(route.method, route.path): route for route in PLANE_ROUTES}
    for route in ROUTES:
        plane = there[route.method, route.path]
        assert set(route.query) <= set(plane.query)
        fields = plane.asks.__struct_fields__ if plane.asks else ()
        assert route.actor.value in ("", *fields)
        assert route.actor.value or not {"by", "owner"} & set(fields), (
            f"{route.path}: the browser could choose who asks"
        )


@pytest.mark.filterwarnings("always::jupyter_server.utils.JupyterServerAuthWarning")
async def test_jupyters_own_checker_finds_no_open_door(serve: Serve) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", JupyterServerAuthWarning)
        jupyter = await serve(ServerApp={"allow_unauthenticated_access": False})
    said = [str(one.message) for one in caught if issubclass(one.category, JupyterServerAuthWarning)]
    assert not [text for text in said if "agentlab" in text or "Handler registered for /agentlab" in text], said
    assert (await jupyter.stranger.get("agentlab/status")).status_code == 403
    assert (await jupyter.script.get("agentlab/status")).status_code == 200


class Readers(Authorizer):
    """Looks are allowed, nothing else is."""

    def is_authorized(self, handler: object, user: User, action: str, resource: str) -> bool:
        return resource != "agentlab" or action == "read"


class Nobody(Authorizer):
    def is_authorized(self, handler: object, user: User, action: str, resource: str) -> bool:
        return resource != "agentlab"


async def test_an_authorizer_can_leave_people_only_their_eyes(serve: Serve) -> None:
    jupyter = await serve(ServerApp={"authorizer_class": Readers})
    assert (await jupyter.script.get("agentlab/api/state")).status_code == 200
    async with jupyter.socket("agentlab/api/stream") as socket:
        assert (await next_of(socket))["full"]
    for path in ("agentlab/spawn", "agentlab/api/bumps", "agentlab/api/agents/r1/a/stop"):
        assert (await jupyter.script.post(path, json=SAY_HI)).status_code == 403
    assert (await jupyter.script.delete("agentlab/api/agents/r1/a")).status_code == 403


async def test_an_authorizer_can_shut_the_whole_door(serve: Serve) -> None:
    jupyter = await serve(ServerApp={"authorizer_class": Nobody})
    assert (await jupyter.script.get("agentlab/status")).status_code == 403
    with pytest.raises(InvalidStatus, match="403"):
        async with jupyter.socket("agentlab/api/stream"):
            pass


async def test_the_planes_token_never_leaves_the_server(jupyter: Jupyter, home: Path) -> None:
    seen = ""
    await jupyter.script.get("agentlab/status")
    plane = discovery.read(home)
    assert plane is not None
    for path in ("status", "api/health", "api/state", "api/runtimes", "api/runs", "nothing", "api/runs/ghost"):
        answer = await jupyter.script.get(f"agentlab/{path}")
        seen += answer.text + str(answer.headers)
    async with jupyter.socket("agentlab/api/stream") as socket:
        seen += str(await next_of(socket))
    assert plane.token not in seen
    assert TOKEN not in seen


class Hub(IdentityProvider):
    """As JupyterHub's: everybody has a name."""

    def get_user(self, handler: object) -> User | None:
        return User(username="ann", name="Ann")


@pytest.mark.parametrize("chosen", [{}, {"by": "somebody else"}])
async def test_the_log_keeps_who_jupyter_says_it_was(serve: Serve, chosen: dict[str, str]) -> None:
    jupyter = await serve(
        ServerApp={"identity_provider_class": Hub, "disable_check_xsrf": True, "allow_unauthenticated_access": True}
    )
    spawned = (await jupyter.script.post("agentlab/spawn", json=SAY_HI | {"keep": True})).json()
    run, agent = spawned["run_id"], spawned["agent"]
    sent = await jupyter.script.post(f"agentlab/api/agents/{agent}/send", json={"text": "hello"} | chosen)
    assert sent.status_code == 200, sent.text
    await jupyter.script.request("DELETE", f"agentlab/api/agents/{agent}", json=chosen)
    assert (await jupyter.script.get(f"agentlab/api/runs/{run}")).json()["user"] == "ann"
    claimed = await jupyter.script.post(
        "agentlab/api/claims", json={"run_id": run, "units": ["file:x"], "owner": "user:somebody else"}
    )
    assert claimed.json()["type"] == "granted", claimed.text
    events = (await jupyter.script.get(f"agentlab/api/runs/{run}/events")).json()
    told = [event for event in events if event["body"].get("text") == "hello"]
    assert [event["actor"] for event in told] == ["user:ann"]
    assert "somebody else" not in str(events)
    assert {event["actor"] for event in events if event["body"]["type"] == "lock.grant"} == {"user:ann"}


async def test_who_logs_in_with_the_token_of_their_own_server_is_called_as_in_their_notebooks(jupyter: Jupyter) -> None:
    from agentlab.client.who import user_name

    run = (await jupyter.script.post("agentlab/spawn", json=SAY_HI)).json()["run_id"]
    assert (await jupyter.script.get(f"agentlab/api/runs/{run}")).json()["user"] == user_name()
