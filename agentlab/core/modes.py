"""The lock modes and how they get along (Gray, Lorie, Putzolu, Traiger 1976: granularity of locks)."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """Ownership of a unit. The intention modes stand on a unit's ancestors and are never asked for."""

    __hash__ = str.__hash__  # an Enum's own is written in Python, and modes are looked up at every claim

    INTENT_SHARED = "IS"
    INTENT_EXCLUSIVE = "IX"
    SHARED = "S"
    SHARED_INTENT_EXCLUSIVE = "SIX"
    EXCLUSIVE = "X"


IS, IX, S, SIX, X = range(5)

INDEX = {
    Mode.INTENT_SHARED: IS,
    Mode.INTENT_EXCLUSIVE: IX,
    Mode.SHARED: S,
    Mode.SHARED_INTENT_EXCLUSIVE: SIX,
    Mode.EXCLUSIVE: X,
}

CONFLICTS: tuple[tuple[int, ...], ...] = (
    (X,),  # IS
    (S, SIX, X),  # IX
    (IX, SIX, X),  # S
    (IX, S, SIX, X),  # SIX
    (IS, IX, S, SIX, X),  # X
)

ABOVE: tuple[int, ...] = (IS, IX, IS, IX, IX)
"""The intention that a mode on a unit puts on its ancestors."""

_LEVELS = {IS: {IS}, IX: {IS, IX}, S: {IS, S}, SIX: {IS, IX, S, SIX}, X: {IS, IX, S, SIX, X}}


def includes(a: int, b: int) -> bool:
    """Whether owning a node in mode `a` is at least owning it in `b`."""
    return b in _LEVELS[a]


def join(a: int, b: int) -> int:
    """The weakest mode that is at least both: S and IX make SIX."""
    if includes(a, b):
        return a
    if includes(b, a):
        return b
    return SIX


ASKABLE = {"shared": Mode.SHARED, "exclusive": Mode.EXCLUSIVE, "shared_exclusive": Mode.SHARED_INTENT_EXCLUSIVE}
"""The modes by the names that people use."""


def parse(mode: str) -> Mode:
    """A mode from "shared", "exclusive", "S", "X" or "SIX". Raises ValueError, naming them."""
    if mode in ASKABLE:
        return ASKABLE[mode]
    try:
        found = Mode(mode)
    except ValueError:
        found = None
    if found in ASKABLE.values() and found is not None:
        return found
    raise ValueError(f"{mode!r} is no lock mode. Choose one of {', '.join(ASKABLE)} (or S, X, SIX).")
