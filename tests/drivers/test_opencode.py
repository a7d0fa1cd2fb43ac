"""The real opencode, its model scripted on loopback, with a home of its own."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from agentlab.core.events import ModelCall
from agentlab.testing.driver_suite import DriverBench, DriverSuite, do
from agentlab.testing.scripted_model import CACHED, INPUT, OUTPUT

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

    def options(self) -> dict[str, Any]:
        models = {"scripted": {"cost": {"input": 3, "output": 15}, "limit": {"context": 100_000, "output": 8000}}}
        endpoint = {"baseURL": "{env:SCRIPTED_URL}", "apiKey": "{env:SCRIPTED_KEY}"}
        own = {"npm": "@ai-sdk/openai-compatible", "options": endpoint, "models": models}
        return {"provider": {"scripted": own}}

    def env(self, bench: DriverBench) -> dict[str, str]:
        return {"SCRIPTED_KEY": "dummy-key", "SCRIPTED_URL": f"{bench.model.url}/v1"}

    async def test_tokens_add_up_over_calls_and_turns(self, bench: DriverBench) -> None:
        """opencode tells the tokens of the last answer of a turn, and the price of all of them."""
        driver = await bench.started()
        first = await driver.prompt(do({"write": ["a.txt", "1"]}, {"say": "two answers"}))
        second = await driver.prompt(do({"say": "one answer"}))
        fresh = INPUT - CACHED
        assert [(t.usage["in"], t.usage["out"]) for t in (first, second)] == [(fresh, OUTPUT), (fresh, OUTPUT)]
        price = (3 * fresh + 15 * OUTPUT) / 1e6
        assert [t.usage["cost"] for t in (first, second)] == [pytest.approx(2 * price), pytest.approx(price)]
        assert len(bench.gate.of(ModelCall)) == 2
