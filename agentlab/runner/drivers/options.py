"""The options of an agent, as its kind has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct, ValidationError, convert

from agentlab.core.events import JSON
from agentlab.errors import BadRequest

Chosen = TypeVar("Chosen", bound=Struct)


def read_options(type: type[Chosen], given: Mapping[str, JSON], kind: str) -> Chosen:
    """Raises BadRequest, naming the options there are."""
    try:
        return convert(dict(given), type, strict=False)
    except ValidationError as error:
        known = ", ".join(type.__struct_fields__)
        raise BadRequest(f"Options of a {kind} agent: {error}. There are: {known}.") from None
