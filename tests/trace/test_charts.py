from __future__ import annotations

import pandas as pd
import pytest
from trace_log import Recorder

from agentlab.core.events import LockGrant, LockRelease, LockRequest, Mode, ToolCall, ToolResult
from agentlab.trace.charts import COLORS, MAX_ROWS, gantt, gantt_rows
from agentlab.trace.frames import spans_df


@pytest.fixture
def spans(log: Recorder) -> pd.DataFrame:
    x = Mode.EXCLUSIVE
    log.event(LockRequest(ticket=1, owner="r1/a", units=("file:a",), mode=x, key=(1, 0)))
    log.event(LockGrant(ticket=1, owner="r1/a", units=("file:a",), mode=x, token=2))
    log.event(ToolCall(call="1"), name="write")
    log.event(ToolResult(call="1"), status="ok")
    log.event(LockRelease(ticket=1, owner="r1/a", units=("file:a",)))
    log.event(ToolCall(call="2"), name="run", actor="b")
    return spans_df(log.save(), "r1")


def test_waiting_for_a_lock_has_a_colour_of_its_own(spans: pd.DataFrame) -> None:
    pytest.importorskip("altair")
    chart = gantt(spans).to_dict()
    scale = chart["encoding"]["color"]["scale"]
    assert dict(zip(scale["domain"], scale["range"], strict=True)) == {k: COLORS[k] for k in ("tool", "wait", "hold")}
    (rows,) = chart["datasets"].values()
    assert {row["kind"] for row in rows} == {"tool", "wait", "hold"}


def test_what_has_not_ended_is_drawn_to_the_last_known_moment(spans: pd.DataFrame) -> None:
    rows = gantt_rows(spans)
    assert rows["ended"].notna().all() and (rows["ended"] >= rows["started"]).all()


def test_many_spans_are_gathered_below_what_a_chart_takes_and_no_time_is_lost(spans: pd.DataFrame) -> None:
    step = pd.Timedelta(1, "s")
    many = pd.concat(
        [spans.assign(started=spans["started"] + n * step, ended=spans["ended"] + n * step) for n in range(2000)],
        ignore_index=True,
    )
    rows = gantt_rows(many)
    assert len(rows) <= MAX_ROWS < len(many)
    assert rows["spans"].sum() == len(many)
    assert rows["seconds"].sum() == pytest.approx(gantt_rows(many, max_rows=10**9)["seconds"].sum())


def test_a_run_without_spans_is_an_empty_chart(log: Recorder) -> None:
    pytest.importorskip("altair")
    gantt(spans_df(log.save())).to_dict()
