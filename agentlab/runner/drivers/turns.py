"""The turns of one session with a vendor's agent: one at a time, each closed by the agent, until there are no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from agentlab.core.events import JSON, Error
from agentlab.errors import BadRequest

from .base import Turn
from .failures import Failure
from .tree import Tree

if TYPE_CHECKING:
    from agentlab.runner.gate import Gate

_AGAIN = 1.0  # s; an interrupt that comes before the agent has begun the turn is lost
_LIMIT = 15.0  # s until an agent that does not react is killed


@dataclass
class Prompt:
    """The turn that is under way. `ended` holds what the agent closed it with; None: it went without closing it."""

    ended: asyncio.Future[Any] = field(default_factory=asyncio.Future)
    interrupted: bool = False
    verdict: tuple[str, Failure] | None = None  # our own reason to end it: what was said, what it means

    def close(self, closing: Any) -> None:
        if not self.ended.done():
            self.ended.set_result(closing)


P = TypeVar("P", bound=Prompt)
T = TypeVar("T")


class Turns(Generic[P]):
    """stop: gets the agent to close this turn, however often it is asked."""

    def __init__(self, gate: Gate, session: str | None, stop: Callable[[P], Coroutine[Any, Any, None]]) -> None:
        self.session = session
        self.current: P | None = None
        self.gone: Turn | None = None  # how a turn ends now that the agent is not there any more
        self.stopper: asyncio.Task[None] | None = None
        self._gate = gate
        self._stop = stop

    # --- one of them ---------------------------------------------------------------------------------------

    def over(self) -> Turn | None:
        """How a turn that would begin now has ended already; None: it can begin. Raises BadRequest: one is under way."""
        if self.current:
            raise BadRequest("This agent is in the middle of a turn. Interrupt it, or wait for its end.")
        return self.gone

    @asynccontextmanager
    async def begin(self, prompt: P, settle: Callable[[], Awaitable[None]] | None = None) -> AsyncIterator[P]:
        """Its turn, for as long as the agent has it. Cancelling interrupts the agent. settle: what still belongs to the
        turn when it has been closed."""
        self.current = prompt
        try:
            yield prompt
        except asyncio.CancelledError:
            await self.interrupt()  # until the turn is closed: its end must not end the next one
            raise
        finally:
            try:
                if settle:
                    await settle()
            finally:
                self.current = None

    def told(self, turn: Turn) -> Turn:
        """As it is; a failure is recorded."""
        if turn.status == "failed":
            self._gate.record(Error(kind=turn.reason, message=turn.error), status="error")
        return turn

    async def interrupt(self) -> None:
        if prompt := self.current:
            prompt.interrupted = True
            await self._stop(prompt)

    def give_up(self, said: str, failure: Failure, stop: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """End the turn as failed, for a reason of ours. The first one counts. stop: instead of asking the agent to."""
        if (prompt := self.current) and not prompt.verdict:
            prompt.verdict = said, failure
            self.stopper = asyncio.create_task(stop() if stop else self._stop(prompt))

    # --- no more of them -----------------------------------------------------------------------------------

    def no_more(self, gone: Turn) -> None:
        """All that begin from now on have ended like this. What was known first counts."""
        self.gone = self.gone or gone

    def close(self) -> None:
        self.no_more(self.cancelled(error="The agent was closed."))

    def end(self, closing: Any = None) -> None:
        """The one under way, closed by the agent with this. None: the agent is not there any more."""
        if self.current:
            self.current.close(closing)

    # --- how one ended -------------------------------------------------------------------------------------

    def failed(self, said: str, failure: Failure, **facts: Any) -> Turn:
        error = f"{said.rstrip()}\n{failure.advice}".strip()
        return Turn("failed", error=error, reason=failure.reason, **{"vendor_session": self.session, **facts})

    def cancelled(self, **facts: Any) -> Turn:
        return Turn("cancelled", reason="cancelled", vendor_session=self.session, **facts)

    def unclosed(self, prompt: P, usage: dict[str, float]) -> Turn:
        """One whose agent went without closing it, after `no_more`."""
        assert self.gone is not None
        if prompt.interrupted:
            return self.cancelled(usage=usage)
        if prompt.verdict:
            return self.failed(*prompt.verdict, usage=usage)
        return replace(self.gone, usage=usage, vendor_session=self.session)


async def insist(prompt: Prompt, tree: Tree, ask: Callable[[], Awaitable[None]]) -> None:
    """Ask the agent to close its turn until it has, awake for that long. One that does not react is killed."""
    await tree.wake()
    try:
        async with asyncio.timeout(_LIMIT):
            while not prompt.ended.done():
                await ask()
                await asyncio.wait([prompt.ended], timeout=_AGAIN)
    except TimeoutError:
        await tree.kill()
        await asyncio.wait([prompt.ended], timeout=_LIMIT)  # whoever watches it closes the turn
    await tree.rest()


async def put_away(*tasks: asyncio.Task[Any] | None) -> None:
    for task in tasks:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def started(part: T | None) -> T:
    if part is None:
        raise BadRequest("This agent has not been started.")
    return part


def text_of(task: JSON, whose: str) -> str:
    """The prompt. Raises BadRequest: it is none."""
    if not isinstance(task, str) or not task.strip():
        raise BadRequest(f"The task of {whose} is its prompt: a text that is not empty.")
    return task
