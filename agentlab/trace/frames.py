"""The log as DataFrames. `db` is the path of a log; it may be written to meanwhile, and what is committed is seen.

    events_df(db, "run-1", types=["lock.grant"], where="unit LIKE ?", params=["file:src/%"])

Common to all: `run_id` names one run, several, or (None) all; rows are in the order of the log; dtypes are those of
`trace.columns`, with or without rows. Options:

columns   names of the columns wanted, in their order
where     SQL over the columns of `events` (ts, dur_ns as integers), with `params` for its question marks. In frames
          whose rows join several events it is about the first one: the call, the request, the start
since     only rows that begin after this seq of their run
payload   what is JSON: "text", "parsed" to Python values, or False: without those columns
blobs     True: large values whole, instead of their beginning and hash
strict    False: a payload that cannot be read is left out and listed in `.attrs["errors"]`, instead of StoreCorrupt

Raises NotFound (no such log, no such run), BadRequest (a column or a condition that makes no sense), StoreCorrupt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, cast

import msgspec
import pandas as pd
import pyarrow as pa

from agentlab.errors import AgentlabError, BadRequest, NotFound
from agentlab.store.rows import restore

from . import leases, queries, stories
from . import spans as all_spans
from .blobs import contents, named_in
from .columns import from_batches, from_records, objects
from .kinds import Columns, Kind, schema_of
from .load import Log, Value
from .matches import Found, Search
from .queries import Condition, Runs
from .stories import Reading, Record, Step
from .usage import USAGE, USED, Usage, reported, totals

_ALL = Condition()
Payload = Literal[False, "text", "parsed"]
Story = Callable[[Iterable[Step], Reading], Iterable[Record]]


class Options(TypedDict, total=False):
    """See the module's docstring."""

    columns: Sequence[str] | None
    where: str | None
    params: Sequence[Value]
    since: int | None
    payload: Payload
    blobs: bool
    strict: bool


def runs_df(db: str | Path, *, where: str | None = None, params: Sequence[Value] = ()) -> pd.DataFrame:
    """The runs, oldest first. `where` is about the table `runs`.

    Tokens and cost (USD) are those of all its agents, so far where it has not ended. Missing: nobody told, or it was ended by an
    agentlab that did not sum up yet.
    """
    log, query = Log(db), queries.runs(queries.matching(where, params))
    frame = log.read(query, schema_of(queries.RUNS), lambda batches: from_batches(queries.RUNS, batches))
    frame = frame.sort_values("started", kind="stable", ignore_index=True)
    going = list(frame.loc[frame["ended"].isna(), "run_id"])
    used = totals(_used(log, queries.of_runs(going), Reading(strict=False))) if going else {}
    for name, kind in USED.items():
        so_far = from_records({name: kind}, [(used.get(run_id, {}).get(name),) for run_id in frame["run_id"]])
        frame[name] = frame[name].fillna(so_far[name])
    return frame


def events_df(
    db: str | Path,
    run_id: Runs = None,
    *,
    types: Iterable[str] | None = None,
    actor: str | None = None,
    unit: str = "",
    text: str = "",
    **options: Unpack[Options],
) -> pd.DataFrame:
    """The events, one a row; without their payload, unless `payload` or `columns` asks for it.

    actor: with its subagents. unit, text: a part of a work unit or path, or of what an event says, whatever the case
    (`trace.matches`): the filter of the run console. Large values are searched whole.
    """
    log, ask = Log(db), _Ask(options, payload=False)
    names = ask.pick(queries.EVENTS, always=("payload",) if ask.payload else ())
    chosen = {name: queries.EVENTS[name] for name in dict.fromkeys(("run_id", "seq", *names))}
    condition = queries.of_runs(run_id) & queries.of_types(types) & queries.of_actor(actor)
    condition = condition & queries.after(ask.since) & ask.where
    reading = Reading(ask.strict)
    if search := Search(unit, text):
        condition = queries.of_ids(_matching(log, condition, search, reading))
    query = queries.events(chosen, condition)
    frame = log.read(query, schema_of(chosen), lambda batches: from_batches(chosen, batches))
    _check_runs(log, run_id, frame)
    if "payload" in names and (ask.blobs or ask.payload == "parsed"):
        frame = _with_payloads(log, frame, ask, reading)
    return _finished(frame, names, reading)


def messages_df(db: str | Path, run_id: Runs = None, **options: Unpack[Options]) -> pd.DataFrame:
    """What was said: role (user, assistant, thinking, system), to, text."""
    return _told(db, run_id, stories.MESSAGES, stories.messages, ("message",), options)


def exchanges_df(db: str | Path, run_id: Runs = None, **options: Unpack[Options]) -> pd.DataFrame:
    """What programs and their models said to each other: one row an HTTP request with its answer.

    `first`: until the first byte of the answer. `request`, `response`: the hash of the body, with `blobs` the body itself; missing
    where it was empty or too large to be kept.
    """
    frame = _told(db, run_id, stories.EXCHANGES, stories.exchanges, ("model.exchange",), options)
    sides = [side for side in ("request", "response") if side in frame.columns]
    if options.get("blobs") and sides:
        hashes = {hash for side in sides for hash in frame[side].dropna()}
        bodies = {hash: data.decode("utf-8", "replace") for hash, data in contents(Log(db), hashes)}
        for side in sides:
            frame[side] = pd.array([bodies.get(hash) for hash in frame[side]], dtype=pd.StringDtype("pyarrow"))
    return frame


def tool_calls_df(db: str | Path, run_id: Runs = None, **options: Unpack[Options]) -> pd.DataFrame:
    """Each call at the tool boundary with its result; `status` is unknown where there is none (yet)."""
    types = ("tool.call", "tool.result")
    return _told(db, run_id, stories.TOOL_CALLS, stories.tool_calls, types, options)


def locks_df(db: str | Path, run_id: Runs = None, **options: Unpack[Options]) -> pd.DataFrame:
    """Each lease: what was asked for, how long it waited behind whom, how long it was held, how it ended."""
    types = ("lock.request", "lock.grant", "lock.release", "lock.expire", "lock.deny")
    return _told(db, run_id, leases.LOCKS, leases.locks, types, options)


def files_df(db: str | Path, run_id: Runs = None, **options: Unpack[Options]) -> pd.DataFrame:
    """Each change of a file: op (create, write, delete, rename), hashes before and after, lines, hash of the diff."""
    types = ("file.write", "file.delete", "file.rename")
    return _told(db, run_id, stories.FILES, stories.files, types, options)


def procs_df(db: str | Path, run_id: Runs = None, **options: Unpack[Options]) -> pd.DataFrame:
    """Each process: argv, how it ended, how long it took, how much it printed, what it wrote."""
    return _told(db, run_id, stories.PROCS, stories.procs, ("proc.start", "proc.output", "proc.exit"), options)


def spans_df(
    db: str | Path, run_id: Runs = None, *, kinds: Iterable[str] | None = None, **options: Unpack[Options]
) -> pd.DataFrame:
    """Everything that took time, for a Gantt chart. See `spans.KINDS`; lock waits and holds are spans of their own."""
    frame = _told(db, run_id, all_spans.SPANS, all_spans.spans, all_spans.TYPES, options, or_timed=True)
    return frame if kinds is None else frame[frame["kind"].isin(list(kinds))].reset_index(drop=True)


def usage_df(db: str | Path, run_id: Runs = None, **options: Unpack[Options]) -> pd.DataFrame:
    """Calls, tokens and cost (USD) by actor and model. What agents reported only at their end is added, unless
    `where` or `since` choose among the model calls."""
    log, ask = Log(db), _Ask(options)
    names = ask.pick(USAGE)
    reading = Reading(ask.strict)
    rows = _used(log, queries.of_runs(run_id), reading, ask.begins)
    frame = from_records(USAGE, [msgspec.structs.astuple(row) for row in rows])
    _check_runs(log, run_id, frame)
    return _finished(frame, names, reading)


# --- the way of a frame ------------------------------------------------------------------------------------


class _Ask:
    """The options of one call, with their defaults."""

    def __init__(self, options: Options, payload: Payload = "text") -> None:
        if unknown := set(options) - set(Options.__annotations__):
            raise TypeError(
                f"unknown option {', '.join(sorted(unknown))}; there are {', '.join(Options.__annotations__)}"
            )
        self.columns = options.get("columns")
        self.since = options.get("since")
        self.payload: Payload = options.get("payload", payload)
        self.blobs = options.get("blobs", False)
        self.strict = options.get("strict", True)
        self.where = queries.matching(options.get("where"), options.get("params", ()))
        if self.payload not in (False, "text", "parsed"):
            raise BadRequest(f"payload={self.payload!r}: it is 'text', 'parsed', or False for none.")

    @property
    def begins(self) -> Condition:
        """What the first event of a row must be."""
        return self.where if self.since is None else queries.after(self.since) & self.where

    def pick(self, columns: Columns, always: Sequence[str] = ()) -> list[str]:
        """The names of the columns wanted, in their order. Raises BadRequest: there is no such column."""
        if self.columns is None:
            return [n for n, kind in columns.items() if kind is not Kind.JSON or self.payload]
        if missing := [n for n in self.columns if n not in columns]:
            raise BadRequest(f"There is no column {', '.join(missing)} here; there are {', '.join(columns)}.")
        return list(dict.fromkeys((*self.columns, *always)))


def _told(
    db: str | Path,
    run_id: Runs,
    columns: Columns,
    story: Story,
    types: Sequence[str],
    options: Options,
    or_timed: bool = False,
) -> pd.DataFrame:
    log, ask = Log(db), _Ask(options)
    names = ask.pick(columns)
    read = queries.of_types(types)
    if or_timed:
        read = Condition(f"({read.sql} OR dur_ns IS NOT NULL)", read.params)
    reading = Reading(ask.strict)
    steps = _steps(log, queries.of_runs(run_id) & read, ask.begins, blobs=ask.blobs)
    frame = from_records(columns, list(story(steps, reading)))
    _check_runs(log, run_id, frame)
    if ask.payload == "parsed":
        for name in names:
            if columns[name] is Kind.JSON:
                frame[name] = objects([None if v is pd.NA else msgspec.json.decode(v) for v in frame[name]])
    return _finished(frame, names, reading)


def _used(log: Log, of_runs: Condition, reading: Reading, calls: Condition = _ALL) -> list[Usage]:
    """By these model calls; by all of them and, beyond those, by the ends of agents."""
    counted = log.rows(queries.usage(of_runs & calls), schema_of(USAGE))
    rows = [Usage(*row) for row in counted]  # type: ignore[arg-type]
    if calls != _ALL:
        return rows
    ends = _steps(log, of_runs & queries.of_types(["agent.end"]), Condition(), blobs=False)
    return reported(rows, ends, reading)


def _steps(log: Log, condition: Condition, wanted: Condition, blobs: bool) -> list[Step]:
    steps = [Step._make(cast("Any", row)) for row in log.rows(queries.steps(condition, wanted), queries.STEP_SCHEMA)]
    if not blobs:
        return steps
    found = dict(contents(log, named_in(step.payload for step in steps)))
    return [step._replace(payload=restore(step.payload, found.get)) for step in steps]


def _matching(log: Log, condition: Condition, search: Search, reading: Reading) -> list[int]:
    """The ids of events that match, read some at a time."""

    def consume(batches: Iterable[pa.RecordBatch]) -> list[int]:
        reading.errors.clear()  # it may be asked twice
        return [id for batch in batches for id in _searched(log, batch, search, reading)]

    return log.read(queries.looked_at(condition), schema_of(queries.LOOKED_AT), consume)


def _searched(log: Log, batch: pa.RecordBatch, search: Search, reading: Reading) -> Iterator[int]:
    large = dict(contents(log, named_in(batch["payload"].to_pylist())))
    for row in batch.to_pylist():
        try:
            whole = restore(row["payload"], large.get)
            if search.matches(Found(row["type"], row["name"], row["unit"], row["status"], whole)):
                yield row["id"]
        except (msgspec.MsgspecError, AgentlabError) as error:
            reading.fail(f"{row['run_id']}:{row['seq']}", error)


def _with_payloads(log: Log, frame: pd.DataFrame, ask: _Ask, reading: Reading) -> pd.DataFrame:
    payloads: list[Any] = list(frame["payload"])
    found = dict(contents(log, named_in(payloads))) if ask.blobs else {}
    for i, payload in enumerate(payloads):
        try:
            whole = restore(payload, found.get) if ask.blobs else payload
            payloads[i] = msgspec.json.decode(whole) if ask.payload == "parsed" else whole
        except (ValueError, msgspec.MsgspecError, AgentlabError) as error:
            reading.fail(f"{frame['run_id'].iloc[i]}:{frame['seq'].iloc[i]}", error)
            payloads[i] = None
    column = objects(payloads) if ask.payload == "parsed" else pd.array(payloads, dtype=pd.StringDtype("pyarrow"))
    return _finished(frame.assign(payload=column), list(frame.columns), reading)


def _finished(frame: pd.DataFrame, names: list[str], reading: Reading) -> pd.DataFrame:
    if list(frame.columns) != names:
        frame = frame[names]
    if not reading.strict:
        frame.attrs["errors"] = reading.errors
    return frame


def _check_runs(log: Log, run_id: Runs, frame: pd.DataFrame) -> None:
    """A frame without rows is right for a run without such events, and wrong for a run that does not exist."""
    if run_id is None or len(frame):
        return
    known = {row[0] for row in log.rows(queries.runs(queries.of_runs(run_id)), schema_of(queries.RUNS))}
    wanted = {run_id} if isinstance(run_id, str) else set(run_id)
    if missing := sorted(wanted - known):
        raise NotFound(f"There is no run {', '.join(missing)} in {log.path}. runs_df() lists those there are.")
