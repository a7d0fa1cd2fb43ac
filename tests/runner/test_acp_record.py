"""What an ACP agent tells of its calls: ours are known, others are seen."""

from __future__ import annotations

from typing import Any

import pytest

from agentlab.core.events import ToolCall
from agentlab.runner.drivers.acp_record import Recorder
from agentlab.runner.drivers.acp_wire import Tool
from agentlab.runner.drivers.call_ids import CallIds
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
