"""A run as one SVG, drawn from its spans: what a saved notebook and a page without scripts can show. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any, Final

import pandas as pd

from .charts import COLORS, gantt_rows

WIDTH, RIGHT, TOP, LANE, BAR, THIN = 900, 16, 48, 50, 24, 8  # px
LEFT_LEAST, LEFT_MOST = 64, 180  # px of the names
MAX_BARS: Final = 600  # more are summed up by bins of time
MAX_LANES: Final = 24
KINDS: Final = {
    "wait": "waits for a lock", "hold": "holds a lock", "proc": "runs a process", "tool": "calls a tool",
    "model": "asks a model", "approval": "asks a person",
}  # fmt: skip
LOCKS: Final = ("wait", "hold")


def picture(
    spans: pd.DataFrame, behind: Mapping[int, str] | None = None, *, label: str, kinds: tuple[str, ...] = tuple(KINDS)
) -> str:
    """SVG, or '' where no span is to be drawn. `behind`: seq of a wait -> whom it is behind. `label`: for who cannot see it.

    Locks are the upper bar of a lane and everything else the lower one; agents beyond `MAX_LANES` are counted in a line.
    """
    shown = spans[spans["kind"].isin(list(kinds))]
    if shown.empty:
        return ""
    agents = list(dict.fromkeys(shown["actor"].astype(str)))
    lanes = agents[:MAX_LANES]
    rows = _rows(shown[shown["actor"].isin(lanes)], spans)
    first: Any = rows["started"].min()
    last: Any = rows["ended"].max()
    seconds = max((last - first).total_seconds(), 1e-6)
    left = min(max(LEFT_LEAST, 24 + 7 * max(map(len, lanes))), LEFT_MOST)
    scale = (WIDTH - left - RIGHT) / seconds
    height = TOP + LANE * len(lanes) + 26
    drawn = [kind for kind in kinds if kind in set(rows["kind"].astype(str))]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="{escape(label)}">',
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        *_legend(drawn, left, len(agents) - len(lanes)),
        *_axis(seconds, scale, left, height),
    ]
    for lane, agent in enumerate(lanes):
        y = TOP + lane * LANE
        parts.append(f'<line x1="{left}" x2="{WIDTH - RIGHT}" y1="{y - 7}" y2="{y - 7}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="14" y="{y + 17}" font-weight="600" fill="#222">{escape(_cut(agent, left - 20))}</text>')
        bars: Iterable[Any] = rows[rows["actor"] == agent].itertuples()
        for row in bars:
            x = left + (row.started - first).total_seconds() * scale
            width = max((row.ended - row.started).total_seconds() * scale, 1.0)
            whom = (behind or {}).get(int(getattr(row, "seq", 0) or 0), "") if row.kind == "wait" else ""
            parts += _bar(row, x, y, width, whom)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _rows(shown: pd.DataFrame, spans: pd.DataFrame) -> pd.DataFrame:
    """What is drawn, holds before waits and calls before the processes in them."""
    if len(shown) > MAX_BARS:
        return gantt_rows(shown, max_rows=MAX_BARS)
    last = spans[["started", "ended"]].max().max()
    return shown.assign(ended=shown["ended"].fillna(last))


def _bar(row: Any, x: float, y: int, width: float, behind: str) -> Iterator[str]:
    kind, unit, name = str(row.kind), _text(row.unit), _text(row.name)
    lock = kind in LOCKS
    text = f"{unit}, behind {behind}" if behind else unit if lock else ""
    top, high = (y, BAR) if lock else (y + BAR + 3, THIN)
    told = text or (name.rpartition("/")[2] if kind == "proc" else name)
    says = f"{KINDS[kind]}: {told}" if told else KINDS[kind]
    yield (
        f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{high}" rx="2" fill="{COLORS[kind]}">'
        f"<title>{escape(says[:300])}</title></rect>"
    )
    shown = next((t for t in (text, unit) if len(t) * 6.3 + 10 < width), "") if text else ""
    if shown:
        yield f'<text x="{x + 5:.1f}" y="{y + 16}" fill="#1c1c1c">{escape(shown)}</text>'


def _legend(kinds: list[str], left: int, more: int) -> Iterator[str]:
    x = left
    for kind in kinds:
        yield f'<rect x="{x}" y="14" width="12" height="12" rx="2" fill="{COLORS[kind]}"/>'
        yield f'<text x="{x + 18}" y="24" fill="#444">{KINDS[kind]}</text>'
        x += 18 + len(KINDS[kind]) * 7 + 20
    if more:
        yield f'<text x="{WIDTH - RIGHT}" y="24" fill="#777" text-anchor="end">and {more} agents more</text>'


def _axis(seconds: float, scale: float, left: int, height: int) -> Iterator[str]:
    step = next(s for s in _steps() if s * scale >= 60 or s >= seconds)
    for mark in range(int(seconds / step) + 1):
        x = left + mark * step * scale
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 7}" y2="{height - 24}" stroke="#eeeeee"/>'
        yield f'<text x="{x:.1f}" y="{height - 9}" fill="#777" text-anchor="middle">{_clock(mark * step)}</text>'


def _steps() -> Iterator[float]:
    """Round numbers of seconds, rising without end."""
    yield from (0.001, 0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
    hours = 2
    while True:
        yield hours * 3600
        hours *= 2


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _cut(text: str, width: float) -> str:
    most = max(4, int(width / 7))
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
