"""The buckets of a runtime's health, with the thresholds of a fresh configuration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.config import Limits
from agentlab.core.health import ORDER, Health, bucket, forgettable

LIMITS = Limits()
TIMES = st.floats(min_value=0, max_value=1e10, allow_nan=False)
SPANS = st.floats(min_value=0, max_value=1e8, allow_nan=False)


def health(silent: float, *, online: bool = True) -> Health:
    return bucket(
        online,
        1_000.0,
        1_000.0 + silent,
        offline=LIMITS.offline,
        recently_lost=LIMITS.recently_lost,
        gc_soon=LIMITS.gc_soon,
    )


@pytest.mark.parametrize(
    ("silent", "expected"),
    [
        (-5.0, "online"),  # a clock that was set back
        (0.0, "online"),
        (149.9, "online"),
        (150.0, "recently_lost"),
        (449.9, "recently_lost"),
        (450.0, "offline"),
        (150.0 + 6 * 86400 - 1, "offline"),
        (150.0 + 6 * 86400, "about_to_gc"),
        (1e9, "about_to_gc"),
    ],
)
def test_a_silent_runtime_passes_through_the_buckets(silent: float, expected: Health) -> None:
    assert health(silent) == expected


def test_a_runtime_that_said_goodbye_is_lost_at_once() -> None:
    assert health(0.0, online=False) == "recently_lost"


def test_a_runtime_is_forgotten_after_a_week_offline() -> None:
    def gone(silent: float) -> bool:
        return forgettable(0.0, silent, offline=LIMITS.offline, gc=LIMITS.gc)

    assert not gone(150 + 7 * 86400 - 1)
    assert gone(150 + 7 * 86400)


@given(online=st.booleans(), seen=TIMES, now=TIMES, later=SPANS, offline=SPANS, lost=SPANS, soon=SPANS)
def test_time_alone_never_makes_a_runtime_healthier(
    online: bool, seen: float, now: float, later: float, offline: float, lost: float, soon: float
) -> None:
    def at(moment: float) -> int:
        return ORDER.index(bucket(online, seen, moment, offline=offline, recently_lost=lost, gc_soon=soon))

    assert at(now) <= at(now + later)


@given(online=st.booleans(), seen=TIMES, now=TIMES, gc=SPANS)
def test_what_may_be_forgotten_is_not_online_and_stays_forgettable(
    online: bool, seen: float, now: float, gc: float
) -> None:
    if forgettable(seen, now, offline=150.0, gc=gc):
        assert bucket(online, seen, now, offline=150.0, recently_lost=300.0, gc_soon=gc) != "online"
        assert forgettable(seen, now + 1, offline=150.0, gc=gc)


@given(seen=TIMES, now=TIMES)
def test_a_goodbye_never_makes_a_runtime_healthier(seen: float, now: float) -> None:
    def at(online: bool) -> int:
        return ORDER.index(bucket(online, seen, now, offline=150.0, recently_lost=300.0, gc_soon=5e5))

    assert at(True) <= at(False)
