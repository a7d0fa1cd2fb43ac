"""The state: tables of rows, made by folding events. The same fold runs live, after a restart, and in replay.

`apply` never fails on an event that `decide` made, ignores what it does not know, and reads no clock. Everything that
is not in the log (leases, who was seen when) lives beside the state, in the plane.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import msgspec

from . import events as e
from . import units as names
from . import usage
from .brief import brief
from .commands import Mail
from .events import Event
from .locks import LockTable, Nodes, Ticket, describe, nodes_of
from .policy import Rule, remembered
from .rows import ENDED, Agent, ArtifactRow, Question, Run, Runtime, Task
from .units import Chain, chain

Row = dict[str, e.JSON]
Tables = dict[str, dict[str, Row | None]]

ANSWER = 24 * 1024 * 1024
"""Characters of an agent's answer that whoever waits for it is told: of a longer one the log has the rest."""

_LONG = {"tasks": ("goal", "input", "output"), "approvals": ("question", "options", "input", "answer")}
_LONG_OF_AGENTS = ("output", "error", "plan", "plan_units")
_LONG_OF_SPECS = ("instructions", "options")
"""What may be of any size in rows, by table."""

PLACES = 4096  # claims of which it is remembered what they need

REVOCATIONS = 32  # remembered of each owner

TABLES = ("runs", "agents", "tasks", "locks", "runtimes", "approvals", "artifacts")


class State:
    """All that is so after `position` events."""

    def __init__(self) -> None:
        self.position = 0  # id of the last event
        self.token = 0  # the last fencing token
        self.runs: dict[str, Run] = {}
        self.agents: dict[str, Agent] = {}
        self.tasks: dict[str, Task] = {}  # by run/task
        self.runtimes: dict[str, Runtime] = {}
        self.approvals: dict[str, Question] = {}
        self.artifacts: dict[str, ArtifactRow] = {}  # by run:seq
        self.locks = LockTable()
        self.asked: dict[str, Question] = {}  # the approvals that are open
        self.sessions: dict[
            str, list[Rule]
        ] = {}  # agent -> what a person allowed or forbade it for its life, the newest first
        self.revoked: dict[str, list[e.Revocation]] = {}  # owner -> what a person took from it, the newest last
        self.latest: dict[tuple[str, str], str] = {}  # (run, name) -> the newest agent of that name
        self.changed: set[tuple[str, str]] = set()  # (table, key), since the last `take_changes`
        self.requests: dict[str, tuple[str, str]] = {}  # rid -> run, and what was made: an agent, a task, a message
        self.journals: dict[str, int] = {}  # agent -> last entry of its journal that is in the log
        self._spelled: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._places: dict[tuple[str, tuple[str, ...], e.Mode], tuple[tuple[Chain, ...], Nodes]] = {}

    # --- the fold ----------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        self.position = max(self.position, event.id)
        run = self.runs.get(event.run_id)
        if run is not None:
            run.seq, run.touched = event.seq, event.ts
        fold = _FOLDS.get(type(event.body))
        if fold is not None:
            fold(self, event, event.body)

    def chains(self, run_id: str, units: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        """Where these units hang, by the workspace of the run."""
        run = self.runs.get(run_id)
        host, root = (run.host, run.root) if run else ("", "/")
        return tuple([chain(unit, host, root) for unit in units])

    def spelled(self, units: tuple[str, ...]) -> tuple[str, ...]:
        """The units in their one spelling, each once. Remembered, as places are."""
        found = self._spelled.get(units)
        if found is None:
            if len(self._spelled) >= PLACES:
                self._spelled.clear()
            found = self._spelled[units] = tuple(dict.fromkeys([names.canonical(unit) for unit in units]))
        return found

    def place(self, run_id: str, units: tuple[str, ...], mode: e.Mode) -> tuple[tuple[Chain, ...], Nodes]:
        """Where these units hang, and what a ticket over them needs there. Remembered, as agents come back to what they
        work on: not to be changed."""
        found = self._places.get((run_id, units, mode))
        if found is None:
            if len(self._places) >= PLACES:
                self._places.clear()
            chains = self.chains(run_id, units)
            found = self._places[run_id, units, mode] = (chains, nodes_of(chains, mode))
        return found

    def copy(self) -> State:
        """The same in an object of its own: each goes on without the other. What is never changed in place is shared.

        `changed` is empty in it, and which grants have ended is not known (`LockTable.copy`).
        """
        new = State()
        new.position, new.token = self.position, self.token
        new.runs = {key: copy(run) for key, run in self.runs.items()}
        new.agents = {key: _agent_copy(agent) for key, agent in self.agents.items()}
        new.tasks = {key: copy(task) for key, task in self.tasks.items()}
        new.approvals = {key: copy(question) for key, question in self.approvals.items()}
        new.runtimes, new.artifacts = self.runtimes.copy(), self.artifacts.copy()
        new.locks = self.locks.copy(self.position)
        new.asked = {key: new.approvals[key] for key in self.asked}
        new.sessions = {agent: rules.copy() for agent, rules in self.sessions.items()}
        new.revoked = {owner: taken.copy() for owner, taken in self.revoked.items()}
        new.latest, new.requests, new.journals = self.latest.copy(), self.requests.copy(), self.journals.copy()
        return new

    def forget_run(self, run_id: str) -> None:
        """Drop the rows of an ended run from memory. The log keeps them."""
        tables: dict[str, dict[str, Any]] = {"agents": self.agents, "tasks": self.tasks, "artifacts": self.artifacts}
        for table, rows in tables.items():
            for key in [k for k, row in rows.items() if row.run_id == run_id]:
                agent = rows.pop(key)
                self.changed.add((table, key))
                if isinstance(agent, Agent):
                    self.latest.pop((run_id, agent.name), None)
                    self.journals.pop(key, None)
        for key in [k for k, q in self.approvals.items() if q.run_id == run_id]:
            del self.approvals[key]
            self.asked.pop(key, None)
            self.changed.add(("approvals", key))
        by_owner: tuple[dict[str, Any], ...] = (self.revoked, self.sessions)
        for kept in by_owner:
            for owner in [owner for owner in kept if owner.startswith(f"{run_id}/")]:
                del kept[owner]
        self.requests = {rid: made for rid, made in self.requests.items() if made[0] != run_id}
        if self.runs.pop(run_id, None):
            self.changed.add(("runs", run_id))
        self._places.clear()

    # --- views -------------------------------------------------------------------------------------------------

    def row(self, table: str, key: str) -> Row | None:
        """One row as JSON values, None where there is none (any more). What is long is there by its beginning."""
        if table == "agents":
            return None if (whole := self.agent_row(key)) is None else _shown_agent(whole)
        if table == "locks":
            ticket = self.locks.tickets.get(int(key))
            return None if ticket is None else self._lock_row(ticket)
        found = getattr(self, table).get(key)
        if found is None:
            return None
        row: Row = msgspec.to_builtins(found)
        return row | {field: brief(row[field]) for field in _LONG.get(table, ())}

    def agent_row(self, key: str) -> Row | None:
        """The row of an agent with all of its answer, and all that it is made of but for its task."""
        agent = self.agents.get(key)
        return None if agent is None else self._agent_row(agent)

    def view(self, run_id: str | None = None) -> dict[str, dict[str, Row]]:
        """All rows (of one run): table -> key -> row."""
        tables: dict[str, dict[str, Row]] = {}
        for table in TABLES:
            keys = map(str, self.locks.tickets) if table == "locks" else list(getattr(self, table))
            rows = ((key, self.row(table, key)) for key in keys)
            tables[table] = {k: r for k, r in rows if r and (run_id is None or r.get("run_id", run_id) == run_id)}
        return tables

    def take_changes(self) -> Tables:
        """The rows that changed since the last call. Places in queues move with others' locks, so all waiting tickets
        and their agents come along when any lock changed."""
        changed, self.changed = self.changed, set()
        if any(table == "locks" for table, _ in changed):
            for ticket in self.locks.tickets.values():
                if not ticket.token:
                    changed.add(("locks", str(ticket.ticket)))
                    changed.add(("agents", ticket.owner))
        tables: Tables = {}
        for table, key in changed:
            if table != "agents" or key in self.agents or not key.startswith("user:"):
                tables.setdefault(table, {})[key] = self.row(table, key)
        return tables

    def waits(self, owner: str) -> Row | None:
        """What an owner waits for, behind whom, and at which place. None: it does not wait."""
        ticket = self.locks.waiting_of(owner)
        if ticket is None:
            return None
        return {"ticket": ticket.ticket, "units": list(ticket.units), **self._queue(ticket)}

    def asked_by(self, agent: str) -> list[Question]:
        """The open questions of an agent, the oldest first."""
        return [question for question in self.asked.values() if question.agent == agent]

    def revoked_from(self, owner: str) -> tuple[e.Revocation, ...]:
        return tuple(self.revoked.get(owner, ()))

    def revocation(self, ticket: int) -> e.Revocation | None:
        """How a ticket was taken from its owner, where it was and is remembered."""
        found = (r for revocations in self.revoked.values() for r in revocations if r.ticket == ticket)
        return next(found, None)

    def _queue(self, ticket: Ticket) -> Row:
        blockers = self.locks.blockers(ticket.owner, ticket.nodes, ticket.key)
        return {
            "position": 1 + sum(not b.token for b in blockers),
            "behind": [msgspec.to_builtins(b) for b in describe(blockers, ticket.nodes)],
        }

    def _agent_row(self, agent: Agent) -> Row:
        row: Row = msgspec.to_builtins(agent)
        row["spec"]["task"] = brief(agent.spec.task)
        row["mail"], row["output"] = brief(row["mail"]), brief(row["output"], ANSWER)
        spec = agent.spec
        waits = self.waits(agent.agent)
        row |= {
            "kind": spec.kind,
            "role": spec.role,
            "model": spec.model,
            "boundary": spec.boundary,
            "priority": spec.priority.value,
            "ttl": spec.ttl,
            "waits": waits,
            "holds": [u for t in self.locks.held_by(agent.agent) for u in t.units],
        }
        if waits and agent.status == "running":
            row["status"] = "waiting"
        return row

    def _lock_row(self, ticket: Ticket) -> Row:
        owner = self.agents.get(ticket.owner)
        paused = owner is not None and owner.status == "paused"
        row: Row = {
            "ticket": ticket.ticket,
            "owner": ticket.owner,
            "run_id": ticket.run_id,
            "units": list(ticket.units),
            "mode": ticket.mode.value,
            "status": ("paused" if paused else "held") if ticket.token else "waiting",
            "token": ticket.token or None,
            "implicit": ticket.implicit,
            "priority": ticket.priority.value,
            "requested": ticket.requested,
            "granted": ticket.granted,
            "ttl": ticket.ttl,
            "bypassed": ticket.bypassed,
            "position": None,
            "behind": [],
        }
        if not ticket.token:
            row |= self._queue(ticket)
        return row

    # --- folds, by type ----------------------------------------------------------------------------------------

    def _run_start(self, event: Event, body: e.RunStart) -> None:
        self.runs[event.run_id] = Run(
            run_id=event.run_id, name=body.name, root=body.root, host=body.host, schedule=body.schedule,
            session_id=event.session_id or "", claims=body.claims, auto_end=body.auto_end, user=body.user,
            base_tree=body.base_tree, started=event.ts, seq=event.seq, touched=event.ts, env=body.env,
        )  # fmt: skip
        self.changed.add(("runs", event.run_id))

    def _run_begin(self, event: Event, body: e.RunBegin) -> None:
        self.runs[event.run_id].begun = True
        self.changed.add(("runs", event.run_id))

    def _run_end(self, event: Event, body: e.RunEnd) -> None:
        run = self.runs[event.run_id]
        run.status, run.ended, run.reason = event.status or "done", event.ts, body.reason
        self.changed.add(("runs", event.run_id))

    def _task_create(self, event: Event, body: e.TaskCreate) -> None:
        key = f"{event.run_id}/{event.task_id}"
        self.runs[event.run_id].tasks += 1
        self.tasks[key] = Task(
            task_id=event.task_id or "", run_id=event.run_id, goal=body.goal, parent=body.parent, owner=body.owner,
            input=body.input, created=event.ts, updated=event.ts,
        )  # fmt: skip
        self.changed |= {("tasks", key), ("runs", event.run_id)}
        if body.rid:
            self.requests[body.rid] = (event.run_id, event.task_id or "")

    def _task_update(self, event: Event, body: e.TaskUpdate) -> None:
        key = f"{event.run_id}/{event.task_id}"
        task = self.tasks[key]
        task.status, task.updated = event.status or task.status, event.ts
        if body.output is not None:
            task.output = body.output
        task.artifacts += body.artifacts
        self.changed.add(("tasks", key))

    def _plan(self, event: Event, body: e.PlanSet) -> None:
        agent = self._actor(event)
        if agent is not None:
            agent.plan, agent.plan_units = body.steps, body.units

    def _agent_start(self, event: Event, body: e.AgentStart) -> None:
        key = f"{event.run_id}/{event.actor}"
        run = self.runs[event.run_id]
        run.agents += 1
        run.live += 1
        self.agents[key] = Agent(
            agent=key, run_id=event.run_id, agent_id=event.actor, name=event.name or event.actor, spec=body.spec,
            task_id=event.task_id or "", queued_at=event.ts, rid=body.rid,
        )  # fmt: skip
        self.latest[(event.run_id, event.name or event.actor)] = key
        self.journals.setdefault(key, 0)
        if body.rid:
            self.requests[body.rid] = (event.run_id, key)
        self.changed |= {("agents", key), ("runs", event.run_id)}

    def _agent_state(self, event: Event, body: e.AgentState) -> None:
        agent = self._actor(event)
        if agent is None:
            return
        status = event.status or agent.status
        if status == "paused" and agent.status != "paused":
            agent.paused_at = event.ts
        elif status != "paused":
            agent.paused_at = None
        if status == "running" and agent.started is None:
            agent.started = event.ts
        self._locks_changed(agent.agent)
        agent.status, agent.reason = status, body.reason
        if body.runtime:
            agent.runtime = body.runtime
            self.changed.add(("runtimes", body.runtime))  # its row says how many slots are in use
        agent.place = body.place or agent.place
        agent.pid = body.pid or agent.pid
        agent.vendor_session = body.vendor_session or agent.vendor_session

    def _agent_end(self, event: Event, body: e.AgentEnd) -> None:
        agent = self._actor(event)
        if agent is None or agent.status in ENDED:
            return
        agent.status, agent.ended, agent.paused_at = event.status or "failed", event.ts, None
        agent.output, agent.error, agent.reason, agent.exit_code = body.output, body.error, body.reason, body.exit_code
        agent.doing, agent.alert, agent.mail, agent.resets = "", "", [], body.resets
        self._used(agent, usage.more(agent.usage, usage.counted(body.usage)))
        self.runs[event.run_id].live -= 1
        self.changed.add(("runs", event.run_id))
        if agent.runtime:
            self.changed.add(("runtimes", agent.runtime))

    def _message(self, event: Event, body: e.Message) -> None:
        if body.to and (agent := self.agents.get(body.to)) is not None and body.role == "user":
            agent.mail.append(Mail(seq=event.seq, text=body.text, interrupt=event.status == "interrupt"))
            self.changed.add(("agents", body.to))
        if body.rid:
            self.requests[body.rid] = (event.run_id, str(event.seq))

    def _model_call(self, event: Event, body: e.ModelCall) -> None:
        agent = self._actor(event)
        if agent is not None:
            self._used(agent, usage.plus(agent.usage, usage.of_call(event)))

    def _tool_call(self, event: Event, body: e.ToolCall) -> None:
        agent = self._actor(event)
        if agent is not None:
            agent.acted = True
            agent.doing = f"{event.name} {event.unit}" if event.unit else event.name or ""

    def _tool_result(self, event: Event, body: e.ToolResult) -> None:
        agent = self._actor(event)
        if agent is not None:
            agent.doing = ""

    def _guard(self, event: Event, body: e.Guard) -> None:
        if body.rule == "stall" and (agent := self._actor(event)) is not None:
            agent.alert = body.detail if event.status == "warned" else ""

    def _artifact(self, event: Event, body: e.Artifact) -> None:
        if body.kind not in ("diff", "output"):
            key = f"{event.run_id}:{event.seq}"
            self.artifacts[key] = ArtifactRow(
                run_id=event.run_id, seq=event.seq, agent=event.actor, name=event.name or "", kind=body.kind,
                hash=body.hash, size=body.size, media=body.media, path=body.path,
            )  # fmt: skip
            self.changed.add(("artifacts", key))

    def _lock_request(self, event: Event, body: e.LockRequest) -> None:
        chains, nodes = self.place(event.run_id, body.units, body.mode)
        self.locks.add(
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
            if (other := self.locks.tickets.get(passed)) is not None:  # one of another run, when a run is viewed alone
                other.bypassed += 1
        self._lock_changed(body.ticket, body.owner)

    def _lock_grant(self, event: Event, body: e.LockGrant) -> None:
        self.token = max(self.token, body.token)
        ticket = self.locks.tickets.get(body.ticket)
        if ticket is None:
            chains, nodes = self.place(event.run_id, body.units, body.mode)
            ticket = Ticket(
                ticket=body.ticket, owner=body.owner, run_id=event.run_id, units=body.units, mode=body.mode,
                key=(body.ticket, 0), chains=chains, nodes=nodes, token=body.token,
                implicit=body.implicit, priority=body.priority, ttl=body.ttl, requested=event.ts, granted=event.ts,
                rid=body.rid,
            )  # fmt: skip
            self.locks.add(ticket)
        else:
            self.locks.grant(ticket, body.token)
            ticket.granted = event.ts
        self._lock_changed(body.ticket, body.owner)

    def _lock_release(self, event: Event, body: e.LockRelease) -> None:
        if body.reason == "operator":
            taken = self.revoked.setdefault(body.owner, [])
            taken.append(e.Revocation(ticket=body.ticket, units=body.units, by=body.by or "an operator", why=body.why))
            del taken[:-REVOCATIONS]
        self._lock_gone(event, body)

    def _lock_gone(self, event: Event, body: e.LockRelease | e.LockExpire) -> None:
        ticket = self.locks.tickets.get(body.ticket)
        if ticket is None:
            return
        if len(body.units) < len(ticket.units):
            self.locks.shrink(ticket, body.units, event.id)
        else:
            self.locks.remove(ticket, event.id)
        self._lock_changed(body.ticket, body.owner)

    def _state_set(self, event: Event, body: e.StateSet) -> None:
        if body.store == "runtime":
            if body.after is None:
                self.runtimes.pop(body.key, None)
            else:
                self.runtimes[body.key] = msgspec.convert(body.after, Runtime)
            self.changed.add(("runtimes", body.key))
        elif body.store == "inbox":
            agent = self._actor(event)
            if agent is not None:
                agent.mail = [m for m in agent.mail if str(m.seq) != body.key]
        elif body.store == "sandbox":
            agent = self._actor(event)
            if agent is not None:
                agent.sandbox = str(body.after)
        elif body.store == "queue":  # an operator moved a waiting ticket
            ticket = self.locks.tickets.get(int(body.key))
            if ticket is not None and not ticket.token:
                self.locks.move(ticket, tuple(body.after))
                self._lock_changed(ticket.ticket, ticket.owner)

    def _approval(self, event: Event, body: e.Approval) -> None:
        found = self.approvals.get(body.approval)
        if found is None:
            found = self.approvals[body.approval] = Question(
                approval=body.approval, run_id=event.run_id, agent=f"{event.run_id}/{event.actor}", kind=body.kind,
                question=body.question, options=body.options, tool=body.tool, units=body.units, input=body.input,
                diff=body.diff, risk=body.risk, risks=body.risks, locks=body.locks, rule=body.rule, asked=event.ts,
                expires=body.expires,
            )  # fmt: skip
            self.asked[body.approval] = found
        if event.status != "asked":
            found.status, found.answer, found.by = event.status or "answered", body.answer, body.by
            found.scope, found.rid, found.answered = body.scope, body.rid, event.ts
            found.rule = body.rule or found.rule
            self.asked.pop(body.approval, None)
            rule = remembered(found.status, found.tool, found.units, found.input) if found.scope == "session" else None
            if rule is not None:
                self.sessions.setdefault(found.agent, []).insert(0, rule)
        self.changed.add(("approvals", body.approval))

    # --- helpers -----------------------------------------------------------------------------------------------

    def _actor(self, event: Event) -> Agent | None:
        """The agent that an event is about; of a subagent (`name/sub`) its parent."""
        key = f"{event.run_id}/{event.actor}"
        agent = self.agents.get(key) or self.agents.get(key.rpartition("/")[0])
        if agent is not None:
            self.changed.add(("agents", agent.agent))
        return agent

    def _used(self, agent: Agent, much: usage.Usage) -> None:
        """An agent has used this much so far, and its run what that is beyond what was known."""
        run = self.runs[agent.run_id]
        run.usage = usage.plus(run.usage, usage.beyond(much, agent.usage))
        agent.usage = much
        self.changed.add(("runs", run.run_id))

    def _lock_changed(self, ticket: int, owner: str) -> None:
        self.changed.add(("locks", str(ticket)))
        if owner in self.agents:
            self.changed.add(("agents", owner))

    def _locks_changed(self, owner: str) -> None:
        for ticket in self.locks.by_owner.get(owner, ()):
            self.changed.add(("locks", str(ticket)))


def _agent_copy(agent: Agent) -> Agent:
    new = copy(agent)
    new.mail = agent.mail.copy()
    return new


_FOLDS: dict[type, Callable[[State, Event, Any], None]] = {
    e.RunStart: State._run_start,
    e.RunBegin: State._run_begin,
    e.RunEnd: State._run_end,
    e.TaskCreate: State._task_create,
    e.TaskUpdate: State._task_update,
    e.PlanSet: State._plan,
    e.AgentStart: State._agent_start,
    e.AgentState: State._agent_state,
    e.AgentEnd: State._agent_end,
    e.Message: State._message,
    e.ModelCall: State._model_call,
    e.ToolCall: State._tool_call,
    e.ToolResult: State._tool_result,
    e.Artifact: State._artifact,
    e.Guard: State._guard,
    e.LockRequest: State._lock_request,
    e.LockGrant: State._lock_grant,
    e.LockRelease: State._lock_release,
    e.LockExpire: State._lock_gone,
    e.StateSet: State._state_set,
    e.Approval: State._approval,
}


def _shown_agent(row: Row) -> Row:
    spec = row["spec"]
    short = {field: brief(spec[field]) for field in _LONG_OF_SPECS if field in spec}
    return row | {field: brief(row[field]) for field in _LONG_OF_AGENTS} | {"spec": spec | short}
