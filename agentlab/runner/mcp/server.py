"""Where an agent's program reaches our tools: a unix socket in the agent's private folder, and HTTP where it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import secrets
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentlab.link import sockets

from . import wire
from .session import BEAT, Session, VendorCall, untold

if TYPE_CHECKING:
    from agentlab.runner.tools import ToolHost

_PROXY: Final = Path(__file__).with_name("proxy.py")
_LINE: Final = 64 * 1024 * 1024  # bytes of one message
_HELLO: Final = 30.0  # s to say the token in


class ToolServer:
    """The tools of one agent. `folder` (of this agent alone) gets the socket and the token, both 0600.

    One token for each agent and start: it opens this server's sessions and nothing else.
    """

    def __init__(self, tools: ToolHost, folder: Path, *, vendor_call: VendorCall = untold, beat: float = BEAT) -> None:
        self._tools = tools
        self._folder = folder
        self._vendor_call = vendor_call
        self._beat = beat
        self._token = secrets.token_urlsafe(32)
        self._server: asyncio.Server | None = None
        self._sessions: set[Session] = set()
        self._clients: set[asyncio.Task[None]] = set()
        self.listed = asyncio.Event()

    @property
    def token(self) -> str:
        return self._token

    def proxy(self) -> tuple[str, ...]:
        """The command that an agent's program is to start as its MCP server."""
        return (sys.executable, "-I", "-S", str(_PROXY), str(self._folder))

    async def start(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        token = self._folder / "mcp.token"
        token.unlink(missing_ok=True)
        with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self._token)
        listener = sockets.listen(self._folder / "mcp.sock")
        self._server = await asyncio.start_unix_server(self._client, sock=listener, limit=_LINE)

    def session(self) -> Session:
        """A new client. Give it back to `end` when it is gone."""
        session = Session(self._tools, vendor_call=self._vendor_call, listed=self.listed.set, beat=self._beat)
        self._sessions.add(session)
        return session

    async def end(self, session: Session) -> None:
        self._sessions.discard(session)
        await session.close()

    @property
    def calls(self) -> int:
        """How many calls of the agent are under way."""
        return sum(session.calls for session in self._sessions)

    def drop(self, why: str) -> None:
        """Cancel all calls that are under way, whoever waits for them."""
        for session in self._sessions:
            session.drop(why)

    async def close(self) -> None:
        """No call is under way afterwards, and nobody can connect."""
        if self._server:
            self._server.close()
        for client in list(self._clients):
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        for session in list(self._sessions):
            await self.end(session)
        for name in ("mcp.sock", "mcp.token"):
            (self._folder / name).unlink(missing_ok=True)

    # --- one client on the socket --------------------------------------------------------------------------

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if await self._admitted(reader, writer):
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the server is being closed
        except (ConnectionError, ValueError):
            pass  # it went in the middle, or one message was beyond all measure
        finally:
            self._clients.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _admitted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        peer: socket.socket = writer.get_extra_info("socket")
        _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        if uid != os.geteuid():
            return False
        try:
            async with asyncio.timeout(_HELLO):
                said = await reader.readline()
        except TimeoutError:
            return False
        return hmac.compare_digest(said.strip(), self._token.encode())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = self.session()

        def send(message: wire.Message) -> None:
            if not writer.is_closing():
                writer.write(wire.encode(message) + b"\n")

        try:
            while line := await reader.readline():
                if not line.strip():
                    continue
                try:
                    session.receive(wire.parse(line), send)
                except wire.Malformed as problem:
                    send(problem.answer)
                await writer.drain()
        finally:
            await self.end(session)
