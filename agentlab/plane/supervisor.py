"""From queued agents to running ones, and what happens when a runner dies.

A slot of a runtime is taken before an agent is dispatched to it. What a runner is told (messages, signals) is pushed over
its own connection; what it missed while it was away is in the answer to its `Ready`. A runner that is gone is cleaned up
in this order: its processes are killed, its journal is read, its agent ends, its locks are free.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agentlab.core import commands as c
from agentlab.core import events as e
from agentlab.core import vendors
from agentlab.core.rows import ENDED, Agent, Question
from agentlab.core.views import Row
from agentlab.errors import AgentlabError, Unavailable
from agentlab.link.messages import Message
from agentlab.link.peer import Peer
from agentlab.runtimes.base import Ended, Launch, Place, Runtime

from .engine import Engine
from .secrets import Secrets

log = logging.getLogger(__name__)

RANK = {e.Priority.OPERATOR: 0, e.Priority.NORMAL: 1, e.Priority.BACKGROUND: 2}

ReadJournal = Callable[[str, int], tuple[Sequence[e.Blob], Sequence[c.Entry]]]
DropJournal = Callable[[str], None]


class Supervisor:
    def __init__(
        self,
        engine: Engine,
        runtimes: Sequence[Runtime],
        secrets: Secrets,
        *,
        home: Path,
        address: str,
        token_for: Callable[[str], str],
        read_journal: ReadJournal,
        drop_journal: DropJournal,
        heartbeat: float = 15.0,
        grace: float = 10.0,
    ) -> None:
        self.engine = engine
        self.runtimes = {runtime.id: runtime for runtime in runtimes}
        self.peers: dict[str, Peer] = {}
        self.secrets = secrets
        self._home, self._address, self._token_for = home, address, token_for
        self._read_journal, self._drop_journal = read_journal, drop_journal
        self._heartbeat, self._grace = heartbeat, grace
        self._watched: dict[str, asyncio.Task[None]] = {}
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._wake = asyncio.Event()
        self._dispatcher: asyncio.Task[None] | None = None
        engine.on_commit.append(self._committed)
        engine.on_rebuild.append(self._wake.set)

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Find the agents of an earlier plane again, then dispatch what is queued."""
        for agent in list(self.engine.state.agents.values()):
            if agent.status not in ENDED and agent.status != "queued":
                await self._adopt(agent)
        self._wake.set()
        self._dispatcher = asyncio.create_task(self._dispatch(), name="agentlab-dispatcher")

    async def close(self) -> None:
        """Let go; the runners go on."""
        tasks = [*self._watched.values(), *self._stopping.values(), *self._tasks]
        if self._dispatcher is not None:
            tasks.append(self._dispatcher)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for runtime in self.runtimes.values():
            await runtime.close()

    async def _adopt(self, agent: Agent) -> None:
        place = _place(agent.place)
        runtime = self.runtimes.get(agent.runtime or "")
        if runtime is None:
            log.warning("agent %s is on runtime %s, which is not here", agent.agent, agent.runtime)
            return
        if place is None:  # the plane died between dispatching and starting: whatever was started is not known to us
            await runtime.reap(agent.agent)
            self._spawn(self._launch(agent, runtime))
            return
        ended = await runtime.poll(place)
        if ended is None:
            self.secrets.bind(agent.agent, _looked_up(agent.spec)[0])
            self._watch(agent.agent, runtime, place)
            if agent.status == "stopping":
                self._stop(agent.agent, now=False)
        else:
            await self._lost(agent.agent, runtime, ended)

    # --- dispatching -------------------------------------------------------------------------------------------

    async def _dispatch(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            queued = [a for a in self.engine.state.agents.values() if a.status == "queued"]
            for agent in sorted(queued, key=lambda a: (RANK[a.spec.priority], a.queued_at)):
                runtime = self._with_a_slot(agent)
                if runtime is None:
                    continue
                try:
                    await self.engine.submit(c.Dispatch(agent=agent.agent, runtime_id=runtime.id))
                except AgentlabError as error:
                    log.warning("agent %s was not dispatched: %s", agent.agent, error)
                    continue
                await self._launch(agent, runtime)

    def _with_a_slot(self, agent: Agent) -> Runtime | None:
        rows = self.engine.state.runtimes
        for runtime in self.runtimes.values():
            row = rows.get(runtime.id)
            wanted = agent.spec.runtime in (None, runtime.id)
            if (
                wanted
                and row
                and row.status == "online"
                and agent.spec.kind in row.kinds
                and self.used(runtime.id) < row.slots
            ):
                return runtime
        return None

    def used(self, runtime_id: str) -> int:
        """Slots taken: agents that were dispatched to it and have not ended."""
        live = (a for a in self.engine.state.agents.values() if a.status not in ENDED and a.status != "queued")
        return sum(a.runtime == runtime_id for a in live)

    async def _launch(self, agent: Agent, runtime: Runtime) -> None:
        key = agent.agent
        try:
            launch = Launch(
                agent=key,
                token=self._token_for(key),
                address=self._address,
                root=self.engine.state.runs[agent.run_id].root,
                home=str(self._home),
                secrets=self._resolve(agent),
                heartbeat=self._heartbeat,
            )
            place = await runtime.start(launch)
        except (AgentlabError, OSError) as error:
            text = f"It could not be started on {runtime.id}: {error}"
            await self._finish(c.Finish(agent=key, status="failed", reason="launch", error=text))
            return
        self._watch(key, runtime, place)
        try:
            place_text = msgspec.json.encode(place).decode()
            await self.engine.submit(c.Dispatch(agent=key, runtime_id=runtime.id, place=place_text))
        except AgentlabError as error:  # it was stopped meanwhile, or has ended already
            log.info("agent %s: %s", key, error)
            if self.engine.state.agents[key].status in ENDED:
                await runtime.stop(place, grace=0.0)

    def _resolve(self, agent: Agent) -> dict[str, str]:
        """The values of the agent's environment. Those that a client gave are in memory only: after a restart of the plane
        what can be looked up again is, and what cannot is an error."""
        known = self.secrets.of(agent.agent)
        if known is not None:
            return known
        values, missing = _looked_up(agent.spec)
        gone = "went with the plane that was given it. Spawn the agent again."
        if missing:
            reference = agent.spec.env[missing[0]]
            why = "cannot be read. Put it back, and spawn the agent again." if reference.startswith("file:") else gone
            raise Unavailable(f"The value of {missing[0]} ({reference}) {why}")
        self.secrets.bind(agent.agent, values)
        if lost := self.secrets.lost(agent.agent, agent.spec):
            raise Unavailable(f"What {lost[0]} stands for in its task {gone}")
        return values

    # --- watching ----------------------------------------------------------------------------------------------

    def _watch(self, agent: str, runtime: Runtime, place: Place) -> None:
        async def watch() -> None:
            ended = await runtime.wait(place)
            await self._lost(agent, runtime, ended)

        self._watched[agent] = asyncio.create_task(watch(), name=f"agentlab-watch-{agent}")

    async def _lost(self, agent: str, runtime: Runtime, ended: Ended) -> None:
        """A runner is gone. Where its agent has not ended, it ends now."""
        killed = await runtime.reap(agent)
        row, told = self.engine.state.agents.get(agent), True
        if row is not None and row.status not in ENDED:
            told = await self._recover_journal(agent)
            stopping = row.status == "stopping"
            how = (
                f"signal {ended.signal}"
                if ended.signal
                else f"exit code {ended.code}"
                if ended.code is not None
                else ""
            )
            text = (
                f"Its runner is gone{f' ({how})' if how else ''}{f': {ended.reason}' if ended.reason else ''}".rstrip(
                    "."
                )
                + "."
            )
            if killed:
                text += f" {killed} of its processes were still there and were killed."
            if row.vendor_session and row.spec.kind not in vendors.NO_RESUME:
                text += f" Its session is known: `%agent resume {row.name}` lets it go on."
            await self._finish(
                c.Finish(
                    agent=agent,
                    status="cancelled" if stopping else "failed",
                    reason="cancelled" if stopping else "lost",
                    error=row.reason if stopping else text,
                    exit_code=ended.code,
                    last_lines=ended.last_lines,
                )
            )
        if told:
            await self._forget_journal(agent)
        self._watched.pop(agent, None)
        self._wake.set()

    async def _forget_journal(self, agent: str) -> None:
        """Once the end of its agent is in the log. It was written before anybody looked for the secrets of others in it."""
        await self.engine.settled()
        row = self.engine.state.agents.get(agent)
        if row is None or row.status in ENDED:
            try:
                await asyncio.to_thread(self._drop_journal, agent)
            except OSError as error:
                log.error("the journal of %s could not be removed: %s", agent, error)

    async def _recover_journal(self, agent: str) -> bool:
        """What a killed runner had written down and not sent. False: it stays there."""
        try:
            blobs, entries = await asyncio.to_thread(
                self._read_journal, agent, self.engine.state.journals.get(agent, 0)
            )
            self.engine.keep(self.secrets.blobs(agent, blobs))
            if entries:
                report = c.Report(agent=agent, entries=tuple(entries))
                await self.engine.submit(self.secrets.conceal(report))
        except (AgentlabError, OSError) as error:
            log.error("the journal of %s could not be read: %s", agent, error)
            return False
        return True

    async def _finish(self, finish: c.Finish) -> None:
        finish = self.secrets.conceal(finish)
        while True:
            try:
                await self.engine.submit(finish)
                return
            except Unavailable:
                await asyncio.sleep(0.5)
            except AgentlabError as error:
                log.error("agent %s could not be ended: %s", finish.agent, error)
                return

    # --- runners -----------------------------------------------------------------------------------------------

    def arrived(self, agent: str, peer: Peer) -> None:
        """A runner is connected: from now on it is told at once."""
        self.peers[agent] = peer

    def left(self, agent: str, peer: Peer) -> None:
        if self.peers.get(agent) is peer:
            del self.peers[agent]

    def told(self, command: c.AnyCommand, reply: c.AnyReply) -> None:
        """A command was carried out: what has to be done outside the log."""
        match command, reply:
            case c.Ask(approval=approval), _:  # asked again after the connection was lost: it may be answered since
                question = self.engine.state.approvals.get(approval)
                if question is not None and question.status != "asked":
                    self._push_answer(question)
            case c.Signal(agent=agent, verb="stop" | "kill" as verb), _:
                self._push(agent, Message(verb=verb))
                self._stop(agent, now=verb == "kill")
            case c.Signal(agent=agent, verb=verb), _:
                self._push(agent, Message(verb=verb))
            case _:
                pass

    def _stop(self, agent: str, *, now: bool) -> None:
        """The ladder: the runner was asked; after the grace its whole tree is killed."""
        row = self.engine.state.agents.get(agent)
        place = _place(row.place) if row else None
        runtime = self.runtimes.get((row.runtime if row else None) or "")
        if place is None or runtime is None:
            return

        async def stop() -> None:
            if not now and (watching := self._watched.get(agent)) is not None:
                await asyncio.wait({watching}, timeout=self._grace)
            await runtime.stop(place, grace=0.0 if now else 2.0)

        before = self._stopping.pop(agent, None)
        if before is not None:
            before.cancel()
        task = self._stopping[agent] = asyncio.create_task(stop(), name=f"agentlab-stop-{agent}")
        task.add_done_callback(lambda _: self._stopping.pop(agent, None) if self._stopping.get(agent) is task else None)

    def _push(self, agent: str, message: Message) -> None:
        peer = self.peers.get(agent)
        if peer is not None:
            peer.push(0, message)

    def _push_answer(self, question: Question) -> None:
        told = {name: getattr(question, name) for name in ("approval", "status", "by", "scope", "rule")}
        self._push(question.agent, Message(verb="answer", text=self.secrets.answer(question), data=told))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _committed(self, events: Sequence[e.Event]) -> None:
        for event in events:
            match event.body:
                case e.AgentStart():
                    self._wake.set()
                case e.AgentEnd():
                    self.secrets.left(f"{event.run_id}/{event.actor}")
                    self._wake.set()
                case e.Message(to=agent, role="user", text=text) if agent:
                    data: e.JSON = {"seq": event.seq, "interrupt": event.status == "interrupt"}
                    self._push(agent, Message(verb="send", text=self.secrets.reveal(agent, text), data=data))
                case e.Approval(approval=approval) if event.status != "asked":
                    if (question := self.engine.state.approvals.get(approval)) is not None:
                        self._push_answer(question)
                case e.LockExpire(owner=owner, ticket=ticket, reason=reason):
                    self._push(owner, Message(verb="revoked", data={"ticket": ticket, "reason": reason}))
                case e.LockRelease(owner=owner, ticket=ticket, reason="operator", units=units, by=by, why=why):
                    taken = {"ticket": ticket, "reason": "operator", "units": units, "by": by, "why": why}
                    self._push(owner, Message(verb="revoked", data=taken))
                case e.StateSet(store="runtime"):
                    self._wake.set()
                case e.RunEnd():
                    self.secrets.closed(event.run_id)

    # --- rows --------------------------------------------------------------------------------------------------

    async def stats(self, agent: str) -> Row:
        """Processor time (s), memory (bytes) and number of processes of an agent's tree, now."""
        row = self.engine.state.agents.get(agent)
        place = _place(row.place) if row else None
        runtime = self.runtimes.get((row.runtime if row else None) or "")
        if row is None or place is None or runtime is None or row.status in ENDED:
            return {}
        found: Row = msgspec.to_builtins(await runtime.stats(place))
        return found


def _looked_up(spec: e.AgentSpec) -> tuple[dict[str, str], tuple[str, ...]]:
    """(values of its environment that can be had without whoever spawned it, names of the others)"""
    values: dict[str, str] = {}
    for name, reference in spec.env.items():
        kind, _, rest = reference.partition(":")
        if kind == "env" and rest in os.environ:
            values[name] = os.environ[rest]
        elif kind == "file":
            try:
                values[name] = Path(rest).expanduser().read_text().rstrip("\n")
            except (OSError, UnicodeDecodeError):
                continue
    return values, tuple(name for name in spec.env if name not in values)


def _place(text: str | None) -> Place | None:
    return msgspec.json.decode(text, type=Place) if text else None
