"""Runtimes, and what the passing of time does to everything: leases, pauses, and whatever is overdue."""

from __future__ import annotations

import msgspec

from agentlab.errors import BadRequest, NotFound, Refused

from . import approvals, runs
from .agents import end as end_agent
from .claims import expire
from .commands import AnyReply, Done, Finish, ForgetRuntime, RegisterRuntime, RuntimeSeen
from .events import StateSet
from .rows import ENDED, Runtime
from .turn import PLANE, Turn


def register(turn: Turn, c: RegisterRuntime) -> AnyReply:
    if c.slots < 1:
        raise BadRequest(f"A runtime with {c.slots} slots can run nothing.")
    before = turn.state.runtimes.get(c.runtime_id)
    row = Runtime(
        runtime_id=c.runtime_id, kind=c.kind, host=c.host, slots=c.slots, name=c.name or c.runtime_id, kinds=c.kinds,
        clis=c.clis, detail=c.detail, registered=before.registered if before else turn.now.wall, changed=turn.now.wall,
    )  # fmt: skip
    turn.leases.renew(c.runtime_id, turn.now.mono)
    if before is None or msgspec.structs.replace(row, changed=before.changed) != before:
        _set(turn, row)
    return Done()


def seen(turn: Turn, c: RuntimeSeen) -> AnyReply:
    row = _row(turn, c.runtime_id)
    if c.ok:
        turn.leases.renew(c.runtime_id, turn.now.mono)
    status = "online" if c.ok else "offline"
    if row.status != status or row.reason != c.reason:
        _set(turn, msgspec.structs.replace(row, status=status, reason=c.reason, changed=turn.now.wall))
    return Done()


def forget(turn: Turn, c: ForgetRuntime) -> AnyReply:
    row = _row(turn, c.runtime_id)
    if busy := _agents_of(turn, c.runtime_id):
        raise Refused(f"Runtime {row.name!r} still has agents: {', '.join(busy)}. Stop them first.")
    turn.emit(PLANE, PLANE, StateSet(store="runtime", key=c.runtime_id, after=None, provenance=c.reason))
    turn.leases.forget(c.runtime_id)
    return Done()


def tick(turn: Turn) -> AnyReply:
    """Everything that is due. Each step looks again at what it is about to end."""
    now, rules, state = turn.now, turn.rules, turn.state
    expire(turn, turn.leases.expired(state.locks, now.mono), "lease")
    approvals.expire(turn)
    for agent in list(state.agents.values()):
        since = turn.leases.since.get(agent.agent, now.mono)
        if agent.status == "paused" and now.mono - since > rules.pause_hold:
            expire(turn, [t.ticket for t in state.locks.held_by(agent.agent)], "pause")
        elif agent.status == "dispatched" and now.mono - since > rules.dispatched:
            _overdue(
                turn, agent.agent, "dispatch_timeout", f"Its runner did not come up within {rules.dispatched:g} s."
            )
        elif agent.status == "queued" and now.mono - since > rules.queued:
            _overdue(turn, agent.agent, "queue_timeout", f"No runtime had a free slot within {rules.queued:g} s.")
    for row in list(state.runtimes.values()):
        _check_runtime(turn, row)
    for run in list(state.runs.values()):
        # A session that was not seen yet may be one that has not come back yet, after a restart.
        session = turn.leases.seen.setdefault(f"session:{run.session_id}", now.mono)
        idle = now.wall - run.touched > rules.idle_run * 1e9 and now.mono - session > rules.idle_run
        if run.status == "open" and run.run_id != PLANE and not run.live and idle:
            runs.close(turn, run.run_id, "done", "nothing happened and its session is gone")
    return Done()


def _check_runtime(turn: Turn, row: Runtime) -> None:
    silent = turn.now.mono - turn.leases.seen.setdefault(row.runtime_id, turn.now.mono)
    if row.status == "online" and silent > turn.rules.offline:
        reason = f"no sign of life for {turn.rules.offline:g} s"
        _set(turn, msgspec.structs.replace(row, status="offline", reason=reason, changed=turn.now.wall))
    elif row.status == "offline" and turn.now.wall - row.changed > turn.rules.gc * 1e9:
        if not _agents_of(turn, row.runtime_id):
            forget(turn, ForgetRuntime(runtime_id=row.runtime_id, reason="gone too long"))


def _overdue(turn: Turn, agent: str, reason: str, text: str) -> None:
    found = turn.state.agents[agent]
    end_agent(turn, found, Finish(agent=agent, status="failed", reason=reason, error=text))


def _agents_of(turn: Turn, runtime_id: str) -> list[str]:
    """The names of the live agents of a runtime."""
    return [a.name for a in turn.state.agents.values() if a.runtime == runtime_id and a.status not in ENDED]


def _row(turn: Turn, runtime_id: str) -> Runtime:
    row = turn.state.runtimes.get(runtime_id)
    if row is None:
        raise NotFound(f"There is no runtime {runtime_id!r}.", runtime=runtime_id)
    return row


def _set(turn: Turn, row: Runtime) -> None:
    body = StateSet(store="runtime", key=row.runtime_id, after=msgspec.to_builtins(row))
    turn.emit(PLANE, PLANE, body, name=row.name, status=row.status)
