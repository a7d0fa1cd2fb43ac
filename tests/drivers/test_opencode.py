"""The real opencode, its model scripted on loopback, with a home of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from asking import Asking, ByHttp, InSandbox, sandbox

from agentlab.core.events import ModelCall, ToolCall
from agentlab.errors import AgentFailed, BadRequest, Unavailable
from agentlab.runner.drivers import acp_record
from agentlab.runner.drivers.acp import AcpDriver
from agentlab.runner.drivers.opencode import OpencodeDriver, alone, database
from agentlab.testing.driver_suite import (
    PATIENCE,
    Calls,
    DriverBench,
    Ends,
    Outage,
    Sessions,
    Step,
    VendorCase,
    VendorSuite,
    do,
)
from agentlab.testing.scripted_model import CACHED, INPUT, OUTPUT

pytestmark = [pytest.mark.agents, pytest.mark.slow(4), pytest.mark.timeout(180)]


class Opencode(VendorCase):
    kind = "opencode"
    model = "scripted/scripted"
    login = "opencode auth login"
    costs = True
    own: ClassVar[tuple[dict[str, Any], ...]] = (
        {"tool": "write", "args": {"filePath": "{root}/sneaky.txt", "content": "x"}},
        {"tool": "bash", "args": {"command": "touch {root}/sneaky", "description": "x"}},
        {"tool": "edit", "args": {"filePath": "{root}/sneaky.txt", "oldString": "", "newString": "x"}},
    )

    def options(self) -> dict[str, Any]:
        models = {"scripted": {"cost": {"input": 3, "output": 15}, "limit": {"context": 100_000, "output": 8000}}}
        endpoint = {"baseURL": "{env:SCRIPTED_URL}", "apiKey": "{env:SCRIPTED_KEY}"}
        own = {"npm": "@ai-sdk/openai-compatible", "options": endpoint, "models": models}
        return {"provider": {"scripted": own}}

    def env(self, bench: DriverBench) -> dict[str, str]:
        return {"SCRIPTED_KEY": "dummy-key", "SCRIPTED_URL": f"{bench.model.url}/v1"}

    async def test_its_own_id_of_a_call_is_kept(self, bench: DriverBench, monkeypatch: pytest.MonkeyPatch) -> None:
        """That of its model. It tells of a call another way than it makes it, and later where the machine is busy."""
        monkeypatch.setattr(acp_record, "_MOMENT", PATIENCE)
        driver = await bench.started()
        await driver.prompt(do({"write": ["a.txt", "1"]}, {"write": ["b.txt", "1"]}, {"read": "a.txt"}, {"say": "ok"}))
        made = [call for said in bench.model.turns[-1].body["messages"] for call in said.get("tool_calls", ())]
        assert [call.call for call in bench.gate.of(ToolCall)] == [call["id"] for call in made]
        assert len(made) == 3

    async def test_tokens_add_up_over_calls_and_turns(self, bench: DriverBench) -> None:
        """Those of all answers, as they pass: also of the one that makes a title for the session, which nobody tells of."""
        driver = await bench.started()
        turns = [
            await driver.prompt(do({"write": ["a.txt", "1"]}, {"say": "two answers"})),
            await driver.prompt(do({"say": "one answer"})),
        ]
        calls = [entry for entry in bench.gate.entries if isinstance(entry.body, ModelCall) and entry.tok_out]
        assert [call.name for call in calls] == ["scripted"] * 4
        assert sum(turn.usage["out"] for turn in turns) == 4 * OUTPUT
        assert sum(turn.usage["in"] + turn.usage["cached"] for turn in turns) == 4 * INPUT

    async def test_a_model_that_it_does_not_know_is_refused(self, bench: DriverBench) -> None:
        """By itself it goes on with another one, and says nothing."""
        with pytest.raises(BadRequest, match=r"no model 'scripted/nosuch'.*scripted/scripted") as failed:
            await bench.started(model="scripted/nosuch")
        assert failed.value.data["reason"] == "model_not_found"

    async def test_what_its_model_answered_decides_where_its_words_do_not(self, bench: DriverBench) -> None:
        """It tells the model's text alone."""
        driver = await bench.started()
        turn = await driver.prompt(do({"error": 403, "say": "sesame"}))
        assert (turn.status, turn.reason) == ("failed", "auth")
        assert "sesame" in turn.error and self.login in turn.error


class TestNativeOpencode(InSandbox, Opencode, Calls, Sessions, Outage, Ends):
    """opencode with its own tools beside ours. It is steered as Gemini is, by the same driver."""

    def changes(self, root: Path, path: str, text: str) -> Step:
        return {"tool": "write", "args": {"filePath": str(root / path), "content": text}, "exact": True}


class TestOpencode(Asking, ByHttp, Opencode, VendorSuite):
    @pytest.mark.parametrize("boundary", ["tools", "native"])
    async def test_it_does_not_start_where_somebody_left_something(self, bench: DriverBench, boundary: str) -> None:
        bench.sandbox = sandbox("bubblewrap", bench.base / "lab")
        (bench.private / "start").mkdir()
        (bench.private / "start" / "opencode.json").write_text("{}")
        with pytest.raises(Unavailable, match=r"has to be empty.*opencode\.json"):
            await bench.started(boundary=boundary)

    async def test_its_start_installs_nothing(self, bench: DriverBench) -> None:
        asked: list[bytes] = []

        async def registry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readline())
            writer.close()

        async with await asyncio.start_server(registry, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            bench.env |= {"npm_config_registry": f"http://127.0.0.1:{port}", "npm_config_fetch_retries": "0"}
            driver = await bench.started()
            turn = await driver.prompt(do({"write": ["a.txt", "1"]}, {"say": "ok"}))
            await driver.close()
        assert (turn.status, asked) == ("done", [])

    async def test_what_a_turn_cost_is_told_at_its_end(self, bench: DriverBench) -> None:
        """opencode tells the price of all answers of a turn, and the tokens of the last one only: those are seen passing."""
        driver = await bench.started()
        first = await driver.prompt(do({"write": ["a.txt", "1"]}, {"say": "two answers"}))
        second = await driver.prompt(do({"say": "one answer"}))
        price = (3 * (INPUT - CACHED) + 15 * OUTPUT) / 1e6
        assert [t.usage["cost"] for t in (first, second)] == [pytest.approx(2 * price), pytest.approx(price)]
        assert sum(entry.cost or 0 for entry in bench.gate.entries) == pytest.approx(3 * price)


async def test_who_needs_the_first_start_for_itself_is_alone(tmp_path: Path) -> None:
    inside, most = 0, 0

    async def one() -> None:
        nonlocal inside, most
        async with alone(tmp_path / "lock"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(one() for _ in range(4)))
    assert (inside, most) == (0, 1)


@pytest.mark.parametrize("fails", [False, True])
async def test_the_database_is_made_by_one_and_opened_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """One that fails in it has made nothing."""
    cli = tmp_path / "opencode"
    cli.write_text("#!/bin/sh\n")
    cli.chmod(0o700)
    context = SimpleNamespace(
        env={"XDG_DATA_HOME": str(tmp_path / "data"), "PATH": str(tmp_path)}, shared=tmp_path,
        private=tmp_path, spec=SimpleNamespace(options={}, boundary="tools", resume=None), gate=None, tools=None, models=None, root=tmp_path,
    )  # fmt: skip
    starting, most, fail = 0, [], fails

    async def start(self: AcpDriver) -> None:
        nonlocal starting, fail
        starting += 1
        most.append(starting)
        await asyncio.sleep(0.01)
        starting -= 1
        if fail:
            fail = False
            raise AgentFailed("it did not come up")
        place = database(context.env)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()

    monkeypatch.setattr(AcpDriver, "start", start)
    drivers = [OpencodeDriver(context) for _ in range(4)]  # type: ignore[arg-type]
    results = await asyncio.gather(*(driver.start() for driver in drivers), return_exceptions=True)
    assert [type(result) for result in results if result] == ([AgentFailed] if fails else [])
    alone_first = most[: 1 + fails]
    assert alone_first == [1] * len(alone_first)
    assert len(list(tmp_path.glob("database-*"))) == 1
