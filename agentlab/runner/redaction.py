"""Secrets do not enter the log: their values are replaced by their names, in every string and every blob.

A value is also found as base64 (wherever in a longer text it begins), URL-encoded, and as JSON writes it. Tokens of well-known
services are found by their shape (`token_patterns`), whoever they came from.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

import msgspec
from msgspec import Struct

from . import token_patterns

SHORTEST = 6  # characters; shorter values would be found everywhere by accident

T = TypeVar("T")


class Redactor:
    def __init__(self, secrets: Mapping[str, str]) -> None:
        names: dict[str, str] = {}
        for name, value in secrets.items():
            if len(value) >= SHORTEST:
                for form in forms(value):
                    names.setdefault(form, name)
        self._marks = {form: f"[redacted:{name}]" for form, name in names.items()}
        self._byte_marks = {form.encode(): mark.encode() for form, mark in self._marks.items()}

    @cached_property
    def _text(self) -> re.Pattern[str]:
        """Made when there is something to replace: it takes as long as a start has in all, and most agents never need it."""
        return re.compile("|".join(map(re.escape, sorted(self._marks, key=len, reverse=True))))

    @cached_property
    def _bytes(self) -> re.Pattern[bytes]:
        return re.compile(b"|".join(map(re.escape, sorted(self._byte_marks, key=len, reverse=True))))

    def text(self, text: str) -> str:
        if any(form in text for form in self._marks):
            text = self._text.sub(lambda found: self._marks[found[0]], text)
        return token_patterns.text(text)

    def data(self, data: bytes) -> bytes:
        if self._any_in(data):
            data = self._bytes.sub(lambda found: self._byte_marks[found[0]], data)
        return token_patterns.data(data)

    def found_in(self, data: bytes) -> bool:
        """False: there is nothing to replace. msgpack keeps strings as they are, so this may be asked of it."""
        return self._any_in(data) or token_patterns.perhaps_in(data)

    def _any_in(self, data: bytes) -> bool:
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

    def value(self, value: T) -> T:
        """The same value, of whatever it is made, with all its strings redacted. Itself, where there is nothing to redact."""
        walked: T = self._walk(value)
        return walked

    def _walk(self, value: Any) -> Any:
        match value:
            case Enum():
                return value
            case str():
                return self.text(value)
            case bytes():
                return self.data(value)
            case Struct():
                fields = {name: getattr(value, name) for name in value.__struct_fields__}
                walked = {name: self._walk(field) for name, field in fields.items()}
                changed = {name: field for name, field in walked.items() if field is not fields[name]}
                return msgspec.structs.replace(value, **changed) if changed else value
            case Mapping():
                pairs = [(self._walk(key), self._walk(item)) for key, item in value.items()]
                return (
                    dict(pairs)
                    if any(k is not a or v is not b for (k, v), (a, b) in zip(pairs, value.items(), strict=True))
                    else value
                )
            case tuple() | list():
                items = [self._walk(item) for item in value]
                return type(value)(items) if any(a is not b for a, b in zip(items, value, strict=True)) else value
        return value


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
