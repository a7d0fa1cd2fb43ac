"""Rows of the live state as pandas frames. The columns and their types do not depend on the rows there are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .rows import Row, queue_text

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "agents": {
        "run_id": "text", "agent": "text", "name": "text", "kind": "category", "status": "category", "doing": "text",
        "waits": "text", "holds": "texts", "reason": "text", "role": "text", "model": "category", "priority": "category",
        "boundary": "category", "sandbox": "category", "task_id": "text", "runtime": "category", "pid": "count", "queued_at": "time",
        "started": "time", "ended": "time", "tok_in": "count", "tok_out": "count", "tok_cache": "count", "cost": "amount",
        "output": "json", "error": "text", "exit_code": "count", "vendor_session": "text",
        "resets": "time",
    },
    "locks": {
        "ticket": "number", "run_id": "text", "owner": "text", "units": "texts", "mode": "category", "status": "category",
        "position": "count", "behind": "text", "token": "count", "implicit": "flag", "priority": "category",
        "requested": "time", "granted": "time", "ttl": "amount", "expires": "time",
    },
    "runtimes": {
        "runtime_id": "text", "kind": "category", "name": "text", "host": "text", "health": "category", "slots": "number",
        "used": "count", "kinds": "texts", "clis": "texts", "last_seen": "time", "reason": "text",
    },
    "approvals": {
        "approval": "text", "run_id": "text", "agent": "text", "kind": "category", "question": "text", "options": "texts",
        "tool": "text", "units": "texts", "input": "json", "diff": "text", "risk": "category", "risks": "texts",
        "locks": "json", "status": "category", "answer": "text", "by": "text", "scope": "category", "rule": "text",
        "asked": "time", "answered": "time", "expires": "time",
    },
    "runs": {
        "run_id": "text", "name": "text", "status": "category", "root": "text", "host": "text", "session_id": "text",
        "user": "text", "schedule": "category", "claims": "category", "agents": "count", "seq": "count",
        "started": "time", "ended": "time", "tok_in": "count", "tok_out": "count", "tok_cache": "count", "cost": "amount",
    },
}  # fmt: skip
"""Table -> column -> its kind, a word of `trace.kinds`."""

TOKENS = {"tok_in": "in", "tok_out": "out", "tok_cache": "cached"}
"""Columns of tokens, and what they are called in the `usage` of a row."""


def flat(table: str, row: Row) -> Row:
    """A row with one plain value, or a list of texts, a column. Times stay ns."""
    more: Row = {}
    if "cost" in COLUMNS[table]:
        usage = row.get("usage") or {}
        for name, key in TOKENS.items():
            more[name] = None if usage.get(key) is None else int(usage[key])
        more["cost"] = usage.get("cost")
    match table:
        case "agents":
            more["waits"] = queue_text(row["waits"]) if row.get("waits") else ""
            more["holds"] = list(row.get("holds") or ())
        case "locks":
            more["behind"] = queue_text(row) if row["status"] == "waiting" else ""
            more["implicit"] = bool(row.get("implicit"))
        case "runtimes":
            more["clis"] = [program_text(cli) for cli in row.get("clis") or ()]
    return {name: more.get(name, row.get(name)) for name in COLUMNS[table]}


def program_text(cli: Row) -> str:
    """`claude 2.1.0: ok`"""
    return f"{' '.join(filter(None, (cli['name'], cli.get('version'))))}: {cli['verdict']}"


def frame(table: str, rows: Iterable[Row]) -> pd.DataFrame:
    """The rows as a frame with the dtypes of `trace.columns`. `output` of agents is the text of its JSON."""
    from agentlab.trace.columns import from_records
    from agentlab.trace.kinds import Kind

    columns = {name: Kind(word) for name, word in COLUMNS[table].items()}
    return from_records(
        columns, [tuple(_value(kind, flat(table, row)[n]) for n, kind in columns.items()) for row in rows]
    )


def _value(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    match kind.value:
        case "json":
            return json.dumps(value, ensure_ascii=False)
        case "amount":
            return float(value)
        case "texts":
            return [str(item) for item in value]
        case _:
            return value
