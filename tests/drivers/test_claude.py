"""The real Claude Code of the SDK's wheel, its model scripted on loopback, with a home of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from agentlab.core.events import Error, Guard, ToolCall
from agentlab.errors import BadRequest, Unavailable
from agentlab.testing.driver_suite import HELD, WAIT, DriverBench, VendorSuite, do
from agentlab.testing.scripted_model import CACHED, INPUT

pytestmark = [pytest.mark.claude, pytest.mark.timeout(90)]


def _whole(line: bytes) -> bool:
    """The SDK takes a line that begins as an object for a message, and every line for text: a broken one fails the turn."""
    return not line.startswith(b"{") and line.isascii()


class TestClaude(VendorSuite):
    kind = "claude"
    model = "claude-sonnet-4-5"
    login = "claude auth login"
    costs = True
    noise = tuple(line for line in VendorSuite.noise if _whole(line))
    own: ClassVar[tuple[dict[str, Any], ...]] = (
        {"tool": "Write", "args": {"file_path": "{root}/sneaky.txt", "content": "x"}},
        {"tool": "Bash", "args": {"command": "touch {root}/sneaky", "description": "scripted"}},
    )

    def env(self, bench: DriverBench) -> dict[str, str]:
        return {
            "CLAUDE_CONFIG_DIR": str(bench.home / ".claude"),
            "ANTHROPIC_BASE_URL": bench.model.url,
            "ANTHROPIC_API_KEY": "dummy-key",
        }

    def program(self, bench: DriverBench) -> Path:
        import claude_agent_sdk

        return Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"

    # --- what only Claude has ------------------------------------------------------------------------------------

    async def test_a_message_that_is_broken_fails_the_turn(self, bench: DriverBench) -> None:
        driver = await bench.meddled(self.program(bench), noise=[b'{"type": "result", "subtype'])
        turn = await driver.prompt(do({"write": ["a.txt", "x"], "say": "MEDDLE-NOW"}, {"say": "never"}))
        assert (turn.status, turn.reason) == ("failed", "process")
        assert driver.processes() == []

    async def test_it_is_told_how_work_is_shared_and_what_its_spec_says(self, bench: DriverBench) -> None:
        driver = await bench.started(instructions="Answer in Latin.")
        await driver.prompt(do({"say": "salve"}))
        system = json.dumps(bench.model.turns[0].body["system"])
        assert "mcp__lab__claim" in system
        assert "Answer in Latin." in system

    async def test_an_attempt_at_a_tool_of_its_own_is_recorded(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await driver.prompt(do(*self.own[:1], {"write": ["a.txt", "allowed"]}, {"say": "ok"}))
        assert turn.status == "done"
        assert [guard.rule for guard in bench.gate.of(Guard)] == ["boundary"]
        (call,) = bench.gate.of(ToolCall)
        assert call.call.startswith("toolu_"), "the vendor's id is the call's"

    async def test_a_refusal_is_marked_as_an_error_for_the_model(self, bench: DriverBench) -> None:
        await bench.typist.claim((f"file:{HELD}",))
        bench.tools.hold = 0.1
        driver = await bench.started()
        await driver.prompt(do(WAIT, {"say": "ok"}))
        result = bench.model.turns[1].body["messages"][-1]["content"][0]
        assert result["is_error"] is True

    async def test_cost_adds_up_over_calls_turns_and_a_resume(self, bench: DriverBench) -> None:
        driver = await bench.started()
        first = await driver.prompt(do({"write": ["a.txt", "1"]}, {"write": ["a.txt", "2"]}, {"say": "three answers"}))
        second = await driver.prompt(do({"say": "one answer"}))
        assert (first.usage["in"], first.usage["cached"]) == (3 * INPUT, 3 * CACHED)
        assert first.usage["cost"] == pytest.approx(3 * second.usage["cost"])
        await driver.close()
        again = await bench.started(resume=first.vendor_session)
        third = await again.prompt(do({"say": "one answer"}))
        assert third.usage["cost"] == pytest.approx(second.usage["cost"])

    async def test_a_refused_key_is_not_tried_for_minutes(self, bench: DriverBench) -> None:
        driver = await bench.started()
        await driver.prompt(do({"error": 401, "say": "invalid x-api-key"}))
        assert len(bench.model.turns) <= 3

    async def test_without_login_or_key_the_turn_says_how_to_get_one(self, bench: DriverBench) -> None:
        driver = await bench.started(env={"ANTHROPIC_API_KEY": ""})
        turn = await driver.prompt(do({"say": "unreachable"}))
        assert (turn.status, turn.reason) == ("failed", "auth")
        assert "claude auth login" in turn.error
        assert [error.kind for error in bench.gate.of(Error)] == ["auth"]

    async def test_a_model_that_does_not_exist_is_named_as_the_reason(self, bench: DriverBench) -> None:
        driver = await bench.started(model="claude-nope")
        turn = await driver.prompt(do({"error": 404}))
        assert (turn.status, turn.reason) == ("failed", "model_not_found")
        assert "claude-nope" in turn.error

    async def test_a_turn_limit_ends_the_turn_as_its_own_limit(self, bench: DriverBench) -> None:
        driver = await bench.started(options={"max_turns": 1})
        turn = await driver.prompt(do({"write": ["a.txt", "1"]}, {"write": ["a.txt", "2"]}, {"say": "no"}))
        assert (turn.status, turn.reason) == ("failed", "limit")

    async def test_without_the_extra_it_says_what_to_install(
        self, bench: DriverBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "claude_agent_sdk", None)
        with pytest.raises(Unavailable, match=r"pip install 'agentlab\[claude\]'"):
            await bench.driver().start()

    @pytest.mark.parametrize(
        ("says", "refused"),
        [
            ("1.0.88 (Claude Code)", r"Claude Code 1\.0\.88, too old: at least 2\.0"),
            ("hello", "does not name a version"),
        ],
    )
    async def test_an_old_program_or_another_one_is_refused(
        self, bench: DriverBench, tmp_path: Path, says: str, refused: str
    ) -> None:
        program = tmp_path / "claude"
        program.write_text(f"#!/bin/sh\necho '{says}'\n")
        program.chmod(0o755)
        with pytest.raises(Unavailable, match=refused):
            await bench.driver(options={"cli": str(program)}).start()

    async def test_its_own_options_are_named_where_one_is_unknown(self, bench: DriverBench) -> None:
        with pytest.raises(BadRequest, match="max_turns, max_cost"):
            await bench.driver(options={"max_truns": 3}).start()
