"""The SQL of the read side: what is selected from a log, and which of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import pyarrow as pa
from msgspec import Struct

from agentlab.store.schema import END_OF_RUN

from .kinds import Columns, Kind
from .load import Query, Value
from .usage import USED

ORDER = "1, 2"  # run_id, seq: the one order of a log

EVENTS: Columns = {
    "run_id": Kind.CATEGORY,
    "seq": Kind.NUMBER,
    "ts": Kind.TIME,
    "type": Kind.CATEGORY,
    "actor": Kind.CATEGORY,
    "session_id": Kind.CATEGORY,
    "task_id": Kind.CATEGORY,
    "span": Kind.TEXT,
    "parent": Kind.TEXT,
    "cause": Kind.COUNT,
    "name": Kind.CATEGORY,
    "unit": Kind.CATEGORY,
    "status": Kind.CATEGORY,
    "dur": Kind.SPAN,
    "tok_in": Kind.COUNT,
    "tok_out": Kind.COUNT,
    "tok_cache": Kind.COUNT,
    "cost": Kind.AMOUNT,
    "dhash": Kind.TEXT,
    "payload": Kind.JSON,
}

RUNS: Columns = {
    "run_id": Kind.TEXT,
    "parent_run_id": Kind.TEXT,
    "fork_seq": Kind.COUNT,
    "session_id": Kind.CATEGORY,
    "name": Kind.TEXT,
    "source": Kind.CATEGORY,
    "status": Kind.CATEGORY,
    "started": Kind.TIME,
    "ended": Kind.TIME,
    "dur": Kind.SPAN,
    "n_events": Kind.COUNT,
    **USED,
    "base_tree": Kind.TEXT,
    "final_tree": Kind.TEXT,
    "schema_version": Kind.NUMBER,
    "config": Kind.JSON,
}


def _at_the_end(name: str, type: str) -> str:
    return f"(SELECT CAST(json_extract(payload, '$.usage.{name}') AS {type}) FROM {END_OF_RUN})"  # noqa: S608


_RUN_SQL = {
    "dur": "ended - started",
    # Numbers have no gaps, so the last one counts the events of a run that has not ended.
    "n_events": "COALESCE(n_events, (SELECT max(seq) FROM events WHERE events.run_id = runs.run_id), 0)",
    "tok_in": _at_the_end("in", "INTEGER"),
    "tok_out": _at_the_end("out", "INTEGER"),
    "tok_cache": _at_the_end("cached", "INTEGER"),
    "cost": _at_the_end("cost", "REAL"),
}

_EVENT_SQL = {"dur": "dur_ns"}

Runs = str | Sequence[str] | None
"""Of which runs: one, several, or all."""


class Condition(Struct, frozen=True):
    """SQL that is true for what is wanted, and the values for its question marks."""

    sql: str = "1"
    params: tuple[Value, ...] = ()

    def __and__(self, other: Condition) -> Condition:
        return Condition(f"{self.sql} AND {other.sql}", self.params + other.params)


def of_runs(run_id: Runs) -> Condition:
    if run_id is None:
        return Condition()
    if isinstance(run_id, str):
        return Condition("run_id = ?", (run_id,))
    return Condition("run_id IN (SELECT value FROM json_each(?))", (_list(run_id),))


def of_types(types: Iterable[str] | None) -> Condition:
    return Condition() if types is None else Condition("type IN (SELECT value FROM json_each(?))", (_list(types),))


def of_actor(actor: str | None) -> Condition:
    """What an actor did, and what its subagents did."""
    if actor is None:
        return Condition()
    below = f"{actor}/"
    return Condition("(actor = ? OR substr(actor, 1, ?) = ?)", (actor, len(below), below))


def of_ids(ids: Iterable[int]) -> Condition:
    return Condition("id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),))


def after(seq: int | None) -> Condition:
    return Condition() if seq is None else Condition("seq > ?", (seq,))


def matching(where: str | None, params: Sequence[Value]) -> Condition:
    """What a caller wrote, over the columns of `events`."""
    return Condition() if where is None else Condition(f"({where})", tuple(params))


def events(columns: Columns, condition: Condition) -> Query:
    """Events with these columns, run_id and seq first."""
    selected = ", ".join(_EVENT_SQL.get(name, name) for name in columns)
    return Query(f"SELECT {selected} FROM events WHERE {condition.sql}", condition.params, ORDER)  # noqa: S608


LOOKED_AT: Columns = {
    "id": Kind.NUMBER,
    "run_id": Kind.TEXT,
    "seq": Kind.NUMBER,
    "type": Kind.TEXT,
    "name": Kind.TEXT,
    "unit": Kind.TEXT,
    "status": Kind.TEXT,
    "payload": Kind.JSON,
}


def looked_at(condition: Condition) -> Query:
    """Events to be searched by `trace.matches`."""
    return Query(f"SELECT {', '.join(LOOKED_AT)} FROM events WHERE {condition.sql}", condition.params)  # noqa: S608


STEPS = (
    "run_id", "seq", "ts", "type", "actor", "task_id", "name", "unit", "status", "dur_ns", "cause", "payload", "wanted"
)  # fmt: skip

STEP_SCHEMA = pa.schema(
    [(n, pa.int64() if n in {"seq", "ts", "dur_ns", "cause", "wanted"} else pa.string()) for n in STEPS]
)


def steps(condition: Condition, wanted: Condition) -> Query:
    """Events to be told as a story (`trace.stories`), each with whether it is `wanted` as the beginning of a row."""
    promoted = ", ".join(STEPS[:-1])
    return Query(
        f"SELECT {promoted}, CASE WHEN {wanted.sql} THEN 1 ELSE 0 END FROM events WHERE {condition.sql}",  # noqa: S608
        (*wanted.params, *condition.params),
        ORDER,
    )


def runs(condition: Condition) -> Query:
    selected = ", ".join(_RUN_SQL.get(name, name) for name in RUNS)
    return Query(f"SELECT {selected} FROM runs WHERE {condition.sql}", condition.params)  # noqa: S608


def usage(condition: Condition) -> Query:
    """What model calls said, by actor and model."""
    return Query(
        "SELECT run_id, min(seq), actor, task_id, name, count(*), sum(tok_in), sum(tok_out), sum(tok_cache), sum(cost)"  # noqa: S608
        f" FROM events WHERE type = 'model.call' AND {condition.sql} GROUP BY run_id, actor, task_id, name",
        condition.params,
        ORDER,
    )


def blobs(hashes: Iterable[str]) -> Query:
    return Query(
        "SELECT hash, n, codec, data FROM blobs WHERE hash IN (SELECT value FROM json_each(?))", (_list(hashes),)
    )


def blob_sizes(hashes: Iterable[str]) -> Query:
    return Query("SELECT hash, n FROM blobs WHERE hash IN (SELECT value FROM json_each(?))", (_list(hashes),))


def snapshots(run_id: str, seq: int) -> Query:
    """The newest snapshot of a run that is not after `seq`."""
    return Query(
        "SELECT * FROM (SELECT seq, tree, manifest FROM snapshots WHERE run_id = ? AND seq <= ? ORDER BY seq DESC LIMIT 1)",
        (run_id, seq),
    )


def _list(values: Iterable[str]) -> str:
    return json.dumps(list(values))
