"""What every driver of a vendor's program promises, as tests. Say how yours is made, and pytest runs the promises with the
real program against a scripted model:

    class TestMine(DriverSuite):
        kind = "mine"
        model = "some-model"
        own = ({"tool": "Write", "args": {"file_path": "sneaky.txt", "content": "x"}},)

        def env(self, bench):
            return {"MY_BASE_URL": bench.model.url, "MY_API_KEY": "dummy"}

`own` are calls of the program's own tools that would change something, if they were there. All paths in them are relative
to the workspace or hold `{root}`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from agentlab import kinds, processes
from agentlab.config import Network
from agentlab.core.events import AgentSpec, FileWrite, Message, ModelCall, ModelExchange, ToolCall, ToolResult
from agentlab.errors import AgentFailed, AgentlabError, BadRequest, Unavailable
from agentlab.runner.drivers.base import Context, Driver, Turn
from agentlab.runner.gate import Verdict
from agentlab.runner.model_proxy import ModelProxy
from agentlab.runner.tools import ToolHost
from agentlab.runner.tools.page import LINES
from agentlab.runner.worker import driver_of
from agentlab.sandbox import Sandbox

from . import hostile, meddler
from .gate import MemoryPlane
from .scripted_model import CACHED, INPUT, OUTPUT, ScriptedModel

PATIENCE = 90.0  # s that anything may take on a busy machine
HELD = "held.txt"


def do(*steps: dict[str, Any]) -> str:
    """A prompt that makes the scripted model take these steps."""
    return f"Please do this. @do {json.dumps(steps)}"


WAIT = {"write": [HELD, "mine at last"]}


@dataclass
class DriverBench:
    """One workspace, one home, one model; drivers over them, each with a gate of one memory plane."""

    model: ScriptedModel
    base: Path
    kind: str
    spec: dict[str, Any]
    env: dict[str, str]
    sandbox: Sandbox | None = None  # of a program that keeps its own tools
    network: Network = "all"
    drivers: list[Driver] = field(default_factory=list)
    hosts: list[ToolHost] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root, self.home, self.private = self.base / "work", self.base / "user", self.base / "private"
        for folder in (self.root, self.home, self.private):
            folder.mkdir(exist_ok=True)
        self.plane = MemoryPlane()
        self.gate, self.typist = self.plane.gate("writer"), self.plane.gate("typist")
        self.tools = ToolHost(
            self.root, self.gate, home=self.base / "lab", env={"PATH": os.environ["PATH"]},
            spec=AgentSpec(kind=self.kind),
        )  # fmt: skip
        self.hosts.append(self.tools)
        self.models = ModelProxy(self.gate, limit=4_000_000, local=self.base / "lab" / "model" / "model.sock")

    def driver(self, **spec: Any) -> Driver:
        env = {"HOME": str(self.home), "PATH": os.environ["PATH"], **self.env, **spec.get("env", {})}
        private = self.private / f"agent-{len(self.drivers)}"
        private.mkdir(mode=0o700)
        context = Context(
            agent=self.gate.owner, spec=AgentSpec(**{"kind": self.kind, **self.spec, **spec}), root=self.root,
            private=private, shared=self.private, tools=self.tools, gate=self.gate, env=env, models=self.models,
            sandbox=self.sandbox, network=self.network,
        )  # fmt: skip
        driver: Driver = kinds.load(self.kind)(context)
        self.drivers.append(driver)
        return driver

    async def started(self, **spec: Any) -> Driver:
        driver = self.driver(**spec)
        await driver.start()
        return driver

    def waiting(self) -> bool:
        """Whether our agent waits in a queue."""
        return any(ticket.owner == self.gate.owner and not ticket.token for ticket in self.plane.tickets.values())

    async def held_up(self, driver: Driver, *after: dict[str, Any]) -> asyncio.Task[Turn]:
        """A turn that waits for a file which somebody else keeps."""
        await self.typist.claim((f"file:{HELD}",))
        turn = asyncio.create_task(driver.prompt(do(WAIT, *(after or ({"say": "went on"},)))))
        await until(self.waiting)
        return turn

    async def kept(self, hash: str | None) -> bytes:
        """A body that was recorded; empty where none was."""
        return (await self.gate.fetch(hash) or b"") if hash else b""

    def said(self, number: int) -> str:
        """What the model was told last, in its nth question."""
        return self.model.turns[number].last

    async def meddled(self, real: Path, **plan: Any) -> Driver:
        """One whose program is stood between by one that speaks badly, once the model says `meddler.WORD`."""
        folder = self.base / "meddler"
        folder.mkdir()
        cli = meddler.wrap(folder, real, **plan)
        return await self.started(options={**self.spec["options"], "cli": str(cli)})

    def left(self) -> list[int]:
        """Every process that belongs to our agent: its program, what that started, what its tools run."""
        return processes.marked(self.gate.owner)

    async def close(self) -> None:
        for driver in self.drivers:
            await driver.close(now=True)
        await self.models.close()
        for host in self.hosts:
            await host.close()
        await until(lambda: not self.left())


async def until(condition: Any, patience: float = PATIENCE) -> None:
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - what happens in other processes wakes nobody here
            await asyncio.sleep(0.02)


def _named(pids: list[int], word: str) -> list[int]:
    """Those with this word among their arguments."""
    found = []
    for pid in pids:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        found += [pid] if word.encode() in arguments else []
    return found


class DriverSuite:
    """Each test is a promise of `Driver`, kept by a real program."""

    kind: ClassVar[str]
    model: ClassVar[str | None] = None
    boundary: ClassVar[str] = "tools"
    own: ClassVar[tuple[dict[str, Any], ...]] = ()
    reads: ClassVar[frozenset[str]] = frozenset()
    """The program's own tools that stay on: they change nothing."""
    noise: ClassVar[tuple[bytes, ...]] = (
        b"An update is available!",
        b"[info] starting",
        b"{half a line",
        b"[1, 2]",
        b"null",
        b"\xff\xfe\x00 no text at all",
        b'{"nobody": "knows this"}',
        b'{"jsonrpc": "2.0", "method": "never/heard/of", "params": {"x": 1}}',
    )
    """Lines that may stand among those of the protocol and do no harm."""
    costs: ClassVar[bool] = False
    """Whether the program tells the price of a turn."""
    login: ClassVar[str] = ""
    """What the advice on a refused key says."""

    def env(self, bench: DriverBench) -> dict[str, str]:
        return {}

    def options(self) -> dict[str, Any]:
        return {}

    @pytest.fixture
    def served(self) -> Iterator[ScriptedModel]:
        with ScriptedModel() as server:
            yield server

    @pytest_asyncio.fixture
    async def bench(self, served: ScriptedModel, tmp_path: Path) -> AsyncIterator[DriverBench]:
        spec = {"options": self.options(), "boundary": self.boundary, **({"model": self.model} if self.model else {})}
        bench = DriverBench(served, tmp_path, self.kind, spec, {})
        bench.env = self.env(bench)
        yield bench
        await bench.close()

    # --- tools -----------------------------------------------------------------------------------------------

    async def test_it_writes_through_our_tools_under_a_grant_and_says_so(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await driver.prompt(do({"write": ["a.txt", "hello"]}, {"say": "finished"}))
        assert (turn.status, turn.output, turn.error) == ("done", "finished", "")
        assert (bench.root / "a.txt").read_text() == "hello"
        (call,) = bench.gate.of(ToolCall)
        assert call.args == {"path": "a.txt", "data": "hello"}
        assert call.vendor["tool"].endswith("write"), "the vendor's name is kept beside ours"
        assert [write.token > 0 for write in bench.gate.of(FileWrite)] == [True]
        assert "finished" in [message.text for message in bench.gate.of(Message) if message.role == "assistant"]
        assert "created a.txt" in bench.said(1)

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

    async def test_the_model_reads_numbered_lines(self, bench: DriverBench) -> None:
        (bench.root / "long.txt").write_text("".join(f"word {number}\n" for number in range(1, 3_001)))
        driver = await bench.started()
        await driver.prompt(do({"read": "long.txt"}, {"say": "read"}))
        assert f"{LINES}\tword {LINES}" in bench.said(1).replace("\\t", "\t")
        assert f"[lines 1-{LINES} of 3000; read on with start={LINES + 1}]" in bench.said(1)

    async def test_what_it_and_its_model_say_to_each_other_is_recorded_and_no_key(self, bench: DriverBench) -> None:
        driver = await bench.started()
        await driver.prompt(do({"write": ["a.txt", "hello"]}, {"say": "finished"}))
        await driver.close()
        await bench.models.close()
        found = [(entry, entry.body) for entry in bench.gate.entries if isinstance(entry.body, ModelExchange)]
        asked = [(entry, body) for entry, body in found if b"@do" in await bench.kept(body.request)]
        assert len(asked) >= len(bench.model.turns) >= 2, "some also ask for a title"
        assert {(entry.status, body.code) for entry, body in asked} == {("ok", 200)}
        assert all(entry.name and entry.dur_ns and body.first_ns for entry, body in asked)
        last = await bench.kept(asked[-1][1].response)
        assert b"finished" in last and len(last) == asked[-1][1].response_size
        for _, body in found:
            said = (body.path.encode(), await bench.kept(body.request), await bench.kept(body.response))
            assert not any(b"dummy-key" in text for text in said)

    async def test_an_argument_in_a_vendors_words_reaches_our_tools(self, bench: DriverBench) -> None:
        (bench.root / "n.txt").write_text("one\ntwo\nthree\n")
        driver = await bench.started()
        await driver.prompt(do({"tool": "read", "args": {"path": "n.txt", "offset": 2, "limit": 1}}, {"say": "read"}))
        assert "[lines 2-2 of 3]" in bench.said(1)

    async def test_a_refusal_reaches_the_model_and_the_turn_goes_on(self, bench: DriverBench) -> None:
        await bench.typist.claim((f"file:{HELD}",))
        bench.tools.hold = 0.1
        driver = await bench.started()
        turn = await driver.prompt(do(WAIT, {"write": ["a.txt", "x"]}, {"say": "ok"}))
        assert turn.status == "done"
        assert "held by typist; you are 1st in the queue" in bench.said(1)
        assert (bench.root / "a.txt").exists()

    async def test_a_call_that_makes_no_sense_is_an_error_for_the_model(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await driver.prompt(do({"read": "missing.txt"}, {"say": "ok"}))
        assert turn.status == "done"
        assert "missing.txt" in bench.said(1)
        assert [e.status for e in bench.gate.entries if isinstance(e.body, ToolResult)] == ["error"]

    async def test_a_program_runs_and_the_model_reads_what_it_printed(self, bench: DriverBench) -> None:
        driver = await bench.started()
        await driver.prompt(do({"shell": "echo hi; exit 3"}, {"say": "ran"}))
        assert "exit code 3" in bench.said(1)

    async def test_a_command_in_the_background_is_looked_at_later_and_ends_with_the_agent(
        self, bench: DriverBench
    ) -> None:
        driver = await bench.started()
        begin = {"tool": "run", "args": {"command": "echo ready; setsid sleep 1009 & sleep 1009", "background": True}}
        look = {"tool": "output", "args": {"id": "p1", "since": 0, "wait": 1}}
        turn = await driver.prompt(do(begin, look, {"say": "on with it"}))
        assert (turn.status, turn.output) == ("done", "on with it"), turn
        assert "p1 runs in the background" in bench.said(1)
        assert "ready" in bench.said(2)
        assert _named(bench.left(), "1009")
        await driver.close()
        await bench.tools.close()
        assert bench.left() == []

    async def test_a_lock_that_comes_free_lets_the_waiting_call_go_on(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await bench.held_up(driver)
        await bench.typist.release()
        assert (await turn).output == "went on"
        assert (bench.root / HELD).read_text() == "mine at last"

    @pytest.mark.slow
    @pytest.mark.timeout(400)
    async def test_a_call_may_be_held_for_two_minutes(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await bench.held_up(driver)
        done, _ = await asyncio.wait({turn}, timeout=125)
        assert not done, f"the program did not wait: {turn.result() if turn.done() else ''}"
        await bench.typist.release()
        assert (await turn).output == "went on"
        assert (bench.root / HELD).read_text() == "mine at last"

    async def test_a_megabyte_in_one_message_arrives_whole(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await driver.prompt(do({"write": ["big.txt", "x" * 900_000]}, {"say": "large"}))
        assert (turn.status, turn.output) == ("done", "large")
        assert (bench.root / "big.txt").stat().st_size == 900_000

    async def test_ten_megabytes_read_in_one_call_do_no_harm(self, bench: DriverBench) -> None:
        (bench.root / "big.txt").write_text("x" * 10_000_000)
        driver = await bench.started()
        turn = await driver.prompt(do({"read": "big.txt"}, {"say": "read"}))
        assert (turn.status, turn.output) == ("done", "read")

    async def test_a_prompt_may_begin_with_a_dash(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await driver.prompt("--help -p " + do({"write": ["a.txt", "x"]}, {"say": "ok"}))
        assert (turn.status, turn.output) == ("done", "ok")

    # --- sessions --------------------------------------------------------------------------------------------

    async def test_a_follow_up_goes_on_in_the_same_session(self, bench: DriverBench) -> None:
        driver = await bench.started()
        first = await driver.prompt(do({"write": ["a.txt", "1"]}, {"say": "one"}))
        second = await driver.prompt(do({"read": "a.txt"}, {"say": "two"}))
        assert (first.output, second.output) == ("one", "two")
        assert first.vendor_session
        assert first.vendor_session == second.vendor_session

    async def test_a_session_is_resumed_by_its_id_in_a_new_process_with_our_tools(self, bench: DriverBench) -> None:
        before = await bench.started()
        first = await before.prompt(do({"say": "remember the number 4711"}))
        await before.close()
        after = await bench.started(resume=first.vendor_session)
        second = await after.prompt(do({"write": ["b.txt", "x"]}, {"say": "I do"}))
        assert (second.status, second.output, second.vendor_session) == ("done", "I do", first.vendor_session)
        assert "4711" in json.dumps(bench.model.turns[-1].body)
        assert (bench.root / "b.txt").exists()

    async def test_a_session_that_the_vendor_does_not_have_is_a_failed_turn(self, bench: DriverBench) -> None:
        driver = await bench.started(resume="01a21760-037c-7a40-b799-e09adb237f83")
        turn = await driver.prompt("go on")
        assert (turn.status, turn.reason) == ("failed", "resume_rejected")

    async def test_tokens_add_up_over_calls_and_turns(self, bench: DriverBench) -> None:
        driver = await bench.started()
        first = await driver.prompt(do({"write": ["a.txt", "1"]}, {"say": "two answers"}))
        second = await driver.prompt(do({"say": "one answer"}))
        calls = [entry for entry in bench.gate.entries if isinstance(entry.body, ModelCall) and entry.tok_out]
        assert len(calls) == 3
        assert all(call.name for call in calls), "each says which model it was"
        for turn, answers in ((first, 2), (second, 1)):
            assert turn.usage["out"] == answers * OUTPUT
            assert turn.usage["in"] + turn.usage["cached"] in (answers * INPUT, answers * (INPUT + CACHED))
            assert ("cost" in turn.usage) is self.costs
        assert sum(entry.tok_out or 0 for entry in bench.gate.entries) == 3 * OUTPUT

    # --- steering --------------------------------------------------------------------------------------------

    async def test_interrupting_a_wait_gives_the_ticket_back_and_leaves_the_agent_ready(
        self, bench: DriverBench
    ) -> None:
        driver = await bench.started()
        turn = await bench.held_up(driver)
        await driver.interrupt()
        assert ((await turn).status, (await turn).reason) == ("cancelled", "cancelled")
        assert not bench.waiting()
        assert [e.status for e in bench.gate.entries if isinstance(e.body, ToolResult)] == ["cancelled"]
        after = await driver.prompt(do({"write": ["a.txt", "x"]}, {"say": "here again"}))
        assert after.output == "here again"

    async def test_an_interrupt_right_after_the_prompt_is_not_lost(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = asyncio.create_task(driver.prompt(do({"say": "late", "delay": 60})))
        await asyncio.sleep(0)
        await driver.interrupt()
        assert (await turn).status == "cancelled"

    async def test_cancelling_the_prompt_ends_the_turn_for_the_next_one(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await bench.held_up(driver)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert not bench.waiting()
        assert (await driver.prompt(do({"say": "next"}))).output == "next"

    async def test_a_frozen_agent_stands_still_until_it_is_thawed(self, bench: DriverBench) -> None:
        driver = await bench.started()
        await driver.freeze()
        tree = [pid for root in driver.processes() for pid in processes.tree(root)]
        assert tree
        assert {found.state for pid in tree if (found := processes.info(pid))} == {"T"}
        turn = asyncio.create_task(driver.prompt(do({"say": "awake"})))
        await asyncio.sleep(0)
        await driver.thaw()
        assert (await turn).output == "awake"

    async def test_interrupting_a_frozen_agent_ends_its_turn_and_leaves_it_frozen(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await bench.held_up(driver)
        await driver.freeze()
        await driver.interrupt()
        assert (await turn).status == "cancelled"
        assert {found.state for pid in driver.processes() if (found := processes.info(pid))} == {"T"}

    async def test_a_prompt_during_a_turn_is_refused(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await bench.held_up(driver)
        with pytest.raises(BadRequest, match="middle of a turn"):
            await driver.prompt("and this?")
        await driver.interrupt()
        await turn

    # --- ends ------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("now", [False, True])
    async def test_close_leaves_no_process_and_ends_the_turn_as_cancelled(self, bench: DriverBench, now: bool) -> None:
        driver = await bench.started()
        turn = await bench.held_up(driver)
        tree = [processes.identity(pid) for root in driver.processes() for pid in processes.tree(root)]
        assert tree
        await driver.close(now=now)
        assert not [process for process in tree if processes.alive(process)]
        assert (await turn).status == "cancelled"
        assert not bench.waiting()

    async def test_a_program_that_dies_fails_the_turn_and_all_later_ones(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await bench.held_up(driver)
        for pid in driver.processes():
            os.kill(pid, 9)
        ended = await turn
        assert (ended.status, ended.reason) == ("failed", "process")
        assert (await driver.prompt("still there?")).status == "failed"
        assert driver.processes() == []
        await until(lambda: not bench.waiting())

    async def test_stopping_ends_what_its_tools_have_started_also_in_sessions_of_their_own(
        self, bench: DriverBench
    ) -> None:
        driver = await bench.started()
        turn = asyncio.create_task(driver.prompt(do({"shell": "setsid sleep 1007 & setsid -f sleep 1007; wait"})))
        await until(lambda: (bench.root / "never").exists() or len(_named(bench.left(), "1007")) >= 2)
        await driver.close()
        await bench.tools.close()
        assert (await turn).status == "cancelled"
        assert bench.left() == []

    async def test_an_exit_with_code_0_that_closes_no_turn_is_a_failure(self, bench: DriverBench) -> None:
        driver = await bench.meddled(self.program(bench), end=0)
        turn = await driver.prompt(do({"write": ["a.txt", "x"], "say": meddler.WORD}, {"say": "never"}))
        assert meddler.meddled(bench.base / "meddler")
        assert (turn.status, turn.reason) == ("failed", "process")
        assert (await driver.prompt("still there?")).status == "failed"

    async def test_its_last_words_are_told_with_the_failure(self, bench: DriverBench) -> None:
        driver = await bench.meddled(self.program(bench), end=3, said="out of cheese")
        turn = await driver.prompt(do({"write": ["a.txt", "x"], "say": meddler.WORD}, {"say": "never"}))
        assert (turn.status, turn.exit_code) == ("failed", 3)
        assert "out of cheese" in turn.last_lines

    async def test_noise_among_the_messages_is_passed_over(self, bench: DriverBench) -> None:
        driver = await bench.meddled(self.program(bench), noise=self.noise)
        turn = await driver.prompt(do({"write": ["a.txt", "x"], "say": meddler.WORD}, {"say": "fine"}))
        assert meddler.meddled(bench.base / "meddler")
        assert (turn.status, turn.output) == ("done", "fine")
        assert (bench.root / "a.txt").exists()

    async def test_ten_megabytes_on_one_line_do_no_harm(self, bench: DriverBench) -> None:
        lines = (b"x" * 10_000_000, json.dumps({"type": "nobody_knows", "method": "x", "x": "y" * 10_000_000}).encode())
        driver = await bench.meddled(self.program(bench), noise=lines)
        turn = await driver.prompt(do({"write": ["a.txt", "x"], "say": meddler.WORD}, {"say": "fine"}))
        assert meddler.meddled(bench.base / "meddler")
        assert (turn.status, turn.output) == ("done", "fine")

    async def test_a_refused_key_says_how_to_log_in(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await driver.prompt(do({"error": 401, "say": "invalid api key"}))
        assert (turn.status, turn.reason) == ("failed", "auth")
        assert self.login in turn.error

    # --- before anything is started --------------------------------------------------------------------------

    async def test_a_banner_before_the_protocol_is_passed_over(self, bench: DriverBench, tmp_path: Path) -> None:
        real = self.program(bench)
        banner = tmp_path / "banner"
        said = "".join(f"echo '{line.decode()}'\n" for line in self.noise[:3])
        banner.write_text(f'#!/bin/sh\n{said}exec {real} "$@"\n')
        banner.chmod(0o755)
        driver = await bench.started(options={**self.options(), "cli": str(banner)})
        assert (await driver.prompt(do({"say": "fine"}))).output == "fine"

    async def test_a_program_that_only_prints_garbage_is_a_clear_failure(
        self, bench: DriverBench, tmp_path: Path
    ) -> None:
        garbage = tmp_path / "garbage"
        garbage.write_text("#!/bin/sh\necho 'Segmentation fault (not really)'\nexit 0\n")
        garbage.chmod(0o755)
        driver = bench.driver(options={**self.options(), "cli": str(garbage)})
        with pytest.raises((AgentFailed, Unavailable)) as failure:
            await driver.start()
        assert "Segmentation fault" in f"{failure.value} {failure.value.data}"

    async def test_a_missing_program_is_named(self, bench: DriverBench) -> None:
        with pytest.raises(Unavailable, match="no program at '/nowhere/program'"):
            await bench.driver(options={**self.options(), "cli": "/nowhere/program"}).start()

    @pytest.mark.parametrize("name", ["NODE_OPTIONS", "BUN_OPTIONS", "LD_PRELOAD"])
    async def test_a_variable_that_would_load_code_into_it_is_refused(self, bench: DriverBench, name: str) -> None:
        driver = bench.driver(env={name: "x"})
        with pytest.raises(BadRequest, match=f"may not set {name} itself"):
            await driver.start()

    async def test_an_unknown_option_names_those_there_are(self, bench: DriverBench) -> None:
        with pytest.raises(BadRequest, match="cli"):
            await bench.driver(options={"nonsense": 3}).start()

    async def test_a_task_that_is_no_text_is_refused(self, bench: DriverBench) -> None:
        with pytest.raises(BadRequest, match="is its prompt"):
            await bench.driver(task=[{"write": ["a", "b"]}]).start()

    def program(self, bench: DriverBench) -> Path:
        """The real program, for those that wrap it."""
        from agentlab.runner.drivers.program import find

        try:
            return find(self.kind, {"PATH": os.environ["PATH"], **bench.env})
        except AgentlabError as error:
            pytest.fail(str(error))
