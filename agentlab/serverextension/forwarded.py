"""Which requests of a browser reach the plane: this list, and nothing beside it.

Spawning and opening runs are not in it: `agentlab/spawn` does both, with the checks of the client.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import quote

from agentlab.errors import NotFound

BODY: Final = 1024 * 1024  # bytes of a request's body


class Actor(Enum):
    """How a request says who asks. The browser cannot choose it."""

    NONE = ""
    BY = "by"  # the bare name
    OWNER = "owner"  # user:NAME


@dataclass(frozen=True)
class Forwarded:
    """`path` is the plane's; `query` are the parameters that are passed on. limit: bytes of the body."""

    method: str
    path: str
    actor: Actor = Actor.NONE
    query: tuple[str, ...] = ()
    limit: int = BODY

    @property
    def pattern(self) -> str:
        """For tornado, below `agentlab/`."""
        return re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path.removeprefix("/"))

    @property
    def command(self) -> bool:
        """It changes something: it may be sent again under the same id."""
        return self.method != "GET"


_AGENT: Final = "/api/agents/{run_id}/{agent_id}"
_RUN: Final = "/api/runs/{run_id}"

ROUTES: Final[tuple[Forwarded, ...]] = (
    Forwarded("GET", "/api/health"),
    Forwarded("GET", "/api/state"),
    Forwarded("GET", "/api/agents"),
    Forwarded("GET", _AGENT),
    Forwarded("GET", f"{_AGENT}/metrics"),
    Forwarded("GET", f"{_AGENT}/logs", query=("tail", "since")),
    Forwarded("DELETE", _AGENT, Actor.BY),
    Forwarded("POST", f"{_AGENT}/send", Actor.BY),
    Forwarded("POST", f"{_AGENT}/pause", Actor.BY),
    Forwarded("POST", f"{_AGENT}/resume", Actor.BY),
    Forwarded("POST", f"{_AGENT}/interrupt", Actor.BY),
    Forwarded("POST", f"{_AGENT}/stop", Actor.BY),
    Forwarded("GET", "/api/runs", query=("limit",)),
    Forwarded("GET", _RUN),
    Forwarded("GET", f"{_RUN}/events", query=("since", "limit")),
    Forwarded("GET", f"{_RUN}/state", query=("seq",)),
    Forwarded("POST", f"{_RUN}/begin"),
    Forwarded("POST", f"{_RUN}/end"),
    Forwarded("GET", "/api/locks"),
    Forwarded("POST", "/api/claims", Actor.OWNER),
    Forwarded("POST", "/api/releases", Actor.OWNER),
    Forwarded("POST", "/api/bumps", Actor.BY),
    Forwarded("POST", "/api/revokes", Actor.BY),
    Forwarded("GET", "/api/runtimes"),
    Forwarded("GET", "/api/approvals"),
    Forwarded("POST", "/api/approvals/{approval}", Actor.BY),
    Forwarded("GET", "/api/blobs/{hash}"),
)

SOCKETS: Final[tuple[Forwarded, ...]] = (
    Forwarded("GET", "/api/stream", query=("since",)),
    Forwarded("GET", f"{_RUN}/stream", query=("since",)),
)


def by_path(routes: tuple[Forwarded, ...]) -> dict[str, dict[str, Forwarded]]:
    """pattern -> method -> route."""
    table: dict[str, dict[str, Forwarded]] = {}
    for route in routes:
        table.setdefault(route.pattern, {})[route.method] = route
    return table


def fill(path: str, values: Mapping[str, str]) -> str:
    """The path with its parts. A part that would be more than one, or none, names nothing: raises NotFound."""
    for name, value in values.items():
        if "/" in value or value in (".", "..") or not value.isprintable():
            raise NotFound(f"{value!r} is no {name}.")
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    return path
