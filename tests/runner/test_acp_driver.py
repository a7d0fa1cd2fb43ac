"""The ACP driver, against an agent that does what it is told, well or badly."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from toolbox import Lab, until

from agentlab import processes
from agentlab.core.events import AgentSpec, FileWrite, Guard, Message, ModelCall, ToolCall, ToolResult
from agentlab.errors import AgentFailed, BadRequest, Unavailable
from agentlab.runner.drivers import acp_setup, gemini, opencode, protected
from agentlab.runner.drivers.acp import AcpDriver
from agentlab.runner.drivers.base import Context
from agentlab.runner.gate import Verdict
from agentlab.runner.model_proxy import ModelProxy
from agentlab.testing import fake_acp
from agentlab.testing.gate import MemoryGate

pytest.importorskip("acp")
pytestmark = pytest.mark.timeout(90)

YES = Verdict(allowed=True, by="somebody")
FAKE = [sys.executable, fake_acp.__file__]


@dataclass
class Bench:
    lab: Lab
    drivers: list[AcpDriver] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.host, gate = self.lab.agent("a", hold=60.0)
        self.gate: MemoryGate = gate
        self.root = self.lab.root

    def driver(
        self, *, boundary: str = "tools", options: Any = None, models: ModelProxy | None = None, **spec: Any
    ) -> AcpDriver:
        private = self.lab.home / "agents" / str(len(self.drivers))
        private.mkdir(parents=True, exist_ok=True)
        sealed = {"builtins_off": []} if boundary == "tools" else {}
        context = Context(
            agent=self.gate.owner, root=self.root, private=private, shared=private, tools=self.host, gate=self.gate,
            spec=AgentSpec(kind="acp", boundary=boundary, options={"command": FAKE, **sealed, **(options or {})}, **spec),
            env={"PATH": os.environ["PATH"]}, models=models,
        )  # fmt: skip
        self.drivers.append(AcpDriver(context))
        return self.drivers[-1]

    async def started(self, **spec: Any) -> AcpDriver:
        driver = self.driver(**spec)
        await driver.start()
        return driver


@pytest.fixture
async def bench(tool_lab: Lab) -> AsyncIterator[Bench]:
    bench = Bench(tool_lab)
    yield bench
    for driver in bench.drivers:
        await driver.close(now=True)


def do(*steps: dict[str, Any]) -> str:
    return json.dumps(steps)


async def test_its_calls_pass_our_tools_with_its_own_ids(bench: Bench) -> None:
    driver = await bench.started()
    turn = await driver.prompt(
        do({"think": "hm"}, {"call": ["write", {"path": "a.txt", "data": "hi"}]}, {"say": "done"})
    )
    assert (turn.status, turn.output, turn.usage["in"]) == ("done", "done", 10)
    assert (bench.root / "a.txt").read_text() == "hi"
    (call,) = bench.gate.of(ToolCall)
    assert (call.call, call.args) == ("fake-call-1", {"path": "a.txt", "data": "hi"})
    assert [(m.role, m.text) for m in bench.gate.of(Message)] == [("thinking", "hm"), ("assistant", "done")]


async def test_noise_and_ten_megabytes_on_a_line_are_passed_over(bench: Bench) -> None:
    driver = await bench.started()
    turn = await driver.prompt(do({"garbage": 50}, {"long": 10_000_000}, {"say": "still here"}))
    assert (turn.status, turn.output) == ("done", "still here")


async def test_an_exit_without_the_end_of_the_turn_is_a_failure(bench: Bench) -> None:
    driver = await bench.started()
    turn = await driver.prompt(do({"exit": 0}))
    assert (turn.status, turn.reason, turn.exit_code) == ("failed", "process", 0)
    assert (await driver.prompt(do({"say": "x"}))).status == "failed"


async def test_a_stop_for_another_reason_is_a_failure_with_its_class(bench: Bench) -> None:
    driver = await bench.started()
    for stop, reason in (("max_tokens", "limit"), ("refusal", "refusal"), ("who knows", "unknown")):
        turn = await driver.prompt(do({"stop": stop}))
        assert (turn.status, turn.reason) == ("failed", reason)


async def test_a_limit_that_the_record_of_its_model_has_seen_says_when_it_resets(bench: Bench) -> None:
    models = ModelProxy(bench.gate, limit=1000)
    driver = await bench.started(models=models)
    models.resets = 1_800_000_000.0
    limited = await driver.prompt(do({"fail": "429 Too Many Requests"}))
    other = await driver.prompt(do({"fail": "the model said something odd"}))
    assert (limited.reason, limited.resets) == ("rate_limit", 1_800_000_000.0)
    assert (other.reason, other.resets) == ("unknown", None)


async def test_an_interrupted_wait_gives_its_ticket_back_although_the_agent_tells_nobody(bench: Bench) -> None:
    driver = await bench.started()
    _, typist = bench.lab.agent("typist")
    await typist.claim(("file:a.txt",))
    turn = asyncio.create_task(driver.prompt(do({"call": ["write", {"path": "a.txt", "data": "x"}]})))
    await until(lambda: len(bench.lab.plane.tickets) == 2)
    await driver.interrupt()
    assert (await turn).status == "cancelled"
    assert len(bench.lab.plane.tickets) == 1
    assert (await driver.prompt(do({"say": "ready"}))).output == "ready"


async def test_a_turn_that_nobody_waits_for_any_more_leaves_nothing_to_the_next(bench: Bench) -> None:
    """Neither a call that was open, nor what it used and cost, nor why something was refused."""
    bench.lab.plane.verdicts.append(Verdict(allowed=False, answer="denied", by="ann", reason="not on a Friday"))
    driver = await bench.started(boundary="native")
    ask = {"title": "w", "kind": "edit", "path": str(bench.root / "a.txt"), "new": "x"}
    look = {"title": "look", "kind": "read", "linger": 600}
    cut = asyncio.create_task(driver.prompt(do({"pay": 0.5}, {"say": "first"}, {"ask": ask}, {"act": look})))
    await until(lambda: [call.vendor["tool"] for call in bench.gate.of(ToolCall)] == ["look"])
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut
    recorded = len(bench.gate.entries)
    assert len(bench.gate.of(ToolResult)) == 1
    turn = await driver.prompt(do({"pay": 0.75}, {"say": "second"}))
    assert (turn.status, turn.output) == ("done", "second")
    assert turn.usage == {"in": 10, "out": 5, "cached": 0, "cost": 0.25}
    after = [entry.body for entry in bench.gate.entries[recorded:]]
    assert [type(body) for body in after] == [Message, ModelCall]


async def test_close_ends_daemons_in_sessions_of_their_own(bench: Bench) -> None:
    driver = await bench.started()
    await driver.prompt(do({"daemon": 600}))
    tree = [processes.identity(pid) for root in driver.processes() for pid in processes.tree(root)]
    assert len(tree) >= 3  # the agent, the proxy, the daemon
    await driver.close()
    assert not [process for process in tree if processes.alive(process)]


async def test_a_tool_of_its_own_that_acts_where_all_are_off_ends_the_agent(bench: Bench) -> None:
    driver = await bench.started()
    turn = await driver.prompt(do({"act": {"title": "rm", "kind": "execute"}}, {"sleep": 60}))
    assert (turn.status, turn.reason) == ("failed", "boundary")


async def test_permission_is_refused_where_all_its_tools_are_off(bench: Bench) -> None:
    driver = await bench.started()
    path = str(bench.root / "a.txt")
    ask = {"title": "lab_write", "kind": "edit", "path": path, "new": "x"}  # not ours, whatever it calls itself
    assert (await driver.prompt(do({"ask": ask}, {"say": "ok"}))).status == "done"
    assert not (bench.root / "a.txt").exists()
    assert [guard.rule for guard in bench.gate.of(Guard)] == ["boundary"]


# --- native ------------------------------------------------------------------------------------------------


async def test_a_native_write_that_is_approved_goes_through_us_under_a_lock(bench: Bench) -> None:
    bench.lab.plane.verdicts.append(Verdict(allowed=True, by="somebody"))
    driver = await bench.started(boundary="native")
    path = str(bench.root / "a.txt")
    ask = {"title": "write a.txt", "kind": "edit", "path": path, "new": "x", "over": "client"}
    turn = await driver.prompt(do({"ask": ask}, {"say": "ok"}))
    assert (turn.status, (bench.root / "a.txt").read_text()) == ("done", "x")
    assert [write.token > 0 for write in bench.gate.of(FileWrite)] == [True]
    assert not bench.gate.grants()
    (call,) = bench.gate.of(ToolCall)
    assert call.vendor == {"tool": "write a.txt", "kind": "edit"}, "once, by the name that the vendor has for it"
    assert [e.name for e in bench.gate.entries if isinstance(e.body, ToolResult)] == ["edit"]


async def test_what_an_approved_act_wrote_by_itself_is_recorded(bench: Bench) -> None:
    bench.lab.plane.verdicts.append(YES)
    driver = await bench.started(boundary="native")
    ask = {"title": "touch", "kind": "execute", "path": str(bench.root / "shell.txt"), "new": "x"}
    assert (await driver.prompt(do({"ask": ask}, {"say": "ok"}))).status == "done"
    (write,) = bench.gate.of(FileWrite)
    assert (write.path, write.via, write.token > 0) == ("shell.txt", "scan", True)
    assert [e.name for e in bench.gate.entries if isinstance(e.body, ToolCall)] == ["run"]
    assert not bench.gate.grants()


@pytest.mark.parametrize("told", [{"title": "push", "command": "git push"}, {"title": "git push"}])
async def test_a_command_is_asked_about_by_the_unit_of_its_pattern_and_holds_it(
    bench: Bench, told: dict[str, str]
) -> None:
    driver = await bench.started(boundary="native")
    _, typist = bench.lab.agent("typist")
    await typist.claim(("proc:git",))
    ask = {"kind": "execute", **told}
    turn = asyncio.create_task(driver.prompt(do({"ask": ask}, {"say": "ok"})))
    await bench.lab.plane.answer(YES)
    await until(lambda: len(bench.lab.plane.tickets) == 2)
    assert bench.lab.plane.asked[0].units == ("dir:.", "proc:git")
    await typist.release()
    assert (await turn).output == "ok"
    assert not bench.gate.grants()


async def test_what_an_approved_act_wrote_elsewhere_is_put_back(bench: Bench) -> None:
    bench.lab.plane.verdicts.append(YES)
    driver = await bench.started(boundary="native")
    ask = {
        "title": "w",
        "kind": "edit",
        "path": str(bench.root / "a.txt"),
        "new": "x",
        "also": str(bench.root / "b.txt"),
    }
    assert (await driver.prompt(do({"ask": ask}, {"say": "ok"}))).status == "done"
    assert [path.name for path in bench.root.iterdir()] == ["a.txt"]
    assert "unclaimed-write" in [guard.rule for guard in bench.gate.of(Guard)]


async def test_an_act_whose_lock_is_taken_is_cancelled_and_put_back(bench: Bench) -> None:
    bench.lab.plane.verdicts.append(YES)
    driver = await bench.started(boundary="native")
    ask = {"title": "w", "kind": "edit", "path": str(bench.root / "a.txt"), "new": "x", "linger": 60}
    turn = asyncio.create_task(driver.prompt(do({"ask": ask}, {"say": "never"})))
    await until((bench.root / "a.txt").exists)
    (ticket,) = bench.lab.plane.tickets
    await bench.lab.plane.revoke(ticket)
    ended = await turn
    assert (ended.status, ended.reason) == ("failed", "lost_grant")
    assert "'w' was cancelled: what it held (file:a.txt) was taken from it" in ended.error
    assert not (bench.root / "a.txt").exists()
    assert "lost-grant" in [guard.rule for guard in bench.gate.of(Guard)]
    assert (await driver.prompt(do({"say": "ready"}))).output == "ready"


async def test_an_act_that_was_not_asked_for_ends_the_turn(bench: Bench) -> None:
    driver = await bench.started(boundary="native")
    turn = await driver.prompt(do({"act": {"title": "rm", "kind": "execute"}}, {"sleep": 60}))
    assert (turn.status, turn.reason) == ("failed", "boundary")
    assert "without asking" in turn.error


async def test_an_act_outside_of_the_workspace_is_refused_without_asking_anybody(bench: Bench) -> None:
    driver = await bench.started(boundary="native")
    outside = bench.root.parent / "outside.txt"
    ask = {"title": "w", "kind": "edit", "path": str(outside), "new": "x"}
    assert (await driver.prompt(do({"ask": ask}, {"say": "ok"}))).status == "done"
    assert not outside.exists() and not bench.lab.plane.asked
    assert [guard.rule for guard in bench.gate.of(Guard)] == ["boundary"]


async def test_a_native_write_that_is_denied_is_not_made(bench: Bench) -> None:
    bench.lab.plane.verdicts.append(Verdict(allowed=False, by="somebody"))
    driver = await bench.started(boundary="native")
    ask = {"title": "w", "kind": "edit", "path": str(bench.root / "a.txt"), "new": "x", "over": "client"}
    assert (await driver.prompt(do({"ask": ask}, {"say": "ok"}))).status == "done"
    assert not (bench.root / "a.txt").exists()


async def test_the_reason_of_a_denial_is_told_to_the_agent(bench: Bench) -> None:
    reason = f"say it instead {do({'say': 'as you like'})}"
    bench.lab.plane.verdicts.append(Verdict(allowed=False, answer="denied", by="ann", reason=reason))
    driver = await bench.started(boundary="native")
    ask = {"title": "w", "kind": "edit", "path": str(bench.root / "a.txt"), "new": "x"}
    turn = await driver.prompt(do({"ask": ask}, {"say": "tried"}))
    assert (turn.status, turn.output) == ("done", "as you like")
    told = [message.text for message in bench.gate.of(Message) if message.role == "user"]
    assert told == [f"'w' was denied by ann: {reason}."]
    assert not (bench.root / "a.txt").exists()
    assert (await driver.prompt(do({"say": "ready"}))).output == "ready"


# --- before anything is started ----------------------------------------------------------------------------


async def test_the_tools_boundary_is_refused_where_nobody_said_how_its_own_are_switched_off(bench: Bench) -> None:
    with pytest.raises(BadRequest, match="boundary='tools' cannot be kept for this agent"):
        bench.driver(options={"builtins_off": None})


async def test_a_missing_command_or_program_is_a_clear_error(bench: Bench) -> None:
    with pytest.raises(BadRequest, match="wants a command"):
        bench.driver(options={"command": ""})
    with pytest.raises(Unavailable, match=r"There is no program '/nowhere'.*Install it") as missing:
        await bench.driver(options={"command": "/nowhere"}).start()
    assert missing.value.data["reason"] == "missing"


async def test_a_program_that_does_not_speak_the_protocol_says_its_last_lines(bench: Bench) -> None:
    with pytest.raises(AgentFailed) as failure:
        await bench.driver(options={"command": ["sh", "-c", "echo no such flag >&2; exit 2"]}).start()
    assert "exit code 2" in str(failure.value)
    assert "no such flag" in str(failure.value.data)


async def test_without_the_package_the_extra_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"pip install 'agentlab\[agents\]'"):
        await bench.driver().start()


async def test_a_resume_that_it_cannot_do_is_said_by_the_first_turn(bench: Bench) -> None:
    driver = await bench.started(resume="old")
    turn = await driver.prompt(do({"say": "x"}))
    assert (turn.status, turn.reason) == ("failed", "resume_rejected")


# --- what may not be overridden ----------------------------------------------------------------------------


@pytest.mark.parametrize("flag", gemini.PROTECTED_ARGS)
def test_no_argument_of_gemini_may_weaken_its_boundary(flag: str) -> None:
    for spelled in (flag, f"{flag}=x"):
        with pytest.raises(BadRequest, match="its boundary rests on it"):
            gemini.Recipe().check({"args": [spelled]}, "tools")


@pytest.mark.parametrize(
    "spelled",
    [
        "--approvalMode=yolo", "--approvalMode", "--approval-Mode=yolo", "---yolo=true", "--yolo.x=1", "--allowedTools=x",
        "--allowed_tools", "--no-sandbox", "--no-yolo", "--appro=yolo", "-sy", "-yo", "-dy", "-pfoo", "-y=true", "-mye", "-isandbox",
    ],
)  # fmt: skip
def test_no_spelling_of_an_argument_may_weaken_a_boundary(spelled: str) -> None:
    with pytest.raises(BadRequest, match="its boundary rests on it"):
        gemini.Recipe().check({"args": ["--debug", spelled]}, "tools")


def test_other_arguments_are_taken() -> None:
    fine = ["--debug", "-d", "--model", "gemini-2.5-pro", "--model=y", "-m", "yolo", "--screen-reader", "--no-color"]
    assert gemini.Recipe().check({"args": fine}, "tools").args == fine


@pytest.mark.parametrize("flag", opencode.PROTECTED_ARGS)
def test_no_argument_of_opencode_may_weaken_its_boundary(flag: str) -> None:
    with pytest.raises(BadRequest, match="its boundary rests on it"):
        opencode.Recipe().check({"args": [flag]}, "tools")


@pytest.mark.parametrize(
    ("module", "name"),
    [(m, n.replace("*", "X")) for m in (gemini, opencode) for n in m.PROTECTED_ENV],
)
def test_no_variable_may_weaken_a_boundary(module: Any, name: str) -> None:
    with pytest.raises(BadRequest, match=name):
        protected.check_env("gemini", {name: "x"}, module.PROTECTED_ENV)


async def test_variables_of_a_registry_may_not_open_a_boundary_either(bench: Bench) -> None:
    driver = bench.driver(options={"env": {"LD_PRELOAD": "/tmp/mine.so"}})
    with pytest.raises(BadRequest, match="may not set LD_PRELOAD"):
        await driver.start()


@pytest.mark.parametrize("name", ["NODE_OPTIONS", "BUN_OPTIONS", "LD_PRELOAD", "DYLD_INSERT_LIBRARIES"])
async def test_no_variable_may_load_code_into_an_agent(bench: Bench, name: str) -> None:
    with pytest.raises(BadRequest, match=name):
        await bench.driver(env={name: "x"}).start()


def test_the_arguments_that_switch_tools_off_may_not_be_given_twice() -> None:
    options = {"command": "a", "builtins_off": ["--tools=none"], "args": ["--tools=none"]}
    with pytest.raises(BadRequest, match="may not set"):
        acp_setup.AnyAgent().check({**options, "builtins_off": ["--tools"], "args": ["--tools=all"]}, "tools")
    for off, given in (("--tools=none", "--no-tools"), ("--own-tools=none", "--ownTools=all"), ("-T", "-vT")):
        with pytest.raises(BadRequest, match="may not set"):
            acp_setup.AnyAgent().check({**options, "builtins_off": [off], "args": [given]}, "tools")


def test_gemini_is_told_our_tools_one_by_one_and_nothing_of_the_workspace() -> None:
    said = gemini.settings(("python", "proxy"), ["read", "edit"], "gemini-api-key", Path("/w"), native=False)
    assert said["tools"] == {"core": ["mcp_lab_read", "mcp_lab_edit"], "discoveryCommand": ""}
    assert said["mcp"] == {"allowed": ["lab"]}
    assert said["hooksConfig"] == {"enabled": False}


def test_opencode_is_denied_all_but_our_tools() -> None:
    said = opencode.config(("python", "proxy"), [], "a/b", {})
    assert said["permission"] == {"*": "deny", "lab*": "allow"}
    native = opencode.config(("p",), [], None, {}, native=Path("/w"))["permission"]
    assert (native["*"], native["external_directory"]) == ("ask", {"*": "ask", "/w/*": "allow"})
