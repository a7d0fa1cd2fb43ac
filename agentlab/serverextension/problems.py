"""What went wrong, in the shape of the plane's own errors, and what to do next."""

from __future__ import annotations

from typing import Any, Final

from agentlab.errors import (
    AgentlabError,
    AgentTimeout,
    BadRequest,
    OutcomeUnknown,
    PlaneUnavailable,
    Unavailable,
    VersionMismatch,
)
from agentlab.plane.routes import status_of

_NEXT: Final[tuple[tuple[type[AgentlabError], str], ...]] = (
    (PlaneUnavailable, "It is tried again by itself. `agentlab doctor`, in a terminal, says what is wrong."),
    (
        VersionMismatch,
        "Install one version of agentlab everywhere, then `agentlab daemon stop`: agents go on meanwhile.",
    ),
    (OutcomeUnknown, "Look whether it was done before you ask again."),
    (AgentTimeout, "Ask again later; nothing is stopped by this."),
    (Unavailable, "Try again in a moment."),
)


class TooLarge(BadRequest):
    """More than this server takes."""


def problem(error: AgentlabError) -> dict[str, str]:
    """{code, message, next}."""
    said = error.data.get("next") or next((text for kind, text in _NEXT if isinstance(error, kind)), "")
    return {"code": error.code, "message": str(error), "next": str(said)}


def answer(error: AgentlabError) -> tuple[int, dict[str, Any]]:
    """(HTTP status, body)."""
    data = {name: value for name, value in error.data.items() if name != "next"}
    status = 413 if isinstance(error, TooLarge) else status_of(error)
    return status, {**problem(error), "data": data}
