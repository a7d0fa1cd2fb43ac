"""The real Codex, its model scripted on loopback, with a home of its own."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from agentlab.testing.driver_suite import DriverBench, DriverSuite, do

pytestmark = [pytest.mark.agents, pytest.mark.timeout(45)]

PATCH = "*** Begin Patch\n*** Add File: sneaky.txt\n+x\n*** End Patch"


class TestCodex(DriverSuite):
    kind = "codex"
    model = "gpt-5.5"
    login = "codex login"
    reads = frozenset({"request_user_input", "view_image"})  # one asks a person, one reads a picture
    own: ClassVar[tuple[dict[str, Any], ...]] = (
        {"tool": "exec_command", "args": {"cmd": "touch {root}/sneaky"}},
        {"tool": "apply_patch", "args": {"input": PATCH}},
        {"tool": "shell", "args": {"command": ["touch", "{root}/sneaky"]}},
    )

    def env(self, bench: DriverBench) -> dict[str, str]:
        return {"OPENAI_API_KEY": "dummy-key", "OPENAI_BASE_URL": f"{bench.model.url}/v1"}

    async def test_a_prompt_that_is_too_long_for_it_is_a_failed_turn_and_the_next_one_works(
        self, bench: DriverBench
    ) -> None:
        driver = await bench.started()
        turn = await driver.prompt("x" * 20_000_000)
        assert turn.status == "failed"
        assert "maximum length" in turn.error
        assert (await driver.prompt(do({"say": "fine"}))).output == "fine"

    @pytest.mark.parametrize("model", ["gpt-6-astra", "a-model-that-no-catalogue-has"])
    async def test_models_that_would_run_code_get_our_tools_alone(self, bench: DriverBench, model: str) -> None:
        driver = await bench.started(model=model)
        turn = await driver.prompt(do({"write": ["a.txt", "x"]}, *self.own[:2], {"say": "ok"}))
        assert turn.status == "done"
        assert [path.name for path in bench.root.iterdir()] == ["a.txt"]
        assert json.dumps(bench.model.turns[-1].body).count("unsupported call") == 2
