"""Frames to bytes and back: every class, and everything that is no frame."""

from __future__ import annotations

import typing
from enum import Enum
from types import UnionType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.core.commands import Claim, Done, Entry, Finish, Report
from agentlab.core.events import AnyBody, Blob, Event, Message
from agentlab.core.policy import Rule
from agentlab.errors import AgentlabError, BadRequest, StaleBase
from agentlab.link.frames import (
    ErrorFrame,
    FrameReader,
    PushFrame,
    ReplyFrame,
    RequestFrame,
    ServerFrame,
    Unreadable,
    decode_request,
    decode_response,
    encode,
    encode_body,
    encode_error,
    encode_push,
    header,
)
from agentlab.link.messages import MAX_FRAME, AnyRequest, AnyResponse, Delta, Events, GetState, Hello, PutBlobs, View


def sample(kind: Any, depth: int = 0) -> Any:
    """A value of a type, with every field filled."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is typing.Any or kind is object:
        return {"any": [1, 2.5, None, "x"]}
    if kind is type(None):
        return None
    if origin in (UnionType, typing.Union):
        return sample(args[0], depth)
    if origin is tuple:
        return (sample(args[0], depth + 1),) if depth < 4 else ()
    if origin is dict:
        return {sample(args[0]): sample(args[1], depth + 1)}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    if kind is Rule:  # it checks its words
        return Rule(action="ask", agent="text", unit=("a", "b"), command="c", risk="high", reason="text", timeout=0.5)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind(**{field.name: sample(field.type, depth) for field in msgspec.structs.fields(kind)})
    return {str: "text", int: 7, float: 0.5, bool: True, bytes: b"\0\xff"}[kind]


@pytest.mark.parametrize("kind", typing.get_args(AnyRequest), ids=lambda kind: kind.__name__)
def test_every_request_crosses_the_link(kind: type) -> None:
    frame = RequestFrame(2**40, sample(kind))
    assert decode_request(encode(frame)) == frame


@pytest.mark.parametrize("kind", typing.get_args(AnyResponse), ids=lambda kind: kind.__name__)
def test_every_response_crosses_the_link(kind: type) -> None:
    body = sample(kind)
    for frame in (ReplyFrame(1, body), PushFrame(0, body)):
        assert decode_response(encode(frame)) == frame
    assert decode_response(encode_push(9, encode_body(body))) == PushFrame(9, body)


@pytest.mark.parametrize("kind", typing.get_args(AnyBody), ids=lambda kind: kind.__name__)
def test_every_event_crosses_the_link_both_ways(kind: type) -> None:
    body = sample(kind)
    up = RequestFrame(1, Report(agent="r/a", entries=(Entry(n=1, ts=2, body=body),)))
    assert decode_request(encode(up)) == up
    down = PushFrame(1, Events(events=(Event(actor="a", body=body, cost=0.25),)))
    assert decode_response(encode(down)) == down


def test_an_error_crosses_with_its_facts_and_without_those_that_cannot() -> None:
    assert decode_response(encode_error(3, StaleBase("old", diff="-a\n+b", path="a.txt"))) == ErrorFrame(
        3, ("StaleBase", "old", {"diff": "-a\n+b", "path": "a.txt"})
    )
    assert decode_response(encode_error(3, AgentlabError("odd", thing=object()))) == ErrorFrame(
        3, ("AgentlabError", "odd", {})
    )


@pytest.mark.parametrize(
    ("payload", "id"),
    [
        (msgspec.msgpack.encode([0, 5, {"type": "from_the_future"}]), 5),
        (msgspec.msgpack.encode([0, 6, {"type": "claim"}]), 6),
        (msgspec.msgpack.encode([0, 7, {"type": "get_state", "seq": "x"}]), 7),
        (msgspec.msgpack.encode([0, 8, 3]), 8),
        (b"\x93\x00\x09\x81\xa4type\xa1\xff", 9),
    ],
)
def test_a_request_that_nobody_understands_can_still_be_answered(payload: bytes, id: int) -> None:
    frame = decode_request(payload)
    assert isinstance(frame, Unreadable)
    assert frame.id == id
    assert isinstance(frame.error, BadRequest)


DEEP = msgspec.msgpack.encode(Finish(agent="a", status="done", output=0))[:-1] + b"\x91" * 100_000


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"GET / HTTP/1.1\r\n",
        b"\x93\x00",
        msgspec.msgpack.encode([1, 2, {"type": "done"}]),
        msgspec.msgpack.encode([0, -1, {"type": "get_state"}]),
        msgspec.msgpack.encode({"type": "get_state"}),
        msgspec.msgpack.encode([0, 1, {"type": "get_state"}]) + b"more",
        b"\xdd\xff\xff\xff\xff",
        b"\x93\x00\x01\xc6\xff\xff\xff\xff",
        b"\x93\x00\x01" + DEEP,
    ],
    ids=range(11),
)
def test_what_is_no_request_at_all_is_refused(payload: bytes) -> None:
    with pytest.raises(BadRequest, match="no frame"):
        decode_request(payload)


@given(st.binary(max_size=64))
@settings(max_examples=300, deadline=None)
def test_no_bytes_do_harm(payload: bytes) -> None:
    for decode in (decode_request, decode_response):
        try:
            decode(payload)
        except BadRequest:
            pass


def stream(*frames: RequestFrame) -> bytes:
    return b"".join(header(payload) + payload for payload in map(encode, frames))


@given(st.lists(st.integers(0, 300), max_size=12), st.lists(st.integers(1, 200), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_a_stream_cut_anywhere_gives_the_same_frames(sizes: list[int], cuts: list[int]) -> None:
    frames = [RequestFrame(n, GetState(run_id="x" * size)) for n, size in enumerate(sizes)]
    data, got, at = stream(*frames), [], 0
    reader: FrameReader[ServerFrame] = FrameReader(decode_request)
    for n in range(len(data)):
        if at >= len(data):
            break
        step = cuts[n % len(cuts)]
        got += reader.feed(data[at : at + step])
        at += step
    assert got == frames
    assert reader.error is None


def test_a_large_frame_in_small_pieces_is_read_in_reasonable_time() -> None:
    frame = RequestFrame(1, PutBlobs(blobs=(Blob(hash="0" * 64, data=bytes(32 * 1024 * 1024)),)))
    data = stream(frame)
    reader: FrameReader[ServerFrame] = FrameReader(decode_request)
    got = [one for at in range(0, len(data), 65536) for one in reader.feed(data[at : at + 65536])]
    assert got == [frame]


@pytest.mark.parametrize("bad", [(MAX_FRAME + 1).to_bytes(4, "big"), b"\xff\xff\xff\xff", header(b"?") + b"?"])
def test_frames_before_garbage_are_read_and_none_after_it(bad: bytes) -> None:
    good = RequestFrame(1, GetState())
    reader: FrameReader[ServerFrame] = FrameReader(decode_request)
    assert reader.feed(stream(good) + bad + stream(good)) == [good]
    assert isinstance(reader.error, BadRequest)
    assert reader.feed(stream(good)) == []


def test_what_is_too_large_or_cannot_be_encoded_is_not_sent() -> None:
    with pytest.raises(BadRequest, match="PutBlobs is too large"):
        encode(RequestFrame(1, PutBlobs(blobs=(Blob(hash="", data=bytes(MAX_FRAME)),))))
    with pytest.raises(BadRequest, match="View cannot be sent"):
        encode(ReplyFrame(1, View(data={1, object()})))


def test_bodies_encoded_once_are_the_same_bytes_as_encoded_with_their_frame() -> None:
    delta = Delta(seq=1, tables={"agents": {"a": None}})
    assert encode_push(5, encode_body(delta)) == encode(PushFrame(5, delta))


def test_a_hello_does_not_show_its_token_when_it_is_printed() -> None:
    assert "sesame" not in repr(Hello(token="open sesame", protocol=1, version="1"))


def test_claims_and_messages_keep_their_defaults() -> None:
    claim = Claim(owner="r/a", units=("file:a",))
    assert decode_request(encode(RequestFrame(1, claim))) == RequestFrame(1, claim)
    assert decode_response(encode(ReplyFrame(1, Done()))) == ReplyFrame(1, Done())
    assert Message(role="user", text="x").to == ""
