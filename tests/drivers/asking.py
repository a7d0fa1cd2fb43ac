"""What agents of the Agent Client Protocol promise where they keep their own tools, for tests with the real programs."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

from agentlab.core.events import FileWrite, ToolCall, ToolResult
from agentlab.runner.gate import Verdict
from agentlab.testing.driver_suite import DriverBench, do

YES = Verdict(allowed=True, answer="approved", by="ann")


class Asking:
    """`own` begins with a call that writes sneaky.txt, and one of a command that touches sneaky."""

    own: ClassVar[tuple[dict[str, Any], ...]]

    async def acted(self, bench: DriverBench, step: dict[str, Any]) -> None:
        step = {**json.loads(json.dumps(step).replace("{root}", str(bench.root))), "exact": True}
        driver = await bench.started(boundary="native")
        turn = asyncio.create_task(driver.prompt(do(step, {"say": "acted"})))
        async with bench.plane.changed:
            bench.plane.verdicts.append(YES)
            bench.plane.changed.notify_all()
        ended = await turn
        assert (ended.status, ended.output, ended.error) == ("done", "acted", "")
        assert len(bench.plane.asked) == 1
        assert not bench.gate.grants()
        assert len(bench.gate.of(ToolCall)) == 1, bench.gate.of(ToolCall)
        assert [e.status for e in bench.gate.entries if isinstance(e.body, ToolResult)] == ["ok"]

    async def test_a_change_that_was_approved_is_one_call_with_one_write(self, bench: DriverBench) -> None:
        await self.acted(bench, self.own[0])
        (write,) = bench.gate.of(FileWrite)
        assert (write.path, write.token > 0) == ("sneaky.txt", True)
        assert (bench.root / "sneaky.txt").read_text() == "x"
        (call,) = bench.gate.of(ToolCall)
        assert call.vendor["kind"] == "edit"

    async def test_what_a_command_that_was_approved_wrote_is_recorded(self, bench: DriverBench) -> None:
        await self.acted(bench, self.own[1])
        (write,) = bench.gate.of(FileWrite)
        assert (write.path, write.via, write.token > 0) == ("sneaky", "scan", True)
