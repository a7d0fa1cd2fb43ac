"""A program in a terminal keeps the promises of all drivers that one without a protocol and without our tools can keep."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from agentlab.core.events import JSON, FileWrite, Guard
from agentlab.runner.drivers.base import Driver, Turn
from agentlab.testing import fake_cli
from agentlab.testing.driver_suite import DriverBench, DriverSuite, Step, until

pytest.importorskip("pyte")
pytestmark = pytest.mark.timeout(180)


class TestTerminal(DriverSuite):
    kind = "cli"
    boundary = "native"
    calls = False
    session = False
    counts = False
    freezes = False

    def options(self) -> dict[str, Any]:
        return {"command": [sys.executable, "-u", fake_cli.__file__], "ready": f"^{fake_cli.PROMPT}$"}

    def task(self, *steps: Step) -> JSON:
        return json.dumps(steps).encode().hex()

    def says(self, turn: Turn, text: str) -> bool:
        return turn.status == "done" and text in str(turn.output)

    async def busy(self, bench: DriverBench, driver: Driver) -> asyncio.Task[Turn]:
        turn = asyncio.create_task(driver.prompt(self.task({"hang": True})))
        await until(lambda: "...." in driver._screen.tail)
        return turn

    async def disturbed(
        self, bench: DriverBench, *after: Step, noise: tuple[bytes, ...] = (), end: int | None = None
    ) -> tuple[Driver, Turn]:
        """All that it prints is noise: its screen takes it. What is typed is shorter than a line of a terminal."""
        (bench.base / "noise").write_bytes(b"\r\n".join(noise))
        exits = [] if end is None else [{"exit": end}]
        driver = await bench.started()
        await bench.gate.claim(("file:a.txt",))
        print_it = {"shell": f"cat {bench.base}/noise; echo"}
        return driver, await driver.prompt(self.task({"write": ["a.txt", "x"]}, print_it, *exits, *after))

    # --- in the place of calls -------------------------------------------------------------------------------

    async def test_it_changes_what_it_has_claimed_and_nothing_else(self, bench: DriverBench) -> None:
        driver = await bench.started()
        await bench.gate.claim(("file:mine.txt",))
        turn = await driver.prompt(
            self.task({"write": ["mine.txt", "x"]}, {"write": ["other.txt", "x"]}, {"say": "ok"})
        )
        assert self.says(turn, "ok")
        await driver.close()
        assert [path.name for path in bench.root.iterdir()] == ["mine.txt"]
        assert ("mine.txt", "scan") in {(write.path, write.via) for write in bench.gate.of(FileWrite)}
        assert [guard.rule for guard in bench.gate.of(Guard)] == ["unclaimed-write"]

    async def test_an_error_of_its_own_is_what_it_shows(self, bench: DriverBench) -> None:
        driver = await bench.started()
        assert self.says(await driver.prompt(self.task({"read": "missing.txt"})), "missing.txt")
