"""Interrupting, cancelling, freezing: an agent that is steered stays ready."""

from __future__ import annotations

import asyncio

import pytest

from agentlab import processes
from agentlab.errors import BadRequest
from agentlab.runner.drivers.base import Driver

from .bench import DriverBench
from .case import Case


def states(driver: Driver) -> set[str]:
    """Of all processes of an agent, as the kernel has them."""
    tree = [pid for root in driver.processes() for pid in processes.tree(root)]
    return {found.state for pid in tree if (found := processes.info(pid))}


class Steering(Case):
    async def test_interrupting_a_wait_gives_the_ticket_back_and_leaves_the_agent_ready(
        self, bench: DriverBench
    ) -> None:
        driver = await bench.started()
        turn = await self.busy(bench, driver)
        await driver.interrupt()
        assert ((await turn).status, (await turn).reason) == ("cancelled", "cancelled")
        assert not bench.waiting()
        assert bench.results("write") == (["cancelled"] if self.calls else [])
        after = await driver.prompt(self.task({"write": ["a.txt", "x"]}, {"say": "here again"}))
        assert self.says(after, "here again"), after

    async def test_an_interrupt_right_after_the_prompt_is_not_lost(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = asyncio.create_task(driver.prompt(self.task({"say": "late", "delay": 60})))
        await asyncio.sleep(0)
        await driver.interrupt()
        assert (await turn).status == "cancelled"

    async def test_cancelling_the_prompt_ends_the_turn_for_the_next_one(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await self.busy(bench, driver)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert not bench.waiting()
        assert self.says(await driver.prompt(self.task({"say": "next"})), "next")

    async def test_a_frozen_agent_stands_still_until_it_is_thawed(self, bench: DriverBench) -> None:
        driver = await bench.started()
        await driver.freeze()
        assert states(driver) == ({"T"} if self.lives == "always" else set())
        turn = asyncio.create_task(driver.prompt(self.task({"say": "awake"})))
        await asyncio.sleep(0)
        await driver.thaw()
        assert self.says(await turn, "awake")

    async def test_interrupting_a_frozen_agent_ends_its_turn_and_leaves_it_frozen(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await self.busy(bench, driver)
        await driver.freeze()
        await driver.interrupt()
        assert (await turn).status == "cancelled"
        assert states(driver) == ({"T"} if self.lives == "always" and self.freezes else set())

    async def test_a_prompt_during_a_turn_is_refused(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await self.busy(bench, driver)
        with pytest.raises(BadRequest, match="middle of a turn"):
            await driver.prompt(self.task({"say": "and this?"}))
        await driver.interrupt()
        assert (await turn).status == "cancelled"
