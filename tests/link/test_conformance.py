"""What the link promises over either transport."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

import pytest

from agentlab.__about__ import PROTOCOL
from agentlab.core.commands import Claim, Done, Finish, Release, Signal, Units
from agentlab.core.events import Blob
from agentlab.errors import (
    AgentlabError,
    BadRequest,
    Forbidden,
    NotHeld,
    PlaneUnavailable,
    Unavailable,
    VersionMismatch,
)
from agentlab.link.client import LinkClient, hello
from agentlab.link.messages import (
    MAX_FRAME,
    Admin,
    BlobData,
    Follow,
    GetBlob,
    GetState,
    Hello,
    Message,
    PutBlobs,
    View,
    Watch,
)

from .conftest import TOKEN, Place, until


async def test_a_client_is_welcomed_with_its_identity(place: Place) -> None:
    client = await place.connect()
    assert client.welcome.identity == "admin"
    assert client.welcome.protocol == PROTOCOL
    assert not client.closed.done()


async def test_a_wrong_token_is_forbidden_and_ends_the_connection(place: Place) -> None:
    with pytest.raises(Forbidden, match="Not with that token"):
        await place.connect(token="guess")
    await until(lambda: place.echo.gone)


async def test_another_protocol_is_a_version_mismatch(place: Place) -> None:
    with pytest.raises(VersionMismatch, match="you speak 999"):
        await LinkClient.connect(place.address, Hello(token=TOKEN, protocol=999, version="9"))


async def test_a_refused_request_raises_the_error_of_the_other_side_with_its_facts(place: Place) -> None:
    client = await place.connect()
    with pytest.raises(NotHeld, match="held by run/b; you are 2nd") as refused:
        await client.request(Claim(owner="run/a", units=("file:a.txt",), wait=False))
    assert refused.value.data == {"unit": "file:a.txt", "position": 2}


async def test_a_bug_in_the_handler_is_answered_without_its_text_and_logged(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    client = await place.connect()
    with caplog.at_level(logging.ERROR), pytest.raises(AgentlabError, match="RuntimeError") as failed:
        await client.request(Admin(verb="break"))
    assert "secret" not in str(failed.value)
    assert "a bug with a secret" in caplog.text
    assert await client.request(GetState(run_id="still there")) == View(data="still there")


async def test_a_reply_that_cannot_be_encoded_is_an_error_of_that_request_alone(place: Place) -> None:
    client = await place.connect()
    with pytest.raises(BadRequest, match="View cannot be sent"):
        await client.request(Finish(agent="run/a", status="done"))
    assert await client.request(GetState(run_id="x")) == View(data="x")


async def test_a_thousand_interleaved_requests_each_get_their_own_answer_and_keep_their_order(place: Place) -> None:
    client = await place.connect()
    requests = [
        Claim(owner="run/a", units=(f"file:{n}",)) if n % 3 == 0 else GetState(run_id=f"file:{n}") for n in range(1000)
    ]
    answers = await asyncio.gather(*(client.send(request) for request in requests))
    for n, answer in enumerate(answers):
        assert answer == (Units(units=(f"file:{n}",)) if n % 3 == 0 else View(data=f"file:{n}"))
    assert place.echo.seen[1:] == requests


async def test_many_clients_at_once(place: Place) -> None:
    clients = await asyncio.gather(*(place.connect() for _ in range(20)))
    answers = await asyncio.gather(
        *(client.request(GetState(run_id=f"{c}.{n}")) for n in range(50) for c, client in enumerate(clients))
    )
    assert answers == [View(data=f"{c}.{n}") for n in range(50) for c in range(20)]


async def test_a_cancelled_request_does_not_disturb_the_next(place: Place) -> None:
    client = await place.connect()
    asking = asyncio.create_task(client.request(Release(owner="run/a")))
    await until(lambda: place.echo.held)
    asking.cancel()
    peer, id = place.echo.held[0]
    peer.reply(id, Done())
    assert await client.request(GetState(run_id="x")) == View(data="x")


async def test_a_blob_of_the_largest_size_goes_both_ways(place: Place) -> None:
    client = await place.connect()
    data = bytes(64 * 1024 * 1024)
    answer = await client.request(PutBlobs(blobs=(Blob(hash="0" * 64, data=data),)))
    assert isinstance(answer, BlobData)
    assert answer.data == data


async def test_what_is_too_large_is_refused_on_either_side_and_the_connection_lives(place: Place) -> None:
    client = await place.connect()
    with pytest.raises(BadRequest, match="too large to be sent"):
        await client.request(PutBlobs(blobs=(Blob(hash="0", data=bytes(MAX_FRAME)),)))
    with pytest.raises(BadRequest, match="too large to be sent"):
        await client.request(GetBlob(hash=str(MAX_FRAME)))
    assert await client.request(GetState(run_id="x")) == View(data="x")


async def test_a_subscription_brings_what_is_pushed_and_closing_it_unsubscribes(place: Place) -> None:
    client = await place.connect()
    async with aclosing(client.subscribe(Watch())) as items:
        assert [(await anext(items)).seq for _ in range(3)] == [1, 2, 3]  # type: ignore[union-attr]
    subscription = place.echo.peers[0].data["subscription"]
    await until(lambda: place.echo.unsubscribed == [subscription])


async def test_a_body_encoded_once_is_pushed_to_many(place: Place) -> None:
    from agentlab.link.frames import encode_body
    from agentlab.link.messages import Delta

    clients = [await place.connect() for _ in range(3)]
    streams = [client.subscribe(Follow(run_id="r")) for client in clients]
    for stream in streams:
        for _ in range(3):
            await anext(stream)
    encoded = encode_body(Delta(seq=9, tables={"agents": {"a": {"status": "done"}}}))
    for peer in place.echo.peers:
        peer.push_raw(peer.data["subscription"], encoded)
    for stream in streams:
        assert await anext(stream) == Delta(seq=9, tables={"agents": {"a": {"status": "done"}}})
        await stream.aclose()


async def test_a_refused_subscription_raises_the_error(place: Place) -> None:
    client = await place.connect()
    with pytest.raises(Forbidden, match="Not all runs"):
        await anext(client.subscribe(Follow()))


async def test_a_subscription_ends_with_the_connection(place: Place) -> None:
    client = await place.connect()
    items = client.subscribe(Watch())
    for _ in range(3):
        await anext(items)
    place.echo.peers[0].close()
    with pytest.raises(Unavailable):
        await anext(items)


async def test_what_the_plane_says_on_its_own_reaches_on_message_in_order_with_the_answers(place: Place) -> None:
    heard: list[Message] = []
    client = await place.connect(on_message=heard.append)
    for verb in ("pause", "resume"):
        await client.request(Signal(agent="run/a", verb=verb))
        assert heard[-1] == Message(verb=verb, text="now")


async def test_a_callback_that_fails_is_logged_and_the_connection_lives(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(message: Message) -> None:
        raise ValueError("not so")

    client = await place.connect(on_message=fail)
    assert await client.request(Signal(agent="run/a", verb="pause")) == Done()
    assert "on_message failed" in caplog.text


async def test_losing_the_connection_fails_all_that_is_pending(place: Place) -> None:
    client = await place.connect()
    pending = [client.send(Release(owner="run/a")) for _ in range(5)]
    await until(lambda: len(place.echo.held) == 5)
    leaving = client.send(Admin(verb="leave"))
    for future in [*pending, leaving]:
        with pytest.raises(PlaneUnavailable, match="gone"):
            await future
    await client.closed
    with pytest.raises(PlaneUnavailable):
        await client.request(GetState())


async def test_closing_sends_what_is_on_its_way_and_tells_the_handler_once(place: Place) -> None:
    client = await place.connect()
    last = client.send(GetState(run_id="last words"))
    await client.close()
    await until(lambda: place.echo.gone)
    assert client.closed.done()
    assert last.done()
    await until(lambda: GetState(run_id="last words") in place.echo.seen)
    assert len(place.echo.gone) == len(place.echo.peers) == 1


async def test_a_stopped_server_ends_its_connections(place: Place) -> None:
    client = await place.connect()
    await place.stop()
    async with asyncio.timeout(20):
        await client.closed


async def test_a_peer_that_does_not_read_has_a_backlog_and_costs_the_others_nothing(place: Place) -> None:
    slow, quick = await place.connect(), await place.connect()
    stuck = place.echo.peers[0]
    _stop_reading(slow)
    wanted = [slow.send(GetBlob(hash=str(1024 * 1024))) for _ in range(24)]
    await until(lambda: stuck.backlog() > 1024 * 1024)
    for n in range(100):
        assert await quick.request(GetState(run_id=str(n))) == View(data=str(n))
    assert place.echo.peers[1].backlog() == 0
    assert not all(future.done() for future in wanted)
    _go_on_reading(slow)
    assert all(isinstance(answer, BlobData) for answer in await asyncio.gather(*wanted))
    await until(lambda: stuck.backlog() == 0)


async def test_nobody_there_is_unavailable_and_says_where(place: Place) -> None:
    await place.stop()
    with pytest.raises(PlaneUnavailable, match="No plane answers at") as nobody:
        await LinkClient.connect(place.address, hello(TOKEN))
    assert place.address in str(nobody.value)


def _stop_reading(client: LinkClient) -> None:
    _transport(client).pause_reading()


def _go_on_reading(client: LinkClient) -> None:
    _transport(client).resume_reading()


def _transport(client: LinkClient) -> asyncio.ReadTransport:
    line = client._line
    if hasattr(line, "_transport"):
        return line._transport  # type: ignore[no-any-return, union-attr]
    return line.socket.transport  # type: ignore[no-any-return, union-attr]
