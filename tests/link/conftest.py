"""A server of either transport with a tiny handler that says back what it is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agentlab.__about__ import PROTOCOL, __version__
from agentlab.core.commands import Claim, Done, Finish, Queued, Release, Signal, Units
from agentlab.errors import Forbidden, NotHeld, VersionMismatch
from agentlab.link.client import LinkClient, OnMessage, hello
from agentlab.link.messages import (
    Admin,
    AnyRequest,
    BlobData,
    Delta,
    Follow,
    GetBlob,
    GetState,
    Hello,
    Message,
    PutBlobs,
    Unsubscribe,
    View,
    Watch,
    Welcome,
)
from agentlab.link.peer import Peer
from agentlab.link.server import WEBSOCKET_SETTINGS, serve_unix, websocket_endpoint

TOKEN = "open sesame"


class Echo:
    """Answers at once, later, with errors, or not at all, by the kind of request; keeps what it saw."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.gone: list[Peer] = []
        self.seen: list[AnyRequest] = []
        self.unsubscribed: list[int] = []
        self.held: list[tuple[Peer, int]] = []  # questions left open

    def opened(self, peer: Peer) -> None:
        self.peers.append(peer)

    def closed(self, peer: Peer) -> None:
        self.gone.append(peer)

    def received(self, peer: Peer, id: int, request: AnyRequest) -> None:
        self.seen.append(request)
        match request:
            case Hello(token=token, protocol=protocol):
                if protocol != PROTOCOL:
                    raise VersionMismatch(f"The plane speaks protocol {PROTOCOL}, you speak {protocol}.")
                if token != TOKEN:
                    raise Forbidden("Not with that token.")
                peer.identity = "admin"
                peer.reply(id, Welcome(version=__version__, protocol=PROTOCOL, pid=1, identity="admin"))
            case GetState(run_id=text):
                peer.reply(id, View(data=text))
            case Claim(units=units, wait=False):
                raise NotHeld(f"{units[0]} is held by run/b; you are 2nd in its queue.", unit=units[0], position=2)
            case Claim(units=units):
                asyncio.get_running_loop().call_soon(peer.reply, id, Units(units=units))
            case PutBlobs(blobs=blobs):
                peer.reply(id, BlobData(data=b"".join(blob.data for blob in blobs)))
            case GetBlob(hash=size):
                peer.reply(id, BlobData(data=bytes(int(size))))
            case Follow(run_id=None):
                raise Forbidden("Not all runs.")
            case Follow() | Watch():
                peer.data["subscription"] = id
                for seq in (1, 2, 3):
                    peer.push(id, Delta(seq=seq, tables={}))
            case Unsubscribe(id=which):
                self.unsubscribed.append(which)
                peer.reply(id, Done())
            case Signal(verb=verb):
                peer.push(0, Message(verb=verb, text="now"))
                peer.reply(id, Done())
            case Admin(verb="break"):
                raise RuntimeError("a bug with a secret in its text")
            case Admin(verb="leave"):
                peer.close()
            case Release():
                self.held.append((peer, id))
            case Finish():
                peer.reply(id, View(data=object()))
            case _:
                peer.reply(id, Queued(ticket=1, position=1, behind=()))


@dataclass
class Place:
    """A served echo, and the way to it."""

    address: str
    echo: Echo
    stop: Callable[[], Awaitable[None]]
    clients: list[LinkClient] = field(default_factory=list)

    async def connect(self, token: str = TOKEN, on_message: OnMessage | None = None) -> LinkClient:
        client = await LinkClient.connect(self.address, hello(token, "test"), on_message=on_message)
        self.clients.append(client)
        return client


async def until(condition: Callable[[], object], deadline: float = 20.0) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(deadline):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.fixture(params=["unix", "ws"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    serve = served_unix if request.param == "unix" else served_ws
    place = await serve(tmp_path)
    yield place
    for client in place.clients:
        await client.close()
    await place.stop()


@pytest.fixture
async def unix(tmp_path: Path) -> AsyncIterator[Place]:
    place = await served_unix(tmp_path)
    yield place
    for client in place.clients:
        await client.close()
    await place.stop()


async def served_unix(tmp_path: Path) -> Place:
    echo = Echo()
    server = await serve_unix(tmp_path / "home" / "plane.sock", echo)
    return Place(server.address, echo, server.close)


async def served_ws(tmp_path: Path) -> Place:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute

    echo = Echo()
    app = Starlette(routes=[WebSocketRoute("/link", websocket_endpoint(echo))])
    config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=3, **WEBSOCKET_SETTINGS)
    server = uvicorn.Server(config)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started)

    async def stop() -> None:
        server.should_exit = True
        await task
        listener.close()

    return Place(f"ws://127.0.0.1:{listener.getsockname()[1]}/link", echo, stop)
