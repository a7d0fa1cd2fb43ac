"""When limits reset, in the ways in which vendors say it."""

from __future__ import annotations

import pytest

from agentlab.runner.model_limits import resets

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


@pytest.mark.parametrize(
    ("headers", "body", "after"),
    [
        ({"retry-after": "30"}, b"", 30),
        ({"retry-after": "Fri, 15 Jan 2027 08:01:00 GMT"}, b"", 60),
        ({"retry-after-ms": "1500", "retry-after": "2"}, b"", 1.5),
        ({"anthropic-ratelimit-unified-reset": "1800003600", "anthropic-ratelimit-tokens-reset": "x"}, b"", 3600),
        ({"anthropic-ratelimit-requests-reset": "2027-01-15T08:00:20Z"}, b"", 20),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-reset-tokens": "120ms"}, b"", 360),
        (
            {
                "x-ratelimit-reset-requests": "6m0s",
                "x-ratelimit-reset-tokens": "2s",
                "x-ratelimit-remaining-tokens": "0",
            },
            b"",
            2,
        ),
        ({"x-ratelimit-reset": "1800000010"}, b"", 10),
        ({}, b'{"error": {"details": [{"@type": "RetryInfo", "retryDelay": "34.5s"}]}}', 34.5),
    ],
)
def test_the_moment_is_found(headers: dict[str, str], body: bytes, after: float) -> None:
    assert resets(429, headers, body, NOW) == pytest.approx(NOW + after)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"retry-after": "30"}),
        (401, {"retry-after": "30"}),
        (429, {}),
        (429, {"retry-after": "soon"}),
        (429, {"retry-after": ""}),
        (429, {"retry-after": "99999999"}),
        (429, {"x-ratelimit-limit-requests": "60"}),
    ],
)
def test_where_nothing_sensible_is_said_nothing_is_known(status: int, headers: dict[str, str]) -> None:
    assert resets(status, headers, b"", NOW) is None
