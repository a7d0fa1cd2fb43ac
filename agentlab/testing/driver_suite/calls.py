"""Calls of our tools: under grants, held as long as it takes, denied, in vain."""

from __future__ import annotations

from agentlab.core.events import FileWrite, Message, ToolCall

from .bench import HELD, WAIT, DriverBench
from .case import Case, exit_code


class Calls(Case):
    async def test_it_writes_through_our_tools_under_a_grant_and_says_so(self, bench: DriverBench) -> None:
        if self.without_calls():
            return
        driver = await bench.started()
        turn = await driver.prompt(self.task({"write": ["a.txt", "hello"]}, {"say": "finished"}))
        assert self.says(turn, "finished"), turn
        assert (bench.root / "a.txt").read_text() == "hello"
        (call,) = [e.body for e in bench.gate.entries if isinstance(e.body, ToolCall) and e.name == "write"]
        assert call.args.items() >= {"path": "a.txt", "data": "hello"}.items()
        self.check_call(bench, call)
        assert [write.token > 0 for write in bench.gate.of(FileWrite)] == [True]
        assert "finished" in [message.text for message in bench.gate.of(Message) if message.role == "assistant"]
        assert "a.txt" in self.heard(bench, 0)

    async def test_a_refusal_reaches_it_and_the_turn_goes_on(self, bench: DriverBench) -> None:
        if self.without_calls():
            return
        await bench.typist.claim((f"file:{HELD}",))
        bench.tools.hold = 0.1
        driver = await bench.started()
        turn = await driver.prompt(self.task(WAIT, {"write": ["a.txt", "x"]}, {"say": "ok"}))
        said = self.heard(bench, 0) if self.goes_on else turn.error
        assert "held by typist; you are 1st in the queue" in said
        assert (turn.status, (bench.root / "a.txt").exists()) == (("done", True) if self.goes_on else ("failed", False))
        assert bench.results("write")[0] == "denied"
        assert not (bench.root / HELD).exists()

    async def test_a_call_that_makes_no_sense_is_an_error_that_it_is_told(self, bench: DriverBench) -> None:
        if self.without_calls():
            return
        driver = await bench.started()
        turn = await driver.prompt(self.task({"read": "missing.txt"}, {"say": "ok"}))
        assert turn.status == ("done" if self.goes_on else "failed")
        assert "missing.txt" in (self.heard(bench, 0) if self.goes_on else turn.error)
        assert bench.results("read") == ["error"]

    async def test_a_program_runs_and_it_hears_how_it_ended(self, bench: DriverBench) -> None:
        if self.without_calls():
            return
        driver = await bench.started()
        await driver.prompt(self.task({"shell": "echo hi; exit 3"}, {"say": "ran"}))
        assert exit_code(self.heard(bench, 0)) == 3, self.heard(bench, 0)

    async def test_a_lock_that_comes_free_lets_the_waiting_call_go_on(self, bench: DriverBench) -> None:
        if self.without_calls():
            return
        driver = await bench.started()
        turn = await bench.held_up(driver)
        await bench.typist.release()
        assert self.says(await turn, "went on")
        assert (bench.root / HELD).read_text() == "mine at last"
