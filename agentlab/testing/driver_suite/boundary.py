"""What a vendor's own tools can do: nothing that was not allowed, whatever the workspace says."""

from __future__ import annotations

import asyncio
import json

import pytest

from agentlab import kinds
from agentlab.core.events import AgentSpec
from agentlab.errors import BadRequest
from agentlab.runner.drivers.base import driver_of
from agentlab.runner.gate import Verdict
from agentlab.testing import hostile

from .bench import DriverBench, do
from .case import VendorCase


class Boundary(VendorCase):
    async def test_it_is_offered_our_tools_and_nothing_that_acts(self, bench: DriverBench) -> None:
        driver = await bench.started()
        await driver.prompt(do({"say": "hi"}))
        (offered,) = {seen.tools for seen in bench.model.turns}
        ours = {tool.name for tool in bench.tools.catalogue()}
        theirs = {name for name in offered if name not in self.reads}
        assert len(theirs) == len(ours), sorted(theirs)
        assert all(any(name.endswith(own) for own in ours) and "lab" in name for name in theirs), sorted(theirs)

    async def test_its_own_tools_cannot_touch_anything(self, bench: DriverBench) -> None:
        driver = await bench.started()
        steps = [
            {**step, "exact": True} for step in json.loads(json.dumps(self.own).replace("{root}", str(bench.root)))
        ]
        assert steps, "the suite needs to know what the program would do by itself"
        turn = await driver.prompt(do(*steps, {"write": ["ours.txt", "x"]}, {"say": "tried"}))
        assert [path.name for path in bench.root.iterdir()] == (["ours.txt"] if turn.status == "done" else [])

    @pytest.mark.parametrize("boundary", ["tools", "native"])
    async def test_settings_of_the_workspace_open_nothing(self, bench: DriverBench, boundary: str) -> None:
        """Whichever vendor they are of. With its own tools it still asks before each of them, and a no is a no."""
        if boundary not in kinds.load(self.kind).boundaries:
            with pytest.raises(BadRequest, match=f"cannot have boundary='{boundary}'"):
                driver_of(AgentSpec(kind=self.kind, boundary=boundary))
            return
        before = hostile.settle(bench.root)
        hostile.settle(bench.home)
        steps = [
            {**step, "exact": True} for step in json.loads(json.dumps(self.own).replace("{root}", str(bench.root)))
        ]
        driver = await bench.started(boundary=boundary)
        no = Verdict(allowed=False, answer="denied", by="ann")
        turn = asyncio.create_task(driver.prompt(do(*steps, {"write": ["ours.txt", "x"]}, {"say": "tried"})))
        async with bench.plane.changed:
            bench.plane.verdicts.extend([no] * len(steps))
            bench.plane.changed.notify_all()
        ended = await turn
        await driver.close()
        new = {path.name for path in bench.root.rglob("*") if path.is_file() and path not in before}
        assert new <= {"ours.txt"}, ended
        assert not [path.name for path in bench.home.rglob(f"{hostile.LEFT}*")], "those of the home open nothing either"
        assert (bench.root / "ours.txt").exists() or boundary == "native", "some end a turn with a no"
        assert bool(bench.plane.asked) == (boundary == "native"), bench.plane.asked
