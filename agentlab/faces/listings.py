"""The tables that people read: of each, the few columns that answer why something does not go on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from agentlab.client import frames, questions
from agentlab.client.rows import (
    Row,
    Tables,
    age_text,
    bounds_text,
    detail,
    icon,
    is_live,
    queue_text,
    short,
    usage_text,
)
from agentlab.client.text import line, span
from agentlab.errors import BadRequest

from .records import frame_records, record
from .values import Listing

if TYPE_CHECKING:
    import pandas as pd

    from agentlab.client.doctor import Check

EVENTS = 200  # of a run that are shown to people


def _live(table: str, title: str, cells: Mapping[str, Any], rows: list[Row], note: str = "") -> Listing:
    return Listing(
        title,
        tuple(cells),
        [tuple(cell(row) for cell in cells.values()) for row in rows],
        lambda: [record(table, row) for row in rows],
        partial(frames.frame, table, rows),
        note,
    )


def run_name(tables: Tables, run_id: str) -> str:
    return str(tables.get("runs", {}).get(run_id, {}).get("name", run_id))


def agents(tables: Tables, *, every: bool = False, run_ids: Iterable[str] | None = None) -> Listing:
    """Live agents, of `every` also those that have ended; of these runs only where given.

    A column says where one is held by less than it could be; none, where all are held.
    """
    wanted = None if run_ids is None else set(run_ids)
    rows = [row for row in tables.get("agents", {}).values() if wanted is None or row["run_id"] in wanted]
    shown = sorted(
        (row for row in rows if every or is_live(row)), key=lambda row: (not is_live(row), row.get("queued_at") or 0)
    )
    hidden = len(rows) - len(shown)
    cells = {
        "agent": lambda row: row["name"],
        "run": lambda row: run_name(tables, row["run_id"]),
        "kind": lambda row: row["kind"],
        "status": lambda row: f"{icon(row)} {row['status']}",
        "what": detail,
        "holds": lambda row: ", ".join(row.get("holds") or ()),
        **({"bounds": bounds_text} if any(map(bounds_text, shown)) else {}),
        "time": age_text,
        "usage": usage_text,
    }
    note = f"{hidden} ended: --all shows them." if hidden else "" if shown else "No agents."
    return _live("agents", "Agents", cells, shown, note)


def locks(tables: Tables, run_ids: Iterable[str] | None = None) -> Listing:
    """Holders first, then the queue in its order."""
    wanted = None if run_ids is None else set(run_ids)
    rows = [row for row in tables.get("locks", {}).values() if wanted is None or row.get("run_id") in wanted]
    rows.sort(key=lambda row: (row["status"] == "waiting", row.get("position") or 0, row["ticket"]))
    now = time.time_ns()
    cells = {
        "ticket": lambda row: row["ticket"],
        "who": lambda row: short(row["owner"]),
        "run": lambda row: run_name(tables, row.get("run_id") or ""),
        "units": lambda row: ", ".join(row.get("units") or ()),
        "mode": lambda row: {"X": "exclusive", "S": "shared"}.get(row["mode"], row["mode"]),
        "status": lambda row: row["status"] + (" (implicit)" if row.get("implicit") else ""),
        "since": lambda row: _since(row.get("granted") or row.get("requested"), now),
        "lease": _lease,
        "queue": lambda row: queue_text(row) if row["status"] == "waiting" else "",
    }
    return _live("locks", "Locks", cells, rows, "" if rows else "Nothing is held, nobody waits.")


def runtimes(tables: Tables) -> Listing:
    rows = list(tables.get("runtimes", {}).values())
    now = time.time_ns()
    cells = {
        "runtime": lambda row: row["runtime_id"],
        "kind": lambda row: row["kind"],
        "host": lambda row: row["host"],
        "health": lambda row: str(row.get("health") or row.get("status") or "unknown").replace("_", " "),
        "slots": lambda row: f"{row.get('used') or 0} of {row['slots']} used",
        "agents of kind": lambda row: ", ".join(row.get("kinds") or ()),
        "programs": lambda row: ", ".join(frames.program_text(cli) for cli in row.get("clis") or ()),
        "seen": lambda row: _since(row.get("last_seen"), now),
        "why": lambda row: row.get("reason") or "",
    }
    return _live("runtimes", "Runtimes", cells, rows, "" if rows else "No runtime is registered: agents stay queued.")


def approvals(tables: Tables, *, every: bool = False) -> Listing:
    rows = [row for row in tables.get("approvals", {}).values() if every or row["status"] == "asked"]
    cells = {
        "id": lambda row: row["approval"],
        "agent": lambda row: short(row["agent"]),
        "question": lambda row: row["question"],
        "about": lambda row: ", ".join([*filter(None, [row.get("tool")]), *(row.get("units") or ())]),
        "locks": questions.locks_text,
        "risk": lambda row: ": ".join(filter(None, [row.get("risk") or "low", ", ".join(row.get("risks") or ())])),
        "options": lambda row: ", ".join(row.get("options") or ()),
        "status": lambda row: row["status"] + _left(row),
        "answer": lambda row: row.get("answer") or "",
    }
    note = "Answer with approve ID, deny ID, or answer ID TEXT." if rows else "No open questions."
    return _live("approvals", "Questions", cells, rows, note)


def _left(row: Row) -> str:
    """How long an open question can still be answered; '' where it waits for as long as its agent does."""
    if row["status"] != "asked" or not row.get("expires"):
        return ""
    return f", {span(max(row['expires'] - time.time_ns(), 0) / 1e9)} left"


def approval_named(tables: Tables, name: str) -> str:
    """The id of a question, from it or from a beginning that only one has. Raises BadRequest: several have it, or it says no
    more than whose question: the one that was seen may be answered by now, and this the next one."""
    rows = tables.get("approvals", {})
    if name in rows:
        return name
    found = [key for key in rows if key.startswith(name)]
    still = [key for key in found if rows[key]["status"] == "asked"]
    if vague := [key for key in still if f"{short(rows[key]['agent'])}-".startswith(name)]:
        asked = "; ".join(f"{key}: {line(rows[key]['question'], 80)}" for key in vague)
        raise BadRequest(f"{name!r} says whose question is meant, but not which one. Write more of it. {asked}")
    if len(still) > 1:
        raise BadRequest(f"{name!r} begins several open questions: {', '.join(still)}. Write more of it.")
    return (still or found[-1:] or [name])[0]


def runs(frame: pd.DataFrame, limit: int | None) -> Listing:
    """The newest runs last. Columns as `lab.runs()` has them."""
    hidden = 0 if limit is None else max(len(frame) - limit, 0)
    frame = frame.iloc[hidden:]
    records = frame_records(frame)
    cells = [
        (
            r["run_id"],
            r["name"],
            r["status"],
            _shortened(r["started"]),
            _took(r.get("dur_ns")),
            r.get("n_events", r.get("seq")),
            usage_text({"usage": {"cost": r["cost"], **{key: r[name] for name, key in frames.TOKENS.items()}}}),
        )
        for r in records
    ]
    note = f"{hidden} older ones: --limit 0 shows all." if hidden else "" if cells else "No runs."
    return Listing(
        "Runs",
        ("run", "name", "status", "started (UTC)", "took", "events", "usage"),
        cells,
        lambda: records,
        lambda: frame,
        note,
    )


def events(frame: pd.DataFrame, title: str) -> Listing:
    """The last ones; programs get all."""
    columns = ("seq", "ts", "type", "actor", "name", "unit", "status")
    shown = frame_records(frame.iloc[-EVENTS:].loc[:, list(columns)])
    cells = [[_shortened(r[c]) if c == "ts" else r[c] for c in columns] for r in shown]
    hidden = len(frame) - len(cells)
    note = f"{hidden} earlier ones: --json and --parquet have all." if hidden else ""
    return Listing(title, columns, cells, partial(frame_records, frame), lambda: frame, note)


def doctor(checks: list[Check]) -> Listing:
    records = [check._asdict() for check in checks]

    def frame() -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(records, dtype="string")

    return Listing(
        "Doctor", ("check", "verdict", "detail", "fix"), [tuple(check) for check in checks], lambda: records, frame
    )


def _lease(row: Row) -> str:
    """Its term. Its end moves with every sign of life of its owner: a countdown would be of an earlier one."""
    return "" if row["status"] == "waiting" or not row.get("ttl") else span(row["ttl"])


def _since(ns: int | None, now: int) -> str:
    return span((now - ns) / 1e9) if ns else ""


def _took(ns: int | None) -> str:
    return "" if ns is None else span(ns / 1e9)


def _shortened(stamp: str | None) -> str:
    return "" if stamp is None else stamp[:19].replace("T", " ")
