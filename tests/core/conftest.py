from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci", deadline=None, print_blob=True, max_examples=60, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
)  # fmt: skip
settings.load_profile("ci")
