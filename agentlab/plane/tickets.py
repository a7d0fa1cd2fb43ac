"""Who waits for which ticket: a granted one is told at once, a lost one too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from agentlab.core import events as e
from agentlab.core.claims import granted
from agentlab.core.commands import Granted, Queued
from agentlab.core.locks import describe
from agentlab.errors import AgentlabError, NotFound

from .engine import Engine

Told = Callable[[Granted | Queued | AgentlabError], None]


class Tickets:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._waiting: dict[int, list[tuple[Told, asyncio.TimerHandle]]] = {}
        engine.on_commit.append(self._committed)
        engine.on_rebuild.append(self._rebuilt)

    def wait(self, number: int, owner: str | None, timeout: float, told: Told) -> None:
        """Tell when the ticket is granted or gone, or how it stands after `timeout` seconds."""
        ticket = self.engine.state.locks.tickets.get(number)
        if ticket is None or (owner is not None and ticket.owner != owner):
            told(self._gone(number))
        elif ticket.token and ticket.token <= self.engine.committed:
            told(granted(ticket))
        else:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(max(0.0, timeout), self._timeout, number, told)
            self._waiting.setdefault(number, []).append((told, timer))

    def _committed(self, events: Sequence[e.Event]) -> None:
        if not self._waiting:
            return
        for event in events:
            if (
                isinstance(event.body, e.LockGrant | e.LockRelease | e.LockExpire)
                and event.body.ticket in self._waiting
            ):
                self._tell(event.body.ticket)

    def _tell(self, number: int) -> None:
        ticket = self.engine.state.locks.tickets.get(number)
        if ticket is not None and not ticket.token:
            return
        for told, timer in self._waiting.pop(number, ()):
            timer.cancel()
            told(self._gone(number) if ticket is None else granted(ticket))

    def _timeout(self, number: int, told: Told) -> None:
        waiting = self._waiting.get(number, [])
        self._waiting[number] = [pair for pair in waiting if pair[0] is not told]
        if not self._waiting[number]:
            del self._waiting[number]
        ticket = self.engine.state.locks.tickets.get(number)
        if ticket is None:
            told(self._gone(number))
        elif ticket.token:
            told(granted(ticket))
        else:
            blockers = self.engine.state.locks.blockers(ticket.owner, ticket.nodes, ticket.key)
            position = 1 + sum(not b.token for b in blockers)
            told(Queued(ticket=number, position=position, behind=describe(blockers, ticket.nodes)))

    def _rebuilt(self) -> None:
        for number in list(self._waiting):
            self._tell(number)

    def _gone(self, number: int) -> NotFound:
        revoked = self.engine.state.revocation(number)
        why = str(revoked) if revoked else "it was released, has expired, or its owner ended"
        return NotFound(f"Ticket {number} is gone: {why}. Claim again.", ticket=number)
