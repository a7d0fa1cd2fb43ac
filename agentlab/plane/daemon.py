"""The plane as a process: everything put together, served, and taken down in the right order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from agentlab import discovery
from agentlab.__about__ import PROTOCOL, __version__
from agentlab.config import Config, load
from agentlab.core.commands import StartRun
from agentlab.core.events import JSON
from agentlab.core.turn import PLANE, Rules
from agentlab.errors import BadRequest
from agentlab.kinds import kinds as kinds_here
from agentlab.link import journal
from agentlab.link.messages import Admin
from agentlab.link.server import Server, serve_unix
from agentlab.runtimes.base import Runtime
from agentlab.runtimes.local import LocalRuntime
from agentlab.store.sqlite import SqliteStore

from .auth import Authority, home_secret
from .engine import Engine
from .feed import Feed
from .handler import PlaneHandler
from .http import serve_http
from .policies import Policies
from .secrets import Secrets
from .supervisor import Supervisor
from .sweeper import Sweeper, dress
from .workspaces import Workspaces

log = logging.getLogger(__name__)

DATABASE = "agentlab.db"


def rules(config: Config) -> Rules:
    """The numbers of the configuration that decisions depend on."""
    limits = config.limits
    return Rules(
        bypass=limits.bypass, offline=limits.offline, gc=limits.gc, dispatched=limits.dispatched, queued=limits.queued,
        idle_run=limits.idle_run, pause_hold=limits.pause_hold,
    )  # fmt: skip


class Plane:
    """`async with Plane(home) as plane: await plane.stopped.wait()`. One per home; a second one raises Unavailable."""

    def __init__(
        self,
        home: Path,
        config: Config | None = None,
        runtimes: Sequence[Runtime] | None = None,
        kinds: Sequence[str] | None = None,
    ) -> None:
        self.home = home.resolve()
        self.config = config or load(self.home)
        self.runtimes = list(runtimes) if runtimes is not None else [LocalRuntime(self.config, self.home)]
        self.kinds = kinds_here() if kinds is None else kinds
        self.stopped = asyncio.Event()
        self.token = discovery.new_token()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Plane:
        async with AsyncExitStack() as stack:
            stack.enter_context(discovery.hold(self.home))
            path = self.home / DATABASE
            self.engine = Engine(SqliteStore(path), rules(self.config))
            await self.engine.start()
            Policies(self.engine, self.home)
            stack.push_async_callback(self.engine.close)
            await self.engine.submit(StartRun(run_id=PLANE, name=PLANE, root="/", host=self.runtimes[0].host))
            authority = Authority(self.token, home_secret(self.home))
            socket = discovery.socket_path(self.home)
            secrets = Secrets()
            self.supervisor = Supervisor(
                self.engine, self.runtimes, secrets, home=self.home, address=f"unix:{socket}", token_for=authority.agent_token,
                read_journal=lambda agent, after: journal.read(journal.path_of(self.home, agent), after),
                drop_journal=lambda agent: journal.path_of(self.home, agent).unlink(missing_ok=True),
                heartbeat=self.config.intervals.heartbeat, grace=self.config.intervals.stop,
            )  # fmt: skip
            self.feed = Feed(
                self.engine, every=self.config.intervals.delta, backlog=self.config.limits.backlog,
                dress=dress(self.engine, self.supervisor, self.config),
            )  # fmt: skip
            stack.callback(self.feed.close)
            facts = {"home": str(self.home), "database": str(path)}
            workspaces = Workspaces(self.engine, self.config.limits, self.home)
            self.handler = PlaneHandler(
                self.engine, self.feed, self.supervisor, secrets, authority, workspaces, facts, self._admin
            )
            self.sweeper = Sweeper(
                self.engine, self.supervisor, self.handler, self.runtimes, self.config, self.kinds, self.stopped.set
            )
            await self.sweeper.start()
            stack.push_async_callback(self.sweeper.close)
            await self.supervisor.start()
            stack.push_async_callback(self.supervisor.close)
            self.server: Server = await serve_unix(socket, self.handler)
            stack.push_async_callback(self.server.close)
            self.http = ""
            if self.config.http:
                self.http = await stack.enter_async_context(serve_http(self))
            where = discovery.Plane.here(
                address=self.server.address, token=self.token, http=self.http, log=str(discovery.log_path(self.home))
            )
            discovery.write(self.home, where)
            stack.callback(discovery.remove, self.home, os.getpid())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _admin(self, request: Admin) -> JSON:
        match request.verb:
            case "status":
                return self.status()
            case "stop":
                live = [a.agent for a in self.engine.state.agents.values() if a.ended is None]
                discovery.mark_stopped(self.home)
                asyncio.get_running_loop().call_later(0.1, self.stopped.set)
                return {"stopping": True, "agents": live}
            case "doctor":
                from .doctor import diagnose

                checks = await diagnose(self.home, self.config, self.runtimes[0])
                return [msgspec.to_builtins(check) for check in checks]
        raise BadRequest(f"{request.verb!r}: choose status, stop or doctor.")

    def status(self) -> JSON:
        """How it is, for people and probes."""
        state = self.engine.state
        return {
            "pid": os.getpid(),
            "version": __version__,
            "protocol": PROTOCOL,
            "home": str(self.home),
            "database": str(self.home / DATABASE),
            "address": self.server.address,
            "http": self.http,
            "ok": not self.engine.failure,
            "reason": self.engine.failure,
            "position": self.engine.committed,
            "runs": sum(run.status == "open" and run.run_id != PLANE for run in state.runs.values()),
            "agents": sum(run.live for run in state.runs.values()),
            "waiting": sum(not t.token for t in state.locks.tickets.values()),
            "held": sum(bool(t.token) for t in state.locks.tickets.values()),
            "clients": len(self.handler.peers),
        }


async def serve(home: Path) -> None:
    """Be the plane of this home until TERM or INT, or until it is idle for long."""
    loop = asyncio.get_running_loop()
    # The store's thread gives the interpreter up at each SQLite statement and gets it back when the loop's thread has had
    # its slice. At the default of 5 ms a busy loop would make every commit wait; at this, ten times less.
    sys.setswitchinterval(0.0005)
    async with Plane(home) as plane:
        # What was loaded and folded stays. Of what comes later nearly all is gone when it is answered: looked through less
        # often, it costs less (7 % of everything under load).
        gc.freeze()
        gc.set_threshold(20_000, 50, 100)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, plane.stopped.set)
        log.info("serving %s at %s", home, plane.server.address)
        await plane.stopped.wait()
        log.info("stopping; agents go on")
