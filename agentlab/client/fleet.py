"""Many agents at once, as a run or a lab shows them: one table, and for a run its picture."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from agentlab.errors import AgentlabError

from . import html
from .rows import Row, Tables, age_text, detail, icon, is_live, short, usage_text
from .text import line

if TYPE_CHECKING:
    import pandas as pd

    from .lab import Lab

COLUMNS = ("agent", "kind", "status", "", "holds", "used", "time")
MOST = 200  # agents in a table


class Fleet(NamedTuple):
    """`over`: nothing of it will change any more."""

    title: str
    agents: list[Row]
    over: bool


class Subject(Protocol):
    """A run or a lab."""

    @property
    def _lab(self) -> Lab: ...

    def _fleet(self, tables: Tables) -> Fleet:
        """How it is, by the rows of its plane: they may not know of it any more."""

    def _spans(self) -> pd.DataFrame | None:
        """What took time in it; None: nothing that is one picture. Reads the log, on any thread but the background's."""

    def _bundle(self) -> dict[str, Any]:
        """How it is, for a page that nothing answers. Asks the plane, on any thread but the background's."""

    def _still(self, shown: Fleet) -> dict[str, Any]:
        """The same of rows that are known already: asks nobody, but reads the log, on any thread but the background's."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]: ...


def of_lab(title: str, tables: Tables, *, over: bool) -> Fleet:
    agents = in_order(list(tables.get("agents", {}).values()))
    locks = list(tables.get("locks", {}).values())
    waiting = sum(row["status"] == "waiting" for row in locks)
    held = len(locks) - waiting
    live = f"{sum(map(is_live, agents))} live of {len(agents)} agents"
    return Fleet(f"{title} · {live} · {held} lock{'s' * (held != 1)} held · {waiting} waiting", agents, over)


def cells(row: Row) -> tuple[str, ...]:
    """An agent in the columns of a fleet."""
    return (
        line(row["name"], 60), line(row["kind"], 30), f"{icon(row)} {row['status']}", detail(row),
        line(", ".join(row.get("holds") or ()), 160), usage_text(row), age_text(row),
    )  # fmt: skip


def in_order(agents: list[Row]) -> list[Row]:
    """Those that live first, each part as they were spawned."""
    return sorted(agents, key=lambda row: (not is_live(row), row.get("queued_at") or 0))


def bundle(fleet: Fleet, spans: pd.DataFrame | None = None, behind: dict[int, str] | None = None) -> dict[str, str]:
    """Text, and HTML that needs nothing else: the table says in words what the picture shows."""
    note = " · ".join(filter(None, (more(fleet), as_of(time.time()) if not fleet.over else "")))
    parts = [html.table(fleet.title, COLUMNS, map(cells, listed(fleet)), note)]
    if spans is not None and not spans.empty:
        from agentlab.trace.picture import picture

        label = f"{fleet.title}: what its agents did when, and what they waited for"
        if svg := picture(spans, behind, label=label):
            parts.append(html.image(svg, label))
    return {"text/plain": f"<{fleet.title}>", "text/html": "".join(parts)}


def listed(fleet: Fleet) -> list[Row]:
    """The agents that a table has: where there are too many, those that live."""
    return fleet.agents if len(fleet.agents) <= MOST else in_order(fleet.agents)[:MOST]


def more(fleet: Fleet) -> str:
    """`and 50 more`, where there are more than a table has; else ''."""
    return f"and {len(fleet.agents) - MOST:,} more" if len(fleet.agents) > MOST else ""


def as_of(moment: float) -> str:
    """`as of 2026-01-02 03:04:05`, local time: what may be looked at later says when it was so. moment: s since the epoch."""
    return time.strftime("as of %Y-%m-%d %H:%M:%S", time.localtime(moment))


def waited_for(locks: pd.DataFrame) -> dict[int, str]:
    """seq of a wait -> whom it was behind, from `run.locks()`."""
    rows: Iterable[Any] = locks.itertuples()
    return {int(row.seq): ", ".join(map(short, row.behind)) for row in rows if len(row.behind)}


def quiet_spans(subject: Subject) -> pd.DataFrame | None:
    """Its spans, or None where the log cannot be read here: a picture is worth no error."""
    welcome = subject._lab._connection.welcome
    if welcome is not None and welcome.pid == os.getpid():
        return (
            None  # the plane writes in this very process, with another SQLite: the two would not see each other's locks
        )
    try:
        return subject._spans()
    except (AgentlabError, OSError):
        return None
