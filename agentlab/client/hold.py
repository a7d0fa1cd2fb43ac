"""Work units held by a person: "nobody touches this while I do"."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from agentlab.core.commands import Claim, Done, EndRun, Granted, Queued, Release, StartRun
from agentlab.core.events import Mode, Priority
from agentlab.errors import AgentlabError, NotFound, NotHeld, Refused
from agentlab.link.messages import GetState, Leases, Renew, View, WaitTicket

from . import background
from .rows import queue_text

if TYPE_CHECKING:
    from .lab import Lab

ROUND = 60.0  # s of one wait on the plane


class Hold:
    """Units that you hold, until `release()`, the end of the `with` block, or the end of this process and their `ttl`.

    They are renewed as long as this process lives.
    """

    def __init__(self, lab: Lab, run_id: str, grant: Granted, *, own_run: bool, renew: bool) -> None:
        self.units = grant.units
        self.ticket = grant.ticket
        self.token = grant.token
        self.run_id = run_id
        self._lab = lab
        self._own_run = own_run
        self._held = True
        self._renewing = background.submit(self._renew(grant.ttl)) if renew else None

    @property
    def held(self) -> bool:
        """False after `release`, and once a lease has been lost, e.g. because this machine slept for longer than its ttl."""
        return self._held

    def release(self) -> None:
        """Give them back. Twice is no error."""
        background.call(self._release())

    async def _release(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        self._held = False
        await give_back(self._lab, self.ticket, self.run_id if self._own_run else None)

    async def _renew(self, ttl: float) -> None:
        while self._held:
            await asyncio.sleep(ttl / 3)
            with contextlib.suppress(AgentlabError, ConnectionError):
                leases = await self._lab._connection.ask(Renew(owner=self._lab.owner), Leases, start=False)
                if all(grant.ticket != self.ticket for grant in leases.grants):
                    self._held = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Hold {', '.join(self.units)} · {'held' if self.held else 'not held'} · ticket {self.ticket}>"


async def take(
    lab: Lab,
    units: tuple[str, ...],
    root: Path | None,
    host: str,
    *,
    mode: Mode,
    ttl: float,
    wait: bool,
    timeout: float | None,
    run_id: str | None,
    new_run: str,
    renew: bool,
) -> Hold:
    """Claim the units for the lab's user, in `run_id` or a run of its own. Raises WouldBlock, AlreadyHeld, NotHeld (timeout)."""
    own_run = run_id is None
    if run_id is None:
        assert root is not None
        run_id = new_run
        start = StartRun(
            run_id=run_id, name=own_name(lab), root=str(root), host=host, session_id=lab.session_id, user=lab.user,
            session_kind=lab.kind,
        )  # fmt: skip
        await lab._connection.ask(start, object)
    claim = Claim(
        owner=lab.owner, units=units, mode=mode, run_id=run_id, ttl=ttl, wait=wait, priority=Priority.OPERATOR,
    )  # fmt: skip
    asked: asyncio.Future[Granted | Queued] = asyncio.ensure_future(lab._connection.ask(claim, object))  # type: ignore[arg-type]
    try:
        reply = await asyncio.shield(asked)
        grant = reply if isinstance(reply, Granted) else await _wait(lab, reply, units, timeout)
    except BaseException:
        # Ctrl-C too: whoever stops waiting leaves the queue.
        await asyncio.shield(_leave(lab, asked, run_id if own_run else None))
        raise
    return Hold(lab, run_id, grant, own_run=own_run, renew=renew)


async def _wait(lab: Lab, queued: Queued, units: tuple[str, ...], timeout: float | None) -> Granted:
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = ROUND if deadline is None else deadline - time.monotonic()
        reply = await lab._connection.ask(WaitTicket(ticket=queued.ticket, timeout=min(max(left, 0.0), ROUND)), object)
        if isinstance(reply, Granted):
            return reply
        if isinstance(reply, Queued):
            queued = reply
        if left <= 0:
            behind = [{"owner": b.owner, "waits": b.waits} for b in queued.behind]
            place = queue_text({"units": units, "position": queued.position, "behind": behind})
            raise NotHeld(
                f"Not granted after {timeout:g} s: it {place}. Ask again to queue anew.", ticket=queued.ticket
            )


async def _leave(lab: Lab, asked: asyncio.Future[Granted | Queued], own_run: str | None) -> None:
    ticket = None
    with contextlib.suppress(AgentlabError):
        ticket = (await asked).ticket
    await give_back(lab, ticket, own_run)


async def give_back(lab: Lab, ticket: int | None, own_run: str | None) -> None:
    """Release a ticket, and end the run that was opened for it."""
    if ticket is not None:
        with contextlib.suppress(NotFound):
            await lab._connection.ask(Release(owner=lab.owner, tickets=(ticket,)), Done)
    if own_run is not None:
        with contextlib.suppress(NotFound):
            await lab._connection.ask(EndRun(run_id=own_run), Done)


async def release(lab: Lab, tickets: tuple[int, ...], units: tuple[str, ...]) -> None:
    """Give back these tickets of the lab's user, or all, and end the runs that were opened for them."""
    tables = (await lab._connection.ask(GetState(), View)).data["tables"]
    mine = [row for row in tables["locks"].values() if row["owner"] == lab.owner]
    await lab._connection.ask(Release(owner=lab.owner, tickets=tickets, units=units), Done)
    if units:
        return
    opened = {key for key, row in tables["runs"].items() if row["name"] == own_name(lab) and row["status"] == "open"}
    kept = {row["run_id"] for row in mine if tickets and row["ticket"] not in tickets}
    for run_id in {row["run_id"] for row in mine} & opened - kept:
        with contextlib.suppress(NotFound, Refused):
            await lab._connection.ask(EndRun(run_id=run_id), Done)


def own_name(lab: Lab) -> str:
    """Of the runs that are opened for a claim alone. Nobody else's have spaces in their names."""
    return f"claim by {lab.user}"
