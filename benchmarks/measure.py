"""One line of a benchmark's table."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal

from msgspec import Struct
from rich import box
from rich.console import Console
from rich.table import Table

Better = Literal["higher", "lower"]


class Measure(Struct, frozen=True, kw_only=True):
    """`target` is for the ratio where there is a peer, else for our own number. `ok` None: nothing was promised."""

    name: str
    ours: float | None
    unit: str
    peer_name: str = ""
    peer: float | None = None
    ratio: float | None = None  # ours / peer
    target: float | None = None
    better: Better = "higher"
    ok: bool | None = None
    note: str = ""


def alone(
    name: str, ours: float, unit: str, *, target: float | None = None, better: Better = "higher", note: str = ""
) -> Measure:
    """A number of ours that stands for itself."""
    return Measure(
        name=name, ours=ours, unit=unit, target=target, better=better, ok=_meets(ours, target, better), note=note
    )


def against(
    name: str, ours: float, unit: str, peer_name: str, peer: float, *,
    ratio: float | None = None, target: float | None = None, better: Better = "higher", note: str = "",
) -> Measure:  # fmt: skip
    """A number of ours beside a peer's. `ratio`: where it was taken otherwise than from these two."""
    ratio = ours / peer if ratio is None else ratio
    return Measure(
        name=name, ours=ours, unit=unit, peer_name=peer_name, peer=peer, ratio=ratio, target=target, better=better,
        ok=_meets(ratio, target, better), note=note,
    )  # fmt: skip


def paired(
    name: str, ours: Sequence[float], unit: str, peer_name: str, peer: Sequence[float], *,
    target: float | None = None, better: Better = "higher", note: str = "",
) -> Measure:  # fmt: skip
    """Interleaved rounds. The ratio is the median of the rounds' ratios: both sides of a round met the same machine."""
    ratio = median(mine / theirs for mine, theirs in zip(ours, peer, strict=True))
    return against(
        name, median(ours), unit, peer_name, median(peer), ratio=ratio, target=target, better=better, note=note
    )


def left_out(name: str, peer_name: str, why: str, ours: float | None = None, unit: str = "") -> Measure:
    """A comparison that could not be made, by name."""
    return Measure(name=name, ours=ours, unit=unit, peer_name=peer_name, note=f"left out: {why}")


def show(title: str, measures: Sequence[Measure], console: Console | None = None) -> None:
    """The table of one benchmark."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("what", "ours", "unit", "peer", "its", "ratio", "target", "", "note"):
        right = column in ("ours", "its", "ratio", "target")
        table.add_column(column, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for m in measures:
        sign = "≥" if m.better == "higher" else "≤"
        verdict = {True: "[green]ok[/]", False: "[red]MISSED[/]", None: ""}[m.ok]
        table.add_row(
            m.name, _number(m.ours), m.unit, m.peer_name, _number(m.peer), _number(m.ratio),
            "" if m.target is None else f"{sign} {_number(m.target)}", verdict, m.note,
        )  # fmt: skip
    (console or Console()).print(table)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"


def _meets(value: float, target: float | None, better: Better) -> bool | None:
    if target is None:
        return None
    return value >= target if better == "higher" else value <= target
