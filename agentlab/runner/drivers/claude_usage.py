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


class Spent(Struct, frozen=True):
    """What one model, or all, have used of a session. cost: USD."""

    tokens: Tokens = NOTHING
    cost: float = 0.0

    def share(self, turn: Tokens) -> float:
        """USD of it that is a turn's, by its part of the tokens, weighted by price."""
        return self.cost * min(1.0, turn.weight / self.tokens.weight) if self.tokens.weight else self.cost


def session_usage(model_usage: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Spent]:
    """Of a whole session, model by model, from `modelUsage` as the CLI spells it."""
    found = {}
    for model, of in (model_usage or {}).items():
        written = int(of.get("cacheCreationInputTokens") or 0)
        read = int(of.get("cacheReadInputTokens") or 0)
        tokens = Tokens(int(of.get("inputTokens") or 0) + written, int(of.get("outputTokens") or 0), read)
        found[model] = Spent(tokens, float(of.get("costUSD") or 0.0))
    return found


def turn_cost(total: float, before: float | None, turn: Mapping[str, Tokens], session: Mapping[str, Spent]) -> float:
    """The USD of one turn, where the CLI only says what the session has cost: with what was before, where it was resumed.

    before: what it had cost when the turn began; None after a resume, when nobody here knows: then the turn's shares of what
    each model has used decide. Exact where the session, or a model's part in it, began with this turn.
    """
    if before is not None:
        return max(0.0, total - before)
    if turn and turn.keys() <= session.keys():
        return sum(session[model].share(used) for model, used in turn.items())
    everything = sum((spent.tokens for spent in session.values()), NOTHING)
    return Spent(everything, total).share(sum(turn.values(), NOTHING))


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
        self.turn: dict[str, Tokens] = {}  # by model

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
            self.turn[ended.model] = self.turn.get(ended.model, NOTHING) + ended.tokens
        return ended

    def begin_turn(self) -> None:
        self.turn = {}

    @property
    def seen(self) -> Tokens:
        """Of this turn, of all models."""
        return sum(self.turn.values(), NOTHING)
