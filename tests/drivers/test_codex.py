"""The real Codex, its model scripted on loopback, with a home of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from asking import Answering, InSandbox, sandbox

from agentlab.config import Network
from agentlab.core.events import FileWrite, Guard, ToolCall, ToolResult
from agentlab.errors import AgentFailed
from agentlab.runner.drivers import codex_setup
from agentlab.runner.gate import Verdict
from agentlab.testing.driver_suite import DriverBench, VendorSuite, do, until

pytestmark = [pytest.mark.agents, pytest.mark.timeout(180)]

PATCH = "*** Begin Patch\n*** Add File: sneaky.txt\n+x\n*** End Patch"


class TestCodex(VendorSuite):
    kind = "codex"
    model = "gpt-5.5"
    login = "codex login"
    reads = frozenset({"request_user_input", "view_image"})  # one asks a person, one reads a picture
    own: ClassVar[tuple[dict[str, Any], ...]] = (
        {"tool": "exec_command", "args": {"cmd": "touch {root}/sneaky"}},
        {"tool": "apply_patch", "args": {"input": PATCH}},
        {"tool": "shell", "args": {"command": ["touch", "{root}/sneaky"]}},
    )

    def env(self, bench: DriverBench) -> dict[str, str]:
        return {"OPENAI_API_KEY": "dummy-key", "OPENAI_BASE_URL": f"{bench.model.url}/v1"}

    async def test_a_prompt_that_is_too_long_for_it_is_a_failed_turn_and_the_next_one_works(
        self, bench: DriverBench
    ) -> None:
        driver = await bench.started()
        turn = await driver.prompt("x" * 20_000_000)
        assert turn.status == "failed"
        assert "maximum length" in turn.error
        assert (await driver.prompt(do({"say": "fine"}))).output == "fine"

    async def test_without_a_login_or_a_key_it_does_not_begin_and_says_how_to_log_in(self, bench: DriverBench) -> None:
        bench.env = {name: value for name, value in bench.env.items() if not name.startswith("OPENAI")}
        with pytest.raises(AgentFailed, match=r"not logged in.*\n.*codex login") as failed:
            await bench.started()
        assert failed.value.data["reason"] == "auth"

    async def test_a_new_home_is_a_copy_of_one_in_which_nothing_was_done(self, bench: DriverBench) -> None:
        first = await bench.started()
        await first.prompt(do({"say": "a word that stays"}))
        await first.close()
        (pattern,) = (path for path in bench.private.glob("home-*") if path.is_dir())
        files = [path for path in pattern.rglob("*") if path.is_file()]
        assert any(path.suffix == ".sqlite" for path in files)
        assert not any(b"a word that stays" in path.read_bytes() or b"dummy-key" in path.read_bytes() for path in files)
        assert not (pattern / "auth.json").exists()
        assert not list(bench.private.glob("home.*")), "no draft is left"

    @pytest.mark.parametrize("model", ["gpt-6-astra", "a-model-that-no-catalogue-has"])
    async def test_models_that_would_run_code_get_our_tools_alone(self, bench: DriverBench, model: str) -> None:
        driver = await bench.started(model=model)
        turn = await driver.prompt(do({"write": ["a.txt", "x"]}, *self.own[:2], {"say": "ok"}))
        assert turn.status == "done"
        assert [path.name for path in bench.root.iterdir()] == ["a.txt"]
        assert json.dumps(bench.model.turns[-1].body).count("unsupported call") == 2


def patch(*lines: str) -> dict[str, Any]:
    """A step: Codex's own tool for changes."""
    return {"tool": "apply_patch", "args": {"input": "\n".join(("*** Begin Patch", *lines, "*** End Patch", ""))}}


ADD = patch("*** Add File: new.txt", "+one")
CHANGE = patch("*** Update File: old.txt", "@@", "-one", "+two")
YES = Verdict(allowed=True, answer="approved", by="ann")
NO = Verdict(allowed=False, answer="denied", by="ann", reason="not today")


def command(text: str) -> dict[str, Any]:
    return {"tool": "exec_command", "args": {"cmd": text}}


class TestNativeCodex(Answering, InSandbox, TestCodex):
    """Codex with its own tools beside ours. What it does with them waits for an approval and for the lock."""

    def env(self, bench: DriverBench) -> dict[str, str]:
        """Codex links its sandbox into its home, unless that lies in the folder for temporary files, as it does here."""
        (bench.base / "tmp").mkdir()
        return {**super().env(bench), "TMPDIR": str(bench.base / "tmp")}

    def changes(self, root: Path, path: str, text: str) -> dict[str, Any]:
        return patch(f"*** Add File: {path}", f"+{text}")

    # --- what is otherwise than without its own tools ------------------------------------------------------------

    async def test_it_is_offered_our_tools_and_nothing_that_acts(self, bench: DriverBench) -> None:
        driver = await bench.started()
        await driver.prompt(do({"say": "hi"}))
        (offered,) = {seen.tools for seen in bench.model.turns}
        assert {"apply_patch", "exec_command", "lab_write", "lab_run"} <= set(offered)

    async def test_its_own_tools_cannot_touch_anything(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = asyncio.create_task(driver.prompt(do(ADD, command("touch new.txt; mkdir d"), {"say": "tried"})))
        await self.answered(bench, NO, NO)
        assert (await turn).output == "tried"
        assert list(bench.root.iterdir()) == [], "both were denied"

    @pytest.mark.parametrize("model", ["gpt-6-astra", "a-model-that-no-catalogue-has"])
    async def test_models_that_would_run_code_get_our_tools_alone(self, bench: DriverBench, model: str) -> None:
        """In code mode a command that is held for more than 30 s is dropped: it is off here too."""
        driver = await bench.started(model=model)
        await self.answered(bench, YES)
        turn = await driver.prompt(do(ADD, {"say": "ok"}))
        assert (turn.status, (bench.root / "new.txt").read_text()) == ("done", "one\n")

    # --- changes -------------------------------------------------------------------------------------------------

    async def test_a_change_that_was_approved_is_made_under_a_grant_and_recorded(self, bench: DriverBench) -> None:
        (bench.root / "old.txt").write_text("one\n")
        driver = await bench.started()
        turn = asyncio.create_task(driver.prompt(do(CHANGE, {"say": "changed"})))
        await self.asked(bench)
        (request,) = bench.plane.asked
        assert (request.tool, request.units) == ("apply_patch", ("file:old.txt",))
        assert request.diff and "-one\n+two" in request.diff
        assert (bench.root / "old.txt").read_text() == "one\n", "nothing happens before the answer"
        await self.answered(bench, YES)
        assert (await turn).output == "changed"
        assert (bench.root / "old.txt").read_text() == "two\n"
        (write,) = bench.gate.of(FileWrite)
        assert write.path == "old.txt" and write.token > 0
        (call,) = bench.gate.of(ToolCall)
        assert call.vendor == {"tool": "fileChange", "item": call.call}
        assert [e.status for e in bench.gate.entries if isinstance(e.body, ToolResult)] == ["ok"]
        assert bench.gate.grants() == (), "the lock lasts as long as the change"

    async def test_a_change_that_was_denied_is_not_made_and_the_model_is_told_why(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = asyncio.create_task(driver.prompt(do(ADD, {"write": ["ours.txt", "x"]}, {"say": "went on"})))
        await self.answered(bench, NO)
        assert (await turn).output == "went on"
        assert [path.name for path in bench.root.iterdir()] == ["ours.txt"]
        assert "denied by ann. not today" in json.dumps(bench.model.turns[-1].body)
        told = [(e.name, e.status, e.body.error) for e in bench.gate.entries if isinstance(e.body, ToolResult)]
        assert told == [("patch", "denied", "denied by ann. not today"), ("write", "ok", "")], "on record as it ended"

    async def test_a_change_waits_for_the_lock_also_when_it_was_approved(self, bench: DriverBench) -> None:
        await bench.typist.claim(("file:new.txt",))
        driver = await bench.started()
        turn = asyncio.create_task(driver.prompt(do(ADD, {"say": "at last"})))
        await self.answered(bench, YES)
        await until(bench.waiting)
        assert not (bench.root / "new.txt").exists()
        await bench.typist.release()
        assert (await turn).output == "at last"
        assert (bench.root / "new.txt").exists()

    async def test_a_change_whose_lock_is_not_to_be_had_is_refused(self, bench: DriverBench) -> None:
        await bench.typist.claim(("file:new.txt",))
        bench.tools.hold = 0.1
        driver = await bench.started()
        turn = asyncio.create_task(driver.prompt(do(ADD, {"say": "next"})))
        await self.answered(bench, YES)
        assert (await turn).output == "next"
        assert not (bench.root / "new.txt").exists()
        assert "held by typist" in json.dumps(bench.model.turns[-1].body)

    async def test_a_change_outside_of_the_workspace_is_refused_without_asking_anybody(
        self, bench: DriverBench
    ) -> None:
        driver = await bench.started()
        out = bench.base / "outside.txt"
        turn = await driver.prompt(do(patch(f"*** Add File: {out}", "+x"), {"say": "tried"}))
        assert turn.output == "tried"
        assert not out.exists()
        assert bench.plane.asked == []
        assert [guard.rule for guard in bench.gate.of(Guard)] == ["boundary"]

    async def test_a_file_that_is_moved_needs_both_names(self, bench: DriverBench) -> None:
        (bench.root / "old.txt").write_text("one\n")
        driver = await bench.started()
        step = patch("*** Update File: old.txt", "*** Move to: new.txt", "@@", "-one", "+two")
        await self.answered(bench, YES)
        turn = await driver.prompt(do(step, {"say": "moved"}))
        assert turn.output == "moved"
        assert bench.plane.asked[0].units == ("file:old.txt", "file:new.txt")
        assert [path.name for path in bench.root.iterdir()] == ["new.txt"]

    # --- commands ------------------------------------------------------------------------------------------------

    async def test_a_command_that_only_looks_is_recorded_and_asks_nobody(self, bench: DriverBench) -> None:
        (bench.root / "old.txt").write_text("4711\n")
        driver = await bench.started()
        turn = await driver.prompt(do(command("cat old.txt"), {"say": "seen"}))
        assert turn.output == "seen"
        assert bench.plane.asked == []
        assert "4711" in bench.said(1)
        assert [e.name for e in bench.gate.entries if isinstance(e.body, ToolCall)] == ["run"]

    @pytest.mark.parametrize("text", ["find . -name old.txt -delete", "rg --pre ./try.sh one ."])
    async def test_a_command_that_codex_takes_for_a_look_is_asked_about_where_it_could_act(
        self, bench: DriverBench, text: str
    ) -> None:
        (bench.root / "old.txt").write_text("one\n")
        (bench.root / "try.sh").write_text("#!/bin/sh\nrm -f old.txt\n")
        (bench.root / "try.sh").chmod(0o755)
        driver = await bench.started()
        turn = asyncio.create_task(driver.prompt(do(command(text), {"say": "tried"})))
        await self.answered(bench, NO)
        assert (await turn).output == "tried"
        assert [asked.input["command"] for asked in bench.plane.asked] == [f'/bin/bash -lc "{text}"'.replace('"', "'")]
        assert (bench.root / "old.txt").exists()
        assert bench.gate.of(FileWrite) == [] and bench.gate.of(Guard) == []

    async def test_another_command_asks_and_what_it_wrote_is_recorded(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = asyncio.create_task(
            driver.prompt(do(command("touch x; python3 -c 'print(6*7*1000001)'"), {"say": "ran"}))
        )
        await self.asked(bench)
        assert bench.plane.asked[0].tool == "exec_command"
        assert list(bench.root.iterdir()) == [], "nothing happens before the answer"
        await self.answered(bench, YES)
        assert (await turn).output == "ran"
        assert "42000042" in bench.said(1)
        assert [(write.path, write.via, write.token > 0) for write in bench.gate.of(FileWrite)] == [("x", "scan", True)]
        assert bench.gate.grants() == ()

    async def test_a_command_that_was_approved_waits_for_a_file_that_somebody_holds(self, bench: DriverBench) -> None:
        """It runs where it could write that file, and nobody could tell then whose the change is."""
        (bench.root / "old.txt").write_text("one\n")
        await bench.typist.claim(("file:old.txt",))
        driver = await bench.started()
        turn = asyncio.create_task(driver.prompt(do(command("echo stolen > old.txt"), {"say": "ran"})))
        await self.answered(bench, YES)
        await until(bench.waiting)
        assert (bench.root / "old.txt").read_text() == "one\n"
        await bench.typist.release()
        assert (await turn).output == "ran"
        assert [write.path for write in bench.gate.of(FileWrite)] == ["old.txt"]

    async def test_a_command_whose_grant_is_taken_from_it_ends_the_turn_and_is_put_back(
        self, bench: DriverBench
    ) -> None:
        driver = await bench.started()
        turn = asyncio.create_task(driver.prompt(do(command("touch x; sleep 300"), {"say": "never"})))
        await self.answered(bench, YES)
        await until(lambda: (bench.root / "x").exists())
        for granted in bench.gate.grants():
            await bench.gate.release(granted.ticket)
        ended = await turn
        assert (ended.status, ended.reason) == ("failed", "lost_grant")
        assert [guard.rule for guard in bench.gate.of(Guard)] == ["lost-grant", "unclaimed-write"]
        assert list(bench.root.iterdir()) == []

    async def test_a_command_is_asked_about_by_the_unit_of_its_pattern_and_holds_it(self, bench: DriverBench) -> None:
        await bench.typist.claim(("proc:git",))
        driver = await bench.started()
        turn = asyncio.create_task(driver.prompt(do(command("git --version"), {"say": "ran"})))
        await self.answered(bench, YES)
        await until(bench.waiting)
        assert bench.plane.asked[0].units == ("dir:.", "proc:git")
        await bench.typist.release()
        assert (await turn).output == "ran"
        assert not bench.gate.grants()

    @pytest.mark.parametrize(("rung", "network"), [("bubblewrap", "model"), ("landlock", "all")])
    async def test_in_the_sandbox_nothing_that_it_runs_reaches_further_than_the_workspace(
        self, bench: DriverBench, rung: str, network: Network
    ) -> None:
        """Although it was approved, and Codex itself would run it without a sandbox where its own stops it."""
        bench.sandbox, bench.network = sandbox(rung, bench.base / "lab", network), network
        (bench.base / "lab" / "secret").write_text("the secret")
        (bench.root / "try.sh").write_text(
            f"cat {bench.base}/lab/secret; echo 1 > {bench.base}/outside; echo tried $((6*7*1000001))\n"
        )
        driver = await bench.started()
        await self.answered(bench, YES, YES)
        turn = await driver.prompt(do(command("sh try.sh"), {"write": ["ours.txt", "x"]}, {"say": "ran"}))
        assert turn.output == "ran"
        assert "tried 42000042" in bench.said(1) and "the secret" not in bench.said(1)
        assert not (bench.base / "outside").exists()
        assert (bench.root / "ours.txt").read_text() == "x"

    @pytest.mark.parametrize("rung", ["bubblewrap", "landlock", "none"])
    async def test_a_change_is_made_in_the_sandbox_as_without(self, bench: DriverBench, rung: str) -> None:
        bench.sandbox = sandbox(rung, bench.base / "lab", "all")
        driver = await bench.started()
        await self.answered(bench, YES)
        assert (await driver.prompt(do(ADD, {"say": "changed"}))).output == "changed"
        assert (bench.root / "new.txt").read_text() == "one\n"

    # --- ends ----------------------------------------------------------------------------------------------------

    async def test_an_interrupt_takes_the_question_back_and_makes_no_change(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = asyncio.create_task(driver.prompt(do(ADD, {"say": "never"})))
        await self.asked(bench)
        await driver.interrupt()
        assert (await turn).status == "cancelled"
        await self.answered(bench, YES)
        after = await driver.prompt(do({"say": "here again"}))
        assert after.output == "here again"
        assert not (bench.root / "new.txt").exists()
        assert bench.gate.grants() == ()

    async def test_a_program_that_dies_while_it_waits_makes_no_change_and_leaves_no_ticket(
        self, bench: DriverBench
    ) -> None:
        await bench.typist.claim(("file:new.txt",))
        driver = await bench.started()
        turn = asyncio.create_task(driver.prompt(do(ADD, {"say": "never"})))
        await self.answered(bench, YES)
        await until(bench.waiting)
        for pid in driver.processes():
            os.kill(pid, 9)
        assert (await turn).status == "failed"
        await until(lambda: not bench.waiting())
        assert not (bench.root / "new.txt").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the layout of the packages for Linux")
def test_the_program_is_started_without_the_script_that_only_starts_it(tmp_path: Path) -> None:
    modules = tmp_path / "node_modules"
    script = modules / "@openai" / "codex" / "bin" / "codex.js"
    machine = os.uname().machine
    arch = {"x86_64": "x64", "aarch64": "arm64"}[machine]
    real = modules / "@openai" / f"codex-linux-{arch}" / "vendor" / f"{machine}-unknown-linux-musl" / "bin" / "codex"
    for file in (script, real):
        file.parent.mkdir(parents=True)
        file.write_text("")
        file.chmod(0o700)
    (modules / ".bin").mkdir()
    (modules / ".bin" / "codex").symlink_to(script)
    told = {"CODEX_MANAGED_PACKAGE_ROOT": str(script.parent.parent), "CODEX_MANAGED_BY_NPM": "1"}
    assert codex_setup.native(modules / ".bin" / "codex") == (real, told)
    real.unlink()
    assert codex_setup.native(modules / ".bin" / "codex") == (modules / ".bin" / "codex", {})
    assert codex_setup.native(Path("/usr/bin/codex")) == (Path("/usr/bin/codex"), {})
