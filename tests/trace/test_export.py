from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from trace_log import T0, Recorder

from agentlab.core.events import Message, RunStart, ToolCall
from agentlab.errors import NotFound
from agentlab.trace.export import to_json, to_parquet
from agentlab.trace.frames import events_df


@pytest.fixture
def run(log: Recorder) -> Recorder:
    log.event(RunStart(name="r", root="/w", host="h"), status="open")
    log.event(ToolCall(call="1", args={"text": "é\u2028\n", "n": 1}), name="write", dur_ns=3, cost=0.5)
    log.event(Message(role="user", text="日" * 5000))
    log.event(RunStart(name="other", root="/w", host="h"), run="r2", status="open")
    log.save()
    return log


def test_json_lines_have_each_event_with_its_payload_as_an_object(run: Recorder, driver: str) -> None:
    text = io.StringIO()
    assert to_json(run.path, "r1", text) == 3
    lines = [json.loads(line) for line in text.getvalue().removesuffix("\n").split("\n")]
    assert [line["seq"] for line in lines] == [1, 2, 3]
    assert lines[1]["payload"]["args"] == {"text": "é\u2028\n", "n": 1}
    assert (lines[1]["ts"], lines[1]["dur_ns"], lines[1]["cost"]) == (T0 + 10**9, 3, 0.5)
    assert "unit" not in lines[1] and lines[2]["payload"]["text"]["n"] == 15_000


def test_parquet_has_what_the_frame_has(run: Recorder, tmp_path: Path, driver: str) -> None:
    file = tmp_path / "run.parquet"
    assert to_parquet(run.path, "r1", file) == 3
    read, frame = pq.read_table(file).to_pandas(), events_df(run.path, "r1", payload="text")
    assert list(read.columns) == list(frame.columns)
    for name in frame.columns:
        pd.testing.assert_series_equal(
            read[name].astype(object).where(read[name].notna(), None),
            frame[name].astype(object).where(frame[name].notna(), None),
            check_dtype=False,
        )
    assert read["ts"].dtype == "datetime64[ns, UTC]" and read["type"].dtype == "category"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_run_that_does_not_exist_leaves_no_file(run: Recorder, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(NotFound):
        to_parquet(run.path, "r9", folder / "x.parquet")
    with pytest.raises(NotFound):
        to_json(run.path, "r9", io.StringIO())
    assert not list(folder.iterdir())
