"""Why an agent's turn failed, and what to do about it: one ordered table over what vendors say. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """reason: a class that programs can branch on. advice: what to do next, for people."""

    reason: str
    advice: str = ""
    retry: bool = False  # the same prompt may work in a while, with nothing changed


@dataclass(frozen=True)
class _Row:
    reason: str
    advice: str
    statuses: frozenset[int]
    words: re.Pattern[str]
    retry: bool = False


def _row(reason: str, words: str, statuses: tuple[int, ...], advice: str, *, retry: bool = False) -> _Row:
    return _Row(reason, advice, frozenset(statuses), re.compile(words, re.IGNORECASE), retry)


# The first row that fits decides. Words stand before the bare status of a later row: vendors send an exhausted quota
# as 400 or 429, and a prompt that is too long as 400.
_TABLE = (
    _row(
        "resume_rejected",
        r"no conversation found|session .{0,60}(not found|does not exist)|bound to another account",
        (),
        "The vendor does not have this session here any more. Spawn without resume.",
    ),
    _row(
        "context_overflow",
        r"prompt is too long|prompt_too_long|context (length|window|limit)|maximum context|request too large|exceeds? .{0,40}context"
        r"|exceeds the maximum length",
        (413,),
        "The conversation no longer fits the model. Start a new session with a shorter task, or a model with a larger context.",
    ),
    _row(
        "quota",
        r"credit balance|insufficient (credit|quota|funds)|billing|(?<!disk )quota|(usage|session|weekly|spend(ing)?) limit|out of credits",
        (402,),
        "The account has nothing left to spend. Wait for its limit to reset, or use another account or key.",
    ),
    _row(
        "auth",
        r"not logged in|authenticat|unauthori[sz]ed|invalid (x-)?api[ -]key|(token|login) (has )?expired|please run /login|permission_error",
        (401, 403),
        "The login or key is missing or was refused: {login}.",
    ),
    _row(
        "rate_limit",
        r"rate.?limit|too many requests|request rejected \(429\)",
        (429,),
        "Too many requests at once. Try again in a while, or run fewer agents.",
        retry=True,
    ),
    _row(
        "model_not_found",
        r"model.{0,80}(not found|not exist|not available|no access|unknown|not have access)|model_not_found",
        (404,),
        "Name a model that this account can use (option model).",
    ),
    _row(
        "limit",
        r"error_max_turns|error_max_budget|max(imum)? (number of )?turns|max(imum)? budget",
        (),
        "The agent used up its own limit. Raise max_turns or max_cost, or send it on with another prompt.",
    ),
    _row(
        "server",
        r"overloaded|internal server error|bad gateway|service unavailable|api error: 5\d\d",
        (500, 502, 503, 504, 520, 521, 522, 523, 524, 529),
        "The vendor's side failed. Try again in a while.",
        retry=True,
    ),
    _row(
        "network",
        r"econn|enotfound|eai_again|connection (refused|reset|error|closed)|getaddrinfo|fetch failed|socket hang up"
        r"|\bnetwork\b|\bdns\b|certificate|unable to connect",
        (),
        "The model could not be reached. Check the network, the proxy and the base URL.",
        retry=True,
    ),
    _row(
        "timeout",
        r"timed? ?out|deadline exceeded|etimedout",
        (408,),
        "It took too long. Try again, or with a smaller task.",
        retry=True,
    ),
    _row(
        "invalid_request",
        r"invalid_request|api error: 4\d\d",
        (400, 405, 409, 415, 422),
        "The vendor refused the request as malformed: is this version of the agent's program too old or too new for the model?",
    ),
)


_LAST_WORDS = (
    ("resume_rejected", r"no conversation found with session"),
    ("quota", r"credit balance is too low|insufficient_quota|(hit|reached) your (usage|session|weekly) limit"),
    ("auth", r"not logged in|please run /login|authentication_error|invalid x-api-key|incorrect api key provided"
     r"|please set an auth method|oauth token has expired|api error: 40[13]\b"),
    ("rate_limit", r"rate_limit_error|rate_limit_exceeded|request rejected \(429\)|api error: 429\b"),
    ("model_not_found", r"model_not_found|issue with the selected model"),
    ("context_overflow", r"prompt is too long: \d|context_length_exceeded"),
    ("limit", r"error_max_turns|error_max_budget"),
    ("server", r"overloaded_error|api error: 5\d\d\b"),
    ("network", r"unable to connect to api\b|api error: connection"),
    ("timeout", r"control request timeout"),
)  # fmt: skip
"""What vendors' programs say of themselves in words that nothing else uses. The last lines of a program that died may be
those of a command of its agent, or of any library: "quota" and "connection refused" mean nothing there."""

_DYING = tuple((reason, re.compile(words, re.IGNORECASE)) for reason, words in _LAST_WORDS)


_ENDED = "The agent's program is gone. Its last lines, in its logs, may say why; resume goes on from there."
_UNBEGUN = "Its last lines, in its logs, may say why. Does it run by itself in a terminal?"


def of_reason(reason: str, login: str = "log in again") -> Failure:
    """A failure whose class the vendor names itself."""
    for row in _TABLE:
        if row.reason == reason:
            return Failure(reason, row.advice.format(login=login), row.retry)
    return Failure(reason)


def classify(text: str, *, status: int | None = None, login: str = "log in again") -> Failure:
    """The class of a failure that an agent tells.

    text: all that is known about it. status: of the HTTP request that failed. login: how one logs in with this kind of
    agent, for the advice.
    """
    for row in _TABLE:
        if status in row.statuses or row.words.search(text):
            return Failure(row.reason, row.advice.format(login=login), row.retry)
    return Failure("unknown", "The text above is all that the agent said.")


def of_death(last_lines: str, *, status: int | None = None, login: str = "log in again") -> Failure:
    """The class of the end of an agent's program, by its last lines. status: of HTTP, where the vendor told one with it."""
    if status is not None and (failure := classify(last_lines, status=status, login=login)).reason != "unknown":
        return failure
    for reason, words in _DYING:
        if words.search(last_lines):
            return of_reason(reason, login)
    return Failure("process", _ENDED)


def of_start(last_lines: str, *, login: str = "log in again") -> Failure:
    """The same of a program that ended before it had begun: there is nothing to go on from."""
    failure = of_death(last_lines, login=login)
    return Failure("process", _UNBEGUN) if failure.reason == "process" else failure
