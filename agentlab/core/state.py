"""The state: tables of rows, what was made of events by `core.fold`, and what is looked up in them."""

from __future__ import annotations

from copy import copy
from typing import Any

from . import units as names
from .events import Mode, Revocation
from .locks import LockTable, Nodes, nodes_of
from .policy import Rule
from .rows import Agent, ArtifactRow, Question, Run, Runtime, Task
from .units import Chain, chain

PLACES = 4096  # claims of which it is remembered what they need


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
        self.sessions: dict[str, list[Rule]] = {}  # agent -> what a person said for its life, the newest first
        self.revoked: dict[str, list[Revocation]] = {}  # owner -> what a person took from it, the newest last
        self.latest: dict[tuple[str, str], str] = {}  # (run, name) -> the newest agent of that name
        self.changed: set[tuple[str, str]] = set()  # (table, key), since they were last taken (`core.views`)
        self.requests: dict[str, tuple[str, str]] = {}  # rid -> run, and what was made: an agent, a task, a message
        self.journals: dict[str, int] = {}  # agent -> last entry of its journal that is in the log
        self._spelled: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._places: dict[tuple[str, tuple[str, ...], Mode], tuple[tuple[Chain, ...], Nodes]] = {}

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
            found = self._spelled[units] = tuple(dict.fromkeys([names.asked(unit) for unit in units]))
        return found

    def place(self, run_id: str, units: tuple[str, ...], mode: Mode) -> tuple[tuple[Chain, ...], Nodes]:
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

    def asked_by(self, agent: str) -> list[Question]:
        """The open questions of an agent, the oldest first."""
        return [question for question in self.asked.values() if question.agent == agent]

    def revoked_from(self, owner: str) -> tuple[Revocation, ...]:
        return tuple(self.revoked.get(owner, ()))

    def revocation(self, ticket: int) -> Revocation | None:
        """How a ticket was taken from its owner, where it was and is remembered."""
        found = (r for revocations in self.revoked.values() for r in revocations if r.ticket == ticket)
        return next(found, None)


def _agent_copy(agent: Agent) -> Agent:
    new = copy(agent)
    new.mail = agent.mail.copy()
    return new
