"""The stories of the core, one by one; and long random scripts against the oracle."""

from __future__ import annotations

import pytest
from scenarios import SCENARIOS, Scenario, random_duel


@pytest.mark.parametrize("story", SCENARIOS, ids=lambda story: story.__name__)
def test_it_is_so_that(story: Scenario) -> None:
    story()


@pytest.mark.parametrize("seed", range(8))
def test_a_long_random_script_agrees_with_the_oracle(seed: int) -> None:
    happened = {event.type for event in random_duel(1_000 + seed, 400).log}
    assert {"lock.request", "lock.grant", "lock.release", "lock.expire", "lock.deny"} <= happened
