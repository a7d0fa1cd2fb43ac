"""Script agents keep the promises of all drivers that a list of steps can keep."""

from __future__ import annotations

import json
from typing import Any

from agentlab.core.events import JSON, ToolResult
from agentlab.testing.driver_suite import DriverBench, DriverSuite, Step


class TestScript(DriverSuite):
    kind = "script"
    goes_on = False
    lives = "never"
    session = False
    counts = False

    def task(self, *steps: Step) -> JSON:
        return [part for step in steps for part in _parts(step)]

    def heard(self, bench: DriverBench, number: int) -> str:
        results = [e.body for e in bench.gate.entries if isinstance(e.body, ToolResult)]
        return json.dumps(results[number].output)


def _parts(step: Step) -> list[dict[str, Any]]:
    match step:
        case {"shell": text}:
            return [{"run": ["bash", "-c", text]}]
        case {"say": text, "delay": seconds}:
            return [{"sleep": seconds}, {"say": text}]
        case _:
            return [step]
