"""Claims and leases of one agent, against a plane that may be away: waits, places that are kept, signs of life."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from agentlab.core.commands import Claim, Granted, Hired, Queued, Release
from agentlab.core.events import Mode, Revocation
from agentlab.core.locks import who
from agentlab.core.units import covers
from agentlab.errors import AgentlabError, NotFound, NotHeld, PlaneUnavailable, WouldBlock, ordinal
from agentlab.link.messages import AnyResponse, Leases, Renew, WaitTicket

from .leases import LocalLeases
from .uplink import Uplink

POLL = 2.0  # s after which a waiting ticket's place is asked again
PATIENCE = 5.0  # s beyond a claim's timeout that the plane has to answer at all
KEPT = 60.0  # s that a ticket whose wait has timed out keeps its place without being asked for again

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Kept:
    """A ticket whose wait has timed out, and what was asked for."""

    ticket: int
    units: tuple[str, ...]
    mode: Mode
    timer: asyncio.TimerHandle


class _Waiting:
    """One claim: for what, until when, and who hears of its place in the queue."""

    def __init__(
        self, units: tuple[str, ...], mode: Mode, deadline: float | None, queued: Callable[[Queued], None] | None
    ) -> None:
        self.units = units
        self.mode = mode
        self._deadline = deadline
        self._queued = queued
        self._told: Queued | None = None

    @property
    def names(self) -> str:
        return ", ".join(self.units)

    @overload
    def left(self) -> float | None: ...
    @overload
    def left(self, unlimited: float) -> float: ...
    def left(self, unlimited: float | None = None) -> float | None:
        """Seconds, below 0 when it is over; `unlimited` where there is no limit."""
        return unlimited if self._deadline is None else self._deadline - time.monotonic()

    def tell(self, place: Queued | None) -> None:
        if place is not None and place != self._told:
            self._told = place
            if self._queued is not None:
                self._queued(place)


class Claims:
    def __init__(self, uplink: Uplink, owner: str, heartbeat: float) -> None:
        self.leases = LocalLeases()
        self._uplink = uplink
        self._owner = owner
        self._longest = heartbeat
        self._hired: Hired | None = None
        self._claiming = asyncio.Lock()
        self._kept: _Kept | None = None
        self._queueing = False  # a claim waits for its ticket
        self._new_lease = asyncio.Event()
        self._taken: dict[int, Revocation] = {}  # by a person, and the agent does not know it yet

    def adopted(self, hired: Hired, sent: float) -> None:
        """A connection has begun; `sent`: when it was asked what is held."""
        if self._hired is None:
            for granted in hired.grants:
                self.leases.add(granted, sent)
        else:
            self._settle(hired, self.leases.tickets(), sent)
        self._hired = hired

    def revoked(self, ticket: int, by_a_person: Revocation | None = None) -> None:
        if by_a_person is not None and ticket in self.leases.tickets():
            self._taken[ticket] = by_a_person
        self.leases.drop(ticket)

    def take_revocation(self, units: Iterable[str]) -> Revocation | None:
        """As `Gate.revoked`."""
        wanted = tuple(units)
        for ticket, taken in self._taken.items():
            if any(covers(mine, unit) or covers(unit, mine) for mine in taken.units for unit in wanted):
                return self._taken.pop(ticket)
        return None

    def close(self) -> None:
        self._forget_kept()

    async def claim(
        self,
        units: tuple[str, ...],
        mode: Mode = Mode.EXCLUSIVE,
        *,
        implicit: bool = False,
        yields: bool = False,
        wait: bool = True,
        timeout: float | None = None,
        ttl: float | None = None,
        queued: Callable[[Queued], None] | None = None,
        rid: str = "",
    ) -> Granted:
        """As `Gate.claim`."""
        assert self._hired is not None
        waiting = _Waiting(units, mode, None if timeout is None else time.monotonic() + timeout, queued)
        claim = Claim(
            owner=self._owner, units=units, mode=mode, run_id=self._hired.run_id, implicit=implicit, yields=yields,
            wait=wait, ttl=ttl or self._hired.spec.ttl, priority=self._hired.spec.priority,
            rid=rid,
        )  # fmt: skip
        async with self._turn(waiting, wait):
            if (ticket := self._continued(units, mode)) is not None:
                try:
                    return await self._wait(waiting, ticket)
                except NotFound:
                    pass  # it is gone since nobody asked for it: begin anew
            if self.leases.in_doubt():
                await self._in_time(self._renew_surely(), waiting)
            sent = time.monotonic()
            answer = await self._first_answer(claim, waiting)
            if isinstance(answer, Granted):
                self._hold(answer, sent)
                return answer
            try:
                return await self._wait(waiting, answer.ticket, answer, since=sent)
            except NotFound as gone:
                raise NotHeld(
                    f"Your place in the queue for {waiting.names} is gone: {gone}", units=list(units)
                ) from None

    async def release(self, ticket: int | None = None, units: tuple[str, ...] = ()) -> None:
        """As `Gate.release`."""
        for known in self.leases.tickets() if ticket is None else (ticket,):
            self.leases.drop(known, units)
        if self._kept and ticket in (None, self._kept.ticket):
            self._forget_kept()
        await asyncio.shield(self._give_back(() if ticket is None else (ticket,), units))

    async def heartbeat(self) -> None:
        """For ever: a sign of life three times within the shortest lease, but no less often than was asked for."""
        last = time.monotonic()
        while True:
            shortest = self.leases.shortest()
            every = self._longest if shortest is None else min(self._longest, shortest / 3)
            try:
                async with asyncio.timeout(last + every - time.monotonic()):
                    await self._new_lease.wait()
                self._new_lease.clear()  # how often may have changed
            except TimeoutError:
                last = time.monotonic()
                try:
                    await self._renew()
                except AgentlabError as error:
                    log.debug("no heartbeat: %s", error)

    # --- one claim ---------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _turn(self, waiting: _Waiting, wait: bool) -> AsyncIterator[None]:
        """One claim of this agent at a time: it may wait for one ticket only."""
        if not wait and self._queueing:
            raise WouldBlock(
                f"Another claim of yours is waiting, so {waiting.names} was not asked for.", units=list(waiting.units)
            )
        try:
            async with asyncio.timeout(waiting.left()):
                await self._claiming.acquire()
        except TimeoutError:
            raise NotHeld(
                f"Another claim of yours is still waiting, so {waiting.names} was not asked for. "
                "Release that ticket, or try again when it is granted.",
                units=list(waiting.units),
            ) from None
        try:
            yield
        finally:
            self._queueing = False
            self._claiming.release()

    async def _first_answer(self, claim: Claim, waiting: _Waiting) -> Granted | Queued:
        """What the plane says to a claim. One that is given up before its answer has come is taken back by the answer."""
        asking = self._uplink.background(self._put(claim))
        try:
            await self._in_time(asyncio.shield(asking), waiting)
        except (asyncio.CancelledError, PlaneUnavailable):
            asking.add_done_callback(self._take_back)
            raise
        return asking.result()

    async def _put(self, claim: Claim) -> Granted | Queued:
        held = self.leases.tickets()
        if claim.yields:
            self.leases.suspend()  # the plane may give all of it to others before we are told
        try:
            answer = await self._uplink.ask(self._uplink.named(claim))
        finally:
            if claim.yields:
                self.leases.restore()
        if not isinstance(answer, Granted | Queued):
            raise AgentlabError(f"The plane answered a claim with {type(answer).__name__}.")
        if claim.yields and (isinstance(answer, Queued) or answer.ticket in held):
            for ticket in held:
                self.leases.drop(ticket)
        return answer

    async def _wait(
        self, waiting: _Waiting, ticket: int, place: Queued | None = None, since: float = float("-inf")
    ) -> Granted:
        """Wait until the ticket is granted. NotHeld: the time is over, the ticket stays. NotFound: it is gone.

        `since`: a time at which it was not granted yet; its lease cannot have begun before.
        """
        self._queueing = True
        try:
            while True:
                waiting.tell(place)
                step = min(POLL, waiting.left(POLL))
                if step <= 0 and place is not None:
                    self._keep(ticket, waiting)
                    raise NotHeld(
                        _still(waiting.names, place, self._owner.partition("/")[0]),
                        ticket=ticket,
                        position=place.position,
                        units=list(waiting.units),
                    )
                sent = time.monotonic()
                asked = WaitTicket(ticket=ticket, timeout=max(step, 0.0))
                try:
                    answer = await self._in_time(self._uplink.ask(asked), waiting)
                    if isinstance(answer, Granted):
                        await self._in_time(self._confirm(answer, since), waiting)
                        return answer
                except PlaneUnavailable:
                    self.leases.drop(ticket)
                    self._keep(ticket, waiting)
                    raise
                if isinstance(answer, Queued):
                    place, since = answer, sent
        except asyncio.CancelledError:
            self.leases.drop(ticket)
            self._give_back((ticket,), reason="cancelled")
            raise

    async def _in_time(self, work: Awaitable[T], waiting: _Waiting) -> T:
        """A plane that is away may be waited for until the claim's time is over, and a little longer."""
        try:
            async with asyncio.timeout(None if (left := waiting.left()) is None else max(left, 0.0) + PATIENCE):
                return await work
        except TimeoutError:
            raise PlaneUnavailable(
                f"The plane does not answer, so {waiting.names} is not claimed. Ask for it again."
            ) from None

    def _hold(self, granted: Granted, since: float) -> None:
        self.take_revocation(granted.units)  # it asked again, so it knows
        self.leases.add(granted, since)
        self._new_lease.set()

    async def _confirm(self, granted: Granted, since: float) -> None:
        """Hold what was granted at some time after `since`; where that may be long ago, ask whether it still is."""
        self._hold(granted, since)
        if self.leases.left(granted.ticket) < granted.ttl / 2:
            await self._renew_surely()
        if self.leases.left(granted.ticket) <= 0:
            raise NotFound(
                f"Ticket {granted.ticket} was granted, and its lease has ended since.", ticket=granted.ticket
            )

    def _give_back(self, tickets: tuple[int, ...], units: tuple[str, ...] = (), reason: str = "") -> asyncio.Task[Any]:
        """Released for sure, whether or not somebody waits for it."""
        release = Release(owner=self._owner, tickets=tickets, units=units, reason=reason)
        return self._uplink.background(self._uplink.ask(self._uplink.named(release)))

    def _take_back(self, asking: asyncio.Task[Granted | Queued]) -> None:
        """A claim was answered that nobody waits for any more."""
        if not asking.cancelled() and not asking.exception():
            self._give_back((asking.result().ticket,), reason="cancelled")

    # --- a ticket whose wait has timed out keeps its place for a while -----------------------------------------

    def _keep(self, ticket: int, waiting: _Waiting) -> None:
        timer = asyncio.get_running_loop().call_later(KEPT, self._give_up_kept)
        self._kept = _Kept(ticket, waiting.units, waiting.mode, timer)

    def _continued(self, units: tuple[str, ...], mode: Mode) -> int | None:
        """The ticket to go on with. One of another claim is given back: there is one wait at a time."""
        kept = self._kept
        if kept is None:
            return None
        if set(kept.units) != set(units) or kept.mode != mode:
            self._give_up_kept()
            return None
        self._forget_kept()
        return kept.ticket

    def _give_up_kept(self) -> None:
        if kept := self._forget_kept():
            self._give_back((kept.ticket,), reason="cancelled")

    def _forget_kept(self) -> _Kept | None:
        kept, self._kept = self._kept, None
        if kept:
            kept.timer.cancel()
        return kept

    # --- leases ------------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        """A sign of life, now or not at all. Raises PlaneUnavailable."""
        known, sent = self.leases.tickets(), time.monotonic()
        self._settle(await self._uplink.once(Renew(owner=self._owner)), known, sent)

    async def _renew_surely(self) -> None:
        """Know what is held, however long the plane is away."""
        known, sent = self.leases.tickets(), time.monotonic()
        self._settle(await self._uplink.ask(Renew(owner=self._owner)), known, sent)

    def _settle(self, answer: AnyResponse, known: frozenset[int], sent: float) -> None:
        if isinstance(answer, Leases | Hired):
            taken = {revocation.ticket: revocation for revocation in answer.revoked}
            for lost in self.leases.renewed(answer.grants, known, sent):
                if lost.ticket in taken:
                    self._taken[lost.ticket] = taken[lost.ticket]
                log.warning("the grant on %s (ticket %d) is lost", ", ".join(lost.units), lost.ticket)


def _still(names: str, place: Queued, run_id: str) -> str:
    behind = (f"{b.unit} is {'wanted' if b.waits else 'held'} by {who(b.owner, run_id)}" for b in place.behind)
    return (
        f"{names} is not yours yet: {', '.join(dict.fromkeys(behind)) or 'it is taken'}; you are {ordinal(place.position)} in the queue. The ticket stays "
        f"for {KEPT:g} s: claim the same again to go on waiting, or work on something else."
    )
