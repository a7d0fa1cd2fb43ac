from __future__ import annotations

import asyncio

import pytest
from toolbox import until

from agentlab import errors
from agentlab.core.events import FileWrite, Message, ToolCall, ToolResult
from agentlab.runner.drivers import steps
from agentlab.runner.drivers.script import ScriptDriver


async def test_all_steps_of_the_contract_run_in_order(tool_lab):
    (tool_lab.root / "a.txt").write_text("one\n")
    (tool_lab.root / "b.txt").write_text("b\n")
    tool_lab.plane.answers.append("yes")
    script = [
        {"plan": ["think"]},
        {"claim": ["dir:src"], "mode": "shared"},
        {"release": ["dir:src"]},
        {"claim": "file:a.txt"},
        {"read": "a.txt"},
        {"write": ["a.txt", "text\n"]},
        {"patch": ["a.txt", "@@ -1 +1 @@\n-text\n+patched\n"]},
        {"edit": ["a.txt", "patched", "edited"]},
        "release",
        {"delete": "b.txt"},
        {"move": ["a.txt", "c.txt"]},
        {"run": ["python", "-c", "print(1)"], "timeout": 30},
        {"list": "."},
        {"search": "edited"},
        {"artifact": ["report", "fine"], "kind": "report"},
        {"ask": "Go on?", "options": ["yes", "no"]},
        {"sleep": 0.01},
        {"say": "done"},
    ]
    driver, gate, _ = tool_lab.driver(ScriptDriver, task=script)
    await driver.start()
    turn = await driver.prompt(script)
    assert (turn.status, turn.output, turn.error) == ("done", "done", "")
    assert (tool_lab.root / "c.txt").read_text() == "edited\n"
    assert [e.name for e in gate.entries if isinstance(e.body, ToolCall)] == [
        next(iter(s)) if isinstance(s, dict) else s for s in script if s != {"sleep": 0.01}
    ]
    assert gate.of(Message)[0].text == "done"


async def test_without_words_the_output_is_the_list_of_results(tool_lab):
    (tool_lab.root / "a.txt").write_text("x")
    driver, _, _ = tool_lab.driver(ScriptDriver)
    turn = await driver.prompt("- read: a.txt\n- run: [printf, hi]\n")
    assert turn.output[0] == "x" and turn.output[1]["stdout"] == "hi"
    assert (await driver.prompt('[{"read": "a.txt"}]')).output == ["x"]


async def test_the_first_error_ends_it_and_names_the_step(tool_lab):
    driver, gate, _ = tool_lab.driver(ScriptDriver)
    turn = await driver.prompt([{"say": "hello"}, {"read": "missing.txt"}, {"say": "never"}])
    assert turn.status == "failed" and turn.error.startswith("Step 2 (read): There is no file 'missing.txt'")
    assert len(gate.of(Message)) == 1
    turn = await driver.prompt([{"fail": "as planned"}])
    assert (turn.status, turn.error, turn.reason) == ("failed", "as planned", "fail")


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ([{"say": "x"}, {"reed": "a.txt"}], "Step 2: there is no step 'reed'.*read, write"),
        ([{"read": "a", "colour": "red"}], "Step 1: read has no option 'colour'"),
        ([{"write": "a.txt"}], "Step 1: write: .*'data' is missing"),
        ([{"write": ["a", "b", "c"]}], "takes path, data"),
        ([{"sleep": "long"}], "number of seconds"),
        ([{"say": "x"}, 5], "Step 2 is 5"),
        ("just words", "a list of steps"),
        ("- [", "neither YAML nor JSON"),
        ({"a": 1}, "a list of steps"),
    ],
)
async def test_a_script_that_makes_no_sense_is_refused_before_anything_ran(tool_lab, task, says):
    driver, gate, _ = tool_lab.driver(ScriptDriver, task=task)
    with pytest.raises(errors.BadRequest, match=says):
        await driver.start()
    turn = await driver.prompt(task)
    assert turn.status == "failed" and turn.reason == "bad_request" and gate.entries == []


def test_options_stand_beside_the_verb_or_inside_it():
    assert steps.parse([{"write": {"path": "a", "data": "x"}}]) == steps.parse([{"write": ["a", "x"]}])
    assert steps.parse([{"write": ["a", "x"], "overwrite": True}])[0].args == {
        "path": "a",
        "data": "x",
        "overwrite": True,
    }
    assert steps.parse({"steps": [{"run": "pytest -q"}]})[0].args == {"argv": "pytest -q"}


async def test_a_frozen_script_waits_before_its_next_step(tool_lab):
    driver, gate, _ = tool_lab.driver(ScriptDriver)
    turn = asyncio.ensure_future(driver.prompt([{"sleep": 0.05}, {"write": ["n.txt", "x"]}]))
    await asyncio.sleep(0)
    await driver.freeze()
    await asyncio.sleep(0.15)
    assert not turn.done() and not gate.of(ToolCall)
    await driver.thaw()
    assert (await turn).status == "done" and gate.of(FileWrite)


async def test_an_interrupt_ends_the_turn_and_the_agent_stays_ready(tool_lab):
    driver, gate, host = tool_lab.driver(ScriptDriver)
    turn = asyncio.ensure_future(driver.prompt([{"run": ["sleep", "1000"]}, {"say": "never"}]))
    await until(driver.processes)
    await driver.interrupt()
    assert (await turn).status == "cancelled" and host.children() == []
    assert [e.status for e in gate.entries if isinstance(e.body, ToolResult)] == ["cancelled"]
    assert (await driver.prompt([{"say": "again"}])).output == "again"


async def test_closing_or_cancelling_leaves_no_process(tool_lab):
    driver, _, host = tool_lab.driver(ScriptDriver)
    turn = asyncio.ensure_future(driver.prompt([{"run": ["sleep", "1000"]}]))
    await until(driver.processes)
    await driver.freeze()
    await driver.close(now=True)
    assert (await turn).status == "cancelled" and host.children() == []
    driver, _, host = tool_lab.driver(ScriptDriver, "b")
    turn = asyncio.ensure_future(driver.prompt([{"run": ["sleep", "1000"]}]))
    await until(driver.processes)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert host.children() == []
