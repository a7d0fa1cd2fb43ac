"""Tokens and cost, by actor and model. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from .kinds import Columns, Kind
from .stories import KEYS, Reading, Step

USED: Columns = {
    "tok_in": Kind.COUNT,
    "tok_out": Kind.COUNT,
    "tok_cache": Kind.COUNT,
    "cost": Kind.AMOUNT,
}

USAGE: Columns = {**KEYS, "model": Kind.CATEGORY, "calls": Kind.NUMBER, **USED}

_REPORTED = {"tok_in": "in", "tok_out": "out", "tok_cache": "cached", "cost": "cost"}


class Usage(Struct):
    """One row. `model` None: not known of which model."""

    run_id: str
    seq: int
    actor: str
    task_id: str | None
    model: str | None
    calls: int = 0
    tok_in: float | None = None
    tok_out: float | None = None
    tok_cache: float | None = None
    cost: float | None = None


class _End(Struct):
    usage: dict[str, float] = {}


_end = msgspec.json.Decoder(_End)


def reported(rows: list[Usage], ends: Iterable[Step], reading: Reading) -> list[Usage]:
    """Add what agents said of themselves at their end, as far as their model calls (and their subagents') did not.

    It goes to the one model of an agent, or to a row without a model where there are several or none.
    """
    for step in ends:
        said = reading.body(step, _end).usage
        mine = [r for r in rows if r.run_id == step.run_id and (r.actor + "/").startswith(step.actor + "/")]
        missing = {
            field: said[key] - sum(getattr(row, field) or 0 for row in mine)
            for field, key in _REPORTED.items()
            if key in said
        }
        missing = {field: amount for field, amount in missing.items() if amount > 1e-12}
        if not missing:
            continue
        if len(mine) != 1:
            mine = [Usage(*step.keys, None)]
            rows += mine
        for field, amount in missing.items():
            setattr(mine[0], field, (getattr(mine[0], field) or 0) + amount)
    return sorted(rows, key=lambda row: (row.run_id, row.seq))


def totals(rows: Iterable[Usage]) -> dict[str, dict[str, float]]:
    """Run -> column of `USED` -> how much, without what nobody told."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        total = found.setdefault(row.run_id, {})
        for field in USED:
            if (much := getattr(row, field)) is not None:
                total[field] = total.get(field, 0) + much
    return found
