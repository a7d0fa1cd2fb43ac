"""What an agent is told to do, one prompt after the other: its task, follow-ups, a try again, a session begun afresh."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec

from agentlab import kinds
from agentlab.core.commands import Earlier, Mail
from agentlab.core.events import GO_ON, JSON, AnyBody, Error, Guard, Message, StateSet
from agentlab.errors import AgentlabError, resets_text

from .connection import PlaneGate
from .drivers.base import Context, Driver, Turn, driver_of
from .governor import LIMITED, UNKNOWN_RESET, Governor, Verdict, retry_after
from .inbox import Inbox

ANSWERING = kinds.DRIVERS.keys() - kinds.PROGRAMS - {"cli"}
"""Kinds whose turn has said or done something. Of other kinds nobody knows what their silence means."""

NO_OUTPUT = (
    "The turn ended as if all were well, but the agent has neither said anything nor called a tool. Look at what its model "
    "answered (`run.exchanges(blobs=True)`), and prompt it again, with other words or another model."
)

NOTICE = 30.0  # s between looks at an agent that is quiet: a person may have been asked meanwhile

LOOK = 60.0  # s between looks whether a limit has reset: clocks are set, and machines sleep

log = logging.getLogger(__name__)


class Conversation:
    """`stopped` is done when the agent shall end. `tell`: its status, and what is said of it, for the plane."""

    def __init__(
        self, gate: PlaneGate, inbox: Inbox, stopped: asyncio.Future[str], tell: Callable[[str, str], None]
    ) -> None:
        self.usage: dict[str, float] = {}
        self.session: str | None = None  # of the vendor
        self._gate = gate
        self._inbox = inbox
        self._stopped = stopped
        self._tell = tell
        self._driver: Driver | None = None
        self._governor: Governor | None = None
        self._context: Context  # of the driver, once there is one
        self._earlier: Earlier | None = None  # of the session that it is to go on in
        self._prompting = False
        self._paused = False
        self._awake = asyncio.Event()
        self._awake.set()
        self._verdict: Verdict | None = None  # why its turn was ended by us
        self._stalled = ""  # what was said of its silence
        self._noticed = asyncio.Event()  # something was recorded

    async def hold(self, driver: Driver, context: Context, governor: Governor, earlier: Earlier | None) -> Turn:
        """The task and all follow-ups; the last turn."""
        self._context, self._governor, self._earlier = context, governor, earlier
        await self._awake.wait()
        await self._start(driver)
        task, keep = context.spec.task, context.spec.keep
        if isinstance(task, str) and not self._is_program():
            self._gate.record(Message(role="user", text=task))
        turn = Turn("done") if task is None and keep else await self._begun(task)
        while (keep or turn.status != "failed") and not self._over_for_good(turn):
            mail = self._inbox.take()
            if mail is None and not keep:
                break
            if mail is None:
                mail = await self._sent(turn)
                self._tell("running", "")
            self._gate.record(StateSet(store="inbox", key=str(mail.seq), after="taken"))
            turn = await self._begun(mail.text)
        return turn

    async def _sent(self, turn: Turn) -> Mail:
        """Its next follow-up. Until then it is told how its turn failed; and when a limit resets, for as long as that is to come."""
        if _ahead(turn) > 0:
            self._tell("idle", _said(turn))
            while (ahead := _ahead(turn)) > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(ahead, LOOK)):
                        return await self._inbox.wait()
        self._tell("idle", turn.error)
        return await self._inbox.wait()

    # --- what it is told meanwhile -----------------------------------------------------------------------------

    async def interrupt(self) -> bool:
        """End its turn, so that it still tells what it cost. False: it is in none."""
        if self._driver is None or not self._prompting:
            return False
        await quietly(self._driver.interrupt(), "interrupting the agent")
        return True

    async def pause(self) -> None:
        if self._paused:
            return
        self._paused = True
        self._awake.clear()
        if self._governor:
            self._governor.pause(time.monotonic())
        if self._driver:
            await quietly(self._driver.freeze(), "pausing the agent")
            await quietly(self._context.tools.freeze(), "pausing its commands")
        self._tell("paused", "")

    async def resume(self) -> None:
        if not self._paused:
            return
        self._paused = False
        await self._thaw()
        if self._governor and self._prompting:
            self._governor.go_on(time.monotonic())
        self._awake.set()
        self._tell("running", "")

    async def wake(self) -> None:
        """So that it can end: nothing more is begun."""
        if self._paused:
            await self._thaw()

    async def close(self, *, now: bool = False) -> None:
        if self._driver:
            await quietly(self._driver.close(now=now), "closing the agent")

    async def _thaw(self) -> None:
        if self._driver:
            await quietly(self._context.tools.thaw(), "waking its commands")
            await quietly(self._driver.thaw(), "waking the agent")

    # --- one prompt --------------------------------------------------------------------------------------------

    async def _start(self, driver: Driver) -> None:
        self._driver = driver
        await driver.start()
        if self._paused:
            await driver.freeze()

    def _is_program(self) -> bool:
        return self._context.spec.kind in kinds.PROGRAMS

    def _over_for_good(self, turn: Turn) -> bool:
        return bool(self._verdict) or self._stopped.done() or turn.reason == "resume_rejected"

    async def _begun(self, task: JSON) -> Turn:
        """One prompt to its end. Where the vendor does not have the session that was to be resumed, that is said, and a
        fresh one begins only if it is known that no tool had run in that one: what was done is not done twice."""
        turn = await self._prompt(task)
        if turn.reason != "resume_rejected":
            return turn
        earlier, governor = self._earlier, self._governor
        if earlier and not earlier.acted and governor and not governor.calls:
            if task == GO_ON and earlier.task:
                task = earlier.task
                self._gate.record(Message(role="user", text=str(task)))
            return await self._afresh(turn, task)
        why = (
            "Tools had run in that session" if earlier else "Nobody here knows whether tools had run in that session"
        ) + ", so no fresh one was begun: what was done is not done twice."
        then = "Look at what is there, and spawn an agent without resume, with a task that says what is left to do."
        self._gate.record(Guard(rule="resume", detail=f"{turn.error} {why}"), status="denied")
        return replace(turn, error=f"{turn.error}\n{why} {then}".strip())

    async def _afresh(self, rejected: Turn, task: JSON) -> Turn:
        """A new session instead of the one that was to be resumed, in which nothing was done."""
        self._gate.record(Guard(rule="resume", detail=f"{rejected.error} A fresh session is begun."), status="warned")
        if self._driver:
            await self._driver.close()
        spec = msgspec.structs.replace(self._context.spec, resume=None)
        self._context = replace(self._context, spec=spec)
        self.session = None
        await self._start(driver_of(spec)(self._context))
        return await self._prompt(task)

    async def _prompt(self, task: JSON) -> Turn:
        """One prompt to its end, tried again where that is safe and may help."""
        attempt = 1
        while True:
            turn = self._plain(await self._once(task))
            wait = self._wait_before_next(turn, attempt)
            if wait is None or self._stopped.done():
                return turn
            seconds, why = wait
            told = f"{why} {_said(turn)}".strip()
            self._gate.record(Error(kind=turn.reason, message=told), status="retry")
            self._tell("idle", told)
            await asyncio.sleep(seconds)
            self._tell("running", "")
            if turn.reason in LIMITED and self._governor and self._governor.calls:
                task = "Go on where you were interrupted."
            attempt += turn.reason not in LIMITED

    def _plain(self, turn: Turn) -> Turn:
        """With the address of its model in place of that of our recorder, which a program knows instead."""
        if (models := self._context.models) is None or not (turn.error or turn.last_lines):
            return turn
        return replace(turn, error=models.plain(turn.error), last_lines=models.plain(turn.last_lines))

    def _wait_before_next(self, turn: Turn, attempt: int) -> tuple[float, str] | None:
        """s until the next try and what is said of it; None: this was the last."""
        spec, governor = self._context.spec, self._governor
        if turn.status != "failed" or self._verdict or governor is None or self._is_program():
            return None
        if turn.reason in LIMITED and spec.wait_limits and (turn.resets or turn.reason == "rate_limit"):
            seconds = max(1.0, turn.resets - time.time()) if turn.resets else UNKNOWN_RESET
            return seconds, f"Waits {seconds:.0f} s for its limit to reset."
        again = retry_after(turn.reason, attempt, spec.retries, governor.calls)
        return None if again is None else (again, f"Tries again in {again:g} s.")

    async def _once(self, task: JSON) -> Turn:
        await self._awake.wait()
        assert self._driver is not None and self._governor is not None
        driver, governor = self._driver, self._governor
        if used_up := governor.verdict(time.monotonic()):
            self._verdict = used_up
            return Turn("failed", reason=used_up.reason, error=used_up.text)
        self._prompting = True
        governor.begin(time.monotonic())
        watching = asyncio.create_task(self._govern(driver, governor), name="agentlab-governor")
        try:
            turn = await driver.prompt(task)
        finally:
            self._prompting = False
            watching.cancel()
            governor.end(time.monotonic())
            self._say_silence("")
        turn = self._judged(turn, governor)
        for what, much in turn.usage.items():
            self.usage[what] = self.usage.get(what, 0) + much
        self._in_session(turn.vendor_session)
        return turn

    def _in_session(self, session: str | None) -> None:
        """Tell it at once: whoever goes on from a runner that was killed needs it."""
        if session and session != self.session:
            self.session = session
            self._tell("running", "")

    # --- what it may use up ------------------------------------------------------------------------------------

    def see(self, body: AnyBody, columns: dict[str, Any]) -> None:
        """Something of it was recorded."""
        if self._governor and not isinstance(body, Guard):
            self._governor.see(body, columns, time.monotonic())
            self._noticed.set()

    async def _govern(self, driver: Driver, governor: Governor) -> None:
        """Beside a turn: say that it has stalled; end it when its budget or its time is up."""
        while True:
            now = time.monotonic()
            self._in_session(getattr(driver, "session", None))
            if self._gate.asking:
                governor.go_on_waiting(now)
            if verdict := governor.verdict(now):
                self._verdict = verdict
                self._gate.record(Guard(rule=verdict.reason, detail=verdict.text), status="denied")
                await quietly(driver.interrupt(), "interrupting the agent")
                return
            self._say_silence(governor.stalled(now))
            self._noticed.clear()
            try:
                async with asyncio.timeout(min(governor.next(now), NOTICE)):
                    await self._noticed.wait()
            except TimeoutError:
                pass

    def _judged(self, turn: Turn, governor: Governor) -> Turn:
        """A turn as it counts: by what it used, and by whether it did anything."""
        spec = self._context.spec
        governor.settle(turn.usage)
        used_up = None if self._verdict else governor.verdict(time.monotonic())
        if used_up and turn.reason == "limit":  # its program was told our limit
            self._verdict = used_up
        elif used_up and turn.status == "done":
            said = f"{used_up.text} It told so only when its turn had ended."
            self._gate.record(Guard(rule=used_up.reason, detail=said), status="warned")
        if turn.status == "done" and spec.kind in ANSWERING and not (turn.output or governor.said or governor.calls):
            turn = replace(turn, status="failed", reason="no_output", error=NO_OUTPUT)
            self._gate.record(Error(kind=turn.reason, message=turn.error), status="error")
        for limit in governor.untold() if turn.status == "done" and not self._is_program() else ():
            said = f"It does not tell what it uses: {limit} cannot end it."
            self._gate.record(Guard(rule="budget", detail=said), status="warned")
        if self._verdict:
            limited = self._verdict.reason in LIMITED
            resets = self._context.models.resets if limited and self._context.models else None
            turn = replace(turn, status="failed", reason=self._verdict.reason, error=self._verdict.text, resets=resets)
            if limited:
                self._verdict = None  # of this turn: what it is sent later may find the limit gone
        return turn

    def _say_silence(self, said: str) -> None:
        if said != self._stalled:
            self._stalled = said
            self._gate.record(Guard(rule="stall", detail=said or "it goes on"), status="warned" if said else "over")


def _ahead(turn: Turn) -> float:
    """s until the limit resets that it ran into; nothing to wait for where that is not above 0."""
    return (turn.resets or 0.0) - time.time()


def _said(turn: Turn) -> str:
    """What is told of a turn that failed while its agent goes on: its row says nowhere else when a limit resets."""
    return turn.error if turn.resets is None else f"{resets_text(turn.resets)} {turn.error}".strip()


async def quietly(work: Coroutine[Any, Any, object], what: str) -> None:
    """A step that must not keep the others from being taken: what goes wrong is logged."""
    try:
        await work
    except AgentlabError as error:
        log.warning("%s: %s", what, error)
    except Exception:
        log.exception("%s failed", what)
