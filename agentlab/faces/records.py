"""Rows for programs: `--json` of every command. The fields of a table never depend on the rows there are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agentlab.client.frames import COLUMNS, flat
from agentlab.client.rows import Row
from agentlab.client.text import iso

if TYPE_CHECKING:
    import pandas as pd


def record(table: str, row: Row) -> Row:
    """The columns of the frame of that table. A time `t` is UTC text, and `t_ns` beside it; lists stay lists.

    Agents have besides: `usage`, `waiting` (ticket, units, position, behind) or null. Locks: `blockers`.
    """
    kinds = COLUMNS[table]
    out: Row = {}
    for name, value in flat(table, row).items():
        if kinds[name] == "time":
            out[name], out[f"{name}_ns"] = iso(value), value
        else:
            out[name] = value
    if table == "agents":
        out |= {"usage": dict(row.get("usage") or {}), "waiting": row.get("waits")}
    if table == "locks":
        out["blockers"] = list(row.get("behind") or ())
    return out


def frame_records(frame: pd.DataFrame) -> list[Row]:
    """The rows of a trace frame likewise; a duration `d` becomes `d_ns`, JSON columns (payload, config) values."""
    columns: dict[str, list[Any]] = {}
    for name in frame.columns:
        series, word = frame[name], str(frame[name].dtype)
        if word.startswith("datetime64"):
            ns = _ns(series)
            columns[name], columns[f"{name}_ns"] = [iso(value) for value in ns], ns
        elif word.startswith("timedelta64"):
            columns[f"{name}_ns"] = _ns(series)
        else:
            columns[name] = [_plain(name, value) for value in series.astype(object).tolist()]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _ns(series: Any) -> list[int | None]:
    """Times or durations of a trace frame, which are in ns."""
    numbers = series.array.asi8.tolist()
    return [None if missing else number for number, missing in zip(numbers, series.isna(), strict=True)]


def _plain(name: str, value: Any) -> Any:
    import pandas as pd

    if isinstance(value, list | tuple) or hasattr(value, "tolist"):
        return list(value)
    if value is None or value is pd.NA or value != value:
        return None
    if name in ("payload", "config") and isinstance(value, str):
        return json.loads(value)
    return value
