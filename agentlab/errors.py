"""Everything that can go wrong, in one tree. Each says what happened, who holds what, and what to do next.

AgentlabError
├── Refused                    the request is understood and will not be done
│   ├── NotHeld                a write or a run without a live grant that covers it
│   ├── WouldBlock             more units were asked for while holding some; says who is in the way
│   ├── AlreadyHeld            the claim names a unit that its owner holds already
│   ├── StaleToken             the grant was released, has expired, or belongs to somebody else
│   ├── StaleBase              the file is no longer what the edit was made from (carries the diff)
│   ├── OutsideWorkspace       the path leaves the workspace, by name or through a link
│   ├── PatchFailed            the diff does not apply (carries the hunk)
│   └── Forbidden              this token may not do that
├── BadRequest                 the request makes no sense: nothing was done
│   ├── NotFound               no such agent, run, ticket, file
│   └── NameTaken              a live agent or run has the name
├── Unavailable                try again: nothing is known to have been done
│   ├── PlaneUnavailable       no plane answers, and none could be started
│   ├── VersionMismatch        client and plane speak different protocols
│   └── OutcomeUnknown         the log could not say whether it committed; repeat with the same id
├── StoreCorrupt               the database cannot be trusted or was made by a newer agentlab
├── AgentFailed                the agent ended badly (carries reason, exit code, last lines)
└── AgentTimeout               a wait ended before the agent did; the agent goes on

Every error is also the builtin that a caller would expect, and crosses the link by its class name with its
text and `data` (JSON values only), so that `except agentlab.NotHeld` works on both sides.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


class AgentlabError(Exception):
    """The root. `data` holds the facts behind the text, for programs."""

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.data = data

    @property
    def code(self) -> str:
        return type(self).__name__


class Refused(AgentlabError, PermissionError): ...


class NotHeld(Refused): ...


class WouldBlock(Refused, BlockingIOError): ...


class AlreadyHeld(Refused): ...


class StaleToken(Refused): ...


class StaleBase(Refused):
    @property
    def diff(self) -> str:
        """Unified diff from what the edit was made from to what the file is now."""
        return str(self.data.get("diff", ""))


class OutsideWorkspace(Refused): ...


class PatchFailed(Refused, ValueError): ...


class Forbidden(Refused): ...


class BadRequest(AgentlabError, ValueError): ...


class NotFound(BadRequest, LookupError): ...


class NameTaken(BadRequest): ...


class Unavailable(AgentlabError, ConnectionError): ...


class PlaneUnavailable(Unavailable): ...


class VersionMismatch(Unavailable): ...


class OutcomeUnknown(Unavailable): ...


class StoreCorrupt(AgentlabError, RuntimeError): ...


class AgentFailed(AgentlabError, RuntimeError): ...


class AgentTimeout(AgentlabError, TimeoutError): ...


def _tree(root: type[AgentlabError]) -> dict[str, type[AgentlabError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


_BY_CODE = _tree(AgentlabError)


def from_code(code: str, message: str, data: dict[str, Any] | None = None) -> AgentlabError:
    """The error that the other side raised. An unknown code (a newer peer) becomes a plain `AgentlabError`."""
    return _BY_CODE.get(code, AgentlabError)(message, **(data or {}))


def resets_text(moment: float) -> str:
    """When the limit of a vendor resets, as people are told; '' where that is no time. moment: s since the epoch."""
    try:
        return f"Its limit resets at {datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}Z."
    except (ValueError, OverflowError, OSError):
        return ""


def ordinal(n: int) -> str:
    """1 -> "1st": a place in a queue, as people say it."""
    suffix = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{suffix}"
