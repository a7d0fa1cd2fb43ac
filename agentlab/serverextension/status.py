"""Whether there is a plane. To ask is to find it, and to start one where there is none."""

from __future__ import annotations

from typing import Any

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web
from tornado.httpclient import HTTPClientError, HTTPRequest

from agentlab.__about__ import __version__
from agentlab.errors import AgentlabError, PlaneUnavailable

from .handlers import GatewayHandler, guarded
from .problems import problem
from .upstream import GREETING, Upstream

_HIDDEN = ("address", "http")  # where the plane listens is no matter of a browser


class StatusHandler(GatewayHandler):
    """{ok, version, plane: {...} | null, problem?: {code, message, next}}, always 200: it is the server that answers here."""

    _track_activity = False

    @web.authenticated
    @authorized
    @guarded
    async def get(self) -> None:
        self.answer_json({"version": __version__, **await status(self.gateway.upstream)})


async def status(upstream: Upstream) -> dict[str, Any]:
    try:
        health = await _health(upstream)
    except AgentlabError as error:
        return {"ok": False, "plane": None, "problem": problem(error)}
    plane = {name: value for name, value in health.items() if name not in _HIDDEN}
    if upstream.url:
        plane["url"] = upstream.url
    if health.get("ok"):
        return {"ok": True, "plane": plane}
    why = PlaneUnavailable(f"The plane cannot decide anything now: {health.get('reason') or 'it does not say why'}")
    return {"ok": False, "plane": plane, "problem": problem(why)}


async def _health(upstream: Upstream) -> dict[str, Any]:
    for _ in range(2):  # the plane that was there may be gone; then the next one is asked
        door = await upstream.find()
        request = HTTPRequest(
            f"{door.url}/api/health", headers=door.headers, connect_timeout=GREETING, request_timeout=GREETING
        )
        try:
            response = await upstream.client.fetch(request, raise_error=False)
            if response.code != 403:
                return dict(msgspec.json.decode(response.body))
        except (OSError, HTTPClientError, msgspec.DecodeError):
            pass
        upstream.lost(door)
    raise PlaneUnavailable("The plane went away while it was asked.")
