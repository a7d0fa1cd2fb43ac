"""What was used up: tokens `in`, `out` and `cached`, and `cost` in USD. What nobody told has no entry: that is not 0.

A `Usage` is never changed in place: events, rows and copies of the state share it.
"""

from __future__ import annotations

import math

from .events import Event

Usage = dict[str, float]


def of_call(event: Event) -> Usage:
    """What one model call took."""
    columns = {"in": event.tok_in, "out": event.tok_out, "cached": event.tok_cache, "cost": event.cost}
    return counted({name: much for name, much in columns.items() if much is not None})


def counted(told: Usage) -> Usage:
    """Without what is no amount. A log cannot hold those either."""
    return {name: much for name, much in told.items() if 0 <= much < math.inf}


def plus(one: Usage, other: Usage) -> Usage:
    return {name: one.get(name, 0) + other.get(name, 0) for name in one | other}


def more(one: Usage, other: Usage) -> Usage:
    """Of each the larger: of two accounts of the same, by the model calls that were seen and by the turns that were closed."""
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in one | other}


def beyond(now: Usage, before: Usage) -> Usage:
    """What has come to it since."""
    return {name: much - before.get(name, 0) for name, much in now.items()}
