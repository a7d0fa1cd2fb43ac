"""Secrets do not enter the log: a mark with their name stands for their values, in every string and every blob.

A value is also found as base64 (wherever in a longer text it begins), URL-encoded, and as JSON writes it. Tokens of well-known
services are found by their shape (`token_patterns`), whoever they came from.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

import msgspec
from msgspec import Struct

from . import token_patterns
from .token_patterns import mark as mark

SHORTEST = 6  # characters; shorter values would be found everywhere by accident

MARK = re.compile(r"\[redacted:[^\]\[]+\]")

Mark = Callable[[str, str], str]
"""What is written instead of a secret, by its name and what was found."""

T = TypeVar("T")


class Redactor:
    """Of the secrets of one or more owners. Where two have a value in common, the name that comes first counts."""

    def __init__(self, *secrets: Mapping[str, str]) -> None:
        self._names: dict[str, str] = {}
        for owned in secrets:
            for name, value in owned.items():
                if len(value) >= SHORTEST:
                    for form in forms(value):
                        self._names.setdefault(form, name)
        self._byte_marks = {form.encode(): mark(name).encode() for form, name in self._names.items()}

    @cached_property
    def _text(self) -> re.Pattern[str]:
        """Made when there is something to replace: it takes as long as a start has in all, and most agents never need it."""
        return re.compile("|".join(map(re.escape, sorted(self._names, key=len, reverse=True))))

    @cached_property
    def _bytes(self) -> re.Pattern[bytes]:
        return re.compile(b"|".join(map(re.escape, sorted(self._byte_marks, key=len, reverse=True))))

    def text(self, text: str, mark: Mark = mark) -> str:
        if any(form in text for form in self._names):
            text = self._text.sub(lambda found: mark(self._names[found[0]], found[0]), text)
        return token_patterns.text(text, mark)

    def data(self, data: bytes) -> bytes:
        if self.knows_of(data):
            data = self._bytes.sub(lambda found: self._byte_marks[found[0]], data)
        return token_patterns.data(data)

    def found_in(self, data: bytes) -> bool:
        """False: there is nothing to replace. msgpack keeps strings as they are, so this may be asked of it."""
        return self.knows_of(data) or token_patterns.perhaps_in(data)

    def knows_of(self, data: bytes) -> bool:
        """Whether the value of a secret is in it, in any of its spellings. Tokens that are known by shape alone do not count."""
        return any(form in data for form in self._byte_marks)

    def settled(self, data: bytes) -> int:
        """How many bytes of a stream's piece can be recorded now: a secret may begin in the rest, and go on in the next piece."""
        end = token_patterns.begun(data)
        for form in self._byte_marks:
            start = max(len(data) - len(form) + 1, 0)
            while 0 <= (start := data.find(form[:1], start)) < end:
                if form.startswith(data[start:]):
                    end = start
                start += 1
        return end

    def value(self, value: T, mark: Mark = mark) -> T:
        """The same value, of whatever it is made, with all its strings redacted. Itself, where there is nothing to redact."""
        return rewritten(value, lambda text: self.text(text, mark), self.data)


def rewritten(value: T, text: Callable[[str], str], data: Callable[[bytes], bytes] = lambda data: data) -> T:
    """The same value with each of its strings (keys too) and bytes rewritten. Itself, where nothing changes."""

    def walk(value: Any) -> Any:
        match value:
            case Enum():
                return value
            case str():
                return text(value)
            case bytes():
                return data(value)
            case Struct():
                fields = {name: getattr(value, name) for name in value.__struct_fields__}
                walked = {name: walk(field) for name, field in fields.items()}
                changed = {name: field for name, field in walked.items() if field is not fields[name]}
                return msgspec.structs.replace(value, **changed) if changed else value
            case Mapping():
                pairs = [(walk(key), walk(item)) for key, item in value.items()]
                kept = all(k is a and v is b for (k, v), (a, b) in zip(pairs, value.items(), strict=True))
                return value if kept else dict(pairs)
            case tuple() | list():
                items = [walk(item) for item in value]
                return value if all(a is b for a, b in zip(items, value, strict=True)) else type(value)(items)
        return value

    walked: T = walk(value)
    return walked


def forms(value: str) -> Iterator[str]:
    """How a secret may be spelled in a log."""
    yield value
    yield from {quote(value, safe=""), quote(value), quote_plus(value)} - {value}
    for ascii_only in (True, False):
        if (escaped := json.dumps(value, ensure_ascii=ascii_only)[1:-1]) != value:
            yield escaped
    data = value.encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            if len(core := _base64_core(encode(bytes(before) + data).decode(), before, len(data))) >= SHORTEST:
                yield core


def _base64_core(text: str, before: int, size: int) -> str:
    """The characters that depend on the secret alone, when `before` bytes of others stand in front of it."""
    first = -(-before * 8 // 6)  # the first character without a bit of what is in front
    last = (before + size) * 8 // 6  # the first one with a bit of what comes after
    return text[first:last]
