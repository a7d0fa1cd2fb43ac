"""`dhash`: the hash of what must be equal when a run is done again.

Left out, by a versioned list: time, duration, tokens of the log (ids, tickets, fencing tokens), pids, places,
and whatever a body names in its `NONDET`. Everything else counts. Agents are named within their run (`a`, not `r1/a`):
the same run done again has another id.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from typing import Any

import msgspec

from .events import Body, Event

VERSION = 1

_encoder = msgspec.json.Encoder(order="deterministic")


@cache
def fields_of(body: type[Body]) -> tuple[str, ...]:
    """The fields of a body that count."""
    return tuple(f for f in body.__struct_fields__ if f not in body.NONDET)


def projection(event: Event) -> tuple[Any, ...]:
    """The deterministic part of an event, as values that JSON can hold."""
    body, prefix = event.body, f"{event.run_id}/"
    local = [v.removeprefix(prefix) if type(v := getattr(body, f)) is str else v for f in fields_of(type(body))]
    return (VERSION, event.type, event.actor, event.name, event.unit, event.status, local)


def dhash(event: Event) -> str:
    """16 hex digits of the sha256 of the projection."""
    return sha256(_encoder.encode(projection(event))).hexdigest()[:16]
