"""Where the plane answers: found, or started where there is none, without ever holding up the server's loop."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from agentlab import discovery
from agentlab.__about__ import PROTOCOL, __version__
from agentlab.errors import BadRequest, Forbidden, PlaneUnavailable, VersionMismatch

UNBOUNDED = 1 << 40  # bytes: what is passed on is never held, so its length is no matter
GREETING = 10.0  # s for the first answer of a plane that was found
STOPPED = (
    "The plane was stopped on purpose.",
    "It is started by the next agent that is spawned, or with `agentlab daemon start`.",
)


@dataclass(frozen=True)
class Door:
    """A plane that answered. The token stays on this side."""

    url: str  # http://127.0.0.1:port
    token: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def socket(self) -> str:
        return "ws" + self.url.removeprefix("http")


class Health(msgspec.Struct):
    """What of a plane's health is needed to know whether it can be talked with."""

    protocol: int = 1
    version: str = ""


class Upstream:
    """The plane of `home`, or the one at `url` (then `token` is its, and none is ever started)."""

    def __init__(self, home: Path, url: str = "", token: str = "") -> None:
        self.home = home
        self.url = web_url(url) if url else ""
        self.client = SimpleAsyncHTTPClient(force_instance=True, max_clients=1000, max_body_size=UNBOUNDED)
        self._token = token
        self._door: Door | None = None
        self._finding: asyncio.Task[Door] | None = None

    async def find(self) -> Door:
        """A door that was open lately. Raises PlaneUnavailable, VersionMismatch, Forbidden."""
        if self._door is not None:
            return self._door
        if self._finding is None or self._finding.done():
            self._finding = asyncio.create_task(self._find())
        return await asyncio.shield(self._finding)  # who asks may go away; the others wait on

    def lost(self, door: Door) -> None:
        """It does not answer any more: look anew."""
        if self._door is door:
            self._door = None

    async def knows(self, door: Door) -> bool:
        """Whether what answers behind a door still takes its token: then what it refused is refused."""
        try:
            await self._greet(door)
        except (Forbidden, PlaneUnavailable):
            return False
        return True

    async def close(self) -> None:
        if self._finding is not None:
            self._finding.cancel()
        self.client.close()

    async def _find(self) -> Door:
        door = Door(self.url, self._token) if self.url else await asyncio.to_thread(_of_home, self.home)
        check_version(await self._greet(door))
        self._door = door
        return door

    async def _greet(self, door: Door) -> Health:
        request = HTTPRequest(
            f"{door.url}/api/health", headers=door.headers, connect_timeout=GREETING, request_timeout=GREETING
        )
        try:
            response = await self.client.fetch(request, raise_error=False)
        except (OSError, HTTPClientError) as error:
            raise PlaneUnavailable(f"No plane answers at {door.url}: {error}.") from None
        if response.code == 403:
            raise Forbidden(
                f"The plane at {door.url} does not know this server's token.",
                next="Set AGENTLAB_TOKEN, or AgentLabApp.token_file, to the one in the plane's state file, and restart the server.",
            )
        if response.code not in (200, 503):
            raise PlaneUnavailable(f"What answers at {door.url} is no plane of agentlab ({response.code}).")
        try:
            return msgspec.json.decode(response.body, type=Health)
        except msgspec.DecodeError:
            raise PlaneUnavailable(f"What answers at {door.url} is no plane of agentlab.") from None


def check_version(health: Health) -> None:
    if health.protocol != PROTOCOL:
        raise VersionMismatch(
            f"The plane is agentlab {health.version or '?'} (protocol {health.protocol}), this server has {__version__} "
            f"(protocol {PROTOCOL}).",
            plane=health.version,
            server=__version__,
        )


def _of_home(home: Path) -> Door:
    """Blocking."""
    plane = discovery.read(home)
    if plane is None or not discovery.answers(plane.address):
        if discovery.stopped_on_purpose(home):
            message, then = STOPPED
            raise PlaneUnavailable(message, next=then)
        plane = discovery.ensure(home)
    check_version(Health(protocol=plane.protocol, version=plane.version))
    if not plane.http:
        raise PlaneUnavailable(
            "The plane does not speak HTTP.",
            next="Take `http = false` out of config.toml, then `agentlab daemon stop`.",
        )
    return Door(plane.http, plane.token)


def web_url(url: str) -> str:
    """http[s]://host:port of what a person may write for a plane. Raises BadRequest: a unix socket, or no address."""
    scheme, sep, rest = url.partition("://")
    web = {"http": "http", "https": "https", "ws": "http", "wss": "https"}.get(scheme)
    if not sep or not rest or web is None:
        raise BadRequest(f"{url!r} is no address that a Jupyter server can forward to. Write http://host:port.")
    return f"{web}://{rest.rstrip('/').removesuffix('/link')}"


def token_of(token_file: str, environ: Any = os.environ) -> str:
    """The plane's token: a file's only line, else `$AGENTLAB_TOKEN`. Raises BadRequest: there is none."""
    if token_file:
        try:
            return Path(token_file).expanduser().read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadRequest(f"AgentLabApp.token_file {token_file!r} cannot be read: {error}.") from None
    if token := environ.get("AGENTLAB_TOKEN"):
        return str(token)
    raise BadRequest("To connect to a plane by url, set AGENTLAB_TOKEN or AgentLabApp.token_file to its token.")
