"""The driver of any ACP agent keeps the promises of all drivers, with an agent that has no model."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from asking import InSandbox, sandbox

from agentlab.core.events import JSON, ModelCall, ToolCall
from agentlab.errors import Unavailable
from agentlab.runner.drivers.base import Driver, Turn
from agentlab.testing import fake_acp, meddler
from agentlab.testing.driver_suite import DriverBench, DriverSuite, Step

pytest.importorskip("acp")
pytestmark = pytest.mark.timeout(180)


class TestAnyAcp(DriverSuite):
    kind = "acp"
    option = "command"
    resumes = False

    def options(self) -> dict[str, Any]:
        return {"command": [sys.executable, fake_acp.__file__], "builtins_off": []}

    def env(self, bench: DriverBench) -> dict[str, str]:
        (bench.base / "meddler").mkdir(exist_ok=True)
        return {"FAKE_ACP_HEARD": str(bench.base / "meddler" / "heard")}

    def task(self, *steps: Step) -> JSON:
        return json.dumps([part for step in steps for part in _parts(step)])

    def heard(self, bench: DriverBench, number: int) -> str:
        return str(json.loads((bench.base / "meddler" / "heard").read_text().splitlines()[number]))

    def check_call(self, bench: DriverBench, call: ToolCall) -> None:
        assert call.call.startswith("fake-call-"), "the vendor's id is the call's"

    def check_usage(self, turn: Turn, answers: int) -> None:
        assert (turn.usage["in"], turn.usage["out"]) == (10, 5), "of each turn, as it tells"

    def check_calls_of_its_model(self, bench: DriverBench) -> None:
        assert sum(entry.tok_out or 0 for entry in bench.gate.entries if isinstance(entry.body, ModelCall)) == 10

    async def disturbed(
        self, bench: DriverBench, *after: Step, noise: tuple[bytes, ...] = (), end: int | None = None
    ) -> tuple[Driver, Turn]:
        real = bench.base / "meddler" / "fake-agent"
        real.parent.mkdir(exist_ok=True)
        real.write_text(f"#!/bin/sh\nexec {sys.executable} {fake_acp.__file__}\n")
        real.chmod(0o755)
        driver = await bench.meddled(Path(real), noise=noise, end=end)
        turn = await driver.prompt(self.task({"write": ["a.txt", "x"]}, {"think": meddler.WORD}, *after))
        assert meddler.meddled(bench.base / "meddler")
        return driver, turn


class TestNativeAcp(InSandbox, TestAnyAcp):
    """One that keeps its own tools beside ours."""

    def options(self) -> dict[str, Any]:
        return {"command": [sys.executable, fake_acp.__file__]}

    def changes(self, root: Path, path: str, text: str) -> Step:
        return {"ask": {"title": "a change", "kind": "edit", "path": str(root / path), "old": None, "new": text}}


class TestHttpAcp(TestAnyAcp):
    """One that reaches our tools by HTTP."""

    def options(self) -> dict[str, Any]:
        return {**super().options(), "mcp": "http"}

    async def test_the_token_is_in_no_argument_and_nobody_comes_in_without(self, bench: DriverBench) -> None:
        driver = await bench.started()
        server = driver._http.address
        argv = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in bench.left()]
        assert argv and not any(server.token.encode() in words for words in argv)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            await asyncio.to_thread(urllib.request.urlopen, server.url, b"{}")
        await driver.close()
        with pytest.raises(urllib.error.URLError, match="refused"):
            await asyncio.to_thread(urllib.request.urlopen, server.url, b"{}")

    async def test_an_agent_that_takes_none_by_http_is_refused(self, bench: DriverBench) -> None:
        driver = bench.driver(env={"FAKE_ACP_NO_HTTP": "1"})
        with pytest.raises(Unavailable, match="reaches MCP servers by HTTP"):
            await driver.start()
        assert bench.left() == []

    async def test_from_a_network_of_its_own_nothing_is_reached_so_that_it_is_refused(self, bench: DriverBench) -> None:
        bench.sandbox, bench.network = sandbox("bubblewrap", bench.base / "lab", "none"), "none"
        options = {"command": [sys.executable, fake_acp.__file__], "mcp": "http"}
        with pytest.raises(Unavailable, match="nothing on loopback is reached"):
            await bench.driver(boundary="native", options=options).start()


def _parts(step: Step) -> list[dict[str, Any]]:
    match step:
        case {"write": [path, text]}:
            return [{"call": ["write", {"path": path, "data": text}]}]
        case {"read": path}:
            return [{"call": ["read", {"path": path}]}]
        case {"shell": text}:
            return [{"call": ["run", {"command": text}]}]
        case {"say": text, "delay": seconds}:
            return [{"sleep": seconds}, {"say": text}]
        case _:
            return [step]
