"""Budgets, stalls and second tries, decided without a clock of their own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.core.events import Budget, Error, Message, ModelCall, ModelExchange, ToolCall, ToolResult
from agentlab.runner.governor import Governor, Silence, retry_after

SILENCE = Silence(said=10, ended=30, said_in_tool=100, ended_in_tool=300)
WORD = Message(role="assistant", text="hm")
CALL, RESULT = ToolCall(call="1"), ToolResult(call="1")


def governor(**budget: float) -> Governor:
    watched = Governor(Budget(**budget), SILENCE)  # type: ignore[arg-type]
    watched.begin(0.0)
    return watched


def test_tokens_of_all_turns_count_together() -> None:
    watched = governor(tokens=100)
    watched.see(ModelCall(provider="x"), {"tok_in": 60, "tok_out": 10, "tok_cache": 500}, 1.0)
    assert watched.verdict(1.0) is None
    watched.end(2.0)
    watched.begin(3.0)
    watched.see(ModelCall(provider="x"), {"tok_in": 20, "tok_out": 10}, 4.0)
    verdict = watched.verdict(4.0)
    assert verdict is not None
    assert (verdict.reason, verdict.text) == ("budget", "It has used 100 of 100 tokens (--max-tokens).")


def test_cost_counts_where_a_call_or_the_end_of_a_turn_tells_it() -> None:
    watched = governor(cost=1.0)
    watched.see(ModelCall(provider="x"), {"cost": 0.4}, 1.0)
    watched.settle({"cost": 0.4})
    watched.begin(2.0)
    watched.settle({"cost": 0.5})
    assert watched.verdict(2.0) is None
    watched.begin(3.0)
    watched.settle({"cost": 0.1})
    assert watched.verdict(3.0) is not None


def test_what_a_turn_tells_at_its_end_is_not_counted_twice() -> None:
    watched = governor(tokens=100)
    watched.see(ModelCall(provider="x"), {"tok_in": 60, "tok_out": 10}, 1.0)
    watched.settle({"in": 60, "out": 10, "cached": 500})
    assert watched.tokens == 70
    watched.begin(2.0)
    watched.settle({"in": 20, "out": 10})
    assert watched.tokens == 100


def test_a_limit_that_nothing_is_told_of_is_noticed_once() -> None:
    watched = governor(cost=1.0)
    assert [watched.untold(), watched.untold()] == [["max_cost"], []]
    watched = governor(cost=1.0, tokens=100)
    watched.settle({"cost": 0.1})
    assert watched.untold() == ["max_tokens"]


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), max_size=8))
def test_time_counts_only_while_it_works(spells: list[tuple[float, float]]) -> None:
    watched = Governor(Budget(time=1e9), SILENCE)
    now = worked = 0.0
    for work, rest in spells:
        watched.begin(now)
        now, worked = now + work, worked + work
        watched.pause(now)
        now += rest
        watched.go_on(now)
        now, worked = now + work, worked + work
        watched.end(now)
        now += rest
    assert watched.worked(now) == pytest.approx(worked)


def test_silence_is_said_before_it_is_ended_and_a_sign_of_life_takes_it_back() -> None:
    watched = governor()
    assert (watched.stalled(9.9), watched.verdict(9.9)) == ("", None)
    assert (watched.stalled(10.0), watched.verdict(10.0)) == ("stalled: nothing heard", None)
    watched.see(WORD, {}, 20.0)
    assert watched.stalled(29.0) == ""
    verdict = watched.verdict(50.0)
    assert verdict is not None
    assert (verdict.reason, verdict.text) == ("idle", "Nothing was heard of it for 30 s.")


def test_a_tool_that_runs_may_be_quiet_for_longer() -> None:
    watched = governor()
    watched.see(CALL, {}, 1.0)
    assert (watched.stalled(99.0), watched.verdict(99.0)) == ("", None)
    assert watched.stalled(101.0) == "stalled: nothing heard while a tool runs"
    assert watched.verdict(301.0) is not None
    watched.see(RESULT, {}, 302.0)
    assert watched.stalled(311.0) == ""
    assert watched.stalled(312.0) == "stalled: nothing heard"


def test_who_only_tries_again_is_silent_and_says_so() -> None:
    watched = Governor(Budget(), Silence(said=10.0, ended=30.0))
    watched.begin(0.0)
    for now in range(1, 29):
        watched.see(Error(kind="api_retry", message="waiting for network"), {}, float(now))
    assert watched.stalled(29.0) == "stalled: nothing heard but that it tries again: waiting for network"
    verdict = watched.verdict(30.0)
    assert verdict and verdict.reason == "idle"
    watched.see(Message(role="assistant", text="hello"), {}, 29.5)
    assert (watched.stalled(30.0), watched.verdict(30.0)) == ("", None)


def test_a_limit_is_waited_out_by_its_program_only_where_that_was_asked_for() -> None:
    def exchange(code: int) -> ModelExchange:
        return ModelExchange(provider="x", method="POST", path="/v1", code=code)

    governor, patient = Governor(Budget()), Governor(Budget(), wait_limits=True)
    for each in (governor, patient):
        each.begin(0)
        for code in (429, 429, 429, 200, 429, 500, 429, 429, 429):
            each.see(exchange(code), {}, 1)
        assert each.verdict(1) is None, "never four in a row"
        each.see(exchange(429), {}, 2)
    verdict = governor.verdict(2)
    assert verdict and verdict.reason == "rate_limit" and "--wait-limits" in verdict.text
    assert patient.verdict(2) is None
    governor.end(3)
    governor.begin(4)
    assert governor.verdict(4) is None, "the next prompt may find it gone"


def test_an_agent_that_rests_is_never_stalled() -> None:
    watched = governor(time=5)
    watched.pause(1.0)
    assert (watched.stalled(1e6), watched.verdict(1e6)) == ("", None)


def test_who_waits_for_a_person_is_not_silent() -> None:
    watched = governor()
    watched.go_on_waiting(1000.0)
    assert (watched.stalled(1009.0), watched.verdict(1009.0)) == ("", None)


@given(st.floats(0, 1000), st.booleans())
def test_it_looks_again_before_anything_is_due(now: float, calling: bool) -> None:
    watched = governor(time=500)
    if calling:
        watched.see(CALL, {}, 0.0)
    due = now + watched.next(now)
    if not watched.stalled(now) and watched.verdict(now) is None:
        assert not watched.stalled(due - 0.06)
        assert watched.verdict(due - 0.06) is None


@pytest.mark.parametrize(
    ("reason", "attempt", "retries", "calls", "after"),
    [
        ("network", 1, 1, 0, 5.0),
        ("server", 2, 2, 0, 20.0),
        ("timeout", 9, 10, 0, 60.0),
        ("network", 2, 1, 0, None),  # tried as often as it may be
        ("network", 1, 1, 3, None),  # tools had run
        ("auth", 1, 5, 0, None),
        ("rate_limit", 1, 5, 0, None),  # never without being asked
    ],
)
def test_only_what_is_safe_and_may_help_is_tried_again(
    reason: str, attempt: int, retries: int, calls: int, after: float | None
) -> None:
    assert retry_after(reason, attempt, retries, calls) == after
