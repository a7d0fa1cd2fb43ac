"""The server against peers that do not keep to the rules, and its socket in the file system."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

from agentlab.core.commands import Release
from agentlab.errors import BadRequest, Forbidden, NameTaken, PlaneUnavailable, Refused
from agentlab.link import peer as peers
from agentlab.link.client import LinkClient, hello
from agentlab.link.frames import (
    ClientFrame,
    ErrorFrame,
    FrameReader,
    ReplyFrame,
    RequestFrame,
    decode_response,
    encode,
    header,
)
from agentlab.link.messages import AnyRequest, GetState, View, Welcome
from agentlab.link.peer import Peer
from agentlab.link.server import serve_unix

from .conftest import TOKEN, Echo, Place, until


class Wire:
    """A bare connection: bytes out, frames in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.frames: list[ClientFrame] = []
        self._cut: FrameReader[ClientFrame] = FrameReader(decode_response)

    @classmethod
    async def to(cls, place: Place) -> Wire:
        return cls(*await asyncio.open_unix_connection(place.address.removeprefix("unix:")))

    def send(self, *requests: AnyRequest) -> None:
        for id, request in enumerate(requests, 1):
            payload = encode(RequestFrame(id, request))
            self.writer.write(header(payload) + payload)

    async def until_closed(self) -> list[ClientFrame]:
        """All that comes until the other side ends the connection."""
        async with asyncio.timeout(20):
            while data := await self.reader.read(65536):
                self.frames += self._cut.feed(data)
        self.writer.close()
        return self.frames


async def test_nothing_is_accepted_before_hello(unix: Place) -> None:
    wire = await Wire.to(unix)
    wire.send(GetState(run_id="x"), hello(TOKEN))
    (frame,) = await wire.until_closed()
    assert isinstance(frame, ErrorFrame)
    assert frame.body[:2] == ("BadRequest", "The first request of a connection must be Hello.")
    assert unix.echo.seen == []


async def test_what_is_sent_behind_a_refused_hello_is_not_heard(unix: Place) -> None:
    wire = await Wire.to(unix)
    wire.send(hello("guess"), GetState(run_id="x"))
    (frame,) = await wire.until_closed()
    assert isinstance(frame, ErrorFrame)
    assert frame.body[0] == "Forbidden"
    assert len(unix.echo.seen) == 1


async def test_hello_is_said_once(unix: Place) -> None:
    client = await unix.connect()
    with pytest.raises(BadRequest, match="said already"):
        await client.request(hello(TOKEN))
    assert await client.request(GetState(run_id="x")) == View(data="x")


async def test_who_does_not_say_hello_in_time_is_sent_away(unix: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "HELLO_WITHIN", 0.05)
    wire = await Wire.to(unix)
    (frame,) = await wire.until_closed()
    assert isinstance(frame, ErrorFrame)
    assert frame.id == 0
    assert "No Hello within" in frame.body[1]


async def test_a_handler_that_welcomes_later_is_not_asked_before(tmp_path: Path) -> None:
    class Slow(Echo):
        def received(self, peer: Peer, id: int, request: AnyRequest) -> None:
            self.seen.append(request)

    slow = Slow()
    async with await serve_unix(tmp_path / "s" / "x.sock", slow) as server:
        wire = await Wire.to(Place(server.address, slow, server.close))
        wire.send(hello(TOKEN), GetState())
        await until(lambda: slow.seen)
        slow.peers[0].error(1, Forbidden("no"))
        frames = await wire.until_closed()
    assert [frame.body[0] for frame in frames if isinstance(frame, ErrorFrame)] == ["Forbidden", "Forbidden"]
    assert len(slow.seen) == 1


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff", header(b"\xc1") + b"\xc1", os.urandom(4096) + b"\xff" * 9],
)
async def test_garbage_ends_one_connection_and_no_other(unix: Place, garbage: bytes) -> None:
    client = await unix.connect()
    wire = await Wire.to(unix)
    wire.send(hello(TOKEN))
    wire.writer.write(garbage)
    frames = await wire.until_closed()
    assert isinstance(frames[0], ReplyFrame)
    assert isinstance(frames[0].body, Welcome)
    assert isinstance(frames[1], ErrorFrame)
    assert frames[1].id == 0
    assert await client.request(GetState(run_id="fine")) == View(data="fine")


async def test_half_a_frame_keeps_nobody_waiting(unix: Place) -> None:
    client = await unix.connect()
    wire = await Wire.to(unix)
    wire.send(hello(TOKEN))
    payload = encode(RequestFrame(2, GetState(run_id="late")))
    wire.writer.write((header(payload) + payload)[:7])
    await wire.writer.drain()
    assert await client.request(GetState(run_id="fine")) == View(data="fine")
    wire.writer.write((header(payload) + payload)[7:])
    wire.writer.write_eof()
    frames = await wire.until_closed()
    assert ReplyFrame(2, View(data="late")) in frames


async def test_a_request_of_a_newer_client_is_answered_and_the_connection_lives(unix: Place) -> None:
    import msgspec

    wire = await Wire.to(unix)
    wire.send(hello(TOKEN))
    payload = msgspec.msgpack.encode([0, 2, {"type": "teleport"}])
    wire.writer.write(header(payload) + payload)
    payload = encode(RequestFrame(3, GetState(run_id="x")))
    wire.writer.write(header(payload) + payload)
    wire.writer.write_eof()
    frames = await wire.until_closed()
    assert isinstance(frames[1], ErrorFrame)
    assert (frames[1].id, frames[1].body[0]) == (2, "BadRequest")
    assert frames[2] == ReplyFrame(3, View(data="x"))


async def test_answers_of_one_turn_of_the_loop_go_out_in_one_write(unix: Place) -> None:
    client = await unix.connect()
    (peer,) = unix.echo.peers
    writes: list[bytes] = []
    transport = peer._channel._transport  # type: ignore[attr-defined]
    write = transport.write
    transport.write = lambda data: (writes.append(data), write(data))
    answers = [client.send(Release(owner="a")) for _ in range(50)]
    await until(lambda: len(unix.echo.held) == 50)
    for held, id in unix.echo.held:
        held.reply(id, View(data=id))
    await asyncio.gather(*answers)
    assert len(writes) == 1


async def test_a_peer_that_never_reads_is_cut_off_when_the_server_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentlab.link import server as servers

    monkeypatch.setattr(servers, "LINGER", 0.05)
    echo = Echo()
    server = await serve_unix(tmp_path / "s" / "x.sock", echo)
    wire = await Wire.to(Place(server.address, echo, server.close))
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    wire.send(hello(TOKEN))
    await until(lambda: echo.peers and echo.peers[0].identity)
    echo.peers[0].reply(9, View(data="x" * 10_000_000))
    async with asyncio.timeout(20):
        await server.close()
    assert echo.gone == echo.peers
    wire.writer.close()


# --- the socket ------------------------------------------------------------------------------------------------


async def test_the_socket_is_for_its_owner_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "new" / "plane.sock"
    async with await serve_unix(path, Echo()) as server:
        assert server.address == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == []


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "plane.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    async with await serve_unix(path, Echo()) as server:
        await (await LinkClient.connect(server.address, hello(TOKEN))).close()


async def test_a_socket_on_which_somebody_answers_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "plane.sock"
    async with await serve_unix(path, Echo()) as server:
        with pytest.raises(NameTaken, match="Somebody answers"):
            await serve_unix(path, Echo())
        await (await LinkClient.connect(server.address, hello(TOKEN))).close()
    assert not path.exists()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "plane.sock"
    path.write_text("precious")
    with pytest.raises(Refused, match="no socket"):
        await serve_unix(path, Echo())
    assert path.read_text() == "precious"


async def test_a_folder_that_others_may_write_to_is_no_place_for_a_socket(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(Refused, match="Others may write"):
        await serve_unix(tmp_path / "plane.sock", Echo())


async def test_a_server_leaves_the_socket_of_its_successor(tmp_path: Path) -> None:
    path = tmp_path / "plane.sock"
    first = await serve_unix(path, Echo())
    path.unlink()
    async with await serve_unix(path, Echo()) as second:
        await first.close()
        await (await LinkClient.connect(second.address, hello(TOKEN))).close()


async def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 30) / "plane.sock"
    async with await serve_unix(path, Echo()) as server:
        await (await LinkClient.connect(server.address, hello(TOKEN))).close()


# --- the client --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["", "plane", "unix:", "http://x/link", "ws:nowhere"])
async def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(BadRequest, match="no address"):
        await LinkClient.connect(address, hello(TOKEN))


async def test_a_server_that_says_nothing_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "mute.sock"
    mute = socket.socket(socket.AF_UNIX)
    mute.bind(str(path))
    mute.listen()
    with pytest.raises(PlaneUnavailable, match=r"does not answer within 0\.05 s"):
        await LinkClient.connect(f"unix:{path}", hello(TOKEN), timeout=0.05)
    mute.close()


async def test_a_server_that_hangs_up_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "rude.sock"
    server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), path)
    with pytest.raises(PlaneUnavailable, match="gone"):
        await LinkClient.connect(f"unix:{path}", hello(TOKEN))
    server.close()
    await server.wait_closed()


async def test_a_server_of_something_else_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    with pytest.raises(PlaneUnavailable, match=r"too large|no frame"):
        await LinkClient.connect(f"unix:{path}", hello(TOKEN))
    server.close()
    await server.wait_closed()
