"""One agent from being hired to its end: claims, prompts, follow-ups, and what people tell it meanwhile."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import traceback
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from agentlab import config, kinds, processes
from agentlab.core import vendors
from agentlab.core.commands import Earlier, Finish, Hired, Mail, Status, rid_of_claims
from agentlab.core.events import GO_ON, JSON, AgentSpec, AnyBody, Error, Guard, Message, StateSet
from agentlab.errors import AgentlabError, resets_text
from agentlab.link import messages as link
from agentlab.paths import Workspace
from agentlab.runtimes.base import Launch
from agentlab.sandbox import Sandbox, choose

from .connection import PlaneGate
from .drivers.base import Context, Driver, Turn
from .environment import environment, private_folder, shared_folder
from .governor import LIMITED, UNKNOWN_RESET, Governor, Silence, Verdict, retry_after
from .inbox import Inbox, mail_of
from .model_proxy import ModelProxy
from .tools import ToolHost

PROGRAMS = frozenset({"script", "python"})
"""Kinds that are no models: they may wait for a lock as long as it takes, and what they are given is no message."""

ANSWERING = kinds.DRIVERS.keys() - PROGRAMS - {"cli"}
"""Kinds whose turn has said or done something. Of other kinds nobody knows what their silence means."""

NO_OUTPUT = (
    "The turn ended as if all were well, but the agent has neither said anything nor called a tool. Look at what its model "
    "answered (`run.exchanges(blobs=True)`), and prompt it again, with other words or another model."
)

GRACE = 2.0  # s that a stopped agent has to close; half of them to end its turn
NOTICE = 30.0  # s between looks at an agent that is quiet: a person may have been asked meanwhile
_HANGS = 5.0  # s for a driver whose processes are gone
SWEEP = 0.5  # s that what it left behind has between TERM and KILL

log = logging.getLogger(__name__)


class Worker:
    """`alone`: this process is the agent's runner and nothing else, so that all its descendants are the agent's."""

    def __init__(self, launch: Launch, *, alone: bool = False) -> None:
        self._launch = launch
        self._alone = alone
        self._gate = PlaneGate(launch, on_message=self._message, adopted=self._adopted, recorded=self._recorded)
        self._inbox = Inbox()
        self._orders: asyncio.Queue[str] = asyncio.Queue()  # interrupt, pause, resume: one after the other
        self._driver: Driver | None = None
        self._tools: ToolHost | None = None
        self._models: ModelProxy | None = None
        self._prompting = False
        self._paused = False
        self._awake = asyncio.Event()
        self._awake.set()
        self._stopped: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._killed = asyncio.Event()
        self._over = asyncio.Event()  # the agent is; only its end has to be told
        self._left = asyncio.Event()
        self._usage: dict[str, float] = {}
        self._governor: Governor | None = None
        self._verdict: Verdict | None = None  # why its turn was ended by us
        self._stalled = ""  # what was said of its silence
        self._noticed = asyncio.Event()  # something was recorded
        self._vendor_session: str | None = None
        self._earlier: Earlier | None = None  # of the session that it is to go on in
        self._kind = ""
        self._context: Context  # of the driver, once there is one
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> int:
        """Do all of it. 0: the plane knows how the agent ended. 1: there was no plane to tell. 3: it would not listen."""
        told = False
        try:
            hired = await self._gate.start()
            end = await self._live(hired)
            self._over.set()
            await self._sweep()
            telling = asyncio.create_task(self._tell_end(end))
            leaving = asyncio.create_task(self._left.wait())
            await asyncio.wait((telling, leaving), return_when=asyncio.FIRST_COMPLETED)
            leaving.cancel()
            if not telling.done():
                log.warning("leaving without having told the plane; the journal has all but the end")
                telling.cancel()
                return 1
            await telling
            told = True
            return 0
        except AgentlabError as error:
            log.error("%s: %s", self._launch.agent, error)
            await self._sweep()
            return 3 if self._gate.refused.done() else 1
        finally:
            for task in self._tasks:
                task.cancel()
            await self._gate.close(done=told)

    def stop(self, reason: str = "") -> None:
        """End the agent soon; asked again, now; asked when only the plane has to be told, leave."""
        if self._over.is_set():
            self._left.set()
        elif self._stopped.done():
            self._killed.set()
        else:
            self._stopped.set_result(reason)

    def kill(self) -> None:
        """End the agent now."""
        self._killed.set()
        if not self._stopped.done():
            self._stopped.set_result("")

    # --- its life ----------------------------------------------------------------------------------------------

    async def _live(self, hired: Hired) -> Finish:
        """From the first claim to the last process; how it ended. Raises the plane's error where it refuses the runner."""
        working = asyncio.create_task(self._work(hired), name="agentlab-work")
        self._background(self._obey())
        ends: list[asyncio.Future[Any]] = [working, self._stopped, self._gate.refused]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self._gate.refused.done():
            self._killed.set()
        elif not working.done():
            self._background(self._status("stopping"))
        cancelled = not working.done()
        await self._close(working)
        if self._gate.refused.done():
            raise self._gate.refused.result()
        agent, usage = self._launch.agent, self._usage
        if cancelled or working.cancelled():
            reason = self._stopped.result() if self._stopped.done() else ""
            return Finish(agent=agent, status="cancelled", reason="cancelled", error=reason, usage=usage)
        try:
            turn = working.result()
        except Exception as error:
            return failure(agent, error, usage)
        return Finish(
            agent=agent, status=turn.status, output=turn.output, error=turn.error, reason=turn.reason,
            exit_code=turn.exit_code, last_lines=turn.last_lines, usage=usage,
            resets=None if turn.resets is None else int(turn.resets * 1e9),
        )  # fmt: skip

    async def _work(self, hired: Hired) -> Turn:
        spec, root, home = hired.spec, Path(hired.root), Path(self._launch.home)
        self._kind, self._earlier = spec.kind, hired.earlier
        workspace = Workspace(root, home)
        workspace.check_root()
        units = tuple(workspace.canonical_unit(unit) for unit in spec.claims)
        env = environment(os.environ, hired.agent, hired.env, self._launch.secrets)
        settings = config.load(home)
        limits = settings.limits
        never = Silence(*[float("inf")] * 4)  # a script may sleep as long as it likes
        silence = Silence(limits.stall, limits.idle, limits.stall_in_tool, limits.idle_in_tool)
        self._governor = Governor(spec.budget, never if spec.kind in PROGRAMS else silence, spec.wait_limits)
        sandbox, network = await self._confine(settings.sandbox, home), settings.sandbox.reaches
        self._tools = ToolHost(
            root, self._gate, home=home, env=env, spec=spec, claims=hired.claims,
            hold=None if spec.kind in PROGRAMS else limits.hold, children=limits.children, blob_limit=limits.blob,
            home_rules=settings.policy,
            sandbox=sandbox,
        )  # fmt: skip
        private = private_folder(home, hired.agent)
        local = private / "model" / "model.sock" if network == "model" and spec.boundary == "native" else None
        context = Context(
            agent=hired.agent, spec=spec, root=root, private=private, shared=shared_folder(home, spec.kind),
            tools=self._tools, gate=self._gate, env=env, models=self._recorder(settings.models, local),
            sandbox=sandbox, network=network,
        )  # fmt: skip
        driver: Driver = driver_of(spec)(context)
        self._context = context
        if missing := tuple(unit for unit in units if self._gate.held(unit, spec.claims_mode) is None):
            await self._gate.claim(missing, spec.claims_mode, ttl=spec.ttl, rid=rid_of_claims(hired.agent))
        await self._awake.wait()
        await self._start(driver)
        return await self._prompts(spec.task, keep=spec.keep)

    async def _confine(self, wanted: config.Confinement, home: Path) -> Sandbox | None:
        """What its commands run in, and its program where that keeps its own tools. Raises Unavailable: it was asked for by
        name and cannot be had."""
        sandbox, why = await asyncio.to_thread(choose, wanted, home)
        name = sandbox.name if sandbox else "none"
        self._gate.record(StateSet(store="sandbox", key=self._launch.agent, after=name, provenance=why))
        return sandbox

    def _recorder(self, wanted: config.Models, local: Path | None) -> ModelProxy | None:
        """What records its model. None: it has none, or it is not to be recorded."""
        if self._kind not in PROGRAMS and wanted.record:
            self._models = ModelProxy(self._gate, limit=wanted.body, local=local)
        return self._models

    async def _start(self, driver: Driver) -> None:
        self._driver = driver
        await driver.start()
        if self._paused:
            await driver.freeze()

    async def _prompts(self, task: JSON, *, keep: bool) -> Turn:
        """The task and all follow-ups; the last turn."""
        if isinstance(task, str) and self._kind not in PROGRAMS:
            self._gate.record(Message(role="user", text=task))
        turn = Turn("done") if task is None and keep else await self._begun(task)
        while (keep or turn.status != "failed") and not self._over_for_good(turn):
            mail = self._inbox.take()
            if mail is None and not keep:
                break
            if mail is None:
                self._background(self._status("idle", said(turn)))
                mail = await self._inbox.wait()
                self._background(self._status("running"))
            self._gate.record(StateSet(store="inbox", key=str(mail.seq), after="taken"))
            turn = await self._begun(mail.text)
        return turn

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
        self._vendor_session = None
        await self._start(driver_of(spec)(self._context))
        return await self._prompt(task)

    async def _prompt(self, task: JSON) -> Turn:
        """One prompt to its end, tried again where that is safe and may help."""
        attempt = 1
        while True:
            turn = await self._once(task)
            wait = self._wait_before_next(turn, attempt)
            if wait is None or self._stopped.done():
                return turn
            seconds, why = wait
            told = f"{why} {said(turn)}".strip()
            self._gate.record(Error(kind=turn.reason, message=told), status="retry")
            self._background(self._status("idle", told))
            await asyncio.sleep(seconds)
            self._background(self._status("running"))
            if turn.reason in LIMITED and self._governor and self._governor.calls:
                task = "Go on where you were interrupted."
            attempt += turn.reason not in LIMITED

    def _wait_before_next(self, turn: Turn, attempt: int) -> tuple[float, str] | None:
        """s until the next try and what is said of it; None: this was the last."""
        spec, governor = self._context.spec, self._governor
        if turn.status != "failed" or self._verdict or governor is None or self._kind in PROGRAMS:
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
        governor.settle(turn.usage)
        used_up = None if self._verdict else governor.verdict(time.monotonic())
        if used_up and turn.reason == "limit":  # its program was told our limit
            self._verdict = used_up
        elif used_up and turn.status == "done":
            said = f"{used_up.text} It told so only when its turn had ended."
            self._gate.record(Guard(rule=used_up.reason, detail=said), status="warned")
        if turn.status == "done" and self._kind in ANSWERING and not (turn.output or governor.said or governor.calls):
            turn = replace(turn, status="failed", reason="no_output", error=NO_OUTPUT)
            self._gate.record(Error(kind=turn.reason, message=turn.error), status="error")
        for limit in governor.untold() if turn.status == "done" and self._kind not in PROGRAMS else ():
            said = f"It does not tell what it uses: {limit} cannot end it."
            self._gate.record(Guard(rule="budget", detail=said), status="warned")
        if self._verdict:
            limited = self._verdict.reason in LIMITED
            resets = self._models.resets if limited and self._models else None
            turn = replace(turn, status="failed", reason=self._verdict.reason, error=self._verdict.text, resets=resets)
            if limited:
                self._verdict = None  # of this turn: what it is sent later may find the limit gone
        for what, much in turn.usage.items():
            self._usage[what] = self._usage.get(what, 0) + much
        self._in_session(turn.vendor_session)
        return turn

    def _in_session(self, session: str | None) -> None:
        """Tell it at once: whoever goes on from a runner that was killed needs it."""
        if session and session != self._vendor_session:
            self._vendor_session = session
            self._background(self._status("running"))

    # --- what it may use up ------------------------------------------------------------------------------------

    def _recorded(self, body: AnyBody, columns: dict[str, Any]) -> None:
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
                await _quietly(driver.interrupt(), "interrupting the agent")
                return
            self._say_silence(governor.stalled(now))
            self._noticed.clear()
            try:
                async with asyncio.timeout(min(governor.next(now), NOTICE)):
                    await self._noticed.wait()
            except TimeoutError:
                pass

    def _say_silence(self, said: str) -> None:
        if said != self._stalled:
            self._stalled = said
            self._gate.record(Guard(rule="stall", detail=said or "it goes on"), status="warned" if said else "over")

    # --- its end -----------------------------------------------------------------------------------------------

    async def _close(self, working: asyncio.Task[Turn]) -> None:
        """Nothing of the agent runs any more afterwards."""
        closing = asyncio.create_task(self._close_gently(working))
        killed = asyncio.create_task(self._killed.wait())
        await asyncio.wait((closing, killed), timeout=GRACE, return_when=asyncio.FIRST_COMPLETED)
        killed.cancel()
        if late := not closing.done():
            closing.cancel()
            working.cancel()
            if self._tools:  # what the turn waits for is ended by TERM, for as long as it likes
                await _quietly(self._tools.end(), "ending its commands")
            if self._driver:
                await _quietly(self._driver.close(now=True), "closing the agent")
            await asyncio.wait((closing, working), timeout=_HANGS)
        if self._tools:
            await _quietly(self._tools.close(now=late), "closing its tools")
        if self._models:
            await _quietly(self._models.close(), "closing the record of its model")

    async def _close_gently(self, working: asyncio.Task[Turn]) -> None:
        driver = self._driver
        if self._paused and self._tools:
            await _quietly(self._tools.thaw(), "waking its commands")
        if self._paused and driver:
            await _quietly(driver.thaw(), "waking the agent")
        if driver and self._prompting:  # so that the turn still tells what it cost
            await _quietly(driver.interrupt(), "interrupting the agent")
            await asyncio.wait((working,), timeout=GRACE / 2)
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))
        if driver:
            await _quietly(driver.close(), "closing the agent")

    async def _sweep(self) -> None:
        """End what the agent left behind: it is over only when its process tree is empty."""
        left = processes.tree(os.getpid())[1:] if self._alone else []
        killed = await processes.end(left, marker=self._launch.agent, grace=SWEEP)
        if killed:
            log.info("%d processes were left behind and were ended", killed)

    async def _tell_end(self, end: Finish) -> None:
        await self._gate.flush()
        await self._gate.command(end)

    # --- what it is told ---------------------------------------------------------------------------------------

    def _adopted(self, hired: Hired) -> None:
        """Also after a lost connection: what was said meanwhile is said here."""
        self._follow_up(list(hired.mail))
        if hired.status == "stopping":
            if not self._stopped.done():
                self.stop()
        elif hired.status == "paused":
            self._orders.put_nowait("pause")
        else:
            self._orders.put_nowait("resume")

    def _message(self, message: link.Message) -> None:
        match message.verb:
            case "send":
                self._follow_up([mail_of(message)])
            case "interrupt" | "pause" | "resume" as order:
                self._orders.put_nowait(order)
            case "stop" if not self._stopped.done():
                self.stop(message.text)
            case "kill":
                self.kill()

    def _follow_up(self, mail: list[Mail]) -> None:
        if any(one.interrupt for one in self._inbox.put(mail)):
            self._orders.put_nowait("interrupt")

    async def _obey(self) -> None:
        """Orders, one after the other."""
        while True:
            order = await self._orders.get()
            if order == "interrupt" and self._driver and self._prompting:
                await _quietly(self._driver.interrupt(), "interrupting the agent")
            elif order == "pause" and not self._paused and not self._stopped.done():
                self._paused = True
                self._awake.clear()
                if self._governor:
                    self._governor.pause(time.monotonic())
                if self._driver:
                    await _quietly(self._driver.freeze(), "pausing the agent")
                if self._tools:
                    await _quietly(self._tools.freeze(), "pausing its commands")
                self._background(self._status("paused"))
            elif order == "resume" and self._paused:
                self._paused = False
                if self._tools:
                    await _quietly(self._tools.thaw(), "resuming its commands")
                if self._driver:
                    await _quietly(self._driver.thaw(), "resuming the agent")
                if self._governor and self._prompting:
                    self._governor.go_on(time.monotonic())
                self._awake.set()
                self._background(self._status("running"))

    async def _status(self, status: str, reason: str = "") -> None:
        """Tell the plane. It is no reason to fail: an agent that has ended meanwhile is over anyway."""
        told = Status(agent=self._launch.agent, status=status, reason=reason[:500], vendor_session=self._vendor_session)
        await _quietly(self._gate.command(told), f"reporting {status}")

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def said(turn: Turn) -> str:
    """What is told of a turn that failed while its agent goes on: its row says nowhere else when a limit resets."""
    return turn.error if turn.resets is None else f"{resets_text(turn.resets)} {turn.error}".strip()


def failure(agent: str, error: Exception, usage: dict[str, float]) -> Finish:
    """The end of an agent by an exception."""
    if isinstance(error, AgentlabError):
        reason = str(error.data.get("reason") or error.code)
        last_lines = str(error.data.get("last_lines", ""))
    else:
        log.error("the agent failed inside", exc_info=error)
        reason = "internal"
        last_lines = "".join(traceback.format_exception(error)[-5:])
    code = error.data.get("exit_code") if isinstance(error, AgentlabError) else None
    return Finish(
        agent=agent, status="failed", error=str(error) or type(error).__name__, reason=reason, usage=usage,
        exit_code=code if isinstance(code, int) else None, last_lines=last_lines,
    )  # fmt: skip


def driver_of(spec: AgentSpec) -> type[Driver]:
    """The class that drives this agent. Raises BadRequest: there is none, or it cannot hold the boundary."""
    found: type[Driver] = kinds.load(spec.kind)
    vendors.check_boundary(spec.kind, spec.boundary, found.boundaries, spec.options)
    return found


async def _quietly(work: Coroutine[Any, Any, object], what: str) -> None:
    """A step that must not keep the others from being taken: what goes wrong is logged."""
    try:
        await work
    except AgentlabError as error:
        log.warning("%s: %s", what, error)
    except Exception:
        log.exception("%s failed", what)
