"""What comes over the link, to where it is answered. The same for a unix socket and a WebSocket."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import msgspec

from agentlab.__about__ import PROTOCOL, __version__
from agentlab.core import commands as c
from agentlab.core import events as e
from agentlab.core import views
from agentlab.core.claims import granted
from agentlab.core.rows import ENDED
from agentlab.errors import AgentlabError, Forbidden, NotFound, VersionMismatch
from agentlab.link import messages as m
from agentlab.link.peer import Peer

from . import history
from .auth import ADMIN, Authority, check
from .engine import Engine
from .feed import Feed
from .secrets import Marks, Secrets
from .supervisor import Supervisor
from .tickets import Tickets
from .workspaces import Workspaces

log = logging.getLogger(__name__)

Ask = Callable[[m.Admin], Coroutine[Any, Any, Any]]


class _PeerSink:
    """A subscription of a peer of the link."""

    format = "msgpack"

    def __init__(self, peer: Peer, id: int) -> None:
        self._peer = peer
        self._id = id

    def push(self, data: bytes) -> None:
        self._peer.push_raw(self._id, data)

    def backlog(self) -> int:
        return self._peer.backlog()


class PlaneHandler:
    def __init__(
        self,
        engine: Engine,
        feed: Feed,
        supervisor: Supervisor,
        secrets: Secrets,
        authority: Authority,
        workspaces: Workspaces,
        facts: dict[str, str],
        admin: Ask,
    ) -> None:
        self.engine = engine
        self.feed = feed
        self.supervisor = supervisor
        self.secrets = secrets
        self.authority = authority
        self.tickets = Tickets(engine)
        self.history = history.History(engine.store)
        self.workspaces = workspaces
        self.sessions: dict[str, int] = {}  # session id -> connections
        self.peers: set[Peer] = set()
        self._facts = facts
        self._admin = admin
        self._subscriptions: dict[tuple[Peer, int], int] = {}
        self._ends: dict[str, list[Callable[[], None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        engine.on_commit.append(self._committed)
        engine.on_rebuild += [self._rebuilt, self.history.clear]

    # --- connections -------------------------------------------------------------------------------------------

    def opened(self, peer: Peer) -> None:
        self.peers.add(peer)

    def closed(self, peer: Peer) -> None:
        self.peers.discard(peer)
        for key in [key for key in self._subscriptions if key[0] is peer]:
            self.feed.drop(self._subscriptions.pop(key))
        if peer.identity and peer.identity != ADMIN:
            self.supervisor.left(peer.identity, peer)
        elif peer.hello and (session := peer.hello.session_id) in self.sessions:
            self.sessions[session] -= 1
            if not self.sessions[session]:
                del self.sessions[session]

    def received(self, peer: Peer, id: int, request: m.AnyRequest) -> None:
        if isinstance(request, m.Hello):
            self._hello(peer, id, request)
            return
        check(peer.identity, request)
        match request:
            case c.Claim() | c.Release() | c.Report():  # nothing follows from them outside the log
                self.engine.post(self.secrets.conceal(request), partial(_answer, peer, id))
            case c.StartRun() | c.EndRun():
                self._later(peer, id, self.carry_out(request))
            case c.Command():
                self._command(peer, id, request)
            case m.WaitTicket(ticket=ticket, timeout=timeout):
                owner = None if peer.identity == ADMIN else peer.identity
                self.tickets.wait(ticket, owner, timeout, lambda told: _answer(peer, id, told))
            case m.Renew(owner=owner):
                self._renew(peer, id, owner)
            case m.PutBlobs(blobs=blobs):
                kept = self.secrets.blobs(peer.identity, blobs)
                self.engine.keep(kept, answered=lambda reply: _answer(peer, id, reply))
            case m.Watch(since=since):
                self._subscriptions[peer, id] = self.feed.watch(_PeerSink(peer, id), since)
            case m.Follow(run_id=run_id, since=since):
                self._subscriptions[peer, id] = self.feed.follow(_PeerSink(peer, id), run_id, since)
            case m.Unsubscribe(id=subscription):
                number = self._subscriptions.pop((peer, subscription), None)
                if number is not None:
                    self.feed.drop(number)
                peer.reply(id, c.Done())
            case m.WaitAgent():
                self._wait_agent(peer, id, request)
            case m.GetState() | m.GetEvents() | m.GetLogs() | m.GetBlob() | m.Admin():
                self._later(peer, id, self.look_up(request))

    def _hello(self, peer: Peer, id: int, hello: m.Hello) -> None:
        identity = self.authority.identify(hello.token)
        if hello.protocol != PROTOCOL:
            raise VersionMismatch(
                f"This plane is agentlab {__version__} (protocol {PROTOCOL}), the client is {hello.version} (protocol "
                f"{hello.protocol}). Install one version for both, then `agentlab daemon stop`; agents go on meanwhile.",
                plane=__version__,
                client=hello.version,
            )
        if identity != ADMIN:
            agent = self.engine.state.agents.get(identity)
            if agent is None or agent.status in ENDED:
                raise Forbidden(f"Agent {identity} has ended; its token has expired.", agent=identity)
        elif hello.session_id:
            self.sessions[hello.session_id] = self.sessions.get(hello.session_id, 0) + 1
        peer.identity = identity
        peer.reply(
            id, m.Welcome(version=__version__, protocol=PROTOCOL, pid=os.getpid(), identity=identity, **self._facts)
        )

    # --- requests ----------------------------------------------------------------------------------------------

    def _command(self, peer: Peer, id: int, command: c.AnyCommand) -> None:
        logged, marks = self._concealed(command)

        def answered(reply: c.AnyReply | AgentlabError) -> None:
            if isinstance(reply, c.Hired):
                self.supervisor.arrived(peer.identity, peer)
                reply = self.secrets.hired(reply)
            elif not isinstance(reply, AgentlabError):
                self._told(command, marks, reply)
            _answer(peer, id, reply)

        self.engine.post(logged, answered)

    async def carry_out(self, command: c.AnyCommand) -> c.AnyReply:
        """A command, to its durable reply. Raises what it was refused with. Whoever wrote it may know nothing of the workspace."""
        match command:
            case c.Spawn(run_id=run_id, spec=spec):
                claims = await self.workspaces.spelled(run_id, spec.claims)
                command = msgspec.structs.replace(command, spec=msgspec.structs.replace(spec, claims=claims))
            case c.Claim(run_id=run_id, units=units):
                command = msgspec.structs.replace(command, units=await self.workspaces.spelled(run_id, units))
        logged, marks = self._concealed(command)
        match logged:
            case c.StartRun():
                return await self.workspaces.open(logged)
            case c.EndRun():
                return await self.workspaces.close(logged)
        reply = await self.engine.submit(logged)
        self._told(command, marks, reply)
        return reply

    def _concealed(self, command: c.AnyCommand) -> tuple[c.AnyCommand, Marks]:
        """As it may be logged. The marks in a spec have nobody yet whose they are."""
        if isinstance(command, c.Spawn):
            return self.secrets.conceal_spawn(command)
        agents = self.engine.state.agents
        match command:
            case c.SendText(agent=agent):
                to = agents.get(agent)
            case c.Answer(approval=approval) if (question := self.engine.state.approvals.get(approval)) is not None:
                to = agents.get(question.agent)
            case _:
                to = None
        return self.secrets.conceal(command, to.agent if to is not None and to.status not in ENDED else None), {}

    def _told(self, command: c.AnyCommand, marks: Marks, reply: c.AnyReply) -> None:
        if isinstance(command, c.Spawn) and isinstance(reply, c.Spawned):
            self.secrets.bind(reply.agent, command.secrets, marks)
        self.supervisor.told(command, reply)

    def _renew(self, peer: Peer, id: int, owner: str) -> None:
        self.engine.leases.renew(owner, self.engine.now().mono)
        held = self.engine.state.locks.held_by(owner)
        grants = tuple(granted(t) for t in held if t.token <= self.engine.committed)
        peer.reply(id, m.Leases(grants=grants, revoked=self.engine.state.revoked_from(owner)))

    def _wait_agent(self, peer: Peer, id: int, request: m.WaitAgent) -> None:
        agent = self.engine.state.agents.get(request.agent)
        if agent is None or agent.status in ENDED:
            self._later(peer, id, self.agent(request.agent))
            return
        waiting = self._ends.setdefault(request.agent, [])
        timer: asyncio.TimerHandle | None = None

        def tell() -> None:
            if timer is not None:
                timer.cancel()
            if tell in waiting:
                waiting.remove(tell)
            self._later(peer, id, self.agent(request.agent))

        waiting.append(tell)
        timer = asyncio.get_running_loop().call_later(max(0.0, request.timeout), tell)

    async def agent(self, key: str) -> m.View:
        """The row of an agent, from memory or from the log."""
        row = views.agent_row(self.engine.state, key)
        if row is None:
            run_id, _, _ = key.partition("/")
            row = views.agent_row(await self.history.state_at(run_id), key)
        if row is None:
            raise NotFound(f"There is no agent {key!r}. `%agent ps` lists those there are.", agent=key)
        return m.View(data=self.feed.dress("agents", row))

    async def look_up(self, request: m.AnyRequest) -> m.AnyResponse:
        store = self.engine.store
        match request:
            case m.GetState(run_id=str() as run_id, seq=seq):
                if seq is None and run_id in self.engine.state.runs:
                    return m.View(data=_view(self.feed.snapshot(run_id)))
                past = await self.history.state_at(run_id, seq)
                # It is nobody else's: what takes longest is done beside the loop.
                tables = await asyncio.to_thread(views.tables, past, run_id)
                return m.View(data={"seq": past.runs[run_id].seq, "tables": tables})
            case m.GetState():
                return m.View(data=_view(self.feed.snapshot()))
            case m.GetEvents(run_id=run_id, since=since, limit=limit):
                found: list[e.Event] = []
                async for batch in store.run_events(run_id, since=since, until=since + limit):
                    found += batch
                return m.Events(events=tuple(found))
            case m.GetLogs(agent=agent, tail=tail, since=since):
                run_id, _, agent_id = agent.partition("/")
                lines, _ = await history.logs(store, run_id, agent_id, since, tail)
                return m.View(data=lines)
            case m.GetBlob(hash=hash):
                data = await store.blob(hash)
                if data is None:
                    raise NotFound(f"The store has no content with hash {hash}.", hash=hash)
                return m.BlobData(data=data)
            case m.Admin():
                return m.View(data=await self._admin(request))
        raise NotFound(f"Nothing answers {type(request).__name__}.")

    def _later(self, peer: Peer, id: int, answer: Coroutine[Any, Any, m.AnyResponse]) -> None:
        async def run() -> None:
            try:
                peer.reply(id, await answer)
            except AgentlabError as error:
                peer.error(id, error)
            except Exception as error:
                log.exception("%r: a request failed", peer)
                peer.error(id, AgentlabError(f"This failed inside the plane ({type(error).__name__}); see its log."))

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- events ------------------------------------------------------------------------------------------------

    def _committed(self, events: Sequence[e.Event]) -> None:
        for event in events:
            if isinstance(event.body, e.AgentEnd):
                self._tell_end(f"{event.run_id}/{event.actor}")

    def _tell_end(self, agent: str) -> None:
        for tell in list(self._ends.pop(agent, ())):
            tell()

    def _rebuilt(self) -> None:
        for agent in list(self._ends):
            row = self.engine.state.agents.get(agent)
            if row is None or row.status in ENDED:
                self._tell_end(agent)


def _answer(peer: Peer, id: int, reply: m.AnyResponse | AgentlabError) -> None:
    if isinstance(reply, AgentlabError):
        peer.error(id, reply)
    else:
        peer.reply(id, reply)


def _view(delta: m.Delta) -> dict[str, Any]:
    return {"seq": delta.seq, "tables": delta.tables}
