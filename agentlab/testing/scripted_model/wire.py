"""What a wire format has to be able to do, and what the four have in common."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .script import Body, Conversation, Reply


@dataclass(frozen=True)
class Ids:
    """Ids of answers and calls: counted per server, so that two equal sequences of requests get equal ids."""

    _count: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __call__(self, prefix: str) -> str:
        return f"{prefix}_{next(self._count):06d}"


@dataclass(frozen=True)
class Wire:
    """One vendor's format. `frames`: an answer as the server-sent events of its stream, at least two."""

    read: Callable[[Body], Conversation]
    answer: Callable[[Conversation, Reply, Ids], Body]
    frames: Callable[[Body], Iterator[str]]
    error: Callable[[int, str], Body]


def text_of(content: str | list[Body] | None) -> str:
    """The text of a message whose content is a string or a list of parts."""
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", "")) for part in content or [])


def typed(name: str, data: Body, number: int) -> str:
    """A server-sent event with a name, repeated in its data."""
    return f"event: {name}\ndata: {json.dumps({'type': name, 'sequence_number': number, **data})}\n\n"


def plain(data: Body) -> str:
    return f"data: {json.dumps(data)}\n\n"
