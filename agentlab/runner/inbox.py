"""Follow-ups for an agent, each taken up once, in order, however often the plane tells of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from agentlab.core.commands import Mail
from agentlab.link.messages import Message


class Inbox:
    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._mail: deque[Mail] = deque()
        self._some = asyncio.Event()

    def put(self, mail: Iterable[Mail]) -> list[Mail]:
        """Those that are new."""
        new = [one for one in mail if one.seq not in self._seen]
        self._seen.update(one.seq for one in new)
        self._mail = deque(sorted([*self._mail, *new], key=lambda one: one.seq))
        if self._mail:
            self._some.set()
        return new

    def take(self) -> Mail | None:
        """The next one, None where there is none."""
        return self._mail.popleft() if self._mail else None

    async def wait(self) -> Mail:
        """The next one, when it has come."""
        while (mail := self.take()) is None:
            self._some.clear()
            await self._some.wait()
        return mail


def mail_of(message: Message) -> Mail:
    """The follow-up that a push of the verb `send` brings."""
    facts = message.data if isinstance(message.data, dict) else {}
    return Mail(int(facts.get("seq", 0)), message.text, bool(facts.get("interrupt")))
