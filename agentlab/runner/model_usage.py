"""How many tokens an answer of a model has used, read out of the answer as it went over the wire. Pure.

Known are Anthropic's Messages, OpenAI's Responses and Chat Completions, Gemini's generateContent, and whatever is built like
one of them; each as one JSON document and as a stream of server-sent events. A stream that broke off tells what it had
told by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

Json = dict[str, Any]

_MARK: Final = b"sage"  # in "usage" and "usageMetadata": events without it need not be read
_MODEL: Final = ("model", "modelVersion")


class Used(Struct, frozen=True):
    """Of one answer. inp: tokens that were not read from the vendor's cache. model: as the answer names it, or ""."""

    inp: int = 0
    out: int = 0
    cached: int = 0
    model: str = ""

    @property
    def total(self) -> int:
        return self.inp + self.out + self.cached

    def __add__(self, more: Used) -> Used:
        return Used(self.inp + more.inp, self.out + more.out, self.cached + more.cached, self.model or more.model)


def used(body: bytes) -> Used | None:
    """None: the answer says nothing of tokens."""
    told: Json = {}
    model = ""
    for said in _documents(body):
        for part in (said, said.get("message"), said.get("response")):
            if isinstance(part, dict):
                model = next((name for key in _MODEL if isinstance(name := part.get(key), str) and name), model)
                for key in ("usage", "usageMetadata"):
                    if isinstance(counts := part.get(key), dict):
                        told |= {name: much for name, much in counts.items() if much is not None}
    return _counted(told, model) if told else None


def _documents(body: bytes) -> Iterator[Json]:
    """The JSON objects of an answer in which tokens may be told."""
    if body.lstrip()[:1] in (b"{", b"["):
        found = _decoded(body)
        yield from (one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict))
        return
    for line in body.splitlines():
        if line.startswith(b"data:") and _MARK in line and isinstance(found := _decoded(line[5:]), dict):
            yield found


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _counted(told: Mapping[str, Any], model: str) -> Used:
    """By the names that vendors give their numbers. OpenAI and Gemini count what was cached among what went in."""
    if "promptTokenCount" in told or "candidatesTokenCount" in told:
        cached = _number(told, "cachedContentTokenCount")
        inp = _number(told, "promptTokenCount") + _number(told, "toolUsePromptTokenCount")
        out = _number(told, "candidatesTokenCount") + _number(told, "thoughtsTokenCount")
        return Used(max(0, inp - cached), out, cached, model)
    if "prompt_tokens" in told:
        cached = _number(told.get("prompt_tokens_details"), "cached_tokens")
        cached = cached or _number(told, "prompt_cache_hit_tokens")  # DeepSeek's
        return Used(max(0, _number(told, "prompt_tokens") - cached), _number(told, "completion_tokens"), cached, model)
    if isinstance(details := told.get("input_tokens_details"), dict):
        cached = _number(details, "cached_tokens")
        return Used(max(0, _number(told, "input_tokens") - cached), _number(told, "output_tokens"), cached, model)
    inp = _number(told, "input_tokens") + _number(told, "cache_creation_input_tokens")
    return Used(inp, _number(told, "output_tokens"), _number(told, "cache_read_input_tokens"), model)


def _number(counts: object, name: str) -> int:
    value = counts.get(name) if isinstance(counts, Mapping) else None
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0
