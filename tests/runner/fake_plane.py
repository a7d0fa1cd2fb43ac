"""A plane in a few lines: the real rules of the core over a real socket, an in-memory log, and faults to order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from agentlab.__about__ import PROTOCOL, __version__
from agentlab.core import commands as c
from agentlab.core.claims import granted
from agentlab.core.decide import decide
from agentlab.core.events import AgentSpec, Event, Mode
from agentlab.core.events import Message as Said
from agentlab.core.leases import Leases
from agentlab.core.rows import ENDED
from agentlab.core.state import State
from agentlab.core.turn import Instant
from agentlab.core.views import waits
from agentlab.errors import AgentlabError, Forbidden, NotFound, OutcomeUnknown, Unavailable
from agentlab.link import messages as m
from agentlab.link.server import Peer, Server, serve_unix
from agentlab.runtimes.base import Launch

RUN = "r1"

Run = Callable[..., "asyncio.Task[int]"]
"""The fixture `run`: task, name, and what else is in a spec -> the runner's exit code."""


async def until(condition: Callable[[], object], deadline: float = 20.0) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(deadline):
        while not condition():
            await asyncio.sleep(0.002)


class FakePlane:
    """`go_down` and `come_up` are its death and its return; everything it was told survives them."""

    def __init__(self, home: Path, root: Path) -> None:
        self.home, self.root = home, root
        self.state, self.leases = State(), Leases()
        self.events: list[Event] = []
        self.blobs: dict[str, bytes] = {}
        self.requests: list[m.AnyRequest] = []  # all that ever came, in order
        self.peers: dict[str, Peer] = {}
        self.swallow: type | None = (
            None  # a request of this kind is carried out, and its answer lost with the connection
        )
        self.unknown: type | None = None  # a request of this kind is not carried out, once, and nobody knows
        self.silent: set[type] = set()  # requests of these kinds are not answered
        self._recovered = 0.0
        self._waiting: dict[int, list[tuple[Peer, int, asyncio.TimerHandle]]] = {}
        self._server: Server | None = None
        self.do(c.StartRun(run_id=RUN, name="run", root=str(root), host="here", user="me"))

    # --- life

    async def come_up(self) -> None:
        self._server = await serve_unix(self.home / "plane.sock", self)
        self.leases.restart(self.state.locks, self._now().mono)

    async def go_down(self) -> None:
        assert self._server is not None
        for peer in self._server.peers:
            peer._channel._transport.abort()  # type: ignore[attr-defined]
        await self._server.close()
        self._waiting.clear()

    def hire(self, name: str, kind: str = "script", secrets: dict[str, str] | None = None, **spec: object) -> Launch:
        """Spawn an agent; what its runner is launched with."""
        spawned = self.do(c.Spawn(run_id=RUN, spec=AgentSpec(kind=kind, name=name, **spec)))  # type: ignore[arg-type]
        assert isinstance(spawned, c.Spawned)
        return Launch(
            agent=spawned.agent, token=spawned.agent, address=f"unix:{self.home / 'plane.sock'}", root=str(self.root),
            home=str(self.home), secrets=secrets or {}, heartbeat=0.5,
        )  # fmt: skip

    def do(self, command: c.AnyCommand) -> c.AnyReply:
        """Carry out a command as the plane's user."""
        reply, events = decide(self.state, self.leases, command, self._now())
        self.events += events
        self._after(events)
        if isinstance(reply, AgentlabError):
            raise reply
        return reply

    def say(self, agent: str, verb: str, text: str = "", **data: object) -> None:
        self.peers[agent].push(0, m.Message(verb=verb, text=text, data=data or None))

    def expire(self) -> None:
        """Take every lease away, as if its time had passed."""
        from agentlab.core.claims import expire
        from agentlab.core.turn import Rules, Turn

        turn = Turn(self.state, self.leases, self._now(), Rules())
        expire(turn, [t.ticket for t in self.state.locks.tickets.values() if t.token], "lease")
        self.events += turn.events
        self._after(turn.events)

    # --- views

    def log(self, *types: str) -> list[str]:
        """What was logged of these types (all where none is given), each as "type text"; prompts are of type "prompt"."""
        named = [("prompt" if getattr(e.body, "role", "") == "user" else e.type, e) for e in self.events]
        return [
            f"{type} {getattr(e.body, 'text', e.unit or '')}".strip() for type, e in named if not types or type in types
        ]

    def status(self, agent: str) -> str:
        return self.state.agents[agent].status

    def took(self, kind: type) -> list[m.AnyRequest]:
        return [request for request in self.requests if isinstance(request, kind)]

    # --- the handler

    def opened(self, peer: Peer) -> None: ...

    def closed(self, peer: Peer) -> None:
        if self.peers.get(peer.identity) is peer:
            del self.peers[peer.identity]

    def received(self, peer: Peer, id: int, request: m.AnyRequest) -> None:
        self.requests.append(request)
        if self.unknown is not None and isinstance(request, self.unknown):
            self.unknown = None
            self._recovered = time.monotonic() + 0.05
            raise OutcomeUnknown("The disk is full: nobody knows.")
        if time.monotonic() < self._recovered:
            raise Unavailable("The log is being read back.")
        lost = self.swallow is not None and isinstance(request, self.swallow)
        try:
            reply = self._reply(peer, id, request)
        except AgentlabError as error:
            if not lost:
                raise
            reply = error  # type: ignore[assignment]
        if lost:
            self.swallow = None
            peer._channel._transport.abort()  # type: ignore[attr-defined]
        elif reply is not None and type(request) not in self.silent:
            peer.reply(id, reply)

    def _reply(self, peer: Peer, id: int, request: m.AnyRequest) -> m.AnyResponse | None:
        match request:
            case m.Hello(token=token):
                if token not in self.state.agents or self.status(token) in ENDED:
                    raise Forbidden(f"The token of {token} is worth nothing any more.")
                peer.identity = token
                return m.Welcome(version=__version__, protocol=PROTOCOL, pid=1, identity=token)
            case m.Renew(owner=owner):
                self.leases.renew(owner, self._now().mono)
                return m.Leases(grants=tuple(granted(t) for t in self.state.locks.held_by(owner)))
            case m.PutBlobs(blobs=blobs):
                self.blobs |= {blob.hash: blob.data for blob in blobs}
                return c.Done()
            case m.GetBlob(hash=hash):
                if hash not in self.blobs:
                    raise NotFound(f"no {hash}")
                return m.BlobData(data=self.blobs[hash])
            case m.WaitTicket(ticket=ticket, timeout=timeout):
                return self._wait(peer, id, ticket, timeout)
            case _:
                reply = self.do(request)  # type: ignore[arg-type]
                if isinstance(request, c.Ready):
                    self.peers[request.agent] = peer
                return reply

    def _wait(self, peer: Peer, id: int, number: int, timeout: float) -> m.AnyResponse | None:
        ticket = self.state.locks.tickets.get(number)
        if ticket is None:
            raise NotFound(f"Ticket {number} is gone.")
        if ticket.token:
            return granted(ticket)
        timer = asyncio.get_running_loop().call_later(timeout, self._tell, number, True)
        self._waiting.setdefault(number, []).append((peer, id, timer))
        return None

    def _tell(self, number: int, anyway: bool = False) -> None:
        ticket = self.state.locks.tickets.get(number)
        if ticket is not None and not ticket.token and not anyway:
            return
        for peer, id, timer in self._waiting.pop(number, []):
            timer.cancel()
            if ticket is None:
                peer.error(id, NotFound(f"Ticket {number} is gone."))
            elif ticket.token:
                peer.reply(id, granted(ticket))
            else:
                row = waits(self.state, ticket.owner) or {}
                behind = tuple(c.Blocker(**b) for b in row["behind"])
                peer.reply(id, c.Queued(ticket=number, position=row["position"], behind=behind))

    def _after(self, events: list[Event]) -> None:
        for number in list(self._waiting):
            self._tell(number)
        for event in events:
            match event.body:
                case Said(to=agent, text=text) if agent in self.peers and event.status != "interrupt":
                    self.say(agent, "send", text, seq=event.seq, interrupt=False)

    def _now(self) -> Instant:
        return Instant(wall=time.time_ns(), mono=time.monotonic())


__all__ = ["RUN", "FakePlane", "Mode", "until"]
