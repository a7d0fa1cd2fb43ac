"""What an ACP agent tells of its calls: ours are known, others are seen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentlab.core.events import Message, ModelCall, ToolCall, ToolResult
from agentlab.runner.drivers import acp_record
from agentlab.runner.drivers.acp_record import Recorder
from agentlab.runner.drivers.acp_wire import Ended, Said, Tool
from agentlab.runner.drivers.call_ids import CallIds
from agentlab.runner.model_proxy import Answered
from agentlab.runner.model_usage import Used
from agentlab.testing.gate import MemoryPlane


def recorder(*, native: bool = False) -> tuple[Recorder, list[str], Any]:
    gate, breaches = MemoryPlane().gate("a"), list[str]()
    return Recorder(gate, CallIds(), native=native, breach=breaches.append), breaches, gate


def told(recorder: Recorder, title: str, kind: str = "other") -> None:
    for status in ("in_progress", "completed"):
        recorder.tool(Tool(call="1", title=title, kind=kind, status=status))


def test_a_call_of_ours_that_is_titled_by_its_command_is_ours() -> None:
    record, breaches, gate = recorder()
    record.served("run", {"command": "rm -r x"})
    told(record, "rm -r x")
    assert (breaches, gate.of(ToolCall)) == ([], [])


def test_a_call_of_ours_has_the_id_that_the_agent_gave_it() -> None:
    record, _, _ = recorder()
    for call in ("call_1", "call_2"):
        args = {"path": call}
        record.tool(Tool(call=call, title="lab_write", kind="other", status="pending", input={}))
        record.tool(Tool(call=call, title="lab_write", kind="other", status="in_progress", input=args))
        assert record.served("write", args) == call
        record.tool(Tool(call=call, status="completed"))


async def test_a_call_waits_a_moment_to_be_told_of() -> None:
    record, _, _ = recorder()
    second = asyncio.create_task(record.called("write", {"path": "b"}))
    first = asyncio.create_task(record.called("write", {"path": "a"}))
    await asyncio.sleep(0)
    for call, path in (("call_1", "a"), ("call_2", "b")):
        record.tool(Tool(call=call, title="lab_write", kind="other", status="pending", input={}))
        record.tool(Tool(call=call, title="lab_write", kind="other", status="in_progress", input={"path": path}))
    assert (await first, await second) == ("call_1", "call_2")


async def test_an_agent_that_tells_no_arguments_is_believed_without_them() -> None:
    record, _, _ = recorder()
    record.tool(Tool(call="call_1", title="lab_write", kind="other", status="pending"))
    assert await record.called("write", {"path": "a"}) == "call_1"


async def test_an_agent_that_does_not_tell_of_its_calls_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    record, _, _ = recorder()
    monkeypatch.setattr(acp_record, "_MOMENT", 0.01)
    for _ in range(acp_record._UNTOLD):
        assert await record.called("write", {"path": "a"}) is None
    monkeypatch.setattr(acp_record, "_MOMENT", 1e9)
    assert await record.called("write", {"path": "a"}) is None


def test_a_call_that_was_told_too_late_leaves_its_id_to_no_other() -> None:
    record, _, _ = recorder()
    assert record.served("write", {"path": "a"}) is None
    record.tool(Tool(call="call_1", title="lab_write", kind="other", status="in_progress", input={"path": "a"}))
    record.tool(Tool(call="call_1", status="completed"))
    assert record.served("write", {"path": "b"}) is None


@pytest.mark.parametrize(("title", "kind"), [("rm -r y", "other"), ("rm -r x", "execute")])
def test_a_command_that_did_not_come_to_us_is_the_agents_own(title: str, kind: str) -> None:
    record, breaches, _ = recorder()
    record.served("run", {"command": "rm -r x"})
    told(record, title, kind)
    assert breaches == [title]


def test_what_was_run_in_one_turn_excuses_nothing_in_the_next() -> None:
    record, breaches, _ = recorder()
    record.served("run", {"command": "rm -r x"})
    record.end_turn(None, None, 0)
    told(record, "rm -r x")
    assert breaches == ["rm -r x"]


def test_an_agent_that_may_use_tools_of_its_own_has_them_recorded() -> None:
    record, breaches, gate = recorder(native=True)
    told(record, "ls")
    assert breaches == []
    assert [call.vendor["tool"] for call in gate.of(ToolCall)] == ["ls"]


def test_what_a_cancelled_turn_said_is_none_of_the_next_ones() -> None:
    record, _, gate = recorder()
    record.begin_turn()
    record.said(Said("assistant", "went on"))
    record.begin_turn()
    record.said(Said("assistant", "next"))
    record.end_turn(None, None, 0)
    assert record.last == "next"
    assert [message.text for message in gate.of(Message)] == ["went on", "next"]


# --- what outlives its turn ------------------------------------------------------------------------------------


def test_a_call_of_ours_that_outlives_its_turn_is_nothing_in_the_next() -> None:
    record, breaches, gate = recorder()
    record.tool(Tool(call="1", title="lab_write", status="in_progress", input={"path": "a"}, new=True))
    record.end_turn(None, None, 0)
    record.tool(Tool(call="1", status="completed"))
    assert (breaches, gate.of(ToolCall)) == ([], [])


def test_a_call_that_was_announced_and_never_made_leaves_its_id_to_no_other() -> None:
    record, _, _ = recorder()
    record.tool(Tool(call="1", title="lab_write", status="in_progress", input={"path": "a"}, new=True))
    record.end_turn(None, None, 0)
    record.tool(Tool(call="2", title="lab_write", status="in_progress", input={"path": "a"}, new=True))
    assert record.served("write", {"path": "a"}) == "2"


def test_a_look_that_outlives_its_turn_stands_there_once_as_cancelled() -> None:
    record, breaches, gate = recorder(native=True)
    record.tool(Tool(call="1", title="look", kind="read", status="in_progress", new=True))
    record.end_turn(None, None, 0)
    record.tool(Tool(call="1", status="completed", text="seen"))
    assert [entry.status for entry in gate.entries if isinstance(entry.body, ToolResult)] == ["cancelled"]
    assert (breaches, len(gate.of(ToolCall))) == ([], 1)


@pytest.mark.parametrize("native", [False, True])
def test_a_tool_of_its_own_that_has_acted_when_its_turn_was_over_is_told_of_all_the_same(native: bool) -> None:
    record, breaches, _ = recorder(native=native)
    record.tool(Tool(call="1", title="rm", kind="execute", status="in_progress", new=True))
    record.end_turn(None, None, 0)
    record.tool(Tool(call="1", status="completed"))
    assert breaches == ["rm"]


def test_an_act_that_was_asked_for_may_end_after_its_turn() -> None:
    record, breaches, _ = recorder(native=True)
    record.tool(Tool(call="1", title="rm", kind="execute", status="in_progress", new=True))
    record.taken(Tool(call="1"))
    record.end_turn(None, None, 0)
    record.tool(Tool(call="1", status="completed"))
    assert breaches == []


def test_an_agent_that_counts_its_calls_anew_in_each_turn_has_all_of_them_recorded() -> None:
    record, _, gate = recorder(native=True)
    for _ in range(2):
        record.tool(Tool(call="1", title="look", kind="read", status="in_progress", new=True))
        record.end_turn(None, None, 0)
    assert len(gate.of(ToolCall)) == 2


# --- what a turn used ------------------------------------------------------------------------------------------


def passed(record: Recorder, inp: int, out: int, cached: int = 0, model: str = "m") -> None:
    record.metered(Answered("x", "", 0, Used(inp, out, cached, model)))


def calls(gate: Any) -> list[tuple[Any, ...]]:
    return [(e.name, e.tok_in, e.tok_out, e.cost) for e in gate.entries if isinstance(e.body, ModelCall)]


def test_what_passed_by_is_recorded_call_by_call_and_not_again_at_the_end_of_the_turn() -> None:
    record, _, gate = recorder()
    passed(record, 80, 5, cached=20)
    passed(record, 80, 5, cached=20)
    used = record.end_turn(Ended("end_turn", {"m": (200, 10, 0)}), None, 0)
    assert used == Used(160, 10, 40, "m")
    assert calls(gate) == [("m", 80, 5, None)] * 2


def test_the_next_turn_has_its_own_account() -> None:
    record, _, _ = recorder()
    passed(record, 80, 5)
    record.end_turn(None, None, 0)
    passed(record, 1, 1)
    assert record.end_turn(None, None, 0) == Used(1, 1, 0, "m")


def test_an_agent_whose_model_is_not_seen_is_believed_at_the_end_of_the_turn() -> None:
    record, _, gate = recorder()
    assert record.end_turn(Ended("end_turn", {"m": (10, 5, 0), "n": (1, 1, 0)}), 0.5, 0) == Used(11, 6, 0, "m")
    assert calls(gate) == [("m", 10, 5, 0.5), ("n", 1, 1, None)]


def test_what_it_tells_beyond_what_was_seen_is_added() -> None:
    record, _, gate = recorder()
    passed(record, 10, 5)
    used = record.end_turn(Ended("end_turn", {"m": (100, 50, 0)}), None, 0)
    assert used is not None and (used.inp, used.out) == (100, 50)
    assert calls(gate) == [("m", 10, 5, None), (None, 90, 45, None)]


def test_the_price_of_a_turn_is_recorded_where_its_tokens_were_already() -> None:
    record, _, gate = recorder()
    passed(record, 10, 5)
    record.end_turn(Ended("end_turn", {"m": (10, 5, 0)}), 0.25, 0)
    assert calls(gate) == [("m", 10, 5, None), ("m", 0, 0, 0.25)]


def test_of_a_turn_of_which_nothing_is_known_nothing_is_told() -> None:
    record, _, gate = recorder()
    assert record.end_turn(Ended("end_turn", {}), None, 0) is None
    assert calls(gate) == []
