from __future__ import annotations

import struct
from xml.etree import ElementTree

import pandas as pd
import pytest

from agentlab.trace.packed import KINDS, packed
from agentlab.trace.picture import MAX_BARS, MAX_LANES, picture

BEGIN = pd.Timestamp("2026-01-01", tz="UTC")
SVG = "{http://www.w3.org/2000/svg}"


def span(actor: str, kind: str, start: float, end: float | None, **more: object) -> dict[str, object]:
    return {
        "seq": int(start * 10) + 1, "actor": actor, "kind": kind, "name": "", "unit": "", "status": "ok",
        "started": BEGIN + pd.Timedelta(start, "s"), "ended": pd.NaT if end is None else BEGIN + pd.Timedelta(end, "s"), **more,
    }  # fmt: skip


def frame(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(rows)).astype({"kind": "category", "unit": "category", "actor": "category"})


def bars(svg: str) -> list[ElementTree.Element]:
    return [rect for rect in ElementTree.fromstring(svg).iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]


def test_waits_say_behind_whom_and_everything_is_text() -> None:
    spans = frame(
        span("a", "hold", 0, 5, unit="file:<b>.txt"),
        span("b", "wait", 1, 5, unit="file:<b>.txt"),
        span("b", "tool", 1, None, name="</svg><script>"),
    )
    svg = picture(spans, {11: "a"}, label='who "waits"')
    said = [bar.find(f"{SVG}title").text for bar in bars(svg)]  # type: ignore[union-attr]
    assert said == [
        "holds a lock: file:<b>.txt",
        "waits for a lock: file:<b>.txt, behind a",
        "calls a tool: </svg><script>",
    ]
    assert "<script" not in svg and ElementTree.fromstring(svg).get("aria-label") == 'who "waits"'


def test_what_goes_on_is_drawn_to_the_last_moment_and_bars_stay_inside() -> None:
    svg = picture(frame(span("a", "hold", 0, None), span("b", "hold", 2, 10)), label="l")
    first, second = ((float(bar.get("x", 0)), float(bar.get("width", 0))) for bar in bars(svg))
    assert sum(first) == pytest.approx(sum(second), abs=0.2)
    assert sum(second) <= 900


def test_many_spans_and_lanes_are_gathered_and_what_is_left_out_is_said() -> None:
    many = frame(*(span(f"agent-{i % 40}", "tool", i, i + 0.5) for i in range(5000)))
    svg = picture(many, label="l")
    assert 0 < len(bars(svg)) <= MAX_BARS
    assert f"and {40 - MAX_LANES} agents more" in svg
    assert picture(many.iloc[:0], label="l") == ""


def test_packed_columns_are_what_the_timeline_reads() -> None:
    spans = frame(
        span("a", "hold", 0.5, 5, unit="file:x", status="expired"),
        span("b", "proc", 1, None, name="/usr/bin/python -m x/y", status="unknown"),
        span("a", "run", 0, 9),
    )
    data, lanes, texts, left, origin = packed(spans)
    count = 2
    assert (len(data), lanes, left) == (count * 34, ["a", "b"], 0)
    numbers = struct.unpack(f"<{2 * count}d{4 * count}I{2 * count}B", data)
    assert origin == spans["started"].iloc[0].timestamp() * 1000
    assert numbers[:3] == (0.0, 500.0, 4500.0) and numbers[3] != numbers[3]
    assert [texts[i] for i in numbers[8:10]] == ["", "python -m x/y"]
    assert [texts[i] for i in numbers[10:12]] == ["file:x", ""]
    assert numbers[12:] == (KINDS["hold"], KINDS["proc"], 2, 0)
