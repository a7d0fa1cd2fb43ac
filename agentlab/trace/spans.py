"""Everything in a log that has a duration, on one scale: what a Gantt chart draws. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from .kinds import Columns, Kind
from .leases import leases
from .stories import KEYS, PROCS, TOOL_CALLS, UNKNOWN, Reading, Record, Step, procs, tool_calls

SPANS: Columns = {
    **KEYS,
    "kind": Kind.CATEGORY,
    "name": Kind.CATEGORY,
    "unit": Kind.CATEGORY,
    "status": Kind.CATEGORY,
    "started": Kind.TIME,
    "ended": Kind.TIME,
    "dur": Kind.SPAN,
}

KINDS = ("run", "agent", "state", "task", "tool", "wait", "hold", "proc", "approval", "model")
"""state: an agent queued, running, paused, ... wait, hold: of locks. Other types of events that have a duration keep
their type as kind."""

TYPES = (
    "run.start", "run.end", "agent.start", "agent.state", "agent.end", "task.create", "task.update",
    "tool.call", "tool.result", "lock.request", "lock.grant", "lock.release", "lock.expire",
    "proc.start", "proc.exit", "approval",
)  # fmt: skip

_ENDED = {"done", "failed", "cancelled"}


class _Open(Struct):
    """A span that has begun. `status`: what to say of it while nothing ends it."""

    first: Step
    kind: str
    name: str | None
    status: str = UNKNOWN

    def record(self, end: Step | None = None, status: str | None = None) -> Record:
        first = self.first
        ended = None if end is None else end.ts
        dur = None if end is None else end.ts - first.ts
        return *first.keys, self.kind, self.name, first.unit, status or self.status, first.ts, ended, dur


class _Approval(Struct):
    approval: str = ""


_approval = msgspec.json.Decoder(_Approval)


def spans(steps: Iterable[Step], reading: Reading) -> list[Record]:
    """Spans by run and by where they began. What has not ended has no `ended` and no `dur`."""
    groups: dict[str, list[Step]] = {"tool": [], "lock": [], "proc": [], "rest": []}
    for step in steps:
        groups.get(step.type.partition(".")[0], groups["rest"]).append(step)
    told = [
        *_joined("tool", TOOL_CALLS, tool_calls(groups["tool"], reading)),
        *_joined("proc", PROCS, procs(groups["proc"], reading)),
        *_locks(groups["lock"], reading),
        *_lives(groups["rest"], reading),
    ]
    return sorted(told, key=lambda record: (record[0], record[1]))


def _joined(kind: str, columns: Columns, records: Iterable[Record]) -> Iterator[Record]:
    for record in records:
        row = dict(zip(columns, record, strict=True))
        argv = row.get("argv")
        name = " ".join(argv) if isinstance(argv, tuple) else row.get("name")
        if row["started"] is not None:
            yield *record[:4], kind, name, row.get("unit"), row["status"], row["started"], row["ended"], row["dur"]


def _locks(steps: list[Step], reading: Reading) -> Iterator[Record]:
    for lease in leases(steps, reading):
        if not lease.first.wanted:
            continue
        first, asked = lease.first, lease.first.ts
        head, unit = (*first.keys,), ", ".join(lease.asked.units)
        if first.type == "lock.request":
            until = lease.granted if lease.granted is not None else lease.released
            status = lease.status if lease.granted is None else "granted"
            yield *head, "wait", lease.asked.mode, unit, status, asked, until, lease.wait
        if lease.granted is not None:
            yield *head, "hold", lease.asked.mode, unit, lease.status, lease.granted, lease.released, lease.hold


def _lives(steps: list[Step], reading: Reading) -> Iterator[Record]:
    """Runs, agents and their states, tasks, questions; and single events that say how long they took."""
    live: dict[tuple[str, str, str], _Open] = {}
    told: list[Record] = []

    def begin(kind: str, id: str, step: Step, name: str | None, status: str = UNKNOWN) -> None:
        live[kind, step.run_id, id] = _Open(step, kind, name, status)

    def end(kind: str, id: str, step: Step, status: str | None = None) -> None:
        begun = live.pop((kind, step.run_id, id), None)
        if begun is not None and begun.first.wanted:
            told.append(begun.record(step, status))

    for step in steps:
        match step.type:
            case "run.start":
                begin("run", "", step, step.name or step.run_id)
            case "run.end":
                end("run", "", step, step.status)
            case "agent.start":
                begin("agent", step.actor, step, step.name or step.actor)
                begin("state", step.actor, step, "queued")
            case "agent.state":
                end("state", step.actor, step, step.status)
                begin("state", step.actor, step, step.status)
            case "agent.end":
                end("state", step.actor, step, step.status)
                end("agent", step.actor, step, step.status)
            case "task.create":
                begin("task", step.task_id or "", step, step.name or step.task_id)
            case "task.update" if step.status in _ENDED:
                end("task", step.task_id or "", step, step.status)
            case "task.update":
                pass
            case "approval":
                id = reading.body(step, _approval).approval
                if step.status == "asked":
                    begin("approval", id, step, step.name)
                else:
                    end("approval", id, step, step.status)
            case _ if step.dur is not None and step.wanted:
                kind = "model" if step.type == "model.call" else step.type
                start = step.ts - step.dur
                told.append((*step.keys, kind, step.name, step.unit, step.status, start, step.ts, step.dur))
    yield from told
    yield from (begun.record() for begun in live.values() if begun.first.wanted)
