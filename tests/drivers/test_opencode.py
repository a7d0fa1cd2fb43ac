"""The real opencode, its model scripted on loopback, with a home of its own."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from agentlab.testing.driver_suite import DriverBench, DriverSuite

pytestmark = [pytest.mark.agents, pytest.mark.timeout(180)]


class TestOpencode(DriverSuite):
    kind = "opencode"
    model = "scripted/scripted"
    login = "opencode auth login"
    costs = True
    own: ClassVar[tuple[dict[str, Any], ...]] = (
        {"tool": "write", "args": {"filePath": "{root}/sneaky.txt", "content": "x"}},
        {"tool": "bash", "args": {"command": "touch {root}/sneaky", "description": "x"}},
        {"tool": "edit", "args": {"filePath": "{root}/sneaky.txt", "oldString": "", "newString": "x"}},
    )

    def env(self, bench: DriverBench) -> dict[str, str]:
        self.url = bench.model.url
        models = {"scripted": {"cost": {"input": 3, "output": 15}, "limit": {"context": 100_000, "output": 8000}}}
        endpoint = {"baseURL": f"{bench.model.url}/v1", "apiKey": "{env:SCRIPTED_KEY}"}
        bench.spec["options"] = {
            "provider": {"scripted": {"npm": "@ai-sdk/openai-compatible", "options": endpoint, "models": models}}
        }
        return {"SCRIPTED_KEY": "dummy-key"}
