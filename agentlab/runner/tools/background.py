"""Commands that go on while their agent does something else: started, looked at, stopped, and gone with the agent.

A command keeps what it was granted until it has ended, and no claim that it stands on can be given back before. Where a
grant is taken from it, by a person or by the end of its lease, it is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agentlab.errors import NotFound, Refused

from .results import Printed, Ran
from .transcript import Transcript
from .watch import Found

MOST = 4  # of one agent, beside those that it waits for
KEPT = 16  # of those that have ended, whose output can still be read
_CLOSING = 10.0  # s for the last records
_EARLY = 0.5  # s after its start in which an end is told with it


@dataclass(eq=False)
class Job:
    """One command. started: it runs. stop: it shall end."""

    id: str
    shown: str
    transcript: Transcript
    started: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    why: str = ""  # it was stopped
    work: asyncio.Future[Ran] = field(init=False, repr=False)

    @property
    def running(self) -> bool:
        return not self.work.done()


class Background:
    """look: sorts out what the commands of this agent have written by now."""

    def __init__(self, directory: Path, look: Callable[[], Awaitable[Found]]) -> None:
        self._directory = directory
        self._look = look
        self._jobs: dict[str, Job] = {}

    async def start(self, id: str, argv: Sequence[str], run: Callable[[Job], Awaitable[Ran]]) -> Printed:
        """Return when it runs, or has ended already. Raises what the run raises before, and Refused: too many run."""
        running = [job for job in self._jobs.values() if job.running]
        if len(running) >= MOST:
            names = ", ".join(f"{job.id} ({job.shown})" for job in running)
            raise Refused(f"{MOST} commands are in the background already: {names}. Stop one first, with stop(id).")
        job = Job(id, " ".join(argv)[:80], Transcript(self._directory))
        job.work = asyncio.ensure_future(run(job))
        self._jobs[id] = job
        job.work.add_done_callback(lambda work: work.cancelled() or work.exception())  # told when somebody asks
        begun = asyncio.ensure_future(job.started.wait())
        try:
            await asyncio.wait({job.work, begun}, return_when=asyncio.FIRST_COMPLETED)
            if not job.started.is_set():
                job.work.result()  # it could not be started: raises why
        except BaseException:
            job.work.cancel()
            with contextlib.suppress(BaseException):
                await job.work
            self._jobs.pop(id, None)
            job.transcript.close()
            raise
        finally:
            begun.cancel()
        self._forget_old()
        await asyncio.wait({job.work}, timeout=_EARLY)
        return self._printed(job, None, Found())

    async def output(self, id: str, since: int | None, wait: float) -> Printed:
        """What it has printed, a page of it; after `wait` s at most if it has not ended before."""
        job = self._job(id)
        if job.running and wait:
            await asyncio.wait({job.work}, timeout=wait)
        return self._printed(job, since, await self._look() if job.running else Found())

    async def stop(self, id: str) -> Printed:
        """End all that it started, and tell the rest of what it printed."""
        job = self._job(id)
        self.end(job, "stopped")
        await asyncio.wait({job.work})
        return self._printed(job, None, Found())

    def end(self, job: Job, why: str) -> None:
        if job.running and not job.stop.is_set():
            job.why = why
            job.stop.set()

    async def close(self) -> None:
        """None of them runs afterwards."""
        jobs = list(self._jobs.values())
        for job in jobs:
            self.end(job, "its agent ended")
            if not job.started.is_set():
                job.work.cancel()  # it waits for a lock, and not for this
        if works := {job.work for job in jobs}:
            _, left = await asyncio.wait(works, timeout=_CLOSING)
            for work in left:  # their processes are gone; a plane that is away cannot tell whose their changes are
                work.cancel()
        for job in jobs:
            job.transcript.close()
        self._jobs.clear()

    def _job(self, id: str) -> Job:
        try:
            return self._jobs[id]
        except KeyError:
            known = ", ".join(f"{job.id} ({job.shown})" for job in self._jobs.values()) or "none"
            raise NotFound(f"There is no command {id!r} in the background. There are: {known}.") from None

    def _printed(self, job: Job, since: int | None, found: Found) -> Printed:
        running = job.running
        if not running and (error := job.work.exception()) is not None:
            raise error
        ran = None if running else job.work.result()
        start, text, end = job.transcript.page(since, over=not running)
        return Printed(
            id=job.id,
            running=running,
            code=ran.code if ran else None,
            signal=ran.signal if ran else None,
            why=job.why or ("timeout" if ran and ran.timed_out else ""),
            text=text,
            start=start,
            end=end,
            size=job.transcript.size,
            wrote=ran.wrote if ran else found.wrote,
            violations=ran.violations if ran else found.violations,
            hint=ran.hint if ran else "",
        )

    def _forget_old(self) -> None:
        ended = [job for job in self._jobs.values() if not job.running]
        for job in ended[:-KEPT]:
            job.transcript.close()
            del self._jobs[job.id]
