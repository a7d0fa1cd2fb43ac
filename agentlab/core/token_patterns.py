"""Secrets that are known by their shape alone: the tokens of well-known services, private keys, JSON web tokens.

Only shapes that hardly anything else has: what is taken for a secret is lost to the log. A pattern begins with its literal and
looks back only behind it: that keeps looking through large contents quick. None of them can take more than linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_WORD = r"A-Za-z0-9_-"

TABLE: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "anthropic-key": (("sk-ant-",), rf"sk-ant-(?<![A-Za-z0-9]sk-ant-)[{_WORD}]{{20,}}"),
    "openrouter-key": (("sk-or-v1-",), r"sk-or-v1-(?<![A-Za-z0-9]sk-or-v1-)[0-9a-f]{32,}"),
    # the names of style sheets begin like keys of OpenAI's, but have no capitals and digits both
    "openai-key": (
        ("sk-",),
        rf"sk-(?<![A-Za-z0-9]sk-)(?=[{_WORD}]{{0,99}}[0-9])(?=[{_WORD}]{{0,99}}[A-Z])[{_WORD}]{{20,}}",
    ),
    "github-token": (
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        r"g(?<![A-Za-z0-9]g)(?:h[pousr]_[A-Za-z0-9]{36,}|ithub_pat_[A-Za-z0-9_]{22,})",
    ),
    "gitlab-token": (("glpat-",), rf"glpat-(?<![A-Za-z0-9]glpat-)[{_WORD}]{{20,}}"),
    "google-key": (("AIza",), rf"AIza(?<![A-Za-z0-9]AIza)[{_WORD}]{{35}}(?![{_WORD}])"),
    "aws-key": (("AKIA", "ASIA"), r"A(?:KIA|SIA)(?<![A-Za-z0-9]A[KS]IA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    "slack-token": (("xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-"), r"xox(?<![A-Za-z0-9]xox)[abprs]-[A-Za-z0-9-]{10,}"),
    "huggingface-token": (("hf_",), r"hf_(?<![A-Za-z0-9]hf_)[A-Za-z0-9]{34,}"),
    "npm-token": (("npm_",), r"npm_(?<![A-Za-z0-9]npm_)[A-Za-z0-9]{36,}"),
    "pypi-token": (("pypi-AgE",), rf"pypi-AgE[{_WORD}]{{40,}}"),
    "jwt": (
        ("eyJ",),
        rf"eyJ(?<![{_WORD}]eyJ)[{_WORD}]{{10,}}\.eyJ[{_WORD}]{{10,}}\.[{_WORD}]{{10,}}",
    ),
    "private-key": (
        ("-----BEGIN ",),
        r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----END )[A-Za-z0-9+/=\s\\,:.-]){64,}"
        r"(?:-----END (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----)?",
    ),
}
"""By name: the literals of which a text must have one, and the pattern."""

LONGEST: Final = 16 * 1024
"""Characters of a token, or of a private key, as far as one is waited for that has only begun."""

NEEDLES: Final = tuple(needle for needles, _ in TABLE.values() for needle in needles)

_TEXT: Final = [(name, needles, re.compile(pattern, re.ASCII)) for name, (needles, pattern) in TABLE.items()]
_BYTES: Final = [
    (name, tuple(needle.encode() for needle in needles), re.compile(pattern.encode()))
    for name, (needles, pattern) in TABLE.items()
]
_BYTE_NEEDLES: Final = tuple(needle.encode() for needle in NEEDLES)
_RUN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
_KEY_BEGUN = re.compile(
    rb"-----BEGIN [A-Z0-9 ]{0,80}(?:\Z|-{1,4}\Z|PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\s\\,:.-]*\Z)"
)
_KEY_ENDED = re.compile(rb"-----END [A-Z0-9 ]{1,80}-----")


def mark(name: str, found: str = "") -> str:
    return f"[redacted:{name}]"


def text(value: str, mark: Callable[[str, str], str] = mark) -> str:
    for name, needles, pattern in _TEXT:
        if any(needle in value for needle in needles):
            value = pattern.sub(_marked(name, mark), value)
    return value


def _marked(name: str, mark: Callable[[str, str], str]) -> Callable[[re.Match[str]], str]:
    return lambda found: mark(name, found[0])


def data(value: bytes) -> bytes:
    for name, needles, pattern in _BYTES:
        if any(needle in value for needle in needles):
            value = pattern.sub(mark(name).encode(), value)
    return value


def perhaps_in(value: bytes) -> bool:
    """False: there is surely none."""
    return any(needle in value for needle in _BYTE_NEEDLES)


def begun(value: bytes) -> int:
    """Where a token begins that may go on after the end of `value`; its length where none does."""
    tail = value[-LONGEST:]
    offset = len(value) - len(tail)
    key = tail.rfind(b"-----BEGIN ")
    if key >= 0 and _KEY_BEGUN.match(tail, key):
        ended = _KEY_ENDED.search(tail, key)
        if ended is None:
            return offset + key
        if ended.end() == len(tail):
            return len(value)
    start = len(tail.rstrip(_RUN))
    starts = [found for needle in _BYTE_NEEDLES if (found := tail.find(needle, start)) >= 0]
    starts += [
        len(tail) - size for needle in _BYTE_NEEDLES for size in range(1, len(needle)) if tail.endswith(needle[:size])
    ]
    return offset + min(starts, default=len(tail))
