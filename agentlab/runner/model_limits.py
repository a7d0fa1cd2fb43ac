"""When a limit of a vendor resets, by the answer that refused a request for it. Pure. Times are s since the epoch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

REFUSED: Final = frozenset({402, 429, 529})
"""Statuses of an answer that a limit is behind; others tell how much is left, which is no refusal."""

_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_UNITS: Final = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_DELAY: Final = re.compile(rb'"retryDelay"\s*:\s*"(\d+(?:\.\d+)?)s"')  # Gemini's RetryInfo
_RESETS: Final = re.compile(r"(?:anthropic-)?(?:x-)?ratelimit(?:-[a-z-]+)?-reset(?:-[a-z-]+)?")
_EPOCH: Final = 1e9  # s; a smaller number is a number of seconds from now
_LONGEST: Final = 90 * 86400.0  # s; what is farther away is misread


def resets(status: int, headers: Mapping[str, str], body: bytes, now: float) -> float | None:
    """None: it was not refused for a limit, or does not say until when. headers: with names in lower case.

    `Retry-After` says it best. Of several limits of which each says when it resets, only those of a vendor's plan
    (`unified`) or with nothing left count; where that is not told, the one that lasts longest.
    """
    if status not in REFUSED:
        return None
    if (milliseconds := _number(headers.get("retry-after-ms", ""))) is not None:
        return _sane(now + milliseconds / 1000, now)
    if after := headers.get("retry-after"):
        return _sane(_moment(after, now), now)
    if delay := _DELAY.search(body):
        return _sane(now + float(delay[1]), now)
    told = {name: value for name, value in headers.items() if _RESETS.fullmatch(name)}
    spent = {name: value for name, value in told.items() if headers.get(name.replace("-reset", "-remaining")) == "0"}
    unified = {name: value for name, value in told.items() if name == "anthropic-ratelimit-unified-reset"}
    moments = [_sane(_moment(value, now), now) for value in (unified or spent or told).values()]
    return max((moment for moment in moments if moment is not None), default=None)


def _sane(moment: float | None, now: float) -> float | None:
    return moment if moment is not None and now - 60 <= moment <= now + _LONGEST else None


def _moment(text: str, now: float) -> float | None:
    """Of seconds from now, s since the epoch, a duration such as 6m0s, or a date."""
    text = text.strip()
    if (number := _number(text)) is not None:
        return number if number >= _EPOCH else now + number
    if text and (found := _DURATION.fullmatch(text)):
        return now + sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS, strict=True) if part)
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return read(text).timestamp()
        except (ValueError, TypeError, OverflowError):
            continue
    return None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(?:\.\d+)?", text) else None
