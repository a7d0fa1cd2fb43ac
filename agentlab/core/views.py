"""What is seen of a state: its rows as JSON values, all of them or those that changed."""

from __future__ import annotations

import msgspec

from .brief import brief
from .events import JSON, Blocker
from .locks import Ticket, describe
from .rows import Agent
from .state import State

Row = dict[str, JSON]
Tables = dict[str, dict[str, Row | None]]
"""table -> key -> row; None: it is gone."""

TABLES = ("runs", "agents", "tasks", "locks", "runtimes", "approvals", "artifacts")

ANSWER = 24 * 1024 * 1024
"""Characters of an agent's answer that whoever waits for it is told: of a longer one the log has the rest."""

_LONG = {"tasks": ("goal", "input", "output"), "approvals": ("question", "options", "input", "answer")}
_LONG_OF_AGENTS = ("output", "error", "plan", "plan_units")
_LONG_OF_SPECS = ("instructions", "options")
"""What may be of any size in rows, by table."""


def row(state: State, table: str, key: str) -> Row | None:
    """One row as JSON values, None where there is none (any more). What is long is there by its beginning."""
    if table == "agents":
        agent = state.agents.get(key)
        return None if agent is None else _shown_agent(_agent_row(state, agent))
    if table == "locks":
        ticket = state.locks.tickets.get(int(key))
        return None if ticket is None else _lock_row(state, ticket)
    found = getattr(state, table).get(key)
    if found is None:
        return None
    whole: Row = msgspec.to_builtins(found)
    return whole | {field: brief(whole[field]) for field in _LONG.get(table, ())}


def agent_row(state: State, key: str) -> Row | None:
    """The row of an agent with all of its answer, and all that it is made of but for its task."""
    agent = state.agents.get(key)
    return None if agent is None else _agent_row(state, agent)


def tables(state: State, run_id: str | None = None) -> dict[str, dict[str, Row]]:
    """All rows (of one run): table -> key -> row."""
    found: dict[str, dict[str, Row]] = {}
    for table in TABLES:
        keys = map(str, state.locks.tickets) if table == "locks" else list(getattr(state, table))
        rows = ((key, row(state, table, key)) for key in keys)
        found[table] = {k: r for k, r in rows if r and (run_id is None or r.get("run_id", run_id) == run_id)}
    return found


def take_changes(state: State) -> Tables:
    """The rows that changed since the last call. Places in queues move with others' locks, so all waiting tickets
    and their agents come along when any lock changed."""
    changed, state.changed = state.changed, set()
    if any(table == "locks" for table, _ in changed):
        for ticket in state.locks.tickets.values():
            if not ticket.token:
                changed.add(("locks", str(ticket.ticket)))
                changed.add(("agents", ticket.owner))
    found: Tables = {}
    for table, key in changed:
        if table != "agents" or key in state.agents or not key.startswith("user:"):
            found.setdefault(table, {})[key] = row(state, table, key)
    return found


def waits(state: State, owner: str) -> Row | None:
    """What an owner waits for, behind whom, and at which place. None: it does not wait."""
    ticket = state.locks.waiting_of(owner)
    if ticket is None:
        return None
    return {"ticket": ticket.ticket, "units": list(ticket.units), **_queue(state, ticket)}


def _queue(state: State, ticket: Ticket) -> Row:
    blockers = state.locks.blockers(ticket.owner, ticket.nodes, ticket.key)
    return {
        "position": 1 + sum(not b.token for b in blockers),
        "behind": [_blocker(state, b) for b in describe(blockers, ticket.nodes)],
    }


def _blocker(state: State, blocker: Blocker) -> Row:
    """paused: whoever holds it does nothing, and keeps it."""
    row: Row = msgspec.to_builtins(blocker)
    owner = state.agents.get(blocker.owner)
    return row | {"paused": True} if owner is not None and owner.status == "paused" else row


def _agent_row(state: State, agent: Agent) -> Row:
    row: Row = msgspec.to_builtins(agent)
    row["spec"]["task"] = brief(agent.spec.task)
    row["mail"], row["output"] = brief(row["mail"]), brief(row["output"], ANSWER)
    spec = agent.spec
    waiting = waits(state, agent.agent)
    row |= {
        "kind": spec.kind,
        "role": spec.role,
        "model": spec.model,
        "boundary": spec.boundary,
        "priority": spec.priority.value,
        "ttl": spec.ttl,
        "waits": waiting,
        "holds": [u for t in state.locks.held_by(agent.agent) for u in t.units],
    }
    if waiting and agent.status == "running":
        row["status"] = "waiting"
    return row


def _lock_row(state: State, ticket: Ticket) -> Row:
    owner = state.agents.get(ticket.owner)
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
        row |= _queue(state, ticket)
    return row


def _shown_agent(row: Row) -> Row:
    spec = row["spec"]
    short = {field: brief(spec[field]) for field in _LONG_OF_SPECS if field in spec}
    return row | {field: brief(row[field]) for field in _LONG_OF_AGENTS} | {"spec": spec | short}
