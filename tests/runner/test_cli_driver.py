"""Interactive programs in a real terminal: what they show says whether they work, are done, or ask."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toolbox import ENV, Lab, until

from agentlab import processes
from agentlab.core.events import AgentSpec, Guard, Message, ProcExit
from agentlab.errors import AgentFailed, BadRequest, Unavailable
from agentlab.runner.drivers.base import Context
from agentlab.runner.drivers.cli import CliDriver
from agentlab.runner.drivers.screen import Look, Rules, Screen, judge, news
from agentlab.runner.gate import Verdict
from agentlab.testing.gate import MemoryGate

PROGRAM = """
import os, subprocess, sys, time
print("\\x1b[1mhello\\x1b[0m, I am a program on", os.get_terminal_size().columns, "columns")
while True:
    try:
        line = input("you> ")
        word, _, rest = line.partition(" ")
        if word == "echo":
            print("it says:", rest)
        elif word == "work":
            for step in range(5):
                print("step", step, flush=True)
                time.sleep(0.1)
        elif word == "write":
            open(rest, "w").write("by the program")
            print("written")
        elif word == "ask":
            print("chosen:", input("Are you sure? [y/N] "))
        elif word == "login":
            print("typed:", repr(input("Enter your password: ")))
        elif word == "hang":
            while True:
                time.sleep(0.05)
                print(".", end="", flush=True)
        elif word == "die":
            sys.exit(3)
        elif word == "leave":
            subprocess.Popen(["sleep", "600"], start_new_session=True)
            sys.exit(4)
        elif word == "bye":
            sys.exit(0)
    except KeyboardInterrupt:
        print("^C")
"""


class Desk:
    """A driver over one workspace, and what its agent records."""

    def __init__(self, lab: Lab, program: Path) -> None:
        self._lab, self._program = lab, program
        self.drivers: list[CliDriver] = []

    def driver(self, **options: Any) -> tuple[CliDriver, MemoryGate]:
        host, gate = self._lab.agent("a")
        private = self._lab.home / "private"
        private.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-u", str(self._program)]
        given = {"command": command, "ready": "^you> $", **options}
        given = {name: value for name, value in given.items() if value is not None}
        spec = AgentSpec(kind="cli", boundary="native", options=given)
        context = Context(
            agent=gate.owner, spec=spec, root=self._lab.root, private=private, shared=private, tools=host, gate=gate,
            env=ENV,
        )  # fmt: skip
        self.drivers.append(CliDriver(context))
        return self.drivers[-1], gate

    async def started(self, **options: Any) -> tuple[CliDriver, MemoryGate]:
        driver, gate = self.driver(**options)
        await driver.start()
        return driver, gate


@pytest.fixture
async def desk(tool_lab: Lab, tmp_path: Path) -> AsyncIterator[Desk]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    desk = Desk(tool_lab, program)
    yield desk
    for driver in desk.drivers:
        await driver.close(now=True)


async def test_a_prompt_is_typed_and_what_it_shows_is_the_answer(desk: Desk) -> None:
    driver, gate = await desk.started()
    turn = await driver.prompt("echo good day")
    assert turn.status == "done"
    assert "it says: good day" in turn.output
    assert "hello" not in turn.output, "only what is new"
    assert [m.text for m in gate.of(Message)] == [turn.output]


async def test_it_has_a_real_terminal(desk: Desk) -> None:
    driver, _ = await desk.started(columns=77)
    assert "hello, I am a program on 77 columns" in driver._screen.transcript[0]


async def test_it_is_busy_as_long_as_it_prints(desk: Desk) -> None:
    driver, _ = await desk.started()
    turn = await driver.prompt("work")
    assert "step 4" in turn.output


@pytest.mark.parametrize("program", ["no-such-program", "/nowhere/program"])
async def test_a_program_that_is_not_there_is_missing(desk: Desk, program: str) -> None:
    with pytest.raises(Unavailable, match=f"There is no program '{program}' here") as failed:
        await desk.started(command=f"{program} --now")
    assert failed.value.data["reason"] == "missing"


async def test_a_program_that_ends_before_it_is_ready_says_how_and_with_which_words(desk: Desk) -> None:
    with pytest.raises(AgentFailed, match="ended with exit code 7 before it was ready") as failed:
        await desk.started(command=["sh", "-c", "echo no licence; exit 7"])
    assert failed.value.data["exit_code"] == 7
    assert "no licence" in failed.value.data["last_lines"]


async def test_a_password_is_never_an_answer_in_the_log(desk: Desk) -> None:
    driver, gate = await desk.started()
    gate.plane.verdicts.append(Verdict(allowed=True, answer="hunter2", by="ann"))
    turn = await driver.prompt("login")
    assert "typed: ''" in str(turn.output), "only Enter was typed"
    (asked,) = gate.plane.asked
    assert asked.kind == "login"
    assert "Enter your password:" in asked.question and "do not type it here" in asked.question


async def test_a_login_that_is_denied_ends_the_turn(desk: Desk) -> None:
    driver, gate = await desk.started()
    gate.plane.verdicts.append(Verdict(allowed=False, answer="denied", by="ann", reason="not now"))
    turn = await driver.prompt("login")
    assert (turn.status, turn.reason, turn.error) == ("failed", "denied", "Its login was denied: not now.")


async def test_a_question_of_the_program_is_asked_of_a_person_and_the_answer_typed(desk: Desk) -> None:
    driver, gate = await desk.started()
    gate.plane.answers.append("y")
    turn = await driver.prompt("ask")
    assert turn.status == "done"
    assert "chosen: y" in turn.output


async def test_what_was_answered_is_not_asked_again_though_it_is_still_on_the_screen(desk: Desk) -> None:
    driver, gate = await desk.started(ready=None)
    gate.plane.answers += ["y", "n"]
    turn = await driver.prompt("ask")
    assert (turn.status, len(gate.plane.answers)) == ("done", 1), "asked once"
    assert "chosen: y" in turn.output
    turn = await driver.prompt("echo good day")
    assert (turn.status, len(gate.plane.answers)) == ("done", 1)
    assert "it says: good day" in turn.output
    turn = await driver.prompt("ask")
    assert (turn.status, len(gate.plane.answers)) == ("done", 0), "the same question, asked anew"
    assert "chosen: n" in turn.output


async def test_what_it_asks_before_its_first_prompt_is_asked_of_a_person(desk: Desk, tmp_path: Path) -> None:
    login = tmp_path / "login.py"
    login.write_text(f"print('typed:', repr(input('Enter your API key: ')))\n{PROGRAM}")
    driver, gate = await desk.started(ready=None, command=[sys.executable, "-u", str(login)])
    gate.plane.verdicts.append(Verdict(allowed=True, answer="approved", by="ann"))
    turn = await driver.prompt("echo good day")
    assert [asked.kind for asked in gate.plane.asked] == ["login"]
    assert "typed: ''" in str(turn.output), "a prompt is no key"
    assert "it says: good day" in str(turn.output)


async def test_a_denied_login_before_its_first_prompt_ends_the_turn(desk: Desk, tmp_path: Path) -> None:
    login = tmp_path / "login.py"
    login.write_text(f"print('typed:', repr(input('Enter your API key: ')))\n{PROGRAM}")
    driver, gate = await desk.started(ready=None, command=[sys.executable, "-u", str(login)])
    gate.plane.verdicts.append(Verdict(allowed=False, answer="denied", by="ann", reason="not now"))
    turn = await driver.prompt("echo good day")
    assert (turn.status, turn.error) == ("failed", "Its login was denied: not now.")
    assert "good day" not in str(turn.output)


async def test_what_it_writes_without_a_claim_is_undone_when_it_ends(desk: Desk, workspace: Path) -> None:
    driver, gate = await desk.started()
    await gate.claim(("file:mine.txt",))
    await driver.prompt("write mine.txt")
    await driver.prompt("write sneaky.txt")
    await driver.close()
    assert sorted(path.name for path in workspace.iterdir()) == ["mine.txt"]
    assert [guard.rule for guard in gate.of(Guard)] == ["unclaimed-write"]


async def test_an_interrupt_is_ctrl_c_and_leaves_it_ready(desk: Desk) -> None:
    driver, _ = await desk.started()
    turn = asyncio.create_task(driver.prompt("hang"))
    await until(lambda: "...." in driver._screen.tail)
    await driver.interrupt()
    assert (await turn).status == "cancelled"
    assert "here again" in (await driver.prompt("echo here again")).output


async def test_its_end_is_noticed_though_something_it_left_has_the_terminal_open(desk: Desk) -> None:
    driver, gate = await desk.started()
    turn = await driver.prompt("leave")
    assert (turn.status, turn.exit_code) == ("failed", 4)
    await driver.close()
    assert processes.marked(gate.owner) == []


async def test_a_program_that_ends_in_a_turn_has_failed_with_its_exit_code(desk: Desk) -> None:
    driver, _ = await desk.started()
    turn = await driver.prompt("die")
    assert (turn.status, turn.reason, turn.exit_code) == ("failed", "process", 3)


async def test_an_exit_code_of_zero_is_no_success_either(desk: Desk) -> None:
    driver, _ = await desk.started()
    assert (await driver.prompt("bye")).status == "failed"


async def test_it_ends_by_itself_where_it_is_told_how(desk: Desk) -> None:
    driver, gate = await desk.started(exit="bye")
    await driver.close()
    assert [(body.code, body.signal) for body in gate.of(ProcExit)] == [(0, None)]


async def test_close_leaves_no_process(desk: Desk) -> None:
    driver, _ = await desk.started()
    tree = [processes.identity(pid) for root in driver.processes() for pid in processes.tree(root)]
    assert len(tree) == 2, "the program and its terminal"
    await driver.close(now=True)
    assert not [process for process in tree if processes.alive(process)]


async def test_a_program_that_never_is_ready_says_what_it_shows(desk: Desk) -> None:
    driver, _ = desk.driver(ready="^never$", start=1.5)
    with pytest.raises(AgentFailed, match="not ready for a prompt") as failure:
        await driver.start()
    assert "I am a program" in failure.value.data["last_lines"]


async def test_a_program_that_is_not_in_the_workspace_says_so(desk: Desk) -> None:
    driver, _ = desk.driver(command=["./program"])
    with pytest.raises(AgentFailed) as failure:
        await driver.start()
    assert "No such file" in failure.value.data["last_lines"]


@pytest.mark.parametrize(
    ("given", "says"), [({}, "command"), ({"command": "x", "rady": 1}, "rady"), ({"command": " "}, "needs a program")]
)
async def test_options_that_make_no_sense_are_named(desk: Desk, given: dict[str, Any], says: str) -> None:
    driver, _ = desk.driver()
    host_spec = driver._context.spec
    driver._context = Context(
        **{**vars(driver._context), "spec": AgentSpec(kind="cli", options=given, task=host_spec.task)}
    )
    with pytest.raises(BadRequest, match=says):
        await driver.start()


@pytest.mark.parametrize(
    ("tail", "silent", "look"),
    [
        ("working", 0.1, Look.BUSY),
        ("working", 5.0, Look.READY),
        ("Overwrite a.txt? [y/N]", 1.0, Look.BLOCKED),
        ("Password:", 1.0, Look.BLOCKED),
        ("Password:", 0.1, Look.BUSY),
        ("Press Enter to continue", 1.0, Look.BLOCKED),
        ("Do you want to allow this tool?", 1.0, Look.BLOCKED),
        ("> Log in with your account:", 1.0, Look.BLOCKED),
        ("The password was stored.", 5.0, Look.READY),
    ],
)
def test_what_a_screen_shows_is_judged(tail: str, silent: float, look: Look) -> None:
    assert judge(Rules(), tail, silent) is look


QUESTION = b"Allow this? (y/n) "


@pytest.mark.parametrize(
    ("then", "asks"),
    [
        (b"", True),  # nothing came of the answer
        (b"y", False),
        (b"y\r\ndone\r\n> ", False),
        (b"\r\ndone\r\n> ", False),  # it was read without an echo
        (b"y\r\ndone\r\n" + QUESTION, True),
        (b"\x1b[H\x1b[2Jthinking", False),
    ],
)
def test_an_answered_question_is_none_any_more_where_it_stands(then: bytes, asks: bool) -> None:
    screen = Screen(10, 60)
    screen.feed(b"hello\r\n" + QUESTION)
    assert judge(Rules(), screen.tail, 9.0, screen.unanswered) is Look.BLOCKED
    screen.answer()
    screen.feed(then)
    assert (judge(Rules(), screen.tail, 9.0, screen.unanswered) is Look.BLOCKED) == asks


def test_a_dialogue_that_is_drawn_again_in_the_same_place_asks_again() -> None:
    screen = Screen(10, 60)
    screen.feed(b"hello\r\n" + QUESTION + b"\r\n 1. yes\r\n 2. no")
    screen.answer()
    clear = b"\x1b[H\x1b[2J"
    screen.feed(clear + b"hello\r\n" + QUESTION + b"\r\n 1. yes\r\n 2. no")
    assert judge(Rules(), screen.tail, 9.0, screen.unanswered) is Look.BLOCKED
    screen.feed(clear + b"thinking")
    screen.feed(clear + b"hello\r\n" + QUESTION + b"\r\n 1. always\r\n 2. never")
    assert judge(Rules(), screen.tail, 9.0, screen.unanswered) is Look.BLOCKED


def test_an_answered_question_that_scrolls_away_stays_answered() -> None:
    screen = Screen(6, 60)
    screen.feed(b"1\r\n2\r\n3\r\n4\r\n5\r\n" + QUESTION)
    screen.answer()
    screen.feed(b"y\r\ndone\r\n> ")
    assert "Allow this?" in screen.tail
    assert judge(Rules(), screen.tail, 9.0, screen.unanswered) is Look.READY


def test_half_of_a_wide_character_that_was_written_over_breaks_nothing() -> None:
    screen = Screen(5, 20)
    screen.feed("      \u3000\r       ".encode())
    assert screen.lines == [""]


def test_with_a_pattern_only_that_is_ready() -> None:
    rules = Rules(ready=re.compile("^you> $"))
    assert judge(rules, "thinking", 60.0) is Look.BUSY
    assert judge(rules, "you> ", 1.0) is Look.READY


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=20))
def test_no_bytes_break_the_screen(pieces: list[bytes]) -> None:
    screen = Screen(5, 20)
    for piece in pieces:
        screen.feed(piece)
    assert len(screen.lines) <= 5
    assert judge(Rules(), screen.tail, 10.0) in Look


@settings(deadline=None)
@given(st.lists(st.text("abc", max_size=3), max_size=8), st.lists(st.text("xyz", min_size=1, max_size=3), max_size=8))
def test_news_are_what_was_added(before: list[str], more: list[str]) -> None:
    assert news(before, [*before, *more]) == "\n".join(more)


def test_several_lines_are_pasted_where_the_program_takes_that() -> None:
    screen = Screen()
    assert screen.typed("a\nb") == b"a\rb\r"
    screen.feed(b"\x1b[?2004h")
    assert screen.typed("a\nb") == b"\x1b[200~a\nb\x1b[201~\r"


def test_of_a_line_that_fills_the_screen_no_more_is_drawn_however_it_comes() -> None:
    whole, pieces = Screen(5, 20), Screen(5, 20)
    line = b"x" * 5_000_000
    whole.feed(line + b"\r\nyou> ")
    for start in range(0, len(line), 65536):
        pieces.feed(line[start : start + 65536])
    pieces.feed(b"\r\nyou> ")
    assert whole.transcript == pieces.transcript == ["x" * 20] * 5 + ["you>"]


@settings(deadline=None)
@given(st.lists(st.text("ab\n\x1b", max_size=9), max_size=12))
def test_what_fits_the_screen_is_drawn_whole(pieces: list[str]) -> None:
    """In pieces as at once."""
    one, many = Screen(10, 20), Screen(10, 20)
    text = "".join(pieces)
    one.feed(text.replace("\n", "\r\n").encode())
    for piece in pieces:
        many.feed(piece.replace("\n", "\r\n").encode())
    assert one.transcript == many.transcript
