"""`decide`: from a state, a command and the time, to a reply and the events that make it so.

Pure in the sense that counts: no I/O, no clock, no luck. `state` is advanced by exactly the events that are returned,
one by one as they are chosen, so that `apply` of them to the state before gives the state after; nothing else of it
is changed. (Copying the state for every command would cost more than everything else together.)

A refusal is a reply like any other; what is worth knowing of it is in the log (`lock.deny`).
"""

from __future__ import annotations

from agentlab.errors import AgentlabError, BadRequest

from . import agents, approvals, claims, runs, runtimes
from . import commands as c
from .events import Event
from .leases import Leases
from .state import State
from .turn import Instant, Rules, Turn

_RULES = Rules()


def decide(
    state: State, leases: Leases, command: c.AnyCommand, now: Instant, rules: Rules = _RULES
) -> tuple[c.AnyReply | AgentlabError, list[Event]]:
    turn = Turn(state, leases, now, rules)
    try:
        return _reply(turn, command), turn.events
    except AgentlabError as refusal:
        return refusal, turn.events


def _reply(turn: Turn, command: c.AnyCommand) -> c.AnyReply | AgentlabError:
    match command:
        case c.Claim():
            return claims.claim(turn, command)
        case c.Release():
            return claims.release(turn, command)
        case c.Report():
            return agents.report(turn, command)
        case c.Touched():
            return claims.touched(turn, command)
        case c.Tick():
            return runtimes.tick(turn)
        case c.StartRun():
            return runs.start(turn, command)
        case c.BeginRun():
            return runs.begin(turn, command)
        case c.EndRun():
            return runs.end(turn, command)
        case c.CreateTask():
            return runs.create_task(turn, command)
        case c.UpdateTask():
            return runs.update_task(turn, command)
        case c.Spawn():
            return agents.spawn(turn, command)
        case c.Dispatch():
            return agents.dispatch(turn, command)
        case c.Ready():
            return agents.ready(turn, command)
        case c.Status():
            return agents.status(turn, command)
        case c.Finish():
            return agents.finish(turn, command)
        case c.Signal():
            return agents.signal(turn, command)
        case c.SendText():
            return agents.send(turn, command)
        case c.SetPlan():
            return agents.set_plan(turn, command)
        case c.Ask():
            return approvals.ask(turn, command)
        case c.Answer():
            return approvals.answer(turn, command)
        case c.Withdraw():
            return approvals.withdraw(turn, command)
        case c.Bump():
            return claims.bump(turn, command)
        case c.Revoke():
            return claims.revoke(turn, command)
        case c.RegisterRuntime():
            return runtimes.register(turn, command)
        case c.RuntimeSeen():
            return runtimes.seen(turn, command)
        case c.ForgetRuntime():
            return runtimes.forget(turn, command)
    raise BadRequest(f"{type(command).__name__} is no command of the core.")
