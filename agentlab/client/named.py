"""Which agents and runs people mean by a name. Pure functions over rows."""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.errors import BadRequest, NotFound

from .rows import Row, Tables, is_live, one_line
from .text import line


def agents(tables: Tables, name: str) -> list[Row]:
    """The agents that people mean by `a`, `run/a` (run by name or id): live ones first, then the newest first."""
    run, _, last = name.rpartition("/")
    runs = tables.get("runs", {})

    def meant(row: Row) -> bool:
        if last not in (row["name"], row.get("agent_id")):
            return False
        return not run or run in (row["run_id"], runs.get(row["run_id"], {}).get("name"))

    found = [row for row in tables.get("agents", {}).values() if meant(row)]
    return sorted(found, key=lambda row: (not is_live(row), -(row.get("queued_at") or 0)))


def the_agent(tables: Tables, found: Sequence[Row], name: str) -> Row:
    """The first one that was found. Raises NotFound, with those that there are; BadRequest: of several that live nobody
    knows which."""
    if not found:
        there = [one_line(row) for row in tables.get("agents", {}).values()]
        known = "\n  ".join(["Those that there are:", *there[-20:]]) if there else "No agent is known."
        raise NotFound(f"There is no agent {line(name)!r}. {known}", agent=name)
    if len(live := [row for row in found if is_live(row)]) > 1:
        runs = tables.get("runs", {})
        named = [runs.get(row["run_id"], {}).get("name") for row in live]
        each = named if len(set(named)) == len(live) else [row["run_id"] for row in live]
        which = ", ".join(f"{run}/{row['name']}" for run, row in zip(each, live, strict=True))
        raise BadRequest(f"{len(live)} agents that live are called {line(name)!r}. Say which: {which}.", agent=name)
    return found[0]


def runs(tables: Tables, name: str) -> list[Row]:
    """Those of that name or id: open ones first, then the newest first."""
    found = [row for row in tables.get("runs", {}).values() if name in (row["run_id"], row["name"])]
    return sorted(found, key=lambda row: (row["status"] != "open", -(row.get("started") or 0)))
