"""Texts for people, made of texts by agents: what a terminal or a browser could obey is shown, not done."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|[ -/]*[0-~])")
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, all but tab and newline
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # direction, zero width, separators
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: object) -> str:
    """The text without terminal sequences, and with every other control, direction or invisible character written out."""
    plain = _ANSI.sub("", str(text).replace("\r\n", "\n"))
    return _UNSEEN.sub(lambda found: _written_out(found[0]), plain)


def _written_out(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def line(text: object, limit: int = 120) -> str:
    """One visible line of at most `limit` characters."""
    short = " ".join(visible(str(text)[: limit * 8]).split())
    return short if len(short) <= limit else short[: limit - 1] + "…"


def iso(ns: int | None) -> str | None:
    """Nanoseconds since the epoch as UTC, to the last digit: 2026-01-02T03:04:05.000000006Z."""
    if ns is None:
        return None
    seconds, rest = divmod(int(ns), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def span(seconds: float) -> str:
    """A duration as people say it: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
