"""Whether an event is one that somebody looks for, by a part of its unit or of its text.

The run console asks the same of the same events in `labextension/src/console/matches.ts`; what both must find is in
`labextension/tests/console/filters.json`.

unit   in a work unit of the event, or the path of a file
text   in its type, its name or its status, or in its body: in a text, a whole number, or a key that is not one of the body's own

What is looked for stands there letter for letter (nothing is a wildcard), whatever the case and however Unicode spells it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from unicodedata import normalize

import msgspec
from msgspec import Struct

from agentlab.core.events import JSON, decode_payload

SAFE = 2**53 - 1  # beyond it a browser has another number


class Found(Struct, frozen=True):
    """What is looked at of an event: columns of the log, and the payload as a whole."""

    type: str
    name: str | None
    unit: str | None
    status: str | None
    payload: str


class Search:
    """What is looked for. Both empty: everything."""

    def __init__(self, unit: str = "", text: str = "") -> None:
        self._unit, self._text = _folded(unit), _folded(text)

    def __bool__(self) -> bool:
        return bool(self._unit or self._text)

    def matches(self, event: Found) -> bool:
        """Raises msgspec.DecodeError: its payload is no JSON."""
        body = msgspec.to_builtins(decode_payload(event.payload, event.type))
        return _in(self._unit, _units(event, body)) and _in(self._text, _texts(event, body))


def _in(wanted: str, texts: Iterable[str]) -> bool:
    return not wanted or any(wanted in _folded(text) for text in texts)


def _folded(text: str) -> str:
    return normalize("NFC", text).lower().replace("ς", "σ")  # lower() ends words in another sigma


def _units(event: Found, body: dict[str, JSON]) -> Iterator[str]:
    """Paths of requests to a model are none of files."""
    names = ("path", "to") if body["type"].startswith("file.") or body["type"] == "artifact" else ()
    yield from _strings([event.unit, body.get("units"), *map(body.get, names)])


def _strings(values: Iterable[JSON]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (each for each in value if isinstance(each, str))


def _texts(event: Found, body: dict[str, JSON]) -> Iterator[str]:
    left: list[JSON] = [event.name, event.status, *body.values()]
    while left:  # no recursion: agents may nest as deep as they like
        match left.pop():
            case str() as text:
                yield text
            case bool():
                pass
            case int() | float() as number:
                if abs(number) <= SAFE and number == int(number):
                    yield str(int(number))
            case list() | tuple() as items:
                left.extend(items)
            case dict() as items:
                left.extend((*items, *items.values()))
