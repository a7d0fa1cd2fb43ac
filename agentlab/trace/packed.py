"""Spans in columns of bytes, for the timeline of the notebook (`labextension/src/timeline/spans.ts` reads them). Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import pandas as pd

KINDS: Final = {"tool": 0, "proc": 1, "model": 2, "wait": 3, "hold": 4, "approval": 5}
BAD: Final = {"error": 1, "failed": 1, "timeout": 1, "denied": 2, "cancelled": 2, "expired": 2}
MOST: Final = 200_000  # spans that a browser gets; of more, the newest


class Packed(NamedTuple):
    """`data`: doubles start and end (ms since the first; NaN: it goes on), words lane, seq, label, unit, bytes kind and fate."""

    data: bytes
    lanes: list[str]
    texts: list[str]
    left: int  # how many older spans are not in it
    origin: float  # ms since the epoch: the first


def packed(spans: pd.DataFrame) -> Packed:
    """The spans of `run.spans()` that a timeline draws, in the order in which they began."""
    rows = spans[spans["kind"].isin(list(KINDS))]
    left = max(0, len(rows) - MOST)
    rows = rows.iloc[left:].sort_values(["started", "seq"], kind="stable")
    origin = rows["started"].min()
    lanes, lane_names = pd.factorize(rows["actor"].astype(object))
    names = rows["name"].astype(object).fillna("").astype(str)
    names = names.mask(
        rows["kind"] == "proc", names.str.replace(r"^\S*/", "", regex=True)
    )  # the program without its folder
    words = pd.concat([names, rows["unit"].astype(object).fillna("").astype(str)]).str.slice(0, 200)
    numbers, texts = pd.factorize(words)
    count = len(rows)
    fates = rows["status"].astype(object).map(BAD).fillna(0).to_numpy(np.uint8)
    columns = (
        _ms(rows["started"], origin), _ms(rows["ended"], origin),
        lanes.astype(np.uint32), rows["seq"].to_numpy(np.uint32),
        numbers[:count].astype(np.uint32), numbers[count:].astype(np.uint32),
        rows["kind"].astype(object).map(KINDS).to_numpy(np.uint8), fates,
    )  # fmt: skip
    return Packed(
        b"".join(column.tobytes() for column in columns),
        [str(n) for n in lane_names],
        [str(t) for t in texts],
        left,
        origin.timestamp() * 1000 if count else 0.0,
    )


def _ms(times: pd.Series, origin: pd.Timestamp) -> np.ndarray:
    return ((times - origin) / pd.Timedelta(1, "ms")).to_numpy(np.float64, na_value=np.nan)
