"""What came of a run, on one screen: the agents, who waited for whom and how long, the files changed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, TypedDict, cast

import msgspec
from msgspec import Struct

from agentlab.errors import NotFound

from . import queries, stories
from .kinds import Columns, schema_of
from .leases import leases
from .load import Log
from .queries import Condition
from .stories import Reading, Record, Step

TYPES = (
    "agent.start", "agent.end", "tool.call", "tool.result", "file.write", "file.delete", "file.rename",
    "lock.request", "lock.grant", "lock.release", "lock.expire", "lock.deny", "guard",
)  # fmt: skip


class AgentLine(TypedDict):
    agent: str
    kind: str
    status: str
    seconds: float | None
    tool_calls: int
    errors: int
    waited: float  # s


class WaitLine(TypedDict):
    agent: str
    unit: str
    behind: list[str]
    seconds: float | None  # None: it still waits
    status: str


class FileLine(TypedDict):
    path: str
    changes: int
    added: int
    removed: int
    by: list[str]
    op: str  # the last one


class GuardLine(TypedDict):
    agent: str
    rule: str
    status: str
    detail: str


class Summary(TypedDict):
    run_id: str
    name: str
    status: str
    seconds: float | None
    events: int
    log: str
    agents: list[AgentLine]
    waits: list[WaitLine]
    files: list[FileLine]
    guards: list[GuardLine]


class _Spec(Struct, frozen=True):
    kind: str = ""


class _AgentStart(Struct):
    spec: _Spec = _Spec()


class _Guard(Struct):
    rule: str = ""
    detail: stories.Text = ""


_agent_start, _guard = msgspec.json.Decoder(_AgentStart), msgspec.json.Decoder(_Guard)


def summary(db: str | Path, run_id: str) -> Summary:
    """The facts, as JSON values. Raises NotFound: there is no such run."""
    log = Log(db)
    of_run = queries.of_runs(run_id)
    runs = log.rows(queries.runs(of_run), schema_of(queries.RUNS))
    if not runs:
        raise NotFound(f"There is no run {run_id} in {log.path}. runs_df() lists those there are.", run=run_id)
    run: dict[str, Any] = dict(zip(queries.RUNS, runs[0], strict=True))
    query = queries.steps(of_run & queries.of_types(TYPES), Condition())
    steps = [Step._make(cast("Any", row)) for row in log.rows(query, queries.STEP_SCHEMA)]
    names = {step.actor: step.name or step.actor for step in steps if step.type == "agent.start"}
    waits = _waits(steps, run_id, names)
    return Summary(
        run_id=run_id,
        name=run["name"] or run_id,
        status=run["status"] or "",
        seconds=_seconds(run["dur"]),
        events=run["n_events"],
        log=str(log.path),
        agents=_agents(steps, names, waits),
        waits=waits,
        files=_files(steps, names),
        guards=_guards(steps, names),
    )


def text(summary: Summary) -> str:
    """The facts as people read them."""
    took = "" if summary["seconds"] is None else f" in {summary['seconds']:.1f} s"
    lines = [f"Run {summary['name']} ({summary['run_id']}): {summary['status']}{took}, {summary['events']} events", ""]
    lines += ["Agents"] + [
        f"  {a['agent']:<12} {a['kind']:<8} {a['status']:<10} {_time(a['seconds']):>8}"
        f"  {a['tool_calls']} tool calls, {a['errors']} failed, waited {_time(a['waited'])}"
        for a in summary["agents"]
    ]
    lines += ["", "Who waited for whom"] + [
        f"  {w['agent']} waited {_time(w['seconds'])} for {w['unit']}"
        + (f", behind {', '.join(w['behind'])}" if w["behind"] else "")
        + ("" if w["status"] in ("held", "released") else f" ({w['status']})")
        for w in summary["waits"]
    ]
    lines += [] if summary["waits"] else ["  nobody"]
    lines += ["", "Files changed"] + [
        f"  {f['path']:<32} {f['changes']} changes, +{f['added']} -{f['removed']}"
        f"{', deleted' if f['op'] == 'delete' else ''}, by {', '.join(f['by'])}"
        for f in summary["files"]
    ]
    lines += [] if summary["files"] else ["  none"]
    if summary["guards"]:
        lines += ["", "Rules enforced"]
        lines += [f"  {g['agent']}: {g['rule']} {g['status']} {g['detail']}".rstrip() for g in summary["guards"]]
    return "\n".join([*lines, "", f"Log: {summary['log']}"])


def _agents(steps: list[Step], names: dict[str, str], waits: list[WaitLine]) -> list[AgentLine]:
    ends = {step.actor: step for step in steps if step.type == "agent.end"}
    calls = Counter(_parent(step.actor, names) for step in steps if step.type == "tool.call")
    failed = Counter(
        _parent(step.actor, names) for step in steps if step.type == "tool.result" and step.status not in (None, "ok")
    )
    waited: Counter[str] = Counter()
    for wait in waits:
        waited[wait["agent"]] += wait["seconds"] or 0  # type: ignore[assignment]
    lines = []
    for step in steps:
        if step.type == "agent.start":
            end, agent = ends.get(step.actor), names[step.actor]
            lines.append(
                AgentLine(
                    agent=agent,
                    kind=Reading(strict=False).body(step, _agent_start).spec.kind,
                    status=(end.status or "") if end else "live",
                    seconds=_seconds(end.ts - step.ts) if end else None,
                    tool_calls=calls[agent],
                    errors=failed[agent],
                    waited=waited[agent],
                )
            )
    return lines


def _waits(steps: list[Step], run_id: str, names: dict[str, str]) -> list[WaitLine]:
    def who(owner: str) -> str:
        own = owner.removeprefix(f"{run_id}/")
        return names.get(own, own.removeprefix("user:"))

    told = leases((s for s in steps if s.type.startswith("lock.")), Reading(strict=False))
    return [
        WaitLine(
            agent=who(lease.asked.owner),
            unit=", ".join(lease.asked.units),
            behind=[who(owner) for owner in lease.behind],
            seconds=_seconds(lease.wait),
            status=lease.status,
        )
        for lease in told
        if lease.first.type == "lock.request"
    ]


def _files(steps: list[Step], names: dict[str, str]) -> list[FileLine]:
    lines: dict[str, FileLine] = {}
    records = stories.files((s for s in steps if s.type.startswith("file.")), Reading(strict=False))
    for record in records:
        row = _row(stories.FILES, record)
        if row["via"] == "rollback":  # undone by us: it is told with the rules that were enforced
            continue
        path = row["to"] if row["op"] == "rename" else row["path"]
        line = lines.setdefault(path, FileLine(path=path, changes=0, added=0, removed=0, by=[], op=""))
        line["changes"] += 1
        line["added"] += row["added"] or 0
        line["removed"] += row["removed"] or 0
        line["op"] = row["op"]
        agent = _parent(row["actor"], names)
        if agent not in line["by"]:
            line["by"].append(agent)
    return sorted(lines.values(), key=lambda line: line["path"])


def _guards(steps: list[Step], names: dict[str, str]) -> list[GuardLine]:
    lines = []
    for step in steps:
        if step.type == "guard":
            guard = Reading(strict=False).body(step, _guard)
            agent, status = _parent(step.actor, names), step.status or ""
            lines.append(GuardLine(agent=agent, rule=guard.rule, status=status, detail=stories.text(guard.detail)))
    return lines


def _row(columns: Columns, record: Record) -> dict[str, Any]:
    return dict(zip(columns, record, strict=True))


def _parent(actor: str, names: dict[str, str]) -> str:
    """The name of an agent; of a subagent (`agent/sub`) its agent's."""
    return names.get(actor) or names.get(actor.partition("/")[0], actor)


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e9


def _time(seconds: float | None) -> str:
    return "still" if seconds is None else f"{seconds:.2f} s"
