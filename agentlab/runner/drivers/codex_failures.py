"""Why a turn of Codex failed, in our classes. Pure."""

from __future__ import annotations

from . import codex_setup as setup
from .failures import Failure, classify, of_reason
from .jsonrpc import Params

_REASONS = {
    "contextWindowExceeded": "context_overflow",
    "sessionBudgetExceeded": "limit",
    "usageLimitExceeded": "quota",
    "rateLimitExceeded": "rate_limit",
    "serverOverloaded": "server",
    "internalServerError": "server",
    "modelNotFound": "model_not_found",
    "unauthorized": "auth",
    "badRequest": "invalid_request",
    "httpConnectionFailed": "network",
    "responseStreamConnectionFailed": "network",
    "responseStreamDisconnected": "network",
}
"""Codex's own classes of failure -> ours."""


def failure_of(error: Params | None) -> tuple[str, Failure]:
    """What a failed turn says of itself: by Codex's own class, else by its words."""
    error = error or {}
    said = str(error.get("message") or "The turn failed, and Codex did not say why.")
    if details := error.get("additionalDetails"):
        said += f" {details}"
    info = error.get("codexErrorInfo")
    name, status = "", None
    if isinstance(info, str):
        name = info
    elif isinstance(info, dict) and info:
        name, facts = next(iter(info.items()))
        status = facts.get("httpStatusCode") if isinstance(facts, dict) else None
    failure = classify(said, status=status, login=setup.LOGIN)
    if failure.reason == "unknown" and name in _REASONS:
        failure = of_reason(_REASONS[name], setup.LOGIN)
    return said, failure
