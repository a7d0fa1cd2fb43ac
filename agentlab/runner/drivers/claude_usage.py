"""Tokens and money of a Claude session, from what it reports piecemeal. Pure.

tokens in: of the prompt, but for those read from the cache; those written to it included. cached: read from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from msgspec import Struct


class Tokens(Struct, frozen=True):
    inp: int = 0
    out: int = 0
    cached: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.inp + other.inp, self.out + other.out, self.cached + other.cached)

    def max(self, other: Tokens) -> Tokens:
        return Tokens(max(self.inp, other.inp), max(self.out, other.out), max(self.cached, other.cached))

    @property
    def weight(self) -> float:
        """Relative price: Claude models charge output five times, and cache reads a tenth, of what input costs."""
        return self.inp + 5 * self.out + self.cached / 10


NOTHING = Tokens()


def tokens(usage: Mapping[str, Any] | None) -> Tokens:
    """Of a `usage` object as the API spells it."""
    usage = usage or {}

    def count(name: str) -> int:
        return int(usage.get(name) or 0)

    written = count("cache_creation_input_tokens")
    return Tokens(count("input_tokens") + written, count("output_tokens"), count("cache_read_input_tokens"))


def session_tokens(model_usage: Mapping[str, Mapping[str, Any]] | None) -> Tokens:
    """Of a whole session, from `modelUsage` as the CLI spells it."""
    total = NOTHING
    for of in (model_usage or {}).values():
        written = int(of.get("cacheCreationInputTokens") or 0)
        read = int(of.get("cacheReadInputTokens") or 0)
        total += Tokens(int(of.get("inputTokens") or 0) + written, int(of.get("outputTokens") or 0), read)
    return total


def turn_cost(total: float, before: float | None, turn: Tokens, session: Tokens) -> float:
    """The USD of one turn, where the CLI only says what the session has cost.

    before: what it had cost when the turn began; None after a resume, when nobody here knows: then the turn's share of the
    session's tokens decides, weighted by price. Exact where the session began with this turn.
    """
    if before is not None:
        return max(0.0, total - before)
    return total * min(1.0, turn.weight / session.weight) if session.weight else total


@dataclass(frozen=True)
class ModelAnswer:
    """One answer of the model, as far as it has come in."""

    id: str
    model: str = ""
    tokens: Tokens = NOTHING
    stop: str = ""
    began: int = 0  # ns, monotonic


class Meter:
    """Puts together what the stream says of one answer, in several pieces and more than once."""

    def __init__(self) -> None:
        self._open: ModelAnswer | None = None
        self.turn = NOTHING

    def see(
        self, id: str, usage: Mapping[str, Any] | None, *, now: int, model: str = "", stop: str = ""
    ) -> ModelAnswer | None:
        """Take note of a piece. Returns the answer before, where this piece begins another one."""
        ended = self.close() if self._open and self._open.id != id else None
        answer = self._open or ModelAnswer(id, began=now)
        self._open = replace(
            answer,
            model=model or answer.model,
            tokens=answer.tokens.max(tokens(usage)),
            stop=stop or answer.stop,
        )
        return ended

    @property
    def current(self) -> str | None:
        """The id of the answer that is coming in."""
        return self._open.id if self._open else None

    def close(self) -> ModelAnswer | None:
        """The answer has ended: it, with the largest numbers ever said of it."""
        ended, self._open = self._open, None
        if ended:
            self.turn += ended.tokens
        return ended

    def begin_turn(self) -> None:
        self.turn = NOTHING
