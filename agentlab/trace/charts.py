"""Charts of a run, with Altair (the extra `charts`). Functions of frames; fewer than 5,000 rows reach the chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from agentlab.errors import BadRequest

if TYPE_CHECKING:
    import altair as alt

MAX_ROWS = 4_999  # Altair refuses more
BINS = 400  # of time, where there are more spans than rows

COLORS = {
    "tool": "#4c78a8",
    "proc": "#72b7b2",
    "model": "#b279a2",
    "wait": "#e45756",
    "hold": "#f2cf5b",
    "approval": "#ff9da6",
}


def gantt(spans: pd.DataFrame, *, width: int = 800) -> alt.Chart:
    """What each agent did when, from `spans_df`; waiting for locks is red. Open spans end with the last known moment."""
    alt = _altair()
    rows = gantt_rows(spans)
    present = [kind for kind in COLORS if kind in set(rows["kind"])]
    color = alt.Color("kind:N", scale=alt.Scale(domain=present, range=[COLORS[kind] for kind in present]), title=None)
    lane = alt.Y("actor:N", title=None)
    offset = alt.YOffset("kind:N", scale=alt.Scale(domain=present))
    tooltip = ["actor:N", "kind:N", "name:N", "unit:N", "status:N", "seconds:Q", "spans:Q"]
    chart = alt.Chart(rows).mark_bar().encode(
        x=alt.X("started:T", title=None), x2="ended:T", y=lane, yOffset=offset, color=color, tooltip=tooltip
    )  # fmt: skip
    return chart.properties(width=width)


def gantt_rows(spans: pd.DataFrame, *, max_rows: int = MAX_ROWS, bins: int = BINS) -> pd.DataFrame:
    """The rows of a Gantt chart: the spans, or where there are too many, what each agent did in each bin of time."""
    rows = spans[spans["kind"].isin(list(COLORS))]
    last = spans[["started", "ended"]].max().max()
    table: dict[str, Any] = {
        "actor": rows["actor"].astype(object),
        "kind": rows["kind"].astype(object),
        "name": rows["name"].astype(object),
        "unit": rows["unit"].astype(object),
        "status": rows["status"].astype(object),
        "started": rows["started"],
        "ended": rows["ended"].fillna(last),
    }
    flat = pd.DataFrame(table).reset_index(drop=True)
    flat["seconds"] = (flat["ended"] - flat["started"]).dt.total_seconds()
    flat["spans"] = 1
    lanes = max(1, len(flat[["actor", "kind"]].drop_duplicates()))
    return flat if len(flat) <= max_rows else _binned(flat, max(1, min(bins, max_rows // lanes)))


def _binned(rows: pd.DataFrame, bins: int) -> pd.DataFrame:
    first, last = rows["started"].min(), rows["ended"].max()
    step = max((last - first) // bins, pd.Timedelta(1, "ns"))
    slot = ((rows["started"] - first) // step).clip(upper=bins - 1)
    grouped = rows.assign(slot=slot).groupby(["actor", "kind", "slot"], sort=True)
    merged = grouped.agg(
        started=("started", "min"), ended=("ended", "max"), seconds=("seconds", "sum"), spans=("spans", "sum")
    )
    flat = merged.reset_index().drop(columns="slot")
    return flat.assign(name=None, unit=None, status=None)


def _altair() -> Any:
    try:
        import altair
    except ImportError:
        raise BadRequest("Charts need Altair. Install it with: pip install 'agentlab[charts]'.") from None
    return altair
