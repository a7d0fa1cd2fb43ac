"""The fold: what each event makes of a state. The same runs live, after a restart, and in replay.

`apply` never fails on an event that `decide` made, ignores what it does not know, and reads no clock. Everything that
is not in the log (leases, who was seen when) lives beside the state, in the plane.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from . import doing, usage
from . import events as e
from .commands import Mail
from .events import Event
from .locks import Ticket
from .policy import remembered
from .rows import ENDED, Agent, ArtifactRow, Question, Run, Runtime, Task
from .state import State

REVOCATIONS = 32  # remembered of each owner

B = TypeVar("B", bound=e.Body)
_FOLDS: dict[type, Callable[[State, Event, Any], None]] = {}


def apply(state: State, event: Event) -> None:
    state.position = max(state.position, event.id)
    run = state.runs.get(event.run_id)
    if run is not None:
        run.seq, run.touched = event.seq, event.ts
    fold = _FOLDS.get(type(event.body))
    if fold is not None:
        fold(state, event, event.body)


def _of(kind: type[B]) -> Callable[[Callable[[State, Event, B], None]], Callable[[State, Event, B], None]]:
    """What an event of this type does."""

    def known(fold: Callable[[State, Event, B], None]) -> Callable[[State, Event, B], None]:
        _FOLDS[kind] = fold
        return fold

    return known


@_of(e.RunStart)
def _run_start(state: State, event: Event, body: e.RunStart) -> None:
    state.runs[event.run_id] = Run(
        run_id=event.run_id, name=body.name, root=body.root, host=body.host, schedule=body.schedule,
        session_id=event.session_id or "", claims=body.claims, auto_end=body.auto_end, user=body.user,
        base_tree=body.base_tree, started=event.ts, seq=event.seq, touched=event.ts, env=body.env,
    )  # fmt: skip
    state.changed.add(("runs", event.run_id))


@_of(e.RunBegin)
def _run_begin(state: State, event: Event, body: e.RunBegin) -> None:
    state.runs[event.run_id].begun = True
    state.changed.add(("runs", event.run_id))


@_of(e.RunEnd)
def _run_end(state: State, event: Event, body: e.RunEnd) -> None:
    run = state.runs[event.run_id]
    run.status, run.ended, run.reason = event.status or "done", event.ts, body.reason
    state.changed.add(("runs", event.run_id))


@_of(e.TaskCreate)
def _task_create(state: State, event: Event, body: e.TaskCreate) -> None:
    key = f"{event.run_id}/{event.task_id}"
    state.runs[event.run_id].tasks += 1
    state.tasks[key] = Task(
        task_id=event.task_id or "", run_id=event.run_id, goal=body.goal, parent=body.parent, owner=body.owner,
        input=body.input, created=event.ts, updated=event.ts,
    )  # fmt: skip
    state.changed |= {("tasks", key), ("runs", event.run_id)}
    if body.rid:
        state.requests[body.rid] = (event.run_id, event.task_id or "")


@_of(e.TaskUpdate)
def _task_update(state: State, event: Event, body: e.TaskUpdate) -> None:
    key = f"{event.run_id}/{event.task_id}"
    task = state.tasks[key]
    task.status, task.updated = event.status or task.status, event.ts
    if body.output is not None:
        task.output = body.output
    task.artifacts += body.artifacts
    state.changed.add(("tasks", key))


@_of(e.PlanSet)
def _plan(state: State, event: Event, body: e.PlanSet) -> None:
    agent = _actor(state, event)
    if agent is not None:
        agent.plan, agent.plan_units = body.steps, body.units


@_of(e.AgentStart)
def _agent_start(state: State, event: Event, body: e.AgentStart) -> None:
    key = f"{event.run_id}/{event.actor}"
    run = state.runs[event.run_id]
    run.agents += 1
    run.live += 1
    state.agents[key] = Agent(
        agent=key, run_id=event.run_id, agent_id=event.actor, name=event.name or event.actor, spec=body.spec,
        task_id=event.task_id or "", queued_at=event.ts, rid=body.rid,
    )  # fmt: skip
    state.latest[(event.run_id, event.name or event.actor)] = key
    state.journals.setdefault(key, 0)
    if body.rid:
        state.requests[body.rid] = (event.run_id, key)
    state.changed |= {("agents", key), ("runs", event.run_id)}


@_of(e.AgentState)
def _agent_state(state: State, event: Event, body: e.AgentState) -> None:
    agent = _actor(state, event)
    if agent is None:
        return
    status = event.status or agent.status
    if status == "paused" and agent.status != "paused":
        agent.paused_at = event.ts
    elif status != "paused":
        agent.paused_at = None
    if status == "running" and agent.started is None:
        agent.started = event.ts
    _locks_changed(state, agent.agent)
    agent.status, agent.reason = status, body.reason
    if body.runtime:
        agent.runtime = body.runtime
        state.changed.add(("runtimes", body.runtime))  # its row says how many slots are in use
    agent.place = body.place or agent.place
    agent.pid = body.pid or agent.pid
    agent.vendor_session = body.vendor_session or agent.vendor_session


@_of(e.AgentEnd)
def _agent_end(state: State, event: Event, body: e.AgentEnd) -> None:
    agent = _actor(state, event)
    if agent is None or agent.status in ENDED:
        return
    agent.status, agent.ended, agent.paused_at = event.status or "failed", event.ts, None
    agent.output, agent.error, agent.reason, agent.exit_code = body.output, body.error, body.reason, body.exit_code
    agent.doing, agent.alert, agent.mail, agent.resets = "", "", [], body.resets
    _used(state, agent, usage.more(agent.usage, usage.counted(body.usage)))
    state.runs[event.run_id].live -= 1
    state.changed.add(("runs", event.run_id))
    if agent.runtime:
        state.changed.add(("runtimes", agent.runtime))


@_of(e.Message)
def _message(state: State, event: Event, body: e.Message) -> None:
    if body.to and (agent := state.agents.get(body.to)) is not None and body.role == "user":
        agent.mail.append(Mail(seq=event.seq, text=body.text, interrupt=event.status == "interrupt"))
        state.changed.add(("agents", body.to))
    if body.rid:
        state.requests[body.rid] = (event.run_id, str(event.seq))


@_of(e.ModelCall)
def _model_call(state: State, event: Event, body: e.ModelCall) -> None:
    agent = _actor(state, event)
    if agent is not None:
        _used(state, agent, usage.plus(agent.usage, usage.of_call(event)))


@_of(e.ToolCall)
def _tool_call(state: State, event: Event, body: e.ToolCall) -> None:
    agent = _actor(state, event)
    if agent is not None:
        agent.acted = True
        agent.doing = doing.of_call(event.name or "", event.unit, body.args)


@_of(e.ToolResult)
def _tool_result(state: State, event: Event, body: e.ToolResult) -> None:
    agent = _actor(state, event)
    if agent is not None:
        agent.doing = ""


@_of(e.Guard)
def _guard(state: State, event: Event, body: e.Guard) -> None:
    if body.rule == "stall" and (agent := _actor(state, event)) is not None:
        agent.alert = body.detail if event.status == "warned" else ""


@_of(e.Artifact)
def _artifact(state: State, event: Event, body: e.Artifact) -> None:
    if body.kind not in ("diff", "output"):
        key = f"{event.run_id}:{event.seq}"
        state.artifacts[key] = ArtifactRow(
            run_id=event.run_id, seq=event.seq, agent=event.actor, name=event.name or "", kind=body.kind,
            hash=body.hash, size=body.size, media=body.media, path=body.path,
        )  # fmt: skip
        state.changed.add(("artifacts", key))


@_of(e.LockRequest)
def _lock_request(state: State, event: Event, body: e.LockRequest) -> None:
    chains, nodes = state.place(event.run_id, body.units, body.mode)
    state.locks.add(
        Ticket(
            ticket=body.ticket,
            owner=body.owner,
            run_id=event.run_id,
            units=body.units,
            mode=body.mode,
            key=body.key,
            chains=chains,
            nodes=nodes,
            implicit=body.implicit,
            priority=body.priority,
            ttl=body.ttl,
            requested=event.ts,
            rid=body.rid,
        )
    )
    for passed in body.passed:
        if (other := state.locks.tickets.get(passed)) is not None:  # one of another run, when a run is viewed alone
            other.bypassed += 1
    _lock_changed(state, body.ticket, body.owner)


@_of(e.LockGrant)
def _lock_grant(state: State, event: Event, body: e.LockGrant) -> None:
    state.token = max(state.token, body.token)
    ticket = state.locks.tickets.get(body.ticket)
    if ticket is None:
        chains, nodes = state.place(event.run_id, body.units, body.mode)
        ticket = Ticket(
            ticket=body.ticket, owner=body.owner, run_id=event.run_id, units=body.units, mode=body.mode,
            key=(body.ticket, 0), chains=chains, nodes=nodes, token=body.token,
            implicit=body.implicit, priority=body.priority, ttl=body.ttl, requested=event.ts, granted=event.ts,
            rid=body.rid,
        )  # fmt: skip
        state.locks.add(ticket)
    else:
        state.locks.grant(ticket, body.token)
        ticket.granted = event.ts
    _lock_changed(state, body.ticket, body.owner)


@_of(e.LockRelease)
def _lock_release(state: State, event: Event, body: e.LockRelease) -> None:
    if body.reason == "operator":
        taken = state.revoked.setdefault(body.owner, [])
        taken.append(e.Revocation(ticket=body.ticket, units=body.units, by=body.by or "an operator", why=body.why))
        del taken[:-REVOCATIONS]
    _lock_gone(state, event, body)


@_of(e.LockExpire)
def _lock_expire(state: State, event: Event, body: e.LockExpire) -> None:
    _lock_gone(state, event, body)


def _lock_gone(state: State, event: Event, body: e.LockRelease | e.LockExpire) -> None:
    ticket = state.locks.tickets.get(body.ticket)
    if ticket is None:
        return
    if len(body.units) < len(ticket.units):
        state.locks.shrink(ticket, body.units, event.id)
    else:
        state.locks.remove(ticket, event.id)
    _lock_changed(state, body.ticket, body.owner)


@_of(e.StateSet)
def _state_set(state: State, event: Event, body: e.StateSet) -> None:
    if body.store == "runtime":
        if body.after is None:
            state.runtimes.pop(body.key, None)
        else:
            state.runtimes[body.key] = msgspec.convert(body.after, Runtime)
        state.changed.add(("runtimes", body.key))
    elif body.store == "inbox":
        agent = _actor(state, event)
        if agent is not None:
            agent.mail = [m for m in agent.mail if str(m.seq) != body.key]
    elif body.store == "sandbox":
        agent = _actor(state, event)
        if agent is not None:
            agent.sandbox = str(body.after)
    elif body.store == "queue":  # an operator moved a waiting ticket
        ticket = state.locks.tickets.get(int(body.key))
        if ticket is not None and not ticket.token:
            state.locks.move(ticket, tuple(body.after))
            _lock_changed(state, ticket.ticket, ticket.owner)


@_of(e.Approval)
def _approval(state: State, event: Event, body: e.Approval) -> None:
    found = state.approvals.get(body.approval)
    if found is None:
        found = state.approvals[body.approval] = Question(
            approval=body.approval, run_id=event.run_id, agent=f"{event.run_id}/{event.actor}", kind=body.kind,
            question=body.question, options=body.options, tool=body.tool, units=body.units, input=body.input,
            diff=body.diff, risk=body.risk, risks=body.risks, locks=body.locks, rule=body.rule, asked=event.ts,
            expires=body.expires,
        )  # fmt: skip
        state.asked[body.approval] = found
    if event.status != "asked":
        found.status, found.answer, found.by = event.status or "answered", body.answer, body.by
        found.scope, found.rid, found.answered = body.scope, body.rid, event.ts
        found.rule = body.rule or found.rule
        state.asked.pop(body.approval, None)
        rule = remembered(found.status, found.tool, found.units, found.input) if found.scope == "session" else None
        if rule is not None:
            state.sessions.setdefault(found.agent, []).insert(0, rule)
    state.changed.add(("approvals", body.approval))


def _actor(state: State, event: Event) -> Agent | None:
    """The agent that an event is about; of a subagent (`name/sub`) its parent."""
    key = f"{event.run_id}/{event.actor}"
    agent = state.agents.get(key) or state.agents.get(key.rpartition("/")[0])
    if agent is not None:
        state.changed.add(("agents", agent.agent))
    return agent


def _used(state: State, agent: Agent, much: usage.Usage) -> None:
    """An agent has used this much so far, and its run what that is beyond what was known."""
    run = state.runs[agent.run_id]
    run.usage = usage.plus(run.usage, usage.beyond(much, agent.usage))
    agent.usage = much
    state.changed.add(("runs", run.run_id))


def _lock_changed(state: State, ticket: int, owner: str) -> None:
    state.changed.add(("locks", str(ticket)))
    if owner in state.agents:
        state.changed.add(("agents", owner))


def _locks_changed(state: State, owner: str) -> None:
    for ticket in state.locks.by_owner.get(owner, ()):
        state.changed.add(("locks", str(ticket)))
