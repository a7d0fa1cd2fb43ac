"""One agent from being hired to its end: what it is given, what people tell it meanwhile, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from agentlab import config, kinds, processes
from agentlab.core.commands import Finish, Hired, Mail, Status, rid_of_claims
from agentlab.core.events import StateSet
from agentlab.errors import AgentlabError
from agentlab.link import messages as link
from agentlab.paths import Workspace
from agentlab.runtimes.base import Launch
from agentlab.sandbox import Sandbox, choose

from . import endings
from .connection import PlaneGate
from .conversation import Conversation, quietly
from .drivers.base import Context, Turn, driver_of
from .environment import environment, private_folder, shared_folder
from .governor import Governor, Silence
from .inbox import Inbox, mail_of
from .model_proxy import ModelProxy
from .tools import ToolHost

GRACE = 2.0  # s that a stopped agent has to close; half of them to end its turn
_HANGS = 5.0  # s for a driver whose processes are gone
SWEEP = 0.5  # s that what it left behind has between TERM and KILL

log = logging.getLogger(__name__)


class Worker:
    """`alone`: this process is the agent's runner and nothing else, so that all its descendants are the agent's."""

    def __init__(self, launch: Launch, *, alone: bool = False) -> None:
        self._launch = launch
        self._alone = alone
        self._stopped: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._killed = asyncio.Event()
        self._over = asyncio.Event()  # the agent is; only its end has to be told
        self._left = asyncio.Event()
        self._inbox = Inbox()
        self._orders: asyncio.Queue[str] = asyncio.Queue()  # interrupt, pause, resume: one after the other
        self._gate = PlaneGate(
            launch,
            on_message=self._message,
            adopted=self._adopted,
            recorded=lambda body, columns: self._conversation.see(body, columns),
        )
        self._conversation = Conversation(self._gate, self._inbox, self._stopped, self._tell)
        self._tools: ToolHost | None = None
        self._models: ModelProxy | None = None
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
            self._tell("stopping")
        cancelled = not working.done()
        await self._close(working)
        if self._gate.refused.done():
            raise self._gate.refused.result()
        agent, usage = self._launch.agent, self._conversation.usage
        if cancelled or working.cancelled():
            return endings.by_stop(agent, self._stopped.result() if self._stopped.done() else "", usage)
        try:
            return endings.by_turn(agent, working.result(), usage)
        except Exception as error:
            return endings.by_error(agent, error, usage)

    async def _work(self, hired: Hired) -> Turn:
        spec, root, home = hired.spec, Path(hired.root), Path(self._launch.home)
        workspace = Workspace(root, home)
        workspace.check_root()
        units = tuple(workspace.canonical_unit(unit) for unit in spec.claims)
        settings = config.load(home)
        context = await self._context(hired, settings, root, home)
        driver = driver_of(spec)(context)
        if missing := tuple(unit for unit in units if self._gate.held(unit, spec.claims_mode) is None):
            await self._gate.claim(missing, spec.claims_mode, ttl=spec.ttl, rid=rid_of_claims(hired.agent))
        governor = Governor(spec.budget, _silence(spec.kind, settings.limits), spec.wait_limits)
        return await self._conversation.hold(driver, context, governor, hired.earlier)

    async def _context(self, hired: Hired, settings: config.Config, root: Path, home: Path) -> Context:
        """What the agent's driver is given."""
        spec, limits = hired.spec, settings.limits
        program = spec.kind in kinds.PROGRAMS
        env = environment(os.environ, hired.agent, hired.env, self._launch.secrets)
        sandbox, network = await self._confine(settings.sandbox, home), settings.sandbox.reaches
        self._tools = ToolHost(
            root, self._gate, home=home, env=env, spec=spec, claims=hired.claims, hold=None if program else limits.hold,
            children=limits.children, blob_limit=limits.blob, home_rules=settings.policy, sandbox=sandbox,
        )  # fmt: skip
        private = private_folder(home, hired.agent)
        if not program and settings.models.record:
            local = private / "model" / "model.sock" if network == "model" and spec.boundary == "native" else None
            self._models = ModelProxy(self._gate, limit=settings.models.body, local=local)
        return Context(
            agent=hired.agent, spec=spec, root=root, private=private, shared=shared_folder(home, spec.kind),
            tools=self._tools, gate=self._gate, env=env, models=self._models, sandbox=sandbox, network=network,
        )  # fmt: skip

    async def _confine(self, wanted: config.Confinement, home: Path) -> Sandbox | None:
        """What its commands run in, and its program where that keeps its own tools. Raises Unavailable: it was asked for by
        name and cannot be had."""
        sandbox, why = await asyncio.to_thread(choose, wanted, home, Path(self._launch.root))
        name = sandbox.name if sandbox else "none"
        self._gate.record(StateSet(store="sandbox", key=self._launch.agent, after=name, provenance=why))
        return sandbox

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
                await quietly(self._tools.end(), "ending its commands")
            await self._conversation.close(now=True)
            await asyncio.wait((closing, working), timeout=_HANGS)
        if self._tools:
            await quietly(self._tools.close(now=late), "closing its tools")
        if self._models:
            await quietly(self._models.close(), "closing the record of its model")

    async def _close_gently(self, working: asyncio.Task[Turn]) -> None:
        await self._conversation.wake()
        if await self._conversation.interrupt():  # so that the turn still tells what it cost
            await asyncio.wait((working,), timeout=GRACE / 2)
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))
        await self._conversation.close()

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
            match await self._orders.get():
                case "interrupt":
                    await self._conversation.interrupt()
                case "pause" if not self._stopped.done():
                    await self._conversation.pause()
                case "resume":
                    await self._conversation.resume()

    def _tell(self, status: str, reason: str = "") -> None:
        self._background(self._status(status, reason))

    async def _status(self, status: str, reason: str) -> None:
        """Tell the plane. It is no reason to fail: an agent that has ended meanwhile is over anyway."""
        session = self._conversation.session
        told = Status(agent=self._launch.agent, status=status, reason=reason[:500], vendor_session=session)
        await quietly(self._gate.command(told), f"reporting {status}")

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _silence(kind: str, limits: config.Limits) -> Silence:
    if kind in kinds.PROGRAMS:  # a script may sleep as long as it likes
        return Silence(*[float("inf")] * 4)
    return Silence(limits.stall, limits.idle, limits.stall_in_tool, limits.idle_in_tool)
