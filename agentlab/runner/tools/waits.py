"""Who hears that a tool call waits in a queue: whoever made the call, wherever below it the wait is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from agentlab.core.commands import Queued

Listener = Callable[[Queued], None]

_listener: ContextVar[Listener | None] = ContextVar("waits", default=None)


@contextmanager
def told_to(listener: Listener | None) -> Iterator[None]:
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def listener() -> Listener | None:
    """What to give to `Gate.claim` as `queued`."""
    return _listener.get()
