"""The real Claude CLI of the SDK's wheel, its model scripted on loopback, with a home of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agentlab import processes
from agentlab.core.events import AgentSpec, Error, FileWrite, Guard, Message, ModelCall, ToolCall, ToolResult
from agentlab.errors import BadRequest, Unavailable
from agentlab.runner.drivers.base import Context, Turn
from agentlab.runner.drivers.claude import ClaudeDriver
from agentlab.runner.tools import ToolHost
from agentlab.testing.gate import MemoryPlane
from agentlab.testing.scripted_model import CACHED, INPUT, OUTPUT, ScriptedModel

pytestmark = [pytest.mark.claude, pytest.mark.timeout(90)]

MODEL = "claude-sonnet-4-5"
CLAIM = {"tool": "mcp__lab__claim", "args": {"units": ["file:held.txt"]}}


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as server:
        yield server


@dataclass
class Bench:
    """Makes drivers over one workspace and one home."""

    model: ScriptedModel
    base: Path
    drivers: list[ClaudeDriver] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root, self.home = self.base / "workspace", self.base / "home"
        self.root.mkdir()
        self.home.mkdir()
        self.plane = MemoryPlane()
        self.gate, self.typist = self.plane.gate("writer"), self.plane.gate("typist")
        self.tools = self.host()

    def host(self, **options: Any) -> ToolHost:
        env = {"PATH": os.environ["PATH"]}
        spec = AgentSpec(kind="claude")
        return ToolHost(self.root, self.gate, home=self.base / "lab", env=env, spec=spec, **options)

    def waiting(self) -> bool:
        """Whether our agent waits in a queue."""
        return any(ticket.owner == self.gate.owner and not ticket.token for ticket in self.plane.tickets.values())

    async def held_up(self, claude: ClaudeDriver) -> asyncio.Task[Turn]:
        """A turn that waits for a lock which somebody else keeps."""
        await self.typist.claim(("file:held.txt",))
        turn = asyncio.create_task(claude.prompt(do(CLAIM, {"say": "never"})))
        async with asyncio.timeout(30):
            while not self.waiting():
                await asyncio.sleep(0.01)
        return turn

    def driver(self, **spec: Any) -> ClaudeDriver:
        env = {
            "HOME": str(self.home),
            "CLAUDE_CONFIG_DIR": str(self.home / ".claude"),
            "PATH": os.environ["PATH"],
            "ANTHROPIC_BASE_URL": self.model.url,
            "ANTHROPIC_API_KEY": "dummy",
            **spec.pop("env", {}),
        }
        context = Context(
            agent=self.gate.owner,
            spec=AgentSpec(**{"kind": "claude", "model": MODEL, **spec}),
            root=self.root,
            private=self.home,
            shared=self.home,
            tools=self.tools,
            gate=self.gate,
            env=env,
        )
        self.drivers.append(ClaudeDriver(context))
        return self.drivers[-1]

    async def started(self, **spec: Any) -> ClaudeDriver:
        driver = self.driver(**spec)
        await driver.start()
        return driver


@pytest.fixture
async def bench(model: ScriptedModel, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(model, tmp_path)
    yield bench
    for driver in bench.drivers:
        await driver.close(now=True)
    await bench.tools.close()


def do(*steps: dict[str, Any]) -> str:
    return f"Please do this. @do {json.dumps(steps)}"


async def test_it_writes_a_file_through_our_tools_and_says_so(bench: Bench) -> None:
    claude = await bench.started()
    turn = await claude.prompt(do({"write": ["a.txt", "hello"]}, {"say": "finished"}))
    assert (turn.status, turn.output, turn.error) == ("done", "finished", "")
    assert (bench.root / "a.txt").read_text() == "hello"
    (call,) = bench.gate.of(ToolCall)
    assert (call.args, call.vendor) == ({"path": "a.txt", "data": "hello"}, {"tool": "mcp__lab__write"})
    assert call.call.startswith("toolu_")
    assert [write.token > 0 for write in bench.gate.of(FileWrite)] == [True]  # under a grant
    assert "finished" in [message.text for message in bench.gate.of(Message)]
    assert bench.model.turns[1].last.count("created a.txt: +1 -0 lines") == 1


async def test_it_is_offered_our_tools_and_no_other(bench: Bench) -> None:
    claude = await bench.started()
    await claude.prompt(do({"say": "hi"}))
    ours = tuple(sorted(f"mcp__lab__{tool.name}" for tool in bench.tools.catalogue()))
    assert {seen.tools for seen in bench.model.turns} == {ours}


async def test_it_is_told_how_work_is_shared_and_what_its_spec_says(bench: Bench) -> None:
    claude = await bench.started(instructions="Answer in Latin.")
    await claude.prompt(do({"say": "salve"}))
    system = json.dumps(bench.model.turns[0].body["system"])
    assert "mcp__lab__claim" in system
    assert "Answer in Latin." in system


async def test_its_own_write_tool_is_not_there_and_the_attempt_is_recorded(bench: Bench) -> None:
    claude = await bench.started()
    native = {"tool": "Write", "args": {"file_path": str(bench.root / "b.txt"), "content": "sneaky"}}
    turn = await claude.prompt(do(native, {"write": ["a.txt", "allowed"]}, {"say": "ok"}))
    assert turn.status == "done"
    assert not (bench.root / "b.txt").exists()
    assert (bench.root / "a.txt").exists()
    assert [guard.rule for guard in bench.gate.of(Guard)] == ["boundary"]


async def test_our_refusal_reaches_the_model_and_the_turn_goes_on(bench: Bench) -> None:
    await bench.typist.claim(("file:held.txt",))
    bench.tools.hold = 0.1
    claude = await bench.started()
    turn = await claude.prompt(do({"write": ["held.txt", "x"]}, {"write": ["a.txt", "x"]}, {"say": "ok"}))
    assert turn.status == "done"
    assert "held by typist; you are 1st in the queue" in bench.model.turns[1].last
    result = bench.model.turns[1].body["messages"][-1]["content"][0]
    assert result["is_error"] is True
    assert (bench.root / "a.txt").exists()


async def test_a_follow_up_goes_on_in_the_same_session(bench: Bench) -> None:
    claude = await bench.started()
    first = await claude.prompt(do({"write": ["a.txt", "1"]}, {"say": "one"}))
    second = await claude.prompt(do({"read": "a.txt"}, {"say": "two"}))
    assert (first.output, second.output) == ("one", "two")
    assert first.vendor_session == second.vendor_session
    assert len(claude.processes()) == 1


async def test_a_session_is_resumed_by_its_id_in_a_new_process(bench: Bench) -> None:
    before = await bench.started()
    first = await before.prompt(do({"say": "remember the number 4711"}))
    await before.close()
    after = await bench.started(resume=first.vendor_session)
    second = await after.prompt(do({"say": "I do"}))
    assert (second.status, second.vendor_session) == ("done", first.vendor_session)
    assert "4711" in json.dumps(bench.model.turns[-1].body["messages"])
    assert second.usage["cost"] == pytest.approx(first.usage["cost"])


async def test_a_session_that_the_vendor_does_not_have_is_a_failed_turn(bench: Bench) -> None:
    claude = await bench.started(resume="11111111-2222-4333-8444-555555555555")
    turn = await claude.prompt("go on")
    assert (turn.status, turn.reason) == ("failed", "resume_rejected")
    assert "11111111-2222" in turn.error


async def test_interrupting_a_wait_for_a_lock_gives_the_ticket_back_and_leaves_the_agent_ready(bench: Bench) -> None:
    claude = await bench.started()
    waits = await bench.held_up(claude)
    await claude.interrupt()
    turn = await waits
    assert (turn.status, turn.reason) == ("cancelled", "cancelled")
    assert not bench.waiting()
    assert [entry.status for entry in bench.gate.entries if isinstance(entry.body, ToolResult)] == ["cancelled"]
    after = await claude.prompt(do({"write": ["a.txt", "x"]}, {"say": "here again"}))
    assert after.output == "here again"


async def test_an_interrupt_right_after_the_prompt_is_not_lost(bench: Bench) -> None:
    claude = await bench.started()
    turn = asyncio.create_task(claude.prompt(do({"say": "late", "delay": 60})))
    await asyncio.sleep(0)
    await claude.interrupt()
    assert (await turn).status == "cancelled"


async def test_cancelling_the_prompt_ends_the_turn_for_the_next_one(bench: Bench) -> None:
    claude = await bench.started()
    waits = await bench.held_up(claude)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert not bench.waiting()
    assert (await claude.prompt(do({"say": "next"}))).output == "next"


async def test_tokens_and_cost_add_up_over_calls_and_turns(bench: Bench) -> None:
    claude = await bench.started()
    first = await claude.prompt(do({"write": ["a.txt", "1"]}, {"write": ["a.txt", "2"]}, {"say": "three answers"}))
    second = await claude.prompt(do({"say": "one answer"}))
    assert (first.usage["in"], first.usage["out"], first.usage["cached"]) == (3 * INPUT, 3 * OUTPUT, 3 * CACHED)
    assert (second.usage["in"], second.usage["out"], second.usage["cached"]) == (INPUT, OUTPUT, CACHED)
    assert first.usage["cost"] == pytest.approx(3 * second.usage["cost"])
    assert len(bench.gate.of(ModelCall)) == 4
    entries = bench.gate.entries
    assert sum(entry.tok_in or 0 for entry in entries) == 4 * INPUT
    assert sum(entry.tok_out or 0 for entry in entries) == 4 * OUTPUT
    assert sum(entry.tok_cache or 0 for entry in entries) == 4 * CACHED


async def test_a_refused_key_says_how_to_log_in_without_minutes_of_retries(bench: Bench) -> None:
    claude = await bench.started()
    turn = await claude.prompt(do({"error": 401, "say": "invalid x-api-key"}))
    assert (turn.status, turn.reason) == ("failed", "auth")
    assert "claude auth login" in turn.error
    assert "--env ANTHROPIC_API_KEY=env:ANTHROPIC_API_KEY" in turn.error
    assert len(bench.model.turns) <= 3


async def test_without_login_or_key_the_turn_says_how_to_get_one(bench: Bench) -> None:
    claude = await bench.started(env={"ANTHROPIC_API_KEY": ""})
    turn = await claude.prompt(do({"say": "unreachable"}))
    assert (turn.status, turn.reason) == ("failed", "auth")
    assert "claude auth login" in turn.error
    assert [error.kind for error in bench.gate.of(Error)] == ["auth"]


async def test_a_lock_that_comes_free_lets_the_waiting_turn_go_on(bench: Bench) -> None:
    claude = await bench.started()
    waits = await bench.held_up(claude)
    await bench.typist.release()
    turn = await waits
    assert (turn.status, turn.output) == ("done", "never")
    assert [grant.units for grant in bench.gate.grants()] == [("file:held.txt",)]


async def test_a_program_runs_and_the_model_reads_what_it_printed(bench: Bench) -> None:
    claude = await bench.started()
    await claude.prompt(do({"shell": "echo hi; exit 3"}, {"say": "ran"}))
    assert "exit code 3" in bench.model.turns[1].last
    assert "--- stdout" in bench.model.turns[1].last


async def test_a_model_that_does_not_exist_is_named_as_the_reason(bench: Bench) -> None:
    claude = await bench.started(model="claude-nope")
    turn = await claude.prompt(do({"error": 404}))
    assert (turn.status, turn.reason) == ("failed", "model_not_found")
    assert "claude-nope" in turn.error


async def test_a_turn_limit_ends_the_turn_as_its_own_limit(bench: Bench) -> None:
    claude = await bench.started(options={"max_turns": 1})
    turn = await claude.prompt(do({"write": ["a.txt", "1"]}, {"write": ["a.txt", "2"]}, {"say": "no"}))
    assert (turn.status, turn.reason) == ("failed", "limit")


async def test_a_cli_that_dies_fails_the_turn_and_all_later_ones(bench: Bench) -> None:
    claude = await bench.started()
    waits = await bench.held_up(claude)
    os.kill(claude.processes()[0], 9)
    turn = await waits
    assert (turn.status, turn.reason) == ("failed", "process")
    assert (await claude.prompt("still there?")).status == "failed"
    assert claude.processes() == []


async def test_a_frozen_agent_stands_still_until_it_is_thawed(bench: Bench) -> None:
    claude = await bench.started()
    (pid,) = claude.processes()
    await claude.freeze()
    assert _state(pid) == "T"
    turn = asyncio.create_task(claude.prompt(do({"say": "awake"})))
    await asyncio.sleep(0)
    assert not bench.model.turns
    await claude.thaw()
    assert (await turn).output == "awake"


async def test_interrupting_a_frozen_agent_ends_its_turn_and_leaves_it_frozen(bench: Bench) -> None:
    claude = await bench.started()
    waits = await bench.held_up(claude)
    await claude.freeze()
    await claude.interrupt()
    assert (await waits).status == "cancelled"
    assert _state(claude.processes()[0]) == "T"


@pytest.mark.parametrize("now", [False, True])
async def test_close_leaves_no_process_and_ends_the_turn_as_cancelled(bench: Bench, now: bool) -> None:
    claude = await bench.started()
    waits = await bench.held_up(claude)
    tree = [processes.identity(pid) for pid in processes.tree(claude.processes()[0])]
    await claude.close(now=now)
    assert not [process for process in tree if processes.alive(process)]
    assert (await waits).status == "cancelled"
    assert not bench.waiting()


async def test_a_prompt_during_a_turn_is_refused(bench: Bench) -> None:
    claude = await bench.started()
    waits = await bench.held_up(claude)
    with pytest.raises(BadRequest, match="middle of a turn"):
        await claude.prompt("and this?")
    await claude.interrupt()
    await waits


# --- before anything is started --------------------------------------------------------------------------------


async def test_without_the_extra_it_says_what_to_install(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "claude_agent_sdk", None)
    with pytest.raises(Unavailable, match=r"pip install 'agentlab\[claude\]'"):
        await bench.driver().start()


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    def make(body: str) -> str:
        path = tmp_path / "claude"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    return make


async def test_an_old_cli_is_refused_with_its_version(bench: Bench, program: Callable[[str], str]) -> None:
    with pytest.raises(Unavailable, match=r"Claude Code 1\.0\.88, too old: at least 2\.0"):
        await bench.driver(options={"cli": program("echo '1.0.88 (Claude Code)'")}).start()


async def test_a_program_that_is_not_claude_is_refused(bench: Bench, program: Callable[[str], str]) -> None:
    with pytest.raises(Unavailable, match="does not name a version"):
        await bench.driver(options={"cli": program("echo hello")}).start()


async def test_a_missing_cli_is_named(bench: Bench) -> None:
    with pytest.raises(Unavailable, match="no program at '/nowhere/claude'"):
        await bench.driver(options={"cli": "/nowhere/claude"}).start()


async def test_an_unknown_option_names_those_there_are(bench: Bench) -> None:
    with pytest.raises(BadRequest, match="max_turns, max_cost"):
        await bench.driver(options={"max_truns": 3}).start()


async def test_a_task_that_is_no_text_is_refused(bench: Bench) -> None:
    with pytest.raises(BadRequest, match="is its prompt"):
        await bench.driver(task=[{"write": ["a", "b"]}]).start()


def _state(pid: int) -> str:
    found = processes.info(pid)
    assert found is not None
    return found.state
