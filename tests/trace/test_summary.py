from __future__ import annotations

import subprocess
import sys

import pytest
from trace_log import Recorder

from agentlab.core import events as e
from agentlab.errors import NotFound
from agentlab.trace.summary import summary, text


@pytest.fixture
def run(log: Recorder) -> Recorder:
    log.event(e.RunStart(name="refactor", root="/w", host="h"), actor="plane", status="open")
    for agent, name in (("a-1", "typist"), ("b-1", "tester")):
        log.event(e.AgentStart(spec=e.AgentSpec(kind="script")), actor=agent, name=name)
    x = e.Mode.EXCLUSIVE
    log.event(e.LockGrant(ticket=4, owner="r1/a-1", units=("file:f",), mode=x, token=4), actor="a-1")
    behind = (e.Blocker(owner="r1/a-1", unit="file:f", ticket=4),)
    wait = e.LockRequest(ticket=5, owner="r1/b-1", units=("file:f",), mode=x, key=(5, 0), behind=behind)
    log.event(wait, actor="b-1")
    log.event(e.ToolCall(call="1"), actor="a-1", name="write")
    log.event(e.FileWrite(path="f", before=None, after="a" * 64, added=3), actor="a-1")
    log.event(e.ToolResult(call="1"), actor="a-1", status="ok")
    log.event(e.LockRelease(ticket=4, owner="r1/a-1", units=("file:f",)), actor="a-1")
    log.event(e.LockGrant(ticket=5, owner="r1/b-1", units=("file:f",), mode=x, token=10), actor="b-1")
    log.event(e.ToolCall(call="1"), actor="b-1/sub", name="write")
    log.event(e.FileWrite(path="f", before="a" * 64, after="b" * 64, added=1, removed=2), actor="b-1/sub")
    log.event(e.FileWrite(path="f", before="c" * 64, after="b" * 64, added=9, via="rollback"), actor="b-1")
    log.event(e.Guard(rule="unclaimed write", detail="f"), actor="b-1", status="rolled_back")
    log.event(e.ToolResult(call="1", error="no"), actor="b-1/sub", status="error")
    log.event(e.AgentEnd(), actor="a-1", status="done")
    log.event(e.RunEnd(), actor="plane", status="done")
    log.save()
    return log


def test_a_summary_says_who_did_what_who_waited_for_whom_and_what_changed(run: Recorder, driver: str) -> None:
    told = summary(run.path, "r1")
    typist, tester = told["agents"]
    assert (typist["agent"], typist["status"], typist["tool_calls"], typist["errors"]) == ("typist", "done", 1, 0)
    assert (tester["agent"], tester["status"], tester["tool_calls"], tester["errors"]) == ("tester", "live", 1, 1)
    assert (typist["waited"], tester["waited"]) == (0, 5)
    (wait,) = told["waits"]
    assert wait == {"agent": "tester", "unit": "file:f", "behind": ["typist"], "seconds": 5.0, "status": "held"}
    (file,) = told["files"]
    assert file == {"path": "f", "changes": 2, "added": 4, "removed": 2, "by": ["typist", "tester"], "op": "write"}
    assert told["guards"] == [{"agent": "tester", "rule": "unclaimed write", "status": "rolled_back", "detail": "f"}]
    assert (told["name"], told["status"], told["seconds"], told["events"]) == ("refactor", "done", 16.0, 17)


def test_a_summary_reads_well(run: Recorder) -> None:
    lines = text(summary(run.path, "r1")).splitlines()
    assert lines[0] == "Run refactor (r1): done in 16.0 s, 17 events"
    assert "  tester waited 5.00 s for file:f, behind typist" in lines
    assert lines[-1] == f"Log: {run.path}"


def test_a_run_in_which_nothing_happened_has_a_summary_too(log: Recorder) -> None:
    log.event(e.RunStart(name="r", root="/w", host="h"))
    assert "nobody" in text(summary(log.save(), "r1"))
    with pytest.raises(NotFound, match="no run r9"):
        summary(log.path, "r9")


def test_a_summary_and_a_view_need_no_pandas() -> None:
    code = "import sys, agentlab.trace.summary, agentlab.trace.view, agentlab.trace.checkout; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
