from __future__ import annotations

import sqlite3
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trace_log import SECOND, T0, Recorder

from agentlab.core.events import (
    AgentEnd,
    AgentSpec,
    AgentStart,
    AgentState,
    Approval,
    Artifact,
    Event,
    FileDelete,
    FileRename,
    FileWrite,
    LockGrant,
    LockRelease,
    LockRequest,
    Message,
    Mode,
    ModelCall,
    ModelExchange,
    ProcExit,
    ProcOutput,
    ProcStart,
    RunEnd,
    RunStart,
    ToolCall,
    ToolResult,
    encode_payload,
)  # fmt: skip
from agentlab.core.fold import apply
from agentlab.core.state import State
from agentlab.errors import BadRequest, NotFound, StoreCorrupt
from agentlab.trace.columns import Kind
from agentlab.trace.frames import (
    events_df,
    exchanges_df,
    files_df,
    locks_df,
    messages_df,
    procs_df,
    runs_df,
    spans_df,
    tool_calls_df,
    usage_df,
)  # fmt: skip
from agentlab.trace.leases import LOCKS
from agentlab.trace.queries import EVENTS, RUNS
from agentlab.trace.spans import SPANS
from agentlab.trace.stories import EXCHANGES, FILES, MESSAGES, PROCS, TOOL_CALLS
from agentlab.trace.usage import USAGE

TEXT = pd.StringDtype("pyarrow")

FRAMES = {
    events_df: {name: kind for name, kind in EVENTS.items() if name != "payload"},
    messages_df: MESSAGES,
    exchanges_df: EXCHANGES,
    tool_calls_df: TOOL_CALLS,
    locks_df: LOCKS,
    files_df: FILES,
    procs_df: PROCS,
    usage_df: USAGE,
    spans_df: SPANS,
}


def dtypes_are(frame: pd.DataFrame, columns: dict[str, Kind]) -> None:
    assert list(frame.columns) == list(columns)
    for name, kind in columns.items():
        dtype = frame[name].dtype
        if kind is Kind.CATEGORY:
            assert isinstance(dtype, pd.CategoricalDtype) and dtype.categories.dtype == TEXT, name
        else:
            expected = {
                Kind.TEXT: TEXT, Kind.JSON: TEXT, Kind.NUMBER: "int64", Kind.COUNT: "Int64", Kind.AMOUNT: "float64",
                Kind.FLAG: "bool", Kind.TIME: "datetime64[ns, UTC]", Kind.SPAN: "timedelta64[ns]",
                Kind.TEXTS: "list<item: string>[pyarrow]",
            }  # fmt: skip
            assert dtype == expected[kind], name


@pytest.fixture
def busy(log: Recorder) -> Recorder:
    """A run in which something of everything happens."""
    log.event(RunStart(name="refactor", root="/w", host="h"), actor="plane", task_id=None, status="open")
    log.event(AgentStart(spec=AgentSpec(kind="script")), name="typist")
    log.event(AgentState(was="queued"), status="running")
    log.event(ToolCall(call="1", args={"path": "é.txt", "content": "ü" * 6000}), name="write", unit="file:é.txt")
    log.event(FileWrite(path="é.txt", before=None, after="a" * 64, size=12000, added=1), unit="file:é.txt")
    log.event(ToolResult(call="1", output={"ok": True}), name="write", status="ok", dur_ns=7)
    log.event(ToolCall(call="2", args={"argv": ["ls"]}), name="run")
    log.event(ProcStart(proc="p1", argv=("ls", "a b"), pid=7), unit="proc:run")
    log.event(ProcOutput(proc="p1", fd=1, data="ü\n"))
    log.event(ProcOutput(proc="p1", fd=2, data="x" * 10_000))
    log.event(ProcExit(proc="p1", code=2, wrote=("x", "y")), status="error")
    log.event(ToolResult(call="2", error="exit code 2"), name="run", status="error")
    log.event(FileRename(path="é.txt", to="z.txt", before="a" * 64))
    log.event(FileDelete(path="z.txt", before="a" * 64))
    log.event(Message(role="assistant", text="done 日本語", to=""))
    log.event(ModelCall(provider="x"), name="m-1", tok_in=10, tok_out=2, cost=0.5, dur_ns=SECOND // 2)
    log.event(Approval(approval="q1", question="ok?"), status="asked")
    log.event(Approval(approval="q1", answer="yes", by="me"), status="approved")
    log.event(Artifact(kind="log", hash="b" * 64), name="out", dur_ns=5)
    log.event(AgentEnd(usage={"in": 10, "out": 2, "cached": 4, "cost": 0.75}), status="done")
    log.event(RunEnd(), actor="plane", task_id=None, status="done")
    log.save()
    return log


@pytest.mark.parametrize("frame", FRAMES, ids=lambda f: f.__name__)
def test_a_frame_has_the_same_dtypes_with_rows_and_without(
    busy: Recorder, driver: str, frame: Callable[..., pd.DataFrame]
) -> None:
    columns = dict(FRAMES[frame])
    dtypes_are(frame(busy.path, "r1"), columns)
    dtypes_are(frame(busy.path, "r1", where="0"), columns)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda f: f.__name__)
def test_a_log_without_any_run_gives_frames_without_rows(log: Recorder, frame: Callable[..., pd.DataFrame]) -> None:
    db = log.save()
    dtypes_are(frame(db), dict(FRAMES[frame]))
    dtypes_are(runs_df(db), dict(RUNS))


def test_both_drivers_give_the_same(busy: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentlab.trace import load

    def all_frames() -> list[pd.DataFrame]:
        frames = [f(busy.path, "r1") for f in FRAMES]
        return [
            *frames,
            runs_df(busy.path),
            events_df(busy.path, payload="text"),
            events_df(busy.path, payload="parsed"),
        ]

    by_driver = all_frames()
    monkeypatch.setattr(load, "_adbc", lambda: None)
    for one, other in zip(by_driver, all_frames(), strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda f: f.__name__)
def test_a_run_that_does_not_exist_is_named(busy: Recorder, frame: Callable[..., pd.DataFrame]) -> None:
    with pytest.raises(NotFound, match="no run r9"):
        frame(busy.path, ["r1", "r9"], where="0")


def test_a_column_that_is_null_for_its_first_three_thousand_rows_keeps_its_type(log: Recorder, driver: str) -> None:
    late = {"name": "né", "unit": "file:x", "cost": 0.25, "cause": 1, "span": "s"}
    for n in range(1, 3001):
        columns = late if n > 2990 else {}
        body = Message(role="user", text=str(n))
        log.events.append(Event(id=n, run_id="r1", seq=n, ts=T0, actor="a", body=body, **columns))  # type: ignore[arg-type]
    frame = events_df(log.save(), "r1")
    dtypes_are(frame, dict(FRAMES[events_df]))
    assert len(frame) == 3000
    assert frame["name"].notna().sum() == frame["cost"].notna().sum() == 10
    assert frame["name"].iloc[-1] == "né" and frame["cause"].iloc[-1] == 1 and frame["span"].isna().sum() == 2990


def test_columns_that_are_all_null_have_their_dtypes(log: Recorder, driver: str) -> None:
    log.event(Message(role="user", text=""), task_id=None)
    frame = events_df(log.save(), "r1")
    dtypes_are(frame, dict(FRAMES[events_df]))
    assert frame[["session_id", "task_id", "span", "cause", "unit", "dur", "cost"]].isna().all().all()


def test_events_are_in_the_order_of_the_log_and_not_of_time(log: Recorder) -> None:
    for ts in (5, 3, 4):
        log.event(Message(role="user", text=str(ts)), run="r2", ts=ts)
        log.event(Message(role="user", text=str(ts)), run="r1", ts=ts)
    frame = events_df(log.save())
    assert list(zip(frame["run_id"], frame["seq"], strict=True)) == [(r, n) for r in ("r1", "r2") for n in (1, 2, 3)]
    assert list(events_df(log.path, "r2")["ts"].astype("int64")) == [5, 3, 4]


def test_events_are_chosen_by_run_type_seq_and_sql(busy: Recorder) -> None:
    frame = events_df(busy.path, "r1", types=["file.write", "file.delete"], where="unit = ?", params=["file:é.txt"])
    assert list(frame["type"]) == ["file.write"]
    assert list(events_df(busy.path, "r1", since=19)["seq"]) == [20, 21]
    assert list(events_df(busy.path, "r1", columns=["status", "seq"], where="dur_ns > 6").columns) == ["status", "seq"]


def test_a_column_or_a_condition_that_makes_no_sense_is_a_bad_request(busy: Recorder, driver: str) -> None:
    with pytest.raises(BadRequest, match="no column colour"):
        events_df(busy.path, columns=["colour"])
    with pytest.raises(BadRequest, match="colour"):
        events_df(busy.path, where="colour = 1")
    with pytest.raises(BadRequest, match="payload="):
        events_df(busy.path, payload="xml")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unknown option wher"):
        events_df(busy.path, wher="1")  # type: ignore[call-arg]


def test_a_file_that_is_no_log_is_told_apart_from_one_that_is_not_there(tmp_path: Path, driver: str) -> None:
    with pytest.raises(NotFound, match="no log at"):
        events_df(tmp_path / "none.db")
    stranger = tmp_path / "stranger.db"
    stranger.write_bytes(b"hello" * 1000)
    with pytest.raises(StoreCorrupt, match="no log of agentlab"):
        events_df(stranger)


def test_payloads_come_as_text_or_parsed_and_large_values_only_when_asked_for(busy: Recorder) -> None:
    def call(**options: object) -> object:
        return events_df(busy.path, "r1", types=["tool.call"], **options)["payload"].iloc[0]  # type: ignore[arg-type]

    assert '"$blob":' in call(payload="text")  # type: ignore[operator]
    assert call(payload="parsed")["args"]["content"]["n"] == 12_000  # type: ignore[index]
    assert call(payload="parsed", blobs=True)["args"]["content"] == "ü" * 6000  # type: ignore[index]
    assert "ü" * 6000 in call(payload="text", blobs=True)  # type: ignore[operator]


def test_a_payload_that_cannot_be_read_is_an_error_or_is_listed(busy: Recorder, driver: str) -> None:
    with sqlite3.connect(busy.path) as db:
        db.execute("UPDATE events SET payload = '{\"role\": ' WHERE type = 'message'")
    db.close()
    for frame, options in ((messages_df, {}), (events_df, {"payload": "parsed"})):
        with pytest.raises(StoreCorrupt, match="strict=False"):
            frame(busy.path, "r1", **options)
        lenient = frame(busy.path, "r1", strict=False, **options)
        assert len(lenient.attrs["errors"]) == 1 and "r1:15" in lenient.attrs["errors"][0]["event"]


def test_a_tool_call_stands_beside_its_result(busy: Recorder) -> None:
    frame = tool_calls_df(busy.path, "r1", payload="parsed", blobs=True)
    first, second = frame.to_dict("records")
    assert (first["name"], first["status"], first["seq"], first["end_seq"]) == ("write", "ok", 4, 6)
    assert first["args"] == {"path": "é.txt", "content": "ü" * 6000} and first["output"] == {"ok": True}
    assert first["dur"] == pd.Timedelta(7, "ns")
    assert (second["status"], second["error"]) == ("error", "exit code 2")
    assert second["dur"] == pd.Timedelta(5, "s")


def test_calls_of_two_agents_with_one_id_are_not_mixed_up_and_open_calls_stay(log: Recorder) -> None:
    log.event(ToolCall(call="1"), name="read", actor="a")
    log.event(ToolCall(call="1"), name="read", actor="b")
    log.event(ToolResult(call="1"), name="read", actor="b", status="ok")
    log.event(ToolCall(call="1"), name="write", actor="b")
    log.event(ToolResult(call="other"), actor="b", status="denied", cause=4)
    log.event(ToolResult(call="lost"), name="run", actor="b", status="ok")
    frame = tool_calls_df(log.save(), "r1")
    assert list(zip(frame["actor"], frame["name"], frame["status"], strict=True)) == [
        ("a", "read", "unknown"), ("b", "read", "ok"), ("b", "write", "denied"), ("b", "run", "ok"),
    ]  # fmt: skip
    assert pd.isna(frame["ended"][0]) and pd.isna(frame["started"][3])


def test_a_condition_chooses_calls_by_their_beginning_and_keeps_their_result(busy: Recorder) -> None:
    frame = tool_calls_df(busy.path, "r1", where="name = 'write' AND status IS NULL")
    assert list(frame["status"]) == ["ok"]
    assert list(tool_calls_df(busy.path, "r1", since=4)["name"]) == ["run"]


def test_without_payload_the_columns_of_json_are_left_out(busy: Recorder) -> None:
    assert not {"args", "output"} & set(tool_calls_df(busy.path, "r1", payload=False).columns)


def test_a_process_says_what_it_printed_wrote_and_how_it_ended(busy: Recorder) -> None:
    (row,) = procs_df(busy.path, "r1").to_dict("records")
    assert row["unit"] == "proc:run" and list(row["argv"]) == ["ls", "a b"] and list(row["wrote"]) == ["x", "y"]
    assert (row["code"], row["out_bytes"], row["err_bytes"], row["pid"]) == (2, 3, 10_000, 7)
    assert row["dur"] == pd.Timedelta(3, "s")


def test_processes_of_two_agents_that_count_alike_are_told_apart(log: Recorder) -> None:
    for agent in ("a", "b"):
        log.event(ProcStart(proc="p1", argv=(agent,)), actor=agent)
    for agent, code in (("a", 0), ("b", 1)):
        log.event(ProcOutput(proc="p1", fd=1, data=agent * (1 + code)), actor=agent)
        log.event(ProcExit(proc="p1", code=code), actor=agent)
    frame = procs_df(log.save(), "r1")
    assert list(frame["actor"]) == ["a", "b"] and list(frame["code"]) == [0, 1] and list(frame["out_bytes"]) == [1, 2]


def test_files_say_what_was_done_to_them(busy: Recorder) -> None:
    frame = files_df(busy.path, "r1")
    assert list(frame["op"]) == ["create", "rename", "delete"]
    assert frame["added"][0] == 1 and frame["to"][1] == "z.txt" and frame["after"][1] == "a" * 64
    assert frame["mode"][0] == 0o644 and pd.isna(frame["mode"][1])


def test_messages_are_whole_when_asked_for(log: Recorder) -> None:
    log.event(Message(role="user", text="日" * 4000, to="r1/a"))
    db = log.save()
    assert "12000 bytes" in messages_df(db)["text"][0] and len(messages_df(db)["text"][0]) < 600
    assert messages_df(db, blobs=True)["text"][0] == "日" * 4000


def test_an_exchange_has_its_bodies_when_asked_for(log: Recorder) -> None:
    bodies = (b'{"model": "m-1"}', b"data: hi")
    asked, said = (sha256(body).hexdigest() for body in bodies)
    log.event(
        ModelExchange(
            provider="anthropic", method="POST", path="/v1/messages", code=200, request=asked, request_size=16,
            response=said, response_size=8, response_id="msg_1", first_ns=2_000_000,
        ),
        name="m-1", status="ok", dur_ns=5_000_000,
    )  # fmt: skip
    log.event(ModelExchange(provider="anthropic", method="POST", path="/v1/messages", error="gone"), status="error")
    db = log.save(bodies)
    first, second = exchanges_df(db).to_dict("records")
    assert (first["model"], first["code"], first["request"], first["response"]) == ("m-1", 200, asked, said)
    assert (first["dur"], first["first"]) == (pd.Timedelta(milliseconds=5), pd.Timedelta(milliseconds=2))
    assert (second["status"], second["error"]) == ("error", "gone") and pd.isna(second["request"])
    whole = exchanges_df(db, blobs=True)
    assert list(whole["request"].dropna()) == ['{"model": "m-1"}'] and whole["response"][0] == "data: hi"


def test_usage_adds_what_agents_said_at_their_end_once(busy: Recorder) -> None:
    (row,) = usage_df(busy.path, "r1").to_dict("records")
    assert (row["model"], row["calls"], row["tok_in"], row["tok_out"], row["tok_cache"]) == ("m-1", 1, 10, 2, 4)
    assert row["cost"] == 0.75
    assert usage_df(busy.path, "r1", where="1")["cost"][0] == 0.5


def test_usage_of_several_models_is_not_guessed_apart(log: Recorder) -> None:
    log.event(ModelCall(provider="x"), name="big", tok_in=5)
    log.event(ModelCall(provider="x"), name="small", actor="a/sub", tok_in=6)
    log.event(AgentEnd(usage={"in": 11, "cost": 2.0}), status="done")
    frame = usage_df(log.save(), "r1")
    assert list(frame["model"].astype(object).where(frame["model"].notna(), None)) == ["big", "small", None]
    assert frame["cost"][2] == 2.0 and frame["cost"][:2].isna().all() and frame["tok_in"].sum() == 11


def test_spans_have_everything_that_took_time(busy: Recorder) -> None:
    frame = spans_df(busy.path, "r1")
    took = {(k, n): d.total_seconds() for k, n, d in zip(frame["kind"], frame["name"], frame["dur"], strict=True)}
    assert took[("run", "r1")] == 20
    assert took[("agent", "typist")] == 18 and took[("state", "queued")] == 1 and took[("state", "running")] == 17
    assert took[("model", "m-1")] == 0.5 and took[("proc", "ls a b")] == 3
    assert ("artifact", "out") in took and set(frame["kind"]) >= {"tool", "approval"}
    assert list(spans_df(busy.path, "r1", kinds=["proc"])["kind"]) == ["proc"]


def test_a_wait_and_a_hold_are_spans_of_their_own(log: Recorder) -> None:
    units = ("file:a", "file:b")
    log.event(LockRequest(ticket=1, owner="r1/a", units=units, mode=Mode.EXCLUSIVE, key=(1, 0)))
    log.event(LockGrant(ticket=1, owner="r1/a", units=units, mode=Mode.EXCLUSIVE, token=2))
    log.event(LockRelease(ticket=1, owner="r1/a", units=units))
    log.event(LockGrant(ticket=4, owner="r1/a", units=units, mode=Mode.EXCLUSIVE, token=4))
    frame = spans_df(log.save(), "r1")
    assert list(zip(frame["kind"], frame["status"], strict=True)) == [
        ("wait", "granted"), ("hold", "released"), ("hold", "held"),
    ]  # fmt: skip
    assert pd.isna(frame["ended"][2])


def test_runs_are_listed_oldest_first_with_as_many_events_as_they_have(log: Recorder) -> None:
    log.event(RunStart(name="late", root="/w", host="h"), run="a", ts=T0 + 9)
    log.event(RunStart(name="early", root="/w", host="h"), run="b", ts=T0)
    log.event(RunEnd(final_tree="t"), run="b", status="done", ts=T0 + 3)
    frame = runs_df(log.save())
    assert list(frame["name"]) == ["early", "late"] and list(frame["n_events"]) == [2, 1]
    assert frame["dur"][0] == pd.Timedelta(3, "ns") and pd.isna(frame["dur"][1])
    assert list(runs_df(log.path, where="name = ?", params=["late"])["run_id"]) == ["a"]


def used(frame: pd.DataFrame, run: str) -> list[object]:
    """Tokens in, out, cached and cost of a run; None where nobody told."""
    row = frame.set_index("run_id").loc[run, ["tok_in", "tok_out", "tok_cache", "cost"]]
    return [None if pd.isna(value) else value for value in row]


def test_a_run_that_has_ended_says_what_its_agents_used(log: Recorder, driver: str) -> None:
    for run, usage in (
        ("all", {"in": 10.0, "out": 2.0, "cached": 4.0, "cost": 0.75}), ("costless", {"in": 0.0, "out": 3.0}),
        ("scripts", {}),
    ):  # fmt: skip
        log.event(RunStart(name=run, root="/w", host="h"), run=run)
        log.event(RunEnd(usage=usage, reason="because " * 2000), run=run, status="done")
    frame = runs_df(log.save())
    dtypes_are(frame, dict(RUNS))
    assert used(frame, "all") == [10, 2, 4, 0.75]
    assert used(frame, "costless") == [0, 3, None, None]
    assert used(frame, "scripts") == [None] * 4


def test_a_run_that_was_ended_before_runs_were_summed_up_is_read_and_says_nothing(log: Recorder, driver: str) -> None:
    log.event(RunStart(name="old", root="/w", host="h"))
    log.event(ModelCall(provider="p"), tok_in=5)
    log.event(RunEnd(), status="done")
    assert '"usage"' not in encode_payload(log.events[-1].body).decode()
    assert used(runs_df(log.save()), "r1") == [None] * 4


def test_a_run_that_goes_on_says_what_was_used_so_far(log: Recorder, driver: str) -> None:
    for run in ("r1", "r2", "r3"):
        log.event(RunStart(name=run, root="/w", host="h"), run=run)
    log.event(ModelCall(provider="p"), name="m", tok_in=5, tok_out=1)
    log.event(ModelCall(provider="p"), name="n", tok_in=7, cost=0.5, actor="a/scout")
    log.event(AgentEnd(usage={"in": 12, "cost": 0.75}), status="done")
    log.event(ModelCall(provider="p"), name="m", tok_in=100, run="r2")
    log.event(RunEnd(usage={"in": 1.0}), run="r2", status="done")
    frame = runs_df(log.save())
    dtypes_are(frame, dict(RUNS))
    assert used(frame, "r1") == [12, 1, None, 0.75]
    assert used(frame, "r2") == [1, None, None, None], "what its end says"
    assert used(frame, "r3") == [None] * 4
    assert used(runs_df(log.path, where="name = ?", params=["r1"]), "r1") == [12, 1, None, 0.75]


_amounts = st.fixed_dictionaries(
    {}, optional={"in": st.integers(1, 10**9), "out": st.integers(1, 10**9), "cost": st.floats(0.001, 100)}
)
_agents = st.tuples(st.lists(st.tuples(st.sampled_from(("", "/scout")), _amounts), max_size=4), st.none() | _amounts)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_agents, max_size=4))
def test_the_frame_and_the_state_count_the_same(new_log: Callable[[], Recorder], agents: list[Any]) -> None:
    """One reads the log by SQL, the other is folded from it."""
    log, state = new_log(), State()
    log.event(RunStart(name="x", root="/w", host="h"))
    for name, (calls, end) in enumerate(agents):
        log.event(AgentStart(spec=AgentSpec(kind="script")), actor=str(name), name=str(name))
        for sub, much in calls:
            columns = {"tok_in": much.get("in"), "tok_out": much.get("out"), "cost": much.get("cost")}
            log.event(ModelCall(provider="p"), actor=f"{name}{sub}", **columns)
        if end is not None:
            log.event(AgentEnd(usage=end), actor=str(name), status="done")
    for event in log.events:
        apply(state, event)
    usage = state.runs["r1"].usage
    said = [usage.get(key) for key in ("in", "out", "cached", "cost")]
    assert used(runs_df(log.save()), "r1") == [None if n is None else pytest.approx(n) for n in said]
    log.event(RunEnd(usage=usage), status="done")
    assert used(runs_df(log.save()), "r1") == [None if n is None else pytest.approx(n) for n in said]


def test_a_frame_can_be_changed(busy: Recorder) -> None:
    frame = events_df(busy.path, "r1")
    frame.loc[0, "seq"] = 100
    frame.loc[0, "cost"] = 1.0
    assert frame["seq"][0] == 100 and frame["cost"][0] == 1.0
