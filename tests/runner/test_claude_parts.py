"""The pure parts of the Claude driver: usage, environment, versions, ids of calls. No CLI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentlab.core.events import Error, Guard, Message
from agentlab.errors import BadRequest, Unavailable
from agentlab.runner.drivers.call_ids import CallIds
from agentlab.runner.drivers.claude_setup import (
    HELD,
    QUIET,
    check_env,
    environment,
    find_cli,
    instructions,
    parse_version,
)
from agentlab.runner.drivers.claude_usage import Meter, Spent, Tokens, session_usage, tokens, turn_cost

sdk = pytest.importorskip("claude_agent_sdk")
claude_stream = pytest.importorskip("agentlab.runner.drivers.claude_stream")
mcp_tools = pytest.importorskip("agentlab.runner.drivers.mcp_tools")


def test_tokens_written_to_the_cache_count_as_input_and_read_ones_apart() -> None:
    usage = {"input_tokens": 10, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 100, "output_tokens": 7}
    assert tokens(usage) == Tokens(15, 7, 100)
    assert tokens(None) == Tokens()


def test_an_answer_that_is_reported_in_pieces_counts_once_with_its_largest_numbers() -> None:
    meter = Meter()
    assert meter.see("m1", {"input_tokens": 10, "output_tokens": 1}, now=1, model="x") is None
    assert meter.see("m1", {"input_tokens": 10, "output_tokens": 1}, now=2) is None
    assert meter.see("m1", {"output_tokens": 50}, now=3, stop="end_turn") is None
    answer = meter.close()
    assert answer is not None
    assert (answer.tokens, answer.model, answer.stop, answer.began) == (Tokens(10, 50, 0), "x", "end_turn", 1)
    assert meter.turn == {"x": Tokens(10, 50, 0)} and meter.seen == Tokens(10, 50, 0)
    assert meter.close() is None


def test_a_new_answer_closes_the_one_before() -> None:
    meter = Meter()
    meter.see("m1", {"output_tokens": 1}, now=1)
    before = meter.see("m2", {"output_tokens": 2}, now=2)
    assert before is not None
    assert before.id == "m1"
    assert meter.current == "m2"


def test_the_cost_of_a_turn_is_what_the_session_cost_more() -> None:
    assert turn_cost(0.05, 0.02, {"m": Tokens(1)}, {"m": Spent(Tokens(1), 0.05)}) == pytest.approx(0.03)


def test_after_a_resume_the_turn_costs_its_share_of_the_session() -> None:
    used = {"inputTokens": 3000, "outputTokens": 150, "cacheReadInputTokens": 600, "costUSD": 0.03}
    session = session_usage({"m": used})
    assert turn_cost(0.03, None, {"m": Tokens(1000, 50, 200)}, session) == pytest.approx(0.01)
    assert turn_cost(0.03, None, {"m": session["m"].tokens}, session) == pytest.approx(0.03)
    assert turn_cost(0.0, None, {}, {}) == 0.0


def test_after_a_resume_with_another_model_the_turn_costs_what_that_one_has_cost() -> None:
    session = {"dear": Spent(Tokens(9000, 100), 0.9), "cheap": Spent(Tokens(1000, 10), 0.001)}
    assert turn_cost(0.901, None, {"cheap": Tokens(1000, 10)}, session) == pytest.approx(0.001)
    both = {"dear": Tokens(4500, 50), "cheap": Tokens(500, 5)}
    assert turn_cost(0.901, None, both, session) == pytest.approx(0.4505)
    assert turn_cost(0.901, None, {"by another name": Tokens(5000, 55)}, session) == pytest.approx(0.4505)


def test_keys_and_markers_around_us_do_not_reach_the_cli_but_the_login_does() -> None:
    inherited = {"ANTHROPIC_API_KEY": "of somebody", "CLAUDECODE": "1", "CLAUDE_CONFIG_DIR": "/c", "HOME": "/h"}
    laid_over = environment({"ANTHROPIC_BASE_URL": "http://m"}, inherited)
    assert laid_over == {"ANTHROPIC_API_KEY": "", "CLAUDECODE": "", "ANTHROPIC_BASE_URL": "http://m", **QUIET, **HELD}


def test_what_the_agent_is_given_goes_before_our_own_settings() -> None:
    assert environment({"DISABLE_TELEMETRY": "0"}, {})["DISABLE_TELEMETRY"] == "0"


def test_how_long_a_call_may_wait_is_held() -> None:
    assert environment(dict.fromkeys(HELD, "1000"), dict.fromkeys(HELD, "1000")) == {
        **dict.fromkeys(HELD, ""),
        **QUIET,
        **HELD,
    }


@pytest.mark.parametrize(
    "name", [*HELD, "CLAUDE_CODE_SHELL_PREFIX", "CLAUDE_ENV_FILE", "NODE_OPTIONS", "BUN_OPTIONS", "LD_PRELOAD"]
)
def test_no_variable_may_weaken_the_boundary(name: str) -> None:
    with pytest.raises(BadRequest, match=f"may not set {name} itself"):
        check_env({name: "1000"})


def test_logins_providers_and_settings_may_be_set() -> None:
    check_env(["CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK", "ANTHROPIC_API_KEY", *QUIET])


def test_own_instructions_come_after_those_on_sharing() -> None:
    assert instructions("Be brief.").endswith("\n\nBe brief.")
    assert "claim" in instructions("")


@pytest.mark.parametrize(
    ("text", "version"),
    [("2.1.329 (Claude Code)", (2, 1, 329)), ("claude 1.0", (1, 0)), ("hello", None), ("", None)],
)
def test_a_version_is_read_from_what_the_program_says(text: str, version: tuple[int, ...] | None) -> None:
    assert parse_version(text) == version


def test_the_cli_of_the_wheel_goes_before_the_one_on_path(tmp_path: Path) -> None:
    bundled, on_path = tmp_path / "bundled", tmp_path / "bin" / "claude"
    on_path.parent.mkdir()
    for program in (bundled, on_path):
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    assert find_cli(None, bundled, str(on_path.parent)) == bundled
    bundled.unlink()
    assert find_cli(None, bundled, str(on_path.parent)) == on_path


def test_without_any_cli_it_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="npm install -g @anthropic-ai/claude-code"):
        find_cli(None, tmp_path / "none", str(tmp_path))


# --- with the extra --------------------------------------------------------------------------------------------


def test_a_call_finds_the_id_that_was_announced_for_it() -> None:
    ids = CallIds()
    ids.announce("read", {"path": "a"}, "t1")
    ids.announce("read", {"path": "b"}, "t2")
    ids.announce("write", {"path": "b"}, "t3")
    assert ids.take("read", {"path": "b"}) == "t2"
    assert ids.take("read", {"path": "changed on the way"}) == "t1"
    assert ids.take("read", {"path": "a"}) is None
    assert ids.take("write", {"path": "b"}) == "t3"


def test_a_call_that_comes_before_all_is_told_of_it_finds_its_id() -> None:
    ids = CallIds()
    ids.announce("write", None, "t1")
    ids.announce("write", None, "t2")
    ids.announce("write", {"path": "b"}, "t2")
    assert ids.take("write", {"path": "b"}) == "t2"
    assert ids.take("write", {"path": "a"}) == "t1"
    ids.announce("write", {"path": "a"}, "t1")
    assert ids.take("write", {"path": "a"}) is None, "told again, it is not another call"


def test_the_id_of_a_call_that_has_ended_is_not_given_to_another() -> None:
    ids = CallIds()
    ids.announce("write", {"path": "a"}, "t1")
    ids.forget("t1")
    assert ids.take("write", {"path": "a"}) is None


async def test_the_second_wall_allows_our_tools_and_tells_what_to_use_instead_of_others() -> None:
    denied: list[tuple[str, str]] = []
    wall = mcp_tools.Boundary(CallIds(), lambda tool, call: denied.append((tool, call)))
    ours = await wall.before_tool({"tool_name": "mcp__lab__read", "tool_input": {}}, "t1", None)
    other = await wall.before_tool({"tool_name": "Bash", "tool_input": {"command": "rm -r /"}}, "t2", None)
    assert ours["hookSpecificOutput"]["permissionDecision"] == "allow"
    assert other["hookSpecificOutput"]["permissionDecision"] == "deny"
    assert "mcp__lab__run" in other["hookSpecificOutput"]["permissionDecisionReason"]
    assert denied == [("Bash", "t2")]


class Gate:
    def __init__(self) -> None:
        self.records: list[tuple[Any, dict[str, Any]]] = []

    def record(self, body: Any, **columns: Any) -> None:
        self.records.append((body, columns))


@pytest.fixture
def gate() -> Gate:
    return Gate()


def taken(gate: Gate, *messages: object) -> list[tuple[Any, dict[str, Any]]]:
    recorder = claude_stream.Recorder(gate)
    for message in messages:
        recorder.take(message)
    recorder.end_turn()
    return gate.records


def answer(*blocks: object, id: str = "m1", out: int = 1) -> Any:
    return sdk.AssistantMessage(
        list(blocks), "claude-x", usage={"input_tokens": 9, "output_tokens": out}, message_id=id
    )


def test_texts_and_thoughts_are_messages_and_the_answer_is_one_model_call(gate: Gate) -> None:
    records = taken(gate, answer(sdk.ThinkingBlock("hm", "sig")), answer(sdk.TextBlock("so"), out=5))
    assert [body for body, _ in records[:2]] == [
        Message(role="thinking", text="hm"),
        Message(role="assistant", text="so"),
    ]
    call, columns = records[2]
    assert call.response_id == "m1"
    assert (columns["name"], columns["tok_in"], columns["tok_out"]) == ("claude-x", 9, 5)


def test_a_call_of_a_foreign_tool_is_recorded_once_whoever_notices_it(gate: Gate) -> None:
    recorder = claude_stream.Recorder(gate)
    recorder.take(answer(sdk.ToolUseBlock("t1", "Bash", {})))
    recorder.deny("Bash", "t1")
    assert [columns["name"] for body, columns in gate.records if isinstance(body, Guard)] == ["Bash"]


def test_retries_and_compactions_are_told(gate: Gate) -> None:
    retry = {"attempt": 1, "max_retries": 10, "error_status": 529, "error": "overloaded", "retry_delay_ms": 600}
    records = taken(gate, sdk.SystemMessage("api_retry", retry), sdk.SystemMessage("compact_boundary", {}))
    assert records[0][0].message == "attempt 1 of 10 failed with HTTP 529 (overloaded); again in 0.6 s"
    assert records[1][0].role == "system"


def test_a_limit_that_comes_near_is_a_warning_and_one_that_is_hit_an_error(gate: Gate) -> None:
    def event(status: str) -> Any:
        return sdk.RateLimitEvent(sdk.RateLimitInfo(status, 1_800_000_000, "five_hour", 0.9), "u", "s")

    records = taken(gate, event("allowed"), event("allowed_warning"), event("rejected"))
    assert [type(body) for body, _ in records] == [Guard, Error]
    assert records[0][0].detail == "five_hour: allowed_warning, 90% used, resets at 2027-01-15 08:00:00Z"
