from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys

import pytest
from toolbox import until

from agentlab import errors, processes
from agentlab.core.events import FileWrite, Guard, ProcExit, ProcOutput, ProcStart, ToolCall
from agentlab.runner.drivers import python_child
from agentlab.runner.drivers.python import PythonDriver


async def run(lab, code, name="a"):
    driver, gate, _ = lab.driver(PythonDriver, name, task=code)
    await driver.start()
    try:
        return await driver.prompt(code), gate
    finally:
        await driver.close()


async def test_the_code_of_the_contract_counts_up_a_file(tool_lab):
    (tool_lab.root / "n.txt").write_text("41")
    code = 'with tools.claim("file:n.txt"):\n    tools.write("n.txt", str(int(tools.read("n.txt")) + 1))\n'
    turn, gate = await run(tool_lab, code)
    assert turn.status == "done" and (tool_lab.root / "n.txt").read_text() == "42" and gate.grants() == ()
    assert [e.name for e in gate.entries if isinstance(e.body, ToolCall)] == ["claim", "read", "write", "release"]
    assert gate.of(ProcStart)[0].argv == ("python", "<agent>") and gate.of(ProcExit)[0].code == 0


async def test_every_tool_has_its_plain_counterpart(tool_lab):
    tool_lab.plane.answers.append("blue")
    code = """
change = tools.write("n.txt", "a\\nb\\n")
tools.edit("n.txt", "a", "A")
tools.patch("n.txt", "@@ -2 +2 @@\\n-b\\n+B\\n")
tools.move("n.txt", "m.txt")
tools.write("raw", b"\\xff")
tools.plan(["one"], ["file:m.txt"])
grant = tools.claim("file:x", "file:y", mode="shared")
tools.release("file:x")
grant.release()
tools.say("hello")
ran = tools.run(["printf", "hi"])
found = [tools.read("m.txt"), tools.read_bytes("raw") == b"\\xff", tools.list(), tools.search("B"), ran.stdout,
         ran["code"], change.added, tools.ask("Which?", ["red", "blue"]), tools.artifact("r", "x").size]
tools.delete("m.txt")
try:
    tools.write("new", "x", base="0" * 64)
except Exception as error:
    found.append(type(error).__module__ + "." + type(error).__name__)
tools.write("new", "x", base=None)
found
"""
    turn, _ = await run(tool_lab, code)
    assert turn.error == "" and turn.output == [
        "A\nB\n", True, ["m.txt", "raw"], ["m.txt:2:B"], "hi", 0, 2, "blue", 1, "agentlab.errors.StaleBase",
    ]  # fmt: skip


async def test_errors_are_the_same_classes_with_their_facts(tool_lab):
    (tool_lab.root / "n.txt").write_text("old\n")
    code = """
import agentlab.errors as errors
tools.read("n.txt")
open("n.txt", "w").write("changed\\n")
try:
    tools.write("n.txt", "mine")
except errors.StaleBase as error:
    result = error.diff
"""
    turn, _ = await run(tool_lab, code)
    assert "-old\n+changed\n" in turn.output


@pytest.mark.parametrize(
    ("code", "output"),
    [("1 + 1", 2), ("x = 5", None), ("result = {'a': 1}\n7", {"a": 1}), ("object", repr(object)), ("print(1)", None)],
)
async def test_the_output_is_the_result_or_the_last_expression(tool_lab, code, output):
    turn, _ = await run(tool_lab, code)
    assert (turn.status, turn.output) == ("done", output)


async def test_prints_go_to_the_log(tool_lab):
    _, gate = await run(tool_lab, "import sys; print('out \u20ac'); print('err', file=sys.stderr)")
    assert {(o.fd, o.data) for o in gate.of(ProcOutput)} == {(1, "out \u20ac\n"), (2, "err\n")}


async def test_an_exception_fails_the_turn_with_its_traceback(tool_lab):
    turn, _ = await run(tool_lab, "def f():\n    return {}['key']\nf()")
    assert (turn.status, turn.error, turn.reason, turn.exit_code) == ("failed", "KeyError: 'key'", "exception", 1)
    assert 'File "<agent>", line 2, in f' in turn.last_lines and "python_child" not in turn.last_lines


@pytest.mark.parametrize(
    ("code", "says", "number"),
    [
        ("import os; os._exit(7)", "exit code 7", 7),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV", -signal.SIGSEGV),
        ("import sys; sys.exit(4)", "SystemExit: 4", 4),
    ],
)
async def test_a_process_that_dies_fails_the_turn_and_says_how(tool_lab, code, says, number):
    turn, _ = await run(tool_lab, code)
    assert turn.status == "failed" and says in turn.error and turn.exit_code == number


async def test_leaving_with_zero_is_no_failure(tool_lab):
    turn, _ = await run(tool_lab, "import sys; sys.exit()")
    assert turn.status == "done"


async def test_code_that_is_no_python_is_refused_at_the_start(tool_lab):
    driver, _, _ = tool_lab.driver(PythonDriver, task="def (")
    with pytest.raises(errors.BadRequest, match="no Python"):
        await driver.start()
    assert (await driver.prompt(None)).reason == "bad_request"


async def test_writes_around_the_tools_are_undone_unless_claimed(tool_lab):
    (tool_lab.root / "n.txt").write_text("before")
    code = 'tools.claim("file:mine.txt")\nopen("mine.txt", "w").write("x")\nopen("n.txt", "w").write("after")\ntools.write("t.txt", "t")'
    turn, gate = await run(tool_lab, code)
    assert turn.status == "done" and "n.txt" in turn.last_lines
    assert (tool_lab.root / "n.txt").read_text() == "before" and (tool_lab.root / "mine.txt").read_text() == "x"
    assert gate.of(Guard)[0].paths == ("n.txt",)
    assert {(w.path, w.via) for w in gate.of(FileWrite)} == {
        ("t.txt", "tool"),
        ("mine.txt", "scan"),
        ("n.txt", "rollback"),
    }


async def test_modules_of_the_workspace_can_be_imported_but_replace_nothing(tool_lab):
    (tool_lab.root / "mine.py").write_text("x = 3")
    (tool_lab.root / "json.py").write_text("raise RuntimeError('shadowed')")
    turn, _ = await run(tool_lab, "import mine, json\nmine.x")
    assert turn.output == 3


async def test_a_frozen_agent_stands_still(tool_lab):
    code = "import time\nfor n in range(100000):\n    tools.write('n.txt', str(n))\n    time.sleep(0.005)"
    driver, gate, _ = tool_lab.driver(PythonDriver, task=code)
    turn = asyncio.ensure_future(driver.prompt(code))
    await until(lambda: len(gate.of(FileWrite)) > 2)
    await driver.freeze()
    await asyncio.sleep(0.1)  # a call that was under way ends
    seen = len(gate.of(FileWrite))
    await asyncio.sleep(0.2)
    assert len(gate.of(FileWrite)) == seen
    await driver.thaw()
    await until(lambda: len(gate.of(FileWrite)) > seen)
    await driver.interrupt()
    assert (await turn).status == "cancelled" and driver.processes() == []


async def test_an_interrupt_ends_all_that_the_agent_started(tool_lab):
    code = (
        "import subprocess\nsubprocess.Popen(['sleep', '1000'], start_new_session=True)\ntools.run(['sleep', '1000'])"
    )
    driver, gate, _ = tool_lab.driver(PythonDriver, task=code)
    turn = asyncio.ensure_future(driver.prompt(code))
    await until(lambda: len(driver.processes()) == 2)
    await driver.close(now=True)
    assert (await turn).status == "cancelled"
    assert processes.marked(gate.owner) == [] and driver.processes() == []


async def test_eight_agents_count_to_eighty_in_one_file(tool_lab):
    (tool_lab.root / "n.txt").write_text("0")
    code = 'for _ in range(10):\n    with tools.claim("file:n.txt"):\n        tools.write("n.txt", str(int(tools.read("n.txt")) + 1))'
    turns = await asyncio.gather(*(run(tool_lab, code, f"a{n}") for n in range(8)))
    assert {turn.status for turn, _ in turns} == {"done"}
    assert (tool_lab.root / "n.txt").read_text() == "80"


async def test_the_child_ends_when_its_runner_is_gone(tool_lab):
    ours, theirs = socket.socketpair()
    argv = [sys.executable, "-I", python_child.__file__, str(theirs.fileno())]
    child = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdout=subprocess.DEVNULL)
    theirs.close()
    ours.sendall(json.dumps({"code": "tools.say('hello')\nwhile True: pass"}).encode() + b"\n")
    assert b"hello" in ours.recv(1000)
    ours.close()
    assert child.wait(20) == 1
