"""The benchmarks run, and count right. How fast anything is, is not asserted here."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from benchmarks import __main__ as command
from benchmarks import (
    boundary,
    browser,
    crowd,
    frames,
    history,
    lockers,
    locks,
    machine,
    peers,
    recorder,
    startup,
    stops,
    vendors,
)
from benchmarks.measure import Measure, against, alone, left_out, paired, show
from tests.browser import lab as labs


def test_every_client_gets_its_lock_and_a_peer_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "missing", lambda peer: "etcd is not installed")
    ours, etcd = locks.run(quick=True, clients=(4,), against=(peers.ETCD,))
    assert ours.ours
    assert (ours.unit, ours.ok) == ("pairs/s", None)
    assert (etcd.peer_name, etcd.note, etcd.ratio, etcd.ok) == (
        peers.ETCD,
        "left out: etcd is not installed",
        None,
        None,
    )
    assert etcd.ours == ours.ours


def test_the_recorder_loses_nothing() -> None:
    measures = {m.name.rpartition(": ")[2]: m for m in recorder.run(quick=True)}
    delivered = measures["deliveries"]
    assert delivered.ours == delivered.peer
    assert delivered.peer
    assert measures["lost, doubled or out of order"].ours == 0
    assert any(m.peer_name.startswith("bare sqlite3") and m.ratio for m in measures.values())


def test_a_spawned_agent_calls_its_first_tool_and_idle_ones_come_up() -> None:
    imported, spawned, idle = startup.run(quick=True, agents=1)
    assert [m.unit for m in (imported, spawned, idle)] == ["ms", "ms", "% of a core"]
    assert all(m.better == "lower" and m.target is not None for m in (imported, spawned, idle))


@pytest.mark.agents
def test_a_real_program_does_the_same_by_itself_and_as_an_agent() -> None:
    (cost,) = boundary.run(quick=True, kinds=("codex",))
    if cost.note.startswith("left out"):
        pytest.skip(cost.note)
    assert (cost.peer_name, cost.better, cost.target) == ("codex by itself", "lower", 1.25)
    assert cost.ours and cost.peer and cost.ratio


def test_a_program_that_is_not_there_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vendors, "BIN", tmp_path)
    why = "left out: codex is not installed in .agents: `bash scripts/agents.sh`"
    for benchmark in (boundary, stops, crowd):
        (only,) = benchmark.run(quick=True, kinds=("codex",))
        assert only.note == why


@pytest.mark.parametrize("kind", ["script", "python", "cli", "acp"])
def test_a_stopped_agent_is_gone_with_all_that_left_its_session(kind: str) -> None:
    (gone,) = stops.run(quick=True, kinds=(kind,), times=2)
    assert gone.ours and (gone.unit, gone.target, gone.better) == ("s", 3.0, "lower")
    assert gone.note.startswith("the longest of 2;")


@pytest.mark.agents
@pytest.mark.timeout(300)
def test_agents_at_once_lose_nothing() -> None:
    share, *lost = crowd.run(quick=True, agents=3, kinds=("codex",))
    if share.note.startswith("left out"):
        pytest.skip(share.note)
    assert share.ours and share.unit == "% of a core"
    assert [m.ours for m in lost] == [0, 0, 0]


def test_what_is_lost_or_wrong_is_counted(tmp_path: Path) -> None:
    task = crowd._task("a")
    names = [step.get("tool") or next(iter(step)) for step in task[:-1]]
    calls = pd.DataFrame({"name": names, "status": "ok"})
    assert crowd._missing(calls, task) == 0
    assert crowd._missing(calls.iloc[:-1], task) == 1
    assert crowd._missing(pd.concat([calls, calls.iloc[-1:]]), task) == 1
    assert crowd._missing(calls.assign(status=["denied", *["ok"] * (len(names) - 1)]), task) > 0
    for name in ("a-first.txt", "a-last.txt"):
        (tmp_path / name).write_text("by a")
    (tmp_path / "count.txt").write_text("1\n")
    (tmp_path / "story.txt").write_text("a 0\na 1\n(end)\n")
    assert crowd._wrong(tmp_path, ["a"]) == []
    (tmp_path / "story.txt").write_text("a 1\na 0\n(end)\n")
    (tmp_path / "a-last.txt").unlink()
    (tmp_path / "strange.txt").write_text("")
    assert crowd._wrong(tmp_path, ["a"]) == ["a-last.txt", "story.txt", "strange.txt"]


def test_the_frames_are_compared_with_both_readers() -> None:
    measures = frames.run(quick=True, events=500)
    assert {m.peer_name for m in measures} == {"bare ADBC to Arrow", "pandas.read_sql_query"}
    assert all(m.ratio for m in measures)


def test_a_moment_of_a_long_run_is_the_right_one_and_compared_with_the_live_state() -> None:
    measures = history.run(quick=True, events=1_200)
    beyond, anywhere, late, first, differ, opening = measures
    assert differ.ours == 0
    assert (beyond.target, opening.target) == (100.0, 2.0)
    assert all(m.better == "lower" for m in measures)
    assert all(m.peer_name.startswith("the live state") and m.ratio for m in (anywhere, late))
    assert first.ours and opening.ratio


def test_a_target_is_for_the_ratio_where_there_is_a_peer_and_for_our_number_elsewhere() -> None:
    assert alone("x", 5.0, "ms", target=6, better="lower").ok
    assert not alone("x", 5.0, "1/s", target=6).ok
    assert against("x", 8.0, "1/s", "peer", 2.0, target=3.5).ok
    assert against("x", 8.0, "1/s", "peer", 2.0).ok is None


def test_rounds_are_compared_with_each_other_and_not_their_medians() -> None:
    """The machine was ten times slower in the second round, for both."""
    assert paired("x", [100.0, 10.0, 90.0], "1/s", "peer", [50.0, 5.0, 45.0]).ratio == 2.0


def test_protobuf_fields_come_back_as_they_were_written() -> None:
    message = lockers._bytes(1, b"lock-7") + lockers._int(2, 7587882139487) + lockers._int(3, 0)
    assert lockers._read(message) == {1: b"lock-7", 2: 7587882139487, 3: 0}


def test_the_command_prints_a_table_and_writes_what_it_was_measured_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measures = [alone("so fast", 5.0, "ms", target=4, better="lower"), left_out("as fast", "etcd", "it is away")]
    monkeypatch.setattr(startup, "run", lambda quick: measures)
    monkeypatch.setattr(recorder, "run", lambda quick: 1 / 0)
    file = tmp_path / "result.json"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "startup", "recorder", "--json", str(file)])
    assert command.main() == 2
    output = capsys.readouterr().out
    assert "MISSED" in output
    assert "recorder failed: ZeroDivisionError" in output
    assert "left out: it is away" in output
    written = json.loads(file.read_text())
    assert [m["name"] for m in written["results"]["startup"]] == ["so fast", "as fast"]
    assert written["machine"].keys() >= {"cpus", "load", "kernel", "versions", "fdatasync_p50_ms"}


def test_one_missed_target_is_an_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(startup, "run", lambda quick: [alone("x", 5.0, "ms", target=4, better="lower")])
    monkeypatch.setattr(sys, "argv", ["benchmarks", "startup", "--json", str(tmp_path / "result.json")])
    assert command.main() == 1


def test_a_table_has_a_line_for_each_measure() -> None:
    said = io.StringIO()
    show(
        "title", [Measure(name="one", ours=None, unit=""), alone("two", 12345.6, "1/s")], Console(file=said, width=150)
    )
    assert "12,346" in said.getvalue()
    assert all(name in said.getvalue() for name in ("title", "one", "two"))


def test_the_disk_is_part_of_the_machine() -> None:
    assert machine.fdatasync_p50(times=3) > 0


@pytest.mark.timeout(400)
def test_the_browser_sees_every_probe_and_a_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    if why := labs.why_not():
        pytest.skip(why)
    measures = {m.name.rpartition(": ")[2].partition(",")[0]: m for m in browser.run(quick=True)}
    assert measures["event to pixel"].ours and measures["opening its console"].ratio
    assert measures["all of the extension's scripts"].ok
    assert all(m.target is not None for m in measures.values())


def test_a_probe_that_was_overtaken_counts_until_its_successor_is_seen() -> None:
    assert browser._delays([1_000_000, 2_000_000, 3_000_000], {0: 11.0, 2: 5.0}) == [2.0, 3.0, 4.0]


def test_without_a_browser_its_benchmark_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labs, "why_not", lambda: "no Chromium here")
    (only,) = browser.run(quick=True)
    assert only.note == "left out: no Chromium here"
