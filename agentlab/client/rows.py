"""What rows of the state say to people. Pure functions over the JSON rows of `GetState` and `Watch`."""

from __future__ import annotations

import time
from typing import Any

from agentlab.errors import ordinal, resets_text

from .text import line, span

Row = dict[str, Any]
Tables = dict[str, dict[str, Row]]

ENDED = frozenset({"done", "failed", "cancelled"})

FAILED = 400
"""Characters of why an agent failed: what to do about it stands at the end."""

ICONS = {
    "queued": "…", "dispatched": "…", "running": "▶", "waiting": "⧗", "blocked": "?", "paused": "‖", "idle": "○",
    "stopping": "■", "done": "✓", "failed": "✗", "cancelled": "⊘",
}  # fmt: skip


def short(owner: str) -> str:
    """The owner of a lock as people call it: the agent's name, or `user:NAME`."""
    return line(owner.rpartition("/")[2], 60)


def waits_text(row: Row) -> str:
    """`waits for file:a.txt · held by a · 2nd`, or '' where it does not wait."""
    waits = row.get("waits")
    return queue_text(waits) if waits else ""


def queue_text(waits: Row) -> str:
    """The same of anything with `units`, `position` and `behind`: an agent's wait or a row of the locks."""
    behind = waits.get("behind") or []
    parts = [f"waits for {line(', '.join(waits.get('units') or ()))}"]
    for word, ahead in (("held by", False), ("after", True)):
        owners = dict.fromkeys(
            f"{short(b['owner'])}{' (paused)' if b.get('paused') else ''}"
            for b in behind
            if bool(b.get("waits")) is ahead
        )
        if owners:
            parts.append(f"{word} {', '.join(owners)}")
    if waits.get("position"):
        parts.append(ordinal(waits["position"]))
    return " · ".join(parts)


def usage_text(row: Row) -> str:
    """`1,200 in · 300 out · $0.0123`, or '' where nothing was used, as far as anybody told."""
    usage = row.get("usage") or {}
    parts = [f"{int(usage[key]):,} {key}" for key in ("in", "out", "cached") if usage.get(key)]
    if usage.get("cost"):
        parts.append(f"${usage['cost']:.4f}")
    return " · ".join(parts)


def age_text(row: Row, now: int | None = None) -> str:
    """How long an agent has been going, or went."""
    begin = row.get("started") or row.get("queued_at")
    if not begin:
        return ""
    end = row.get("ended") or now or time.time_ns()
    return span((end - begin) / 1e9)


def detail(row: Row) -> str:
    """The one thing worth saying beside the status: what it waits for, what went wrong, what it does."""
    if waits := waits_text(row):
        return waits
    if row.get("alert"):
        return f"! {line(row['alert'])}"
    if row.get("error"):
        return line(error_text(row), FAILED)
    if row["status"] == "done":
        return "" if row.get("output") is None else line(row["output"])
    said = (
        (row.get("reason"), row.get("doing")) if row["status"] == "blocked" else (row.get("doing"), row.get("reason"))
    )
    return line(said[0] or said[1] or "")


def error_text(row: Row) -> str:
    """How an agent failed, after when the limit resets that it ran into; '' where it did not."""
    resets = resets_text(row["resets"] / 1e9) if row.get("resets") else ""
    return f"{resets} {row.get('error') or ''}".strip()


def bounds_text(row: Row) -> str:
    """Where an agent is held by less than it could be: `native (weaker) · no sandbox`; '' where all holds, or nobody has said yet."""
    sandbox = str(row.get("sandbox") or "")
    parts = [
        "native (weaker)" if row.get("boundary") == "native" else "",
        {"none": "no sandbox", "bubblewrap": ""}.get(sandbox, line(sandbox, 30)),
    ]
    return " · ".join(part for part in parts if part)


def one_line(row: Row) -> str:
    """`a (script) ⧗ waiting · waits for file:a.txt · held by b · 2nd`."""
    parts = [
        f"{line(row['name'], 60)} ({line(row['kind'], 30)}) {icon(row)} {row['status']}",
        detail(row),
        bounds_text(row),
        age_text(row),
    ]
    return " · ".join(part for part in parts if part)


def icon(row: Row) -> str:
    return ICONS.get(row["status"], "•")


def is_live(row: Row) -> bool:
    return row["status"] not in ENDED
