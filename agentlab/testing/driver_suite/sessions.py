"""One turn after the other, another process that goes on, and what all of it used up."""

from __future__ import annotations

import asyncio
import json

import pytest

from agentlab.core.events import Budget, ModelCall
from agentlab.testing.scripted_model import OUTPUT

from .bench import DriverBench, until
from .case import Case

LOST = "01a21760-037c-7a40-b799-e09adb237f83"


class Sessions(Case):
    async def test_a_follow_up_goes_on_in_the_same_session(self, bench: DriverBench) -> None:
        (bench.root / "a.txt").write_text("1")
        driver = await bench.started()
        first = await driver.prompt(self.task({"read": "a.txt"}, {"say": "one"}))
        second = await driver.prompt(self.task({"read": "a.txt"}, {"say": "two"}))
        assert self.says(first, "one") and self.says(second, "two"), (first, second)
        assert bool(first.vendor_session) == self.session
        assert first.vendor_session == second.vendor_session

    async def test_a_session_is_resumed_by_its_id_in_a_new_process_with_our_tools(self, bench: DriverBench) -> None:
        if not self.session:
            return self.refused("cannot resume a session", resume="s")
        before = await bench.started()
        first = await before.prompt(self.task({"say": "remember the number 4711"}))
        await before.close()
        after = await bench.started(resume=first.vendor_session)
        second = await after.prompt(self.task({"write": ["b.txt", "x"]}, {"say": "I do"}))
        if not self.resumes:
            assert (second.status, second.reason) == ("failed", "resume_rejected")
            return None
        assert (second.status, second.output, second.vendor_session) == ("done", "I do", first.vendor_session)
        assert "4711" in json.dumps(bench.model.turns[-1].body)
        assert (bench.root / "b.txt").exists()
        return None

    async def test_a_session_that_the_vendor_does_not_have_is_a_failed_turn(self, bench: DriverBench) -> None:
        if not self.session:
            return self.refused("cannot resume a session", resume=LOST)
        driver = await bench.started(resume=LOST)
        turn = await driver.prompt("go on")
        assert (turn.status, turn.reason) == ("failed", "resume_rejected")
        return None

    async def test_tokens_add_up_over_calls_and_turns(self, bench: DriverBench) -> None:
        driver = await bench.started()
        first = await driver.prompt(self.task({"write": ["a.txt", "1"]}, {"say": "two answers"}))
        second = await driver.prompt(self.task({"say": "one answer"}))
        if not self.counts:
            assert first.usage == second.usage == {}
            self.refused("never tells how many tokens", budget=Budget(tokens=1000))
            self.refused("never tells what it costs", budget=Budget(cost=1.0))
            return
        for turn, answers in ((first, 2), (second, 1)):
            self.check_usage(turn, answers)
            assert ("cost" in turn.usage) is self.costs
        self.check_calls_of_its_model(bench)

    @pytest.mark.parametrize("how", ["interrupted", "cancelled"])
    async def test_what_a_turn_used_that_was_cut_off_is_none_of_the_next_ones(
        self, bench: DriverBench, how: str
    ) -> None:
        """In the middle of an answer of its model, after a call."""
        if not self.counts:
            return self.refused("never tells how many tokens", budget=Budget(tokens=1000))
        driver = await bench.started()
        whole = await driver.prompt(self.task({"say": "one answer"}))
        asked = len(bench.model.turns)
        cut = asyncio.create_task(driver.prompt(self.task({"write": ["a.txt", "1"]}, {"say": "cut off", "delay": 60})))
        await until(lambda: bench.results("write") and (not asked or len(bench.model.turns) > asked + 1))
        if how == "interrupted":
            await driver.interrupt()
            assert (await cut).status == "cancelled"
        else:
            cut.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cut
        after = await driver.prompt(self.task({"say": "one answer"}))
        self.check_usage(after, 1)
        assert after.usage.get("cost") == pytest.approx(whole.usage.get("cost"))
        return None

    def check_calls_of_its_model(self, bench: DriverBench) -> None:
        """Of three answers."""
        calls = [entry for entry in bench.gate.entries if isinstance(entry.body, ModelCall) and entry.tok_out]
        assert len(calls) == 3
        assert all(call.name for call in calls), "each says which model it was"
        assert sum(entry.tok_out or 0 for entry in bench.gate.entries) == 3 * OUTPUT
