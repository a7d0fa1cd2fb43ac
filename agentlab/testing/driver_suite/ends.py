"""How an agent ends: closed, dead, gone without a word; and what its program may print without harm."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from agentlab import processes

from .bench import DriverBench, named, until
from .case import Case

LONG = (b"x" * 10_000_000, json.dumps({"type": "nobody_knows", "method": "x", "x": "y" * 10_000_000}).encode())


class Ends(Case):
    @pytest.mark.parametrize("now", [False, True])
    async def test_close_leaves_no_process_and_ends_the_turn_as_cancelled(self, bench: DriverBench, now: bool) -> None:
        driver = await bench.started()
        turn = await self.busy(bench, driver)
        tree = [processes.identity(pid) for root in driver.processes() for pid in processes.tree(root)]
        assert bool(tree) == (self.lives != "never")
        await driver.close(now=now)
        assert not [process for process in tree if processes.alive(process)]
        assert (await turn).status == "cancelled"
        assert not bench.waiting()

    async def test_a_program_that_dies_fails_the_turn_and_all_later_ones(self, bench: DriverBench) -> None:
        if await self.without_program(bench):
            return
        driver = await bench.started()
        turn = await self.busy(bench, driver)
        for pid in driver.processes():
            os.kill(pid, 9)
        ended = await turn
        assert (ended.status, ended.reason) == ("failed", "process")
        assert driver.processes() == []
        later = await driver.prompt(self.task({"say": "still there?"}))
        assert later.status == ("done" if self.heals else "failed")
        assert driver.processes() == []
        await until(lambda: not bench.waiting())

    async def test_stopping_ends_what_it_has_started_also_in_sessions_of_their_own(self, bench: DriverBench) -> None:
        driver = await bench.started()
        prompt = self.task({"shell": "setsid sleep 1007 & setsid -f sleep 1007; wait"})
        turn = asyncio.create_task(driver.prompt(prompt))
        await until(lambda: turn.done() or len(named(bench.left(), "1007")) >= 2)
        assert not turn.done(), turn
        await driver.close()
        await bench.tools.close()
        assert (await turn).status == "cancelled"
        assert bench.left() == []

    async def test_an_exit_with_code_0_that_closes_no_turn_is_a_failure(self, bench: DriverBench) -> None:
        if await self.without_program(bench):
            return
        driver, turn = await self.disturbed(bench, {"say": "never"}, end=0)
        assert (turn.status, turn.reason) == ("failed", "process")
        later = await driver.prompt(self.task({"say": "still there?"}))
        assert later.status == ("done" if self.heals else "failed")

    async def test_noise_among_the_messages_is_passed_over(self, bench: DriverBench) -> None:
        if await self.without_program(bench):
            return
        _, turn = await self.disturbed(bench, {"say": "fine"}, noise=self.noise)
        assert self.says(turn, "fine"), turn
        assert (bench.root / "a.txt").exists()

    async def test_ten_megabytes_on_one_line_do_no_harm(self, bench: DriverBench) -> None:
        if await self.without_program(bench):
            return
        _, turn = await self.disturbed(bench, {"say": "fine"}, noise=LONG)
        assert self.says(turn, "fine"), turn.error
