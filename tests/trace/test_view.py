from __future__ import annotations

import pytest
from trace_log import Recorder

from agentlab.core import events as e
from agentlab.core.fold import apply
from agentlab.core.state import State
from agentlab.core.views import tables
from agentlab.errors import NotFound, StoreCorrupt
from agentlab.store.base import Snapshot
from agentlab.store.snapshots import LINK_MODE, File, Manifest
from agentlab.trace.view import FileAt, at, files_at

A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def lived(log: Recorder) -> Recorder:
    """Two runs, agents that wait for one another, and a task too large for a row."""
    for run in ("r1", "r2"):
        log.event(e.RunStart(name=run, root="/w", host="h"), run=run, actor="plane", session_id="s")
        log.event(e.TaskCreate(goal="gö", input={"$blob": "mine"}), run=run, task_id="t1")
        for agent in ("a", "b"):
            spec = e.AgentSpec(kind="python", task="x = 1\n" * 3000)
            log.event(e.AgentStart(spec=spec), run=run, actor=agent, name=agent)
            log.event(e.AgentState(was="queued"), run=run, actor=agent, status="running")
    x = e.Mode.EXCLUSIVE
    held = log.event(e.LockGrant(ticket=13, owner="r1/a", units=("file:f", "dir:src"), mode=x, token=13), unit="file:f")
    wait = e.LockRequest(ticket=14, owner="r1/b", units=("file:f",), mode=x, key=(14, 0))
    log.event(wait, actor="b", unit="file:f")
    log.event(e.ToolCall(call="1"), name="write", unit="file:f")
    log.event(e.LockRelease(ticket=13, owner="r1/a", units=("dir:src",)), cause=held.seq)
    log.event(e.Message(role="user", text="go on", to="r1/b"), actor="user:me")
    log.event(e.LockRelease(ticket=13, owner="r1/a", units=("file:f",)))
    log.event(e.LockGrant(ticket=14, owner="r1/b", units=("file:f",), mode=x, token=19), actor="b")
    log.event(e.ModelCall(provider="x"), name="m", tok_in=5, cost=0.25)
    log.event(e.Approval(approval="q", question="?"), status="asked")
    log.event(e.Artifact(kind="report", hash=A), name="report.md")
    log.event(e.AgentEnd(output={"n": 1}), status="done")
    log.event(e.RunEnd(), status="done", actor="plane")
    log.save()
    return log


def test_the_state_at_any_event_is_the_fold_of_the_events_up_to_it(lived: Recorder, driver: str) -> None:
    for run in ("r1", "r2"):
        state = State()
        for event in (event for event in lived.events if event.run_id == run):
            apply(state, event)
            assert at(lived.path, run, event.seq) == tables(state, run)
        assert at(lived.path, run) == tables(state, run)


def test_before_its_first_event_a_run_is_nothing(lived: Recorder) -> None:
    assert not any(at(lived.path, "r1", 0).values())


def test_a_waiting_agent_is_seen_waiting_behind_the_holder(lived: Recorder) -> None:
    asked = next(event.seq for event in lived.events if isinstance(event.body, e.LockRequest))
    rows = at(lived.path, "r1", asked)
    assert rows["agents"]["r1/b"]["status"] == "waiting"
    assert rows["locks"]["14"]["behind"][0]["owner"] == "r1/a"
    assert at(lived.path, "r1")["locks"]["14"]["status"] == "held"


@pytest.mark.parametrize(
    ("run", "seq", "says"), [("r9", 1, "no run r9"), ("r1", 99, "has events 1 to"), ("r1", -1, "-1")]
)
def test_what_is_not_in_the_log_cannot_be_viewed(lived: Recorder, run: str, seq: int, says: str) -> None:
    with pytest.raises(NotFound, match=says):
        at(lived.path, run, seq)


def test_files_are_those_of_the_snapshot_and_of_every_change_since(log: Recorder) -> None:
    files = (
        File("gone", 0o644, A, 1),
        File("kept.sh", 0o755, B, 2),
        File("e\u0301.txt", 0o644, C, 3),  # as another system spells é
        File("link", LINK_MODE, A, 4, "kept.sh"),
    )
    base = Manifest(files, (("big", "too large"), ("pipe", "no regular file")))
    log.event(e.RunStart(name="r", root="/w", host="h"), status="open")
    log.event(e.FileDelete(path="gone", before=A))
    log.event(e.FileWrite(path="é.txt", before=C, after=A, size=9, mode=0o600))
    log.event(e.FileRename(path="kept.sh", to="bin/kept.sh", before=B))
    log.event(e.FileWrite(path="to", before=None, after=B, link="bin/kept.sh"))
    log.event(e.FileWrite(path="kept.sh", before=None, after=C, size=3))
    log.event(e.FileRename(path="big", to="bigger", before=C))
    db = log.save([base.blob().data], [Snapshot("r1", 0, base.tree, base.blob().hash)])
    assert files_at(db, "r1", 1) == {f.path: FileAt(f.hash, f.mode, f.size, f.link) for f in files}
    assert files_at(db, "r1", 2).keys() == {"kept.sh", "e\u0301.txt", "link"}
    assert files_at(db, "r1", 3)["e\u0301.txt"] == FileAt(A, 0o600, 9)
    last = files_at(db, "r1")
    assert last["bin/kept.sh"] == FileAt(B, 0o755, 2)
    assert last["kept.sh"] == FileAt(C, 0o644, 3)
    assert last["to"] == FileAt(B, LINK_MODE, 0, "bin/kept.sh")
    assert "é.txt" not in last and "gone" not in last and "big" not in last


def test_the_newest_snapshot_before_an_event_is_the_base(log: Recorder) -> None:
    first, second = Manifest((File("a", 0o644, A, 1),)), Manifest((File("b", 0o644, B, 1),))
    log.event(e.RunStart(name="r", root="/w", host="h"))
    log.event(e.FileWrite(path="c", before=None, after=C))
    log.event(e.FileWrite(path="d", before=None, after=C))
    snapshots = [Snapshot("r1", n, m.tree, m.blob().hash) for n, m in ((0, first), (2, second))]
    db = log.save([first.blob().data, second.blob().data], snapshots)
    assert set(files_at(db, "r1", 1)) == {"a"}
    assert set(files_at(db, "r1", 2)) == {"b"}
    assert set(files_at(db, "r1", 3)) == {"b", "d"}


def test_a_run_without_a_snapshot_says_that_its_files_are_not_known(lived: Recorder) -> None:
    with pytest.raises(NotFound, match="no snapshot"):
        files_at(lived.path, "r1", 3)


def test_a_snapshot_that_is_not_the_tree_it_says_is_corrupt(log: Recorder) -> None:
    base = Manifest((File("a", 0o644, A, 1),))
    log.event(e.RunStart(name="r", root="/w", host="h"))
    db = log.save([base.blob().data], [Snapshot("r1", 0, "f" * 64, base.blob().hash)])
    with pytest.raises(StoreCorrupt, match="not the tree"):
        files_at(db, "r1")
