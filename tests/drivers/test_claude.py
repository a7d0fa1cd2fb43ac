"""The real Claude Code of the SDK's wheel, its model scripted on loopback, with a home of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from asking import YES, Answering, Asking, sandbox

from agentlab.core.events import Budget, Error, FileWrite, Guard, ToolCall, ToolResult
from agentlab.errors import AgentFailed, BadRequest, Unavailable
from agentlab.runner.drivers.claude_native import KINDS, OwnTools
from agentlab.runner.gate import Verdict
from agentlab.testing.driver_suite import HELD, WAIT, DriverBench, VendorSuite, do, until
from agentlab.testing.scripted_model import CACHED, INPUT

pytestmark = [pytest.mark.claude, pytest.mark.timeout(180)]


def _whole(line: bytes) -> bool:
    """The SDK takes a line that begins as an object for a message, and every line for text: a broken one fails the turn."""
    return not line.startswith(b"{") and line.isascii()


class Claude(VendorSuite):
    kind = "claude"
    model = "claude-sonnet-4-5"
    login = "claude auth login"
    costs = True
    noise = tuple(line for line in VendorSuite.noise if _whole(line))
    own: ClassVar[tuple[dict[str, Any], ...]] = (
        {"tool": "Write", "args": {"file_path": "{root}/sneaky.txt", "content": "x"}},
        {"tool": "Bash", "args": {"command": "touch {root}/sneaky", "description": "scripted"}},
    )

    def env(self, bench: DriverBench) -> dict[str, str]:
        return {
            "CLAUDE_CONFIG_DIR": str(bench.home / ".claude"),
            "ANTHROPIC_BASE_URL": bench.model.url,
            "ANTHROPIC_API_KEY": "dummy-key",
        }

    def program(self, bench: DriverBench) -> Path:
        import claude_agent_sdk

        return Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"

    async def test_it_is_told_how_work_is_shared_and_what_its_spec_says(self, bench: DriverBench) -> None:
        driver = await bench.started(instructions="Answer in Latin.")
        await driver.prompt(do({"say": "salve"}))
        system = json.dumps(bench.model.turns[0].body["system"])
        assert "mcp__lab__claim" in system
        assert "Answer in Latin." in system

    async def test_without_login_or_key_the_turn_says_how_to_get_one(self, bench: DriverBench) -> None:
        driver = await bench.started(env={"ANTHROPIC_API_KEY": ""})
        turn = await driver.prompt(do({"say": "unreachable"}))
        assert (turn.status, turn.reason) == ("failed", "auth")
        assert "claude auth login" in turn.error
        assert [error.kind for error in bench.gate.of(Error)] == ["auth"]


class TestClaude(Claude):
    """What only Claude has, and is the same whoever has the tools."""

    async def test_a_message_that_is_broken_fails_the_turn(self, bench: DriverBench) -> None:
        driver = await bench.meddled(self.program(bench), noise=[b'{"type": "result", "subtype'])
        turn = await driver.prompt(do({"write": ["a.txt", "x"], "say": "MEDDLE-NOW"}, {"say": "never"}))
        assert (turn.status, turn.reason) == ("failed", "process")
        assert driver.processes() == []

    async def test_an_attempt_at_a_tool_of_its_own_is_recorded(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await driver.prompt(do(*self.own[:1], {"write": ["a.txt", "allowed"]}, {"say": "ok"}))
        assert turn.status == "done"
        assert [guard.rule for guard in bench.gate.of(Guard)] == ["boundary"]
        (call,) = bench.gate.of(ToolCall)
        assert call.call.startswith("toolu_"), "the vendor's id is the call's"

    async def test_a_refusal_is_marked_as_an_error_for_the_model(self, bench: DriverBench) -> None:
        await bench.typist.claim((f"file:{HELD}",))
        bench.tools.hold = 0.1
        driver = await bench.started()
        await driver.prompt(do(WAIT, {"say": "ok"}))
        result = bench.model.turns[1].body["messages"][-1]["content"][0]
        assert result["is_error"] is True

    async def test_cost_adds_up_over_calls_turns_and_a_resume(self, bench: DriverBench) -> None:
        driver = await bench.started()
        first = await driver.prompt(do({"write": ["a.txt", "1"]}, {"write": ["a.txt", "2"]}, {"say": "three answers"}))
        second = await driver.prompt(do({"say": "one answer"}))
        assert (first.usage["in"], first.usage["cached"]) == (3 * INPUT, 3 * CACHED)
        assert first.usage["cost"] == pytest.approx(3 * second.usage["cost"])
        await driver.close()
        again = await bench.started(resume=first.vendor_session)
        third = await again.prompt(do({"say": "one answer"}))
        assert third.usage["cost"] == pytest.approx(second.usage["cost"])

    async def test_a_resumed_session_pays_for_itself_alone_whatever_its_model_was(self, bench: DriverBench) -> None:
        """The CLI tells what the whole session has cost, what was before it was resumed included."""
        fresh = await bench.started(model="claude-haiku-4-5")
        one = (await fresh.prompt(do({"say": "one answer"}))).usage["cost"]
        dear = await bench.started(model="claude-opus-4-1")
        before = await dear.prompt(do({"write": ["a.txt", "1"]}, {"write": ["a.txt", "2"]}, {"say": "three answers"}))
        await dear.close()
        assert before.usage["cost"] > 6 * one
        again = await bench.started(resume=before.vendor_session, model="claude-haiku-4-5")
        assert (await again.prompt(do({"say": "one answer"}))).usage["cost"] == pytest.approx(one)

    @pytest.mark.parametrize("resumed", [False, True])
    async def test_a_limit_of_cost_is_reached_by_its_own_answers_which_are_all_counted(
        self, bench: DriverBench, resumed: bool
    ) -> None:
        """Of the last one, which went beyond it, the CLI's own account says nothing."""
        steps = [{"write": ["a.txt", str(number)]} for number in range(4)]
        first = await bench.started()
        session, one = "", (await first.prompt(do({"say": "one answer"}))).usage["cost"]
        if resumed:
            session = (await first.prompt(do(*steps, {"say": "much more than the limit"}))).vendor_session
        await first.close()
        limited = await bench.started(resume=session or None, budget=Budget(cost=2.5 * one))
        turn = await limited.prompt(do(*steps, {"say": "never"}))
        assert (turn.status, turn.reason) == ("failed", "limit"), turn
        assert turn.usage["cost"] == pytest.approx(3 * one)
        assert (turn.usage["in"], turn.usage["cached"]) == (3 * INPUT, 3 * CACHED)

    async def test_a_program_that_ends_well_before_a_session_is_no_slow_one(
        self, bench: DriverBench, tmp_path: Path
    ) -> None:
        """An old one that asks to be updated, for instance."""
        program = tmp_path / "claude"
        program.write_text(
            "#!/bin/sh\n[ $1 = --version ] && echo '2.1.0 (Claude Code)' && exit\necho 'Please update.' >&2; sleep 1.5\n"
        )
        program.chmod(0o755)
        with pytest.raises(AgentFailed, match="ended before a session was open") as failed:
            await bench.driver(options={"cli": str(program)}).start()
        assert failed.value.data["reason"] == "process"
        assert "Please update." in failed.value.data["last_lines"]

    async def test_a_refused_key_is_not_tried_for_minutes(self, bench: DriverBench) -> None:
        driver = await bench.started()
        await driver.prompt(do({"error": 401, "say": "invalid x-api-key"}))
        assert len(bench.model.turns) <= 3

    async def test_a_rate_limit_is_not_tried_for_minutes_unless_that_is_asked(self, bench: DriverBench) -> None:
        limited = do({"error": 429, "say": "slow down"})
        driver = await bench.started()
        turn = await driver.prompt(limited)
        assert (turn.status, turn.reason) == ("failed", "rate_limit")
        assert len(bench.model.turns) <= 4
        assert len([error for error in bench.gate.of(Error) if error.kind == "api_retry"]) == 3
        assert (await driver.prompt(do({"say": "went on"}))).output == "went on"
        patient = await bench.started(wait_limits=True)
        before = len(bench.model.turns)
        waits = asyncio.create_task(patient.prompt(limited))
        await until(lambda: waits.done() or len(bench.model.turns) - before > 4)
        assert not waits.done()
        await patient.interrupt()
        assert (await waits).status == "cancelled"

    async def test_a_model_that_does_not_exist_is_named_as_the_reason(self, bench: DriverBench) -> None:
        driver = await bench.started(model="claude-nope")
        turn = await driver.prompt(do({"error": 404}))
        assert (turn.status, turn.reason) == ("failed", "model_not_found")
        assert "claude-nope" in turn.error

    async def test_a_turn_limit_ends_the_turn_as_its_own_limit(self, bench: DriverBench) -> None:
        driver = await bench.started(options={"max_turns": 1})
        turn = await driver.prompt(do({"write": ["a.txt", "1"]}, {"write": ["a.txt", "2"]}, {"say": "no"}))
        assert (turn.status, turn.reason) == ("failed", "limit")

    async def test_without_the_extra_it_says_what_to_install(
        self, bench: DriverBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "claude_agent_sdk", None)
        with pytest.raises(Unavailable, match=r"pip install 'agentlab\[claude\]'"):
            await bench.driver().start()

    @pytest.mark.parametrize(
        ("says", "refused"),
        [
            ("1.0.88 (Claude Code)", r"Claude Code 1\.0\.88, too old: at least 2\.0"),
            ("hello", "does not name a version"),
        ],
    )
    async def test_an_old_program_or_another_one_is_refused(
        self, bench: DriverBench, tmp_path: Path, says: str, refused: str
    ) -> None:
        program = tmp_path / "claude"
        program.write_text(f"#!/bin/sh\necho '{says}'\n")
        program.chmod(0o755)
        with pytest.raises(Unavailable, match=refused):
            await bench.driver(options={"cli": str(program)}).start()

    async def test_its_own_options_are_named_where_one_is_unknown(self, bench: DriverBench) -> None:
        with pytest.raises(BadRequest, match="max_turns, max_cost"):
            await bench.driver(options={"max_truns": 3}).start()


def own(tool: str, **args: Any) -> dict[str, Any]:
    return {"tool": tool, "args": args, "exact": True}


NO = Verdict(allowed=False, answer="denied", by="ann", reason="not on a Friday")


class TestNativeClaude(Answering, Asking, Claude):
    """Claude Code with its own tools beside ours. What it does with them waits for an approval and for the lock."""

    boundary = "native"

    def changes(self, root: Path, path: str, text: str) -> dict[str, Any]:
        return own("Write", file_path=str(root / path), content=text)

    # --- what is otherwise than without its own tools ------------------------------------------------------------

    async def test_it_is_offered_our_tools_and_nothing_that_acts(self, bench: DriverBench) -> None:
        driver = await bench.started()
        await driver.prompt(do({"say": "hi"}))
        (offered,) = {seen.tools for seen in bench.model.turns}
        kept = {name for name in offered if not name.startswith("mcp__lab__")}
        assert {"Read", "Edit", "Write", "Bash"} <= kept <= set(KINDS)
        assert {"mcp__lab__run", "mcp__lab__claim"} <= set(offered)

    async def test_its_own_tools_cannot_touch_anything(self, bench: DriverBench) -> None:
        driver = await bench.started()
        steps = json.loads(json.dumps(self.own).replace("{root}", str(bench.root)))
        turn = asyncio.create_task(driver.prompt(do(*steps, {"say": "tried"})))
        await self.answered(bench, NO, NO)
        assert (await turn).output == "tried"
        assert list(bench.root.iterdir()) == []
        assert [e.status for e in bench.gate.entries if isinstance(e.body, ToolResult)] == ["error", "error"]

    async def test_an_attempt_at_a_tool_of_its_own_is_recorded(self, bench: DriverBench) -> None:
        """One that it does not keep."""
        driver = await bench.started()
        turn = await driver.prompt(do(own("WebFetch", url="http://127.0.0.1:1/", prompt="x"), {"say": "ok"}))
        assert turn.status == "done"
        assert [guard.rule for guard in bench.gate.of(Guard)] == ["boundary"]
        assert not bench.plane.asked

    # --- asking --------------------------------------------------------------------------------------------------

    async def test_a_change_is_shown_before_it_is_made_and_a_no_has_a_reason(self, bench: DriverBench) -> None:
        (bench.root / "old.txt").write_text("one\n")
        path = str(bench.root / "old.txt")
        change = own("Edit", file_path=path, old_string="one", new_string="two")
        driver = await bench.started()
        turn = asyncio.create_task(driver.prompt(do(own("Read", file_path=path), change, change, {"say": "changed"})))
        await self.asked(bench)
        (request,) = bench.plane.asked
        assert (request.tool, request.units) == ("edit", ("file:old.txt",))
        assert request.diff and "-one\n+two" in request.diff
        assert (bench.root / "old.txt").read_text() == "one\n", "nothing happens before the answer"
        await self.answered(bench, NO)
        await self.asked(bench, 2)
        assert "denied by ann: not on a Friday" in bench.said(-1)
        await self.answered(bench, YES)
        assert (await turn).output == "changed"
        assert (bench.root / "old.txt").read_text() == "two\n"
        (write,) = bench.gate.of(FileWrite)
        assert (write.path, write.token > 0) == ("old.txt", True)
        names = [(e.name, e.status) for e in bench.gate.entries if isinstance(e.body, ToolResult)]
        assert names == [("read", "ok"), ("edit", "error"), ("edit", "ok")]
        assert [call.call.startswith("toolu_") for call in bench.gate.of(ToolCall)] == [True] * 3

    async def test_a_change_waits_for_the_file_that_somebody_else_holds(self, bench: DriverBench) -> None:
        await bench.typist.claim((f"file:{HELD}",))
        driver = await bench.started()
        write = own("Write", file_path=str(bench.root / HELD), content="mine at last")
        turn = asyncio.create_task(driver.prompt(do(write, {"say": "went on"})))
        await self.answered(bench, YES)
        await until(bench.waiting)
        assert not (bench.root / HELD).exists()
        await bench.typist.release()
        assert (await turn).output == "went on"
        assert (bench.root / HELD).read_text() == "mine at last"

    async def test_outside_of_the_workspace_nobody_is_asked(self, bench: DriverBench) -> None:
        driver = await bench.started()
        outside = bench.base / "outside.txt"
        turn = await driver.prompt(do(own("Write", file_path=str(outside), content="x"), {"say": "tried"}))
        assert (turn.output, outside.exists(), bench.plane.asked) == ("tried", False, [])
        assert "leads out of the workspace" in bench.said(-1)

    async def test_a_command_in_the_background_is_refused(self, bench: DriverBench) -> None:
        driver = await bench.started()
        command = own("Bash", command=f"touch {bench.root}/sneaky", description="x", run_in_background=True)
        turn = await driver.prompt(do(command, {"say": "tried"}))
        assert (turn.output, list(bench.root.iterdir()), bench.plane.asked) == ("tried", [], [])
        assert "would outlive the locks" in bench.said(-1)

    async def test_an_interrupt_ends_the_wait_for_a_person(self, bench: DriverBench) -> None:
        driver = await bench.started()
        write = own("Write", file_path=str(bench.root / "a.txt"), content="x")
        turn = asyncio.create_task(driver.prompt(do(write, {"say": "never"})))
        await self.asked(bench)
        await driver.interrupt()
        assert (await turn).status == "cancelled"
        assert not (bench.root / "a.txt").exists() and not bench.gate.grants()
        again = await driver.prompt(do({"say": "still here"}))
        assert again.output == "still here"

    @pytest.mark.parametrize("tool", ["Write", "Bash"])
    async def test_a_hook_that_fails_lets_nothing_through(
        self, bench: DriverBench, tool: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(*args: object) -> str:
            raise RuntimeError("the hook is broken")

        monkeypatch.setattr(OwnTools, "before", broken)
        driver = await bench.started()
        steps = json.loads(json.dumps(self.own).replace("{root}", str(bench.root)))
        await driver.prompt(do(*[step for step in steps if step["tool"] == tool], {"say": "tried"}))
        assert list(bench.root.iterdir()) == []

    async def test_what_a_command_wrote_on_a_file_of_another_is_put_back(self, bench: DriverBench) -> None:
        """It holds the workspace as long as it runs; here its lock is taken from it meanwhile."""
        driver = await bench.started()
        script = (
            f"touch {bench.root}/begun; while [ ! -e {bench.base}/go ]; do sleep 0.05; done; echo x > {bench.root}/late"
        )
        turn = asyncio.create_task(driver.prompt(do(own("Bash", command=script, description="x"), {"say": "never"})))
        await self.answered(bench, YES)
        await until((bench.root / "begun").exists)
        (ticket,) = bench.plane.of(bench.gate.owner)
        await bench.plane.revoke(ticket.number)
        ended = await turn
        (bench.base / "go").touch()
        assert (ended.status, ended.reason) == ("failed", "lost_grant")
        await driver.close()
        assert list(bench.root.iterdir()) == []

    # --- its own folder ------------------------------------------------------------------------------------------

    async def test_with_a_key_its_settings_are_not_the_users(self, bench: DriverBench) -> None:
        bench.sandbox = sandbox("bubblewrap", bench.base / "lab", "all")
        env = {name: value for name, value in bench.env.items() if name != "CLAUDE_CONFIG_DIR"}
        bench.env = env
        driver = await bench.started()
        first = await driver.prompt(do({"say": "remember the number 4711"}))
        await driver.close()
        assert list(bench.home.iterdir()) == []
        again = await bench.started(resume=first.vendor_session)
        assert (await again.prompt(do({"say": "I do"}))).output == "I do"
        assert "4711" in json.dumps(bench.model.turns[-1].body)

    async def test_with_a_login_its_folder_is_the_users_in_the_sandbox_too(self, bench: DriverBench) -> None:
        bench.sandbox = sandbox("bubblewrap", bench.base / "lab", "all")
        bench.env = {"ANTHROPIC_BASE_URL": bench.model.url, "CLAUDE_CODE_OAUTH_TOKEN": "sk-" + "ant-oat01-dummy"}
        (bench.home / ".claude.json").write_text("{}")
        driver = await bench.started()
        assert (await driver.prompt(do({"say": "hi"}))).output == "hi"
        await driver.close()
        assert list((bench.home / ".claude" / "projects").rglob("*.jsonl"))
