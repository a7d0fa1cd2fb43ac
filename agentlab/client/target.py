"""Where the plane is: an address that was given, `$AGENTLAB_URL`, the home's state file, or one that is started."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from agentlab import discovery
from agentlab.config import home_dir
from agentlab.errors import BadRequest, PlaneUnavailable


@dataclass(frozen=True)
class Address:
    """`link` is what a `LinkClient` connects to."""

    link: str  # unix:/path, ws://host:port/link or wss://...
    token: str = field(repr=False)


@dataclass(frozen=True)
class Target:
    home: Path
    url: str | None = None  # None: the plane of `home`
    start: bool = True  # start one where there is none
    token: str = field(default="", repr=False)  # of the plane at `url`; '': $AGENTLAB_TOKEN, or the state file's

    @classmethod
    def of(cls, home: str | Path | None, url: str | None, start: bool) -> Target:
        """An argument counts more than the environment; a home that was named counts more than `$AGENTLAB_URL`."""
        if url is None and home is None:
            url = os.environ.get("AGENTLAB_URL") or None
        return cls(home_dir(home), None if url is None else link_url(url), start)

    def find(self, *, start: bool) -> Address:
        """Where to connect now. Blocking. Raises PlaneUnavailable: there is none, and none is to be (or could be) started."""
        if self.url is not None:
            return Address(self.url, self._token(self.url))
        if start and self.start:
            plane = discovery.ensure(self.home)
        else:
            found = discovery.read(self.home)
            if found is None:
                raise PlaneUnavailable(
                    f"No plane runs for {self.home}. Start it with `agentlab daemon start`, or agentlab.connect()."
                )
            plane = found
        return Address(plane.address, plane.token)

    def _token(self, url: str) -> str:
        if token := self.token or os.environ.get("AGENTLAB_TOKEN", ""):
            return token
        plane = discovery.read(self.home)
        if plane is not None and url in (plane.address, link_url(plane.http) if plane.http else None):
            return plane.token
        raise BadRequest(f"No token for {url}: set AGENTLAB_TOKEN to the one that the plane's state file holds.")


def link_url(url: str) -> str:
    """The address of the link behind what a person may write: unix:/path, ws[s]://..., or the plane's http[s]:// address."""
    scheme, sep, rest = url.partition(":")
    if not sep or not rest:
        raise BadRequest(
            f"{url!r} is no address of a plane. Write unix:/path/plane.sock, ws://host:port or http://host:port."
        )
    if scheme == "unix":
        return url
    web = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(scheme)
    if web is None or not rest.startswith("//"):
        raise BadRequest(f"{url!r} is no address of a plane: it begins with unix:, ws://, wss://, http:// or https://.")
    rest = rest.rstrip("/")
    return f"{web}:{rest}" if rest.endswith("/link") else f"{web}:{rest}/link"
