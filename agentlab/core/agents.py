"""The life of an agent: queued, dispatched to a runtime, running (idle, blocked, paused), ended."""

from __future__ import annotations

import math
import re
from typing import Final

import msgspec

from agentlab.errors import BadRequest, Forbidden, NameTaken, NotFound, Refused

from . import approvals, policy, runs, vendors
from . import events as e
from . import units as names
from .claims import claim, granted, release_all
from .commands import (
    AnyReply,
    Claim,
    Created,
    Dispatch,
    Done,
    Earlier,
    Finish,
    Hired,
    Ready,
    Report,
    SendText,
    SetPlan,
    Signal,
    Spawn,
    Spawned,
    Status,
    rid_of_claims,
)
from .moves import go_on, move
from .rows import ENDED, Agent
from .turn import Turn
from .usage import counted, more

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")

VERBS: Final = ("pause", "resume", "stop", "kill", "interrupt")

LARGEST: Final = 21 * 1024 * 1024
"""Bytes of an agent's definition, and of the messages that wait for it: a runner is told both at once, and what another one
had been told in the session that it goes on in. All of that is one answer, of 64 MiB at most."""

REPORTED: Final = (
    e.Message, e.ModelCall, e.ModelExchange, e.ToolCall, e.ToolResult, e.FileRead, e.FileWrite, e.FileDelete, e.FileRename,
    e.ProcStart, e.ProcOutput, e.ProcExit, e.Artifact, e.Handoff, e.StateSet, e.Guard, e.Error, e.Raw,
)  # fmt: skip
"""What an agent may report of itself. Ownership, ends and approvals are decided here, never reported."""


def spawn(turn: Turn, c: Spawn) -> AnyReply:
    state, spec = turn.state, c.spec
    if c.rid and (made := state.requests.get(c.rid)) is not None:
        if (known := state.agents.get(made[1])) is None:
            raise BadRequest(
                f"The request id {c.rid!r} was used for something else. Give every request an id of its own."
            )
        return Spawned(agent=known.agent, task_id=known.task_id)
    turn.run(c.run_id)
    _check_kind(turn, spec)
    vendors.check(spec)
    if spec.claims_policy is not None and spec.claims_policy not in runs.POLICIES:
        raise BadRequest(f"claims_policy={spec.claims_policy!r}: choose one of {', '.join(runs.POLICIES)}.")
    for rule in spec.permissions:
        policy.parse(rule)
    if (size := len(msgspec.msgpack.encode(spec))) > LARGEST:
        raise BadRequest(
            f"The definition of this agent, its task included, is of {size:,} bytes, and may be of {LARGEST:,}. Put what is long "
            "into files of the workspace, and name them in the task."
        )
    if not 0 < spec.ttl < math.inf:
        raise BadRequest(f"ttl={spec.ttl}: a lease lasts more than 0 seconds, and ends.")
    spec = msgspec.structs.replace(spec, claims=tuple(names.asked(unit) for unit in spec.claims))
    name = spec.name or _free_name(turn, c.run_id, spec.kind)
    if not _NAME.fullmatch(name):
        raise BadRequest(f"{name!r} is no agent name: letters, digits, '_', '.', '-', at most 64 of them.")
    agent_id = name
    if (key := state.latest.get((c.run_id, name))) is not None:
        before = state.agents[key]
        if before.status not in ENDED:
            raise NameTaken(
                f"Run {state.runs[c.run_id].name!r} has a live agent named {name!r} ({before.status}). Choose another "
                f"name, or stop it first: `%agent stop {name}`.",
                agent=key,
            )
        _, _, count = before.agent_id.partition("#")
        agent_id = f"{name}#{int(count or 1) + 1}"
    user = f"user:{state.runs[c.run_id].user}"
    task = e.TaskCreate(goal=_goal(spec), parent=c.parent_task, owner=f"{c.run_id}/{agent_id}")
    task_id = runs.new_task(turn, c.run_id, task, user)
    turn.emit(c.run_id, agent_id, e.AgentStart(spec=spec, rid=c.rid), task_id=task_id, name=name, status="queued")
    key = f"{c.run_id}/{agent_id}"
    turn.leases.since[key] = turn.now.mono
    return Spawned(agent=key, task_id=task_id)


def dispatch(turn: Turn, c: Dispatch) -> AnyReply:
    agent = turn.live(c.agent)
    if agent.status == "queued":
        move(turn, agent, "dispatched", runtime=c.runtime_id, place=c.place)
        if agent.spec.claims:  # its place in the queues is that of its spawning, however fast its runner comes up
            claim(turn, _first_claim(agent))
    elif c.place:
        move(turn, agent, agent.status, runtime=c.runtime_id, place=c.place)
    return Done()


def ready(turn: Turn, c: Ready) -> AnyReply:
    agent = turn.live(c.agent)
    run = turn.state.runs[agent.run_id]
    if agent.status in ("queued", "dispatched"):
        move(turn, agent, "running", pid=c.pid or None, place=c.place)
        runs.move_task(turn, agent.run_id, agent.task_id, "running", agent.agent_id)
    turn.leases.renew(c.agent, turn.now.mono)
    return Hired(
        agent=c.agent, run_id=agent.run_id, agent_id=agent.agent_id, task_id=agent.task_id, spec=agent.spec,
        root=run.root, host=run.host, claims=agent.spec.claims_policy or run.claims, env=run.env,
        journal=turn.state.journals.get(c.agent, 0), mail=tuple(agent.mail), status=agent.status,
        grants=tuple(granted(t) for t in turn.state.locks.held_by(c.agent)),
        revoked=turn.state.revoked_from(c.agent),
        earlier=_earlier(turn, agent.spec.kind, agent.spec.resume),
    )  # fmt: skip


def report(turn: Turn, c: Report) -> AnyReply:
    state = turn.state
    agent = turn.agent(c.agent)
    turn.run(agent.run_id)
    last = state.journals.get(c.agent, 0)
    run_id, agent_id, task_id = agent.run_id, agent.agent_id, agent.task_id
    entries = [entry for entry in c.entries if entry.n > last]
    for entry in entries:
        _check_reported(entry.body)
    for entry in entries:
        if entry.n <= last:
            continue
        turn.emit(
            run_id, f"{agent_id}/{entry.actor}" if entry.actor else agent_id, entry.body, ts=entry.ts,
            task_id=entry.task_id or task_id, span=entry.span, parent=entry.parent, name=entry.name, unit=entry.unit,
            status=entry.status, dur_ns=entry.dur_ns, tok_in=entry.tok_in, tok_out=entry.tok_out,
            tok_cache=entry.tok_cache, cost=entry.cost,
        )  # fmt: skip
        last = entry.n
    state.journals[c.agent] = last
    if agent.status not in ENDED:
        turn.leases.renew(c.agent, turn.now.mono)
    return Done()


def status(turn: Turn, c: Status) -> AnyReply:
    agent = turn.live(c.agent)
    if c.status not in ("running", "idle", "blocked", "paused", "stopping"):
        raise BadRequest(f"{c.status!r} is no status that an agent may report.")
    # What a person asked for stands: only a person resumes, and nothing follows `stopping` but the end.
    told = agent.status == "stopping" or (agent.status == "paused" and c.status != "stopping")
    waits = agent.status == "blocked" and c.status == "running" and turn.state.asked_by(agent.agent)
    status, reason = (agent.status, agent.reason) if told or waits else (c.status, c.reason)
    anew = status == "idle" and reason != agent.reason  # what was said of its last turn is so no more
    if status != agent.status or anew or (c.vendor_session and c.vendor_session != agent.vendor_session):
        move(turn, agent, status, reason=reason, vendor_session=c.vendor_session)
    return Done()


def finish(turn: Turn, c: Finish) -> AnyReply:
    agent = turn.agent(c.agent)
    if agent.status in ENDED:
        return Done()
    if c.status not in ENDED:
        raise BadRequest(f"An agent ends as one of {', '.join(sorted(ENDED))}, not {c.status!r}.")
    end(turn, agent, c)
    return Done()


def end(turn: Turn, agent: Agent, c: Finish) -> None:
    """An agent is over: its end, its locks, its questions, its task, and its run where that was all of it."""
    usage = more(agent.usage, counted(c.usage))
    body = e.AgentEnd(
        output=c.output,
        error=c.error,
        reason=c.reason,
        exit_code=c.exit_code,
        last_lines=c.last_lines,
        usage=usage,
        resets=c.resets,
    )
    began = agent.started or agent.queued_at
    turn.emit(
        agent.run_id, agent.agent_id, body, task_id=agent.task_id, name=agent.name, status=c.status,
        dur_ns=max(0, turn.now.wall - began), cost=usage.get("cost"),
    )  # fmt: skip
    release_all(turn, agent.agent, "end")
    approvals.close(turn, agent.agent)
    runs.move_task(turn, agent.run_id, agent.task_id, c.status, agent.agent_id, c.output)
    run = turn.state.runs[agent.run_id]
    if run.auto_end and run.status == "open" and not run.live:
        runs.close(turn, agent.run_id, c.status, "its last agent ended")


def signal(turn: Turn, c: Signal) -> AnyReply:
    agent = turn.live(c.agent)
    by = f"{c.verb} asked for by {c.by}" + (f": {c.reason}" if c.reason else "")
    match c.verb:
        case "stop" | "kill":
            if agent.status == "queued":
                end(turn, agent, Finish(agent=c.agent, status="cancelled", reason="cancelled", error=by))
            elif agent.status != "stopping":
                move(turn, agent, "stopping", reason=by)
        case "pause":
            if agent.status in ("queued", "dispatched", "stopping"):
                raise Refused(f"Agent {agent.name!r} is {agent.status}: there is nothing to pause yet, or any more.")
            if agent.status != "paused":
                move(turn, agent, "paused", reason=by)
        case "resume":
            if agent.status != "paused":
                raise Refused(f"Agent {agent.name!r} is {agent.status}, not paused.")
            go_on(turn, agent, by)
        case "interrupt":
            turn.emit(
                agent.run_id, f"user:{c.by}", e.Message(role="system", text="interrupt", to=c.agent),
                task_id=agent.task_id, status="interrupt",
            )  # fmt: skip
        case _:
            raise BadRequest(f"{c.verb!r}: choose one of {', '.join(VERBS)}.")
    return Done()


def send(turn: Turn, c: SendText) -> AnyReply:
    if c.rid and (made := turn.state.requests.get(c.rid)) is not None:
        return Created(id=made[1])
    agent = turn.live(c.agent)
    if agent.status == "stopping":
        raise Refused(f"Agent {agent.name!r} is being stopped; it takes no more messages.")
    if not c.text.strip():
        raise BadRequest("There is nothing in this message.")
    waiting = sum(len(mail.text.encode()) for mail in agent.mail)
    if (size := len(c.text.encode())) + waiting > LARGEST:
        raise Refused(
            f"This message is of {size:,} bytes, and {waiting:,} wait for agent {agent.name!r} already: {LARGEST:,} in all. Put "
            "what is long into a file of the workspace and name it, or send it when the others were taken up."
        )
    sent = turn.emit(
        agent.run_id, f"user:{c.by}", e.Message(role="user", text=c.text, to=c.agent, rid=c.rid),
        task_id=agent.task_id, status="interrupt" if c.interrupt else None,
    )  # fmt: skip
    return Created(id=str(sent.seq))


def set_plan(turn: Turn, c: SetPlan) -> AnyReply:
    agent = turn.live(c.agent)
    units = tuple(names.canonical(unit) for unit in c.units)
    body = e.PlanSet(steps=c.steps, units=units)
    turn.emit(agent.run_id, agent.agent_id, body, task_id=agent.task_id, unit=", ".join(units) or None)
    return Done()


def _check_reported(body: e.AnyBody) -> None:
    """Raises Forbidden, before anything of the report has happened."""
    if not isinstance(body, REPORTED):
        raise Forbidden(f"An agent may not report {type(body).__name__}: that is decided, not told.")
    if isinstance(body, e.StateSet) and body.store in ("runtime", "queue"):
        raise Forbidden(f"An agent may not write the store {body.store!r}.")
    if isinstance(body, e.Message) and (body.to or body.rid):
        raise Forbidden("Messages to other agents go through `send`.")


# --- the steps -------------------------------------------------------------------------------------------------


def _first_claim(agent: Agent) -> Claim:
    spec = agent.spec
    return Claim(
        owner=agent.agent, units=spec.claims, mode=spec.claims_mode, run_id=agent.run_id, ttl=spec.ttl,
        priority=spec.priority, rid=rid_of_claims(agent.agent),
    )  # fmt: skip


def _earlier(turn: Turn, kind: str, session: str | None) -> Earlier | None:
    """What is known of a session of a vendor. The task is that of the first session, where one followed another."""
    of_kind = [agent for agent in turn.state.agents.values() if agent.spec.kind == kind]
    seen = [agent for agent in of_kind if session and (agent.vendor_session or agent.spec.resume) == session]
    first = next((agent for agent in seen if agent.spec.resume != session and agent.vendor_session), None)
    if first is None:
        return None
    before = _earlier(turn, kind, first.spec.resume) if first.spec.task == e.GO_ON else None
    return Earlier(task=before.task if before else first.spec.task, acted=any(agent.acted for agent in seen))


def _check_kind(turn: Turn, spec: e.AgentSpec) -> None:
    known = sorted({kind for r in turn.state.runtimes.values() for kind in r.kinds})
    if known and spec.kind not in known:
        raise BadRequest(
            f"There is no agent kind {spec.kind!r} here. Kinds: {', '.join(known)}. More come with extras "
            f"(pip install 'agentlab[claude]') and packages that offer the entry point group 'agentlab.drivers'.",
            kinds=known,
        )
    if spec.runtime is not None and spec.runtime not in turn.state.runtimes:
        there = ", ".join(sorted(turn.state.runtimes)) or "none"
        raise NotFound(f"There is no runtime {spec.runtime!r}. Runtimes: {there}.", runtime=spec.runtime)


def _free_name(turn: Turn, run_id: str, kind: str) -> str:
    number = 1
    while (run_id, f"{kind}-{number}") in turn.state.latest:
        number += 1
    return f"{kind}-{number}"


def _goal(spec: e.AgentSpec) -> str:
    """One line of what an agent is to do, for the task tree."""
    task = spec.task
    if isinstance(task, list):
        return f"{spec.kind}: {len(task)} steps"
    text = str(task or spec.role or spec.kind).strip()
    return text.splitlines()[0][:200] if text else spec.kind
