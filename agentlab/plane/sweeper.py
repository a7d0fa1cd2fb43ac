"""Time: leases expire when they are due, runtimes are looked at, memory and the write-ahead log are kept small."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from agentlab.config import Config
from agentlab.core import commands as c
from agentlab.core.events import JSON
from agentlab.core.health import bucket
from agentlab.core.views import Row
from agentlab.errors import AgentlabError
from agentlab.runtimes.base import Runtime

from .engine import Engine
from .handler import PlaneHandler
from .supervisor import Supervisor

log = logging.getLogger(__name__)


class Sweeper:
    def __init__(
        self,
        engine: Engine,
        supervisor: Supervisor,
        handler: PlaneHandler,
        runtimes: Sequence[Runtime],
        config: Config,
        kinds: Sequence[str],
        idle: Callable[[], None],
    ) -> None:
        self.engine, self.supervisor, self.handler = engine, supervisor, handler
        self.runtimes, self.config, self.kinds = runtimes, config, tuple(kinds)
        self._idle = idle
        self._quiet_since = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        for runtime in self.runtimes:
            await self._register(runtime)
        loops = (self._expire(), self._sweep(), self._heartbeat(), self._detect())
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _expire(self) -> None:
        """Leases and questions end when they are due, not at the next sweep. A new one cannot be due earlier than it was made."""
        while True:
            due, instant = self.engine.leases.next_due(), self.engine.now()
            now = instant.mono
            limits = [question.expires for question in self.engine.state.asked.values() if question.expires is not None]
            if (due is not None and due <= now) or (limits and min(limits) <= instant.wall):
                await self._submit(c.Tick())  # refused at once while the log is in doubt: hence the sleep
            await asyncio.sleep(0.05 if due is None else min(max(0.02, due - now), 0.25))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self.config.intervals.sweep)
            now = self.engine.now().mono
            for session in self.handler.sessions:
                self.engine.leases.renew(f"session:{session}", now)
            await self._submit(c.Tick())
            self.engine.trim(self.config.limits.ended_runs)
            self.engine.leases.compact(self.engine.state.locks)
            if time.monotonic() - self.engine.last_commit >= self.config.intervals.checkpoint:
                await self.engine.store.checkpoint()
            self._look_for_idleness()

    def _look_for_idleness(self) -> None:
        limit = self.config.intervals.idle_exit
        live = any(run.live for run in self.engine.state.runs.values())
        if self.handler.peers or live:
            self._quiet_since = time.monotonic()
        elif limit and time.monotonic() - self._quiet_since > limit:
            self._idle()

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self.config.intervals.heartbeat)
            for runtime in self.runtimes:
                try:
                    ill = await runtime.health()
                except Exception as error:
                    ill = f"{type(error).__name__}: {error}"
                await self._submit(c.RuntimeSeen(runtime_id=runtime.id, ok=not ill, reason=ill))

    async def _detect(self) -> None:
        """Which agent programs are there: once at the start, beside everything else, and then now and then."""
        while True:
            for runtime in self.runtimes:
                try:
                    await self._register(runtime, await runtime.detect())
                except Exception:
                    log.exception("detecting agent programs on %s failed", runtime.id)
            await asyncio.sleep(600.0)

    async def _register(self, runtime: Runtime, clis: tuple[c.CLI, ...] | None = None) -> None:
        row = self.engine.state.runtimes.get(runtime.id)
        known = clis if clis is not None else (row.clis if row else ())
        await self._submit(
            c.RegisterRuntime(
                runtime_id=runtime.id,
                kind=runtime.kind,
                host=runtime.host,
                slots=runtime.slots,
                kinds=self.kinds,
                clis=known,
            )
        )

    async def _submit(self, command: c.AnyCommand) -> None:
        try:
            await self.engine.submit(command)
        except AgentlabError as error:
            log.warning("%s: %s", type(command).__name__, error)


def dress(engine: Engine, supervisor: Supervisor, config: Config) -> Callable[[str, Row], Row]:
    """What a row says beside what is in the log: a runtime's health, slots in use and last sign of life; when a lease ends.

    `expires` of a lock is the last sign of life of its owner and the term from then on. It moves with every sign of life, and no
    row is sent for that: it is that of the moment in which the row left.
    """

    def dressed(table: str, row: Row) -> Row:
        if table == "locks":
            now = engine.now()
            left = engine.leases.left(row["owner"], row["ttl"], now.mono) if row["token"] else None
            return {**row, "expires": None if left is None else now.wall + int(left * 1e9)}
        if table != "runtimes":
            return row
        now = engine.now()
        silent = now.mono - engine.leases.seen.get(row["runtime_id"], now.mono)
        limits = config.limits
        health = bucket(
            row["status"] == "online", now.mono - silent, now.mono,
            offline=limits.offline, recently_lost=limits.recently_lost, gc_soon=limits.gc_soon,
        )  # fmt: skip
        more: dict[str, JSON] = {
            "health": health,
            "used": supervisor.used(row["runtime_id"]),
            "last_seen": now.wall - int(silent * 1e9),
        }
        return {**row, **more}

    return dressed
