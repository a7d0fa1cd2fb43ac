"""Questions of agents: asked, answered by whoever is first, taken back, overdue. Nothing here ever says yes by itself."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Final

import msgspec

from agentlab.errors import BadRequest, NotFound, OutsideWorkspace, Refused

from . import policy, risk
from . import units as names
from .commands import Answer, AnyReply, Ask, Created, Done, Withdraw
from .events import Approval, Mode, Standing
from .locks import describe, nodes_of
from .moves import asking, go_on, move
from .policy import Act, Decision, Layers
from .rows import Agent, Question
from .runs import move_task
from .turn import PLANE, Turn

KINDS: Final = ("question", "permission", "login")
ANSWERS: Final = ("approved", "denied", "answered")
SCOPES: Final = ("once", "session", "always")

POLICY: Final = "policy"
"""Who answered, where a rule did."""

_DECIDED: Final = {"approve": "approved", "reject": "denied"}
_LAST = (sys.maxsize,)  # a place in a queue behind everybody


def ask(turn: Turn, c: Ask) -> AnyReply:
    agent = turn.live(c.agent)
    if (known := turn.state.approvals.get(c.approval)) is not None:
        if known.agent != c.agent:
            raise BadRequest(f"The question {c.approval!r} is another agent's. Give every question an id of its own.")
        return Created(id=c.approval)
    if c.kind not in KINDS:
        raise BadRequest(f"kind={c.kind!r}: choose one of {', '.join(KINDS)}.")
    if not c.question.strip():
        raise BadRequest("There is nothing in this question.")
    if c.timeout is not None and not 0 < c.timeout < math.inf:
        raise BadRequest(
            f"timeout={c.timeout}: a question waits more than 0 seconds, and ends; None: as long as it takes."
        )
    units = tuple(dict.fromkeys(_spelled(unit) for unit in c.units))
    locks = tuple(standing(turn, agent.run_id, units))
    level, risks = "low", tuple[str, ...]()
    decided, timeout = Decision("ask"), c.timeout
    if c.kind == "permission":
        level, risks = _risk(turn, agent, c, units, locks)
        decided = policy.decide(_act(turn, agent, c, units, level), _layers(turn, agent, c))
    rule = decided.rule
    if decided.action == "escalate":
        level, risks = "high", (*risks, f"escalated{f': {rule.reason}' if rule and rule.reason else ''}")
    if rule is not None and rule.timeout is not None:
        timeout = min(rule.timeout, timeout or rule.timeout)
    body = Approval(
        approval=c.approval, kind=c.kind, question=c.question, options=c.options, tool=c.tool, units=units,
        input=c.input, diff=c.diff, risk=level, risks=risks, locks=locks, rule="" if rule is None else str(rule),
        expires=None if timeout is None else turn.now.wall + int(timeout * 1e9),
    )  # fmt: skip
    if decided.action in _DECIDED:
        body = msgspec.structs.replace(body, by=POLICY, answer=rule.reason if rule else "", expires=None)
        turn.emit(
            agent.run_id, agent.agent_id, body, task_id=agent.task_id, name=c.tool or None,
            unit=", ".join(units) or None, status=_DECIDED[decided.action],
        )  # fmt: skip
        return Created(id=c.approval)
    turn.emit(
        agent.run_id, agent.agent_id, body, task_id=agent.task_id, name=c.tool or None, unit=", ".join(units) or None,
        status="asked",
    )  # fmt: skip
    if agent.status == "running":
        move(turn, agent, "blocked", reason=asking(c.question))
        move_task(turn, agent.run_id, agent.task_id, "blocked", agent.agent_id)
    return Created(id=c.approval)


def answer(turn: Turn, c: Answer) -> AnyReply:
    question = turn.state.approvals.get(c.approval)
    if question is None:
        raise NotFound(
            f"There is no question {c.approval!r}. `%agent approvals` lists those there are.", approval=c.approval
        )
    if question.status != "asked":
        if c.rid and question.rid == c.rid:
            return Done()
        raise Refused(
            f"That question was {question.status}{f' by {question.by}' if question.by else ''} already: "
            f"{question.answer or question.status}.",
            approval=c.approval, status=question.status, by=question.by,
        )  # fmt: skip
    if c.status not in ANSWERS:
        raise BadRequest(f"{c.status!r}: choose approved, denied or answered.")
    if c.status == "answered" and question.kind == "permission":
        raise BadRequest(f"{c.approval} asks for permission: approve or deny it.", approval=c.approval)
    if question.kind == "login" and (c.status == "answered" or (c.status == "approved" and c.answer)):
        raise BadRequest(
            f"{c.approval} asks for a login: nothing is typed for it, and what was written here is not kept. Log in with the "
            "program in a terminal of your own, then approve it without words, or deny it.",
            approval=c.approval,
        )
    if c.scope not in SCOPES:
        raise BadRequest(f"scope={c.scope!r}: choose one of {', '.join(SCOPES)}.")
    if c.scope != "once" and not (question.kind == "permission" and question.tool):
        raise BadRequest(
            f"Only a permission for a tool can be remembered; {c.approval} is to be answered once.", approval=c.approval
        )
    turn.live(question.agent)
    if c.scope != "once" and policy.remembered(c.status, question.tool, question.units, question.input) is None:
        raise BadRequest(
            f"{c.approval} is to be answered once: its command cannot be read without running it, so it cannot be told what "
            f"the same again would be.",
            approval=c.approval,
        )
    _end(turn, question, c.status, answer=c.answer, by=c.by, scope=c.scope, rid=c.rid)
    return Done()


def withdraw(turn: Turn, c: Withdraw) -> AnyReply:
    question = turn.state.approvals.get(c.approval)
    if question is not None and question.agent != c.agent:
        raise NotFound(f"{c.agent} has asked no question {c.approval!r}.", approval=c.approval)
    if question is not None and question.status == "asked":
        _end(turn, question, "cancelled", answer=c.reason, by=turn.who(c.agent, question.run_id))
    return Done()


def close(turn: Turn, agent: str) -> None:
    """An agent has ended: it asks nothing any more."""
    for question in turn.state.asked_by(agent):
        _end(turn, question, "cancelled", answer="the agent ended", by=PLANE)


def expire(turn: Turn) -> None:
    """What nobody answered in time is not allowed."""
    for question in list(turn.state.asked.values()):
        if question.expires is not None and question.expires <= turn.now.wall:
            waited = (question.expires - question.asked) / 1e9
            _end(turn, question, "expired", answer=f"nobody answered within {waited:g} s", by=PLANE)


def standing(turn: Turn, run_id: str, units: tuple[str, ...]) -> Iterator[Standing]:
    """Who has, or waits for, these units and what hangs together with them, in order."""
    for unit in units:
        try:
            chains = turn.state.chains(run_id, (names.canonical(unit),))
        except (BadRequest, OutsideWorkspace):
            continue  # of a tool that is not ours: nothing of the kind can be locked
        nodes = nodes_of(chains, Mode.EXCLUSIVE)
        tickets = turn.state.locks.blockers("", nodes, _LAST)
        for ticket, blocker in zip(tickets, describe(tickets, nodes), strict=True):
            yield Standing(unit=blocker.unit, owner=ticket.owner, mode=ticket.mode, waits=blocker.waits)


def _risk(
    turn: Turn, agent: Agent, c: Ask, units: tuple[str, ...], locks: tuple[Standing, ...]
) -> tuple[str, tuple[str, ...]]:
    held = [unit for ticket in turn.state.locks.held_by(agent.agent) for unit in ticket.units]
    unclaimed = [unit for unit in units if not any(names.covers(mine, unit) for mine in held)]
    others = dict.fromkeys(turn.who(s.owner, agent.run_id) for s in locks if s.owner != agent.agent and not s.waits)
    return risk.assess(c.tool, units, c.input, unclaimed=unclaimed, others=others)


def _act(turn: Turn, agent: Agent, c: Ask, units: tuple[str, ...], level: str) -> Act:
    root = turn.state.runs[agent.run_id].root
    return Act(agent=agent.name, tool=c.tool, units=units, input=c.input, workspace=root, risk=level)


def _layers(turn: Turn, agent: Agent, c: Ask) -> Layers:
    session = tuple(turn.state.sessions.get(agent.agent, ()))
    return Layers(
        spec=tuple(policy.parse(text) for text in agent.spec.permissions), home=turn.rules.policy, workspace=c.rules,
        remembered=session + turn.rules.remembered,
    )  # fmt: skip


def _spelled(unit: str) -> str:
    """A unit in its one spelling; what is none, as it is: permission may be asked for what cannot be locked."""
    try:
        return names.canonical(unit)
    except (BadRequest, OutsideWorkspace):
        return unit


def _end(
    turn: Turn, question: Question, status: str, *, answer: str, by: str, scope: str = "once", rid: str = ""
) -> None:
    agent = turn.state.agents[question.agent]
    body = Approval(
        approval=question.approval, kind=question.kind, question=question.question, tool=question.tool,
        units=question.units, answer=answer, by=by, scope=scope, rid=rid,
    )  # fmt: skip
    turn.emit(
        question.run_id, agent.agent_id, body, task_id=agent.task_id, name=question.tool or None,
        unit=", ".join(question.units) or None, status=status, dur_ns=max(0, turn.now.wall - question.asked),
    )  # fmt: skip
    if agent.status == "blocked":
        go_on(turn, agent)
