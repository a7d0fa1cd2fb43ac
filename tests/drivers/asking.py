"""What agents of the Agent Client Protocol promise where they keep their own tools, for tests with the real programs."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from agentlab.config import Network
from agentlab.core.events import FileWrite, ToolCall, ToolResult
from agentlab.errors import Unavailable
from agentlab.runner.gate import Verdict
from agentlab.sandbox import Bubblewrap, Landlock, Sandbox, probe_bubblewrap, probe_landlock
from agentlab.testing.driver_suite import Case, DriverBench, do, until
from agentlab.testing.scripted_model import ScriptedModel

YES = Verdict(allowed=True, answer="approved", by="ann")


def sandbox(rung: str, hidden: Path, network: Network = "all", extra: tuple[Path, ...] = ()) -> Sandbox | None:
    try:
        if rung == "bubblewrap":
            return Bubblewrap(program=probe_bubblewrap(), hidden=(hidden,), extra=extra, network=network == "all")
        if rung == "landlock":
            probe_landlock()
            return Landlock(hidden=(hidden,), extra=extra, network=network == "all")
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    return None


class InSandbox(Case):
    """All of its promises with its own tools, which are in the sandbox with all that it starts."""

    boundary = "native"

    def bench_of(self, served: ScriptedModel, base: Path) -> DriverBench:
        (base / "meddler").mkdir()
        bench = super().bench_of(served, base)
        bench.sandbox = sandbox("bubblewrap", base / "lab", extra=(base / "meddler",))
        return bench


class Answering:
    """A person who is asked."""

    async def answered(self, bench: DriverBench, *verdicts: Verdict) -> None:
        for verdict in verdicts:
            await bench.plane.answer(verdict)

    async def asked(self, bench: DriverBench, number: int = 1) -> None:
        await until(lambda: len(bench.plane.asked) >= number)


class ByHttp(Case):
    async def test_our_tools_are_reached_by_http_too(self, bench: DriverBench) -> None:
        """Also in a call that waits for a lock."""
        driver = await bench.started(options={**self.options(), "mcp": "http"})
        turn = await bench.held_up(driver)
        await bench.typist.release()
        assert self.says(await turn, "went on")
        assert (bench.root / "held.txt").read_text() == "mine at last"


class Asking:
    """`own` begins with a call that writes sneaky.txt, and one of a command that touches sneaky."""

    own: ClassVar[tuple[dict[str, Any], ...]]

    async def acted(
        self, bench: DriverBench, step: dict[str, Any], rung: str = "none", network: Network = "all"
    ) -> None:
        bench.sandbox, bench.network = sandbox(rung, bench.base / "lab", network), network
        step = {**json.loads(json.dumps(step).replace("{root}", str(bench.root))), "exact": True}
        driver = await bench.started(boundary="native")
        turn = asyncio.create_task(driver.prompt(do(step, {"say": "acted"})))
        await bench.plane.answer(YES)
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

    async def test_a_change_is_made_in_the_sandbox_as_without(self, bench: DriverBench) -> None:
        await self.acted(bench, self.own[0], "bubblewrap")
        assert (bench.root / "sneaky.txt").read_text() == "x"

    @pytest.mark.parametrize(("rung", "network"), [("bubblewrap", "model"), ("landlock", "all")])
    async def test_in_the_sandbox_a_command_reaches_the_workspace_and_no_further(
        self, bench: DriverBench, rung: str, network: Network
    ) -> None:
        """Although somebody has approved it; and the program has its model and our tools."""
        (bench.base / "lab" / "secret").write_text("the secret")
        with socket.create_server(("127.0.0.1", 0)) as other:
            dial = f"import socket; socket.create_connection(('127.0.0.1', {other.getsockname()[1]}), 60)"
            (bench.root / "try.sh").write_text(
                f"echo 1 > {bench.base}/outside; cat {bench.base}/lab/secret > {bench.root}/sneaky\n"
                f'{sys.executable} -c "{dial}" && echo connected >> {bench.root}/sneaky; true\n'
            )
            step = {**self.own[1], "args": {**self.own[1]["args"], "command": "sh {root}/try.sh"}}
            await self.acted(bench, step, rung, network)
        said = (bench.root / "sneaky").read_text()
        assert said == ("" if network == "model" else "connected\n"), bench.said(-1)
        assert not (bench.base / "outside").exists()

    async def test_a_command_is_asked_about_by_the_unit_of_its_pattern_and_holds_it(self, bench: DriverBench) -> None:
        """Beside the workspace, which any command holds."""
        await bench.typist.claim(("proc:git",))
        step = {**self.own[1], "args": {**self.own[1]["args"], "command": "git --version"}, "exact": True}
        driver = await bench.started(boundary="native")
        turn = asyncio.create_task(driver.prompt(do(step, {"say": "ran"})))
        await bench.plane.answer(YES)
        await until(bench.waiting)
        assert bench.plane.asked[0].units == ("dir:.", "proc:git")
        await bench.typist.release()
        assert (await turn).output == "ran"
        assert not bench.gate.grants()

    async def test_what_a_command_that_was_approved_wrote_is_recorded(self, bench: DriverBench) -> None:
        await self.acted(bench, self.own[1])
        (write,) = bench.gate.of(FileWrite)
        assert (write.path, write.via, write.token > 0) == ("sneaky", "scan", True)
