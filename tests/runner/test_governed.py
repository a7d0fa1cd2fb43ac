"""What the runner does around a driver whose agent uses up its budget, goes silent, or fails for a while."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fake_plane import FakePlane, Run, until
from tiny_driver import TinyDriver

from agentlab import kinds
from agentlab.client.rows import detail
from agentlab.core import commands as c
from agentlab.core import views
from agentlab.core.events import (
    GO_ON,
    AgentEnd,
    AgentState,
    AnyBody,
    Budget,
    Error,
    Guard,
    Message,
    ModelCall,
    ToolCall,
)
from agentlab.runner import conversation, governor
from agentlab.runner.drivers.base import Turn


class Spender(TinyDriver):
    """Tasks beside those of `TinyDriver`: `spend N`, `quiet`, `flaky N` (fails N times), `limited N`, `rejected`."""

    tries = 0

    async def _spend(self, much: str) -> Turn:
        self.context.gate.record(ModelCall(provider="x"), tok_in=int(much), tok_out=1)
        return replace(await self._wait(""), usage={"in": 1, "cached": 7})

    async def _free(self, _: str) -> Turn:
        return Turn("done", output="free", usage={"in": 1})

    async def _nothing(self, _: str) -> Turn:
        return Turn("done")

    async def _act(self, _: str) -> Turn:
        self.context.gate.record(ToolCall(call="c1"))
        return Turn("done")

    async def _speak(self, _: str) -> Turn:
        self.context.gate.record(Message(role="assistant", text="hm"))
        return Turn("done")

    async def _quiet(self, _: str) -> Turn:
        self._interrupted.clear()
        await self._interrupted.wait()
        return Turn("cancelled", reason="cancelled")

    async def _flaky(self, times: str) -> Turn:
        type(self).tries += 1
        if self.tries <= int(times):
            return Turn("failed", error="no route", reason="network")
        return Turn("done", output=self.tries)

    async def _limited(self, times: str) -> Turn:
        type(self).tries += 1
        if self.tries <= int(times):
            return Turn("failed", error="too many", reason="rate_limit", resets=1.0)
        return Turn("done", output=self.tries)

    async def _Go(self, _: str) -> Turn:
        return await self._rejected("")

    async def _rejected(self, _: str) -> Turn:
        if self.context.spec.resume:
            return Turn("failed", error="No such session.", reason="resume_rejected")
        return Turn("done", output="fresh")


@pytest.fixture(autouse=True)
def spender(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kinds.DRIVERS, "tiny", "test_governed:Spender")
    monkeypatch.setattr(governor, "RETRY_AFTER", (0.01,))
    monkeypatch.setattr(Spender, "tries", 0)


def end_of(plane: FakePlane, agent: str = "a") -> AgentEnd:
    return next(e.body for e in plane.events if isinstance(e.body, AgentEnd) and e.actor == agent)


def of(plane: FakePlane, kind: type[Any]) -> list[Any]:
    return [event for event in plane.events if isinstance(event.body, kind)]


async def test_an_agent_that_has_used_up_its_tokens_is_interrupted_and_says_so(plane: FakePlane, run: Run) -> None:
    await run("spend 500", budget=Budget(tokens=400))
    end = end_of(plane)
    assert (plane.status("r1/a"), end.reason) == ("failed", "budget")
    assert end.error == "It has used 501 of 400 tokens (--max-tokens)."
    assert end.usage == {"in": 500, "out": 1, "cached": 7}, "the turn was closed, not cut"
    assert [(g.body.rule, g.status) for g in of(plane, Guard)] == [("budget", "denied")]
    assert Spender.last.calls[-2:] == ["interrupt", "close"]


async def test_an_agent_that_has_worked_long_enough_is_interrupted(plane: FakePlane, run: Run) -> None:
    await run("wait", budget=Budget(time=0.2))
    assert end_of(plane).reason == "budget"


async def test_a_follow_up_to_an_agent_without_budget_is_not_begun(plane: FakePlane, run: Run) -> None:
    going = run("echo hello", budget=Budget(cost=0.4), keep=True)  # which costs 0.5
    await until(lambda: plane.status("r1/a") == "idle")
    plane.say("r1/a", "send", "echo again", seq=1)
    await going
    assert (plane.status("r1/a"), end_of(plane).reason) == ("failed", "budget")
    assert "prompt echo again" not in Spender.last.calls


async def test_a_limit_of_cost_that_cannot_be_kept_is_said(plane: FakePlane, run: Run) -> None:
    await run("free", budget=Budget(cost=0.4))
    (guard,) = of(plane, Guard)
    assert (plane.status("r1/a"), guard.body.rule, guard.status) == ("done", "budget", "warned")
    assert "max_cost cannot end it" in guard.body.detail


async def test_a_silent_agent_is_shown_as_stalled_and_then_ended(
    plane: FakePlane, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plane.home / "config.toml").write_text("[limits]\nstall = 0.1\nidle = 600.0\n")
    going = run("quiet")
    await until(lambda: plane.state.agents["r1/a"].alert)
    assert plane.state.agents["r1/a"].alert == "stalled: nothing heard"
    Spender.last._interrupted.set()
    await going
    assert [g.status for g in of(plane, Guard)] == ["warned", "over"]
    assert plane.state.agents["r1/a"].alert == ""


async def test_a_silence_that_lasts_is_the_end(plane: FakePlane, run: Run) -> None:
    (plane.home / "config.toml").write_text("[limits]\nstall = 0.1\nidle = 0.3\n")
    await run("quiet")
    end = end_of(plane)
    assert (plane.status("r1/a"), end.reason) == ("failed", "idle")
    assert end.error.startswith("Nothing was heard of it for")


async def test_a_failure_that_may_pass_is_tried_again_where_everybody_can_see_it(plane: FakePlane, run: Run) -> None:
    await run("flaky 2", retries=2)
    assert (plane.status("r1/a"), end_of(plane).output) == ("done", 3)
    assert [(e.body.kind, e.status) for e in of(plane, Error)] == [("network", "retry")] * 2


async def test_it_is_not_tried_for_ever(plane: FakePlane, run: Run) -> None:
    await run("flaky 9", retries=1)
    assert (plane.status("r1/a"), end_of(plane).reason, Spender.tries) == ("failed", "network", 2)


async def test_a_rate_limit_is_waited_out_only_where_that_was_asked_for(plane: FakePlane, run: Run) -> None:
    await run("limited 1", retries=5)
    assert (plane.status("r1/a"), end_of(plane).reason) == ("failed", "rate_limit")


async def test_a_rate_limit_is_waited_out_and_shown(plane: FakePlane, run: Run) -> None:
    await run("limited 1", wait_limits=True)
    assert (plane.status("r1/a"), end_of(plane).output) == ("done", 2)
    assert "its limit to reset" in of(plane, Error)[0].body.message
    (idle,) = [e.body.reason for e in plane.events if isinstance(e.body, AgentState) and e.status == "idle"]
    assert "Its limit resets at 1970-01-01 00:00:01Z." in idle


async def test_an_agent_that_ended_by_a_limit_says_when_that_resets(plane: FakePlane, run: Run) -> None:
    await run("limited 1")
    row = views.row(plane.state, "agents", "r1/a")
    assert row is not None
    assert (row["reason"], row["resets"]) == ("rate_limit", 1_000_000_000)
    assert row["error"].startswith("too many")  # who shows it says when the limit resets as its reader is used to
    assert detail(row).startswith("Its limit resets at 1970-01-01 00:00:01Z. too many")


async def test_a_kept_agent_says_when_its_limit_resets_until_it_has(
    plane: FakePlane, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = [3600.0]
    monkeypatch.setattr(conversation, "_ahead", lambda turn: ahead[0] if turn.resets else 0.0)
    monkeypatch.setattr(conversation, "LOOK", 0.01)
    going = run("limited 1", keep=True)
    row = plane.state.agents.get
    await until(lambda: plane.status("r1/a") == "idle", 60)
    assert row("r1/a").reason == "Its limit resets at 1970-01-01 00:00:01Z. too many"
    ahead[0] = 0.0
    await until(lambda: row("r1/a").reason == "too many", 60)
    assert plane.status("r1/a") == "idle"
    plane.say("r1/a", "send", "limited 1", seq=1)
    await until(lambda: (plane.status("r1/a"), row("r1/a").reason, Spender.tries) == ("idle", "", 2), 60)
    plane.say("r1/a", "stop", "enough")
    await going


async def test_a_kept_agent_that_is_sent_something_before_its_limit_resets_takes_it_up(
    plane: FakePlane, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "_ahead", lambda turn: 3600.0 if turn.resets else 0.0)
    going = run("limited 1", keep=True)
    await until(lambda: plane.status("r1/a") == "idle", 60)
    plane.say("r1/a", "send", "limited 1", seq=1)
    await until(lambda: (plane.status("r1/a"), Spender.tries) == ("idle", 2), 60)
    assert plane.state.agents["r1/a"].reason == ""
    plane.say("r1/a", "stop", "enough")
    await going


def earlier(plane: FakePlane, *bodies: AnyBody, task: str = "rejected") -> None:
    """An agent `b` has ended in the session `gone`, in which this was reported of it."""
    plane.hire("b", "tiny", task=task)
    plane.do(c.Ready(agent="r1/b", pid=1))
    plane.do(
        c.Report(agent="r1/b", entries=tuple(c.Entry(n=n, ts=n, body=body) for n, body in enumerate(bodies, start=1)))
    )
    plane.do(c.Status(agent="r1/b", status="running", vendor_session="gone"))
    plane.do(c.Finish(agent="r1/b", status="done"))


async def test_a_rejected_resume_is_said_and_a_fresh_session_begun_where_nothing_was_done(
    plane: FakePlane, run: Run
) -> None:
    earlier(plane)
    await run("rejected", resume="gone")
    assert (plane.status("r1/a"), end_of(plane).output) == ("done", "fresh")
    (guard,) = of(plane, Guard)
    assert (guard.body.rule, guard.status) == ("resume", "warned")
    assert "No such session." in guard.body.detail


async def test_a_fresh_session_is_given_the_task_of_the_first_one(plane: FakePlane, run: Run) -> None:
    earlier(plane, task="echo the task")
    await run(GO_ON, resume="gone")
    assert (plane.status("r1/a"), end_of(plane).output) == ("done", "the task")


@pytest.mark.parametrize("keep", [False, True])
async def test_no_fresh_session_begins_where_tools_had_run_in_the_one_that_is_gone(
    plane: FakePlane, run: Run, keep: bool
) -> None:
    earlier(plane, ToolCall(call="c1"))
    await run("rejected", resume="gone", keep=keep)
    end = end_of(plane)
    assert (plane.status("r1/a"), end.reason, end.output) == ("failed", "resume_rejected", None)
    assert "Tools had run in that session" in end.error
    assert "spawn an agent without resume" in end.error
    assert [(g.body.rule, g.status) for g in of(plane, Guard)] == [("resume", "denied")]


async def test_no_fresh_session_begins_where_nobody_knows_what_was_done(plane: FakePlane, run: Run) -> None:
    await run("rejected", resume="gone")
    assert (plane.status("r1/a"), end_of(plane).reason) == ("failed", "resume_rejected")


async def test_a_turn_that_says_and_does_nothing_is_a_failure(
    plane: FakePlane, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "ANSWERING", {"tiny"})
    await run("nothing")
    end = end_of(plane)
    assert (plane.status("r1/a"), end.reason) == ("failed", "no_output")
    assert "neither said anything nor called a tool" in end.error
    assert [error.body.kind for error in of(plane, Error)] == ["no_output"]


@pytest.mark.parametrize("done", ["act", "speak"])
async def test_a_turn_that_did_something_needs_no_last_word(
    plane: FakePlane, run: Run, monkeypatch: pytest.MonkeyPatch, done: str
) -> None:
    monkeypatch.setattr(conversation, "ANSWERING", {"tiny"})
    await run(done)
    assert plane.status("r1/a") == "done"


def test_programs_may_be_silent_and_agents_with_models_may_not() -> None:
    assert {"claude", "codex", "gemini", "opencode", "acp"} == conversation.ANSWERING


def test_quiet_agents_are_looked_at_often_enough_to_see_questions() -> None:
    assert governor.Silence().said > conversation.NOTICE
