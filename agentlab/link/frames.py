"""Frames as bytes, and bytes as frames. Pure: no sockets here; the format is told in `messages`.

A payload decodes in one pass straight to its class: the kind of the frame and the `type` of its body are both tags.
What is no msgpack at all is the end of a connection. What is a frame with a body that nobody here knows (a newer
peer) is `Unreadable`: it can still be answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from agentlab.core.events import JSON
from agentlab.errors import AgentlabError, BadRequest

from .messages import MAX_FRAME, AnyRequest, AnyResponse

HEADER = 4  # bytes of length before each payload of a stream

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class RequestFrame(Struct, frozen=True, array_like=True, tag=0):
    id: Id
    body: AnyRequest


class ReplyFrame(Struct, frozen=True, array_like=True, tag=1):
    id: Id
    body: AnyResponse


class ErrorFrame(Struct, frozen=True, array_like=True, tag=2):
    """`id` 0: of the connection as a whole, which is about to be closed."""

    id: Id
    body: tuple[str, str, dict[str, JSON]]  # code, text, data


class PushFrame(Struct, frozen=True, array_like=True, tag=3):
    id: Id
    body: AnyResponse


class Unreadable(Struct, frozen=True):
    """A frame whose body cannot be understood, and why."""

    id: int
    error: BadRequest


Frame = RequestFrame | ReplyFrame | ErrorFrame | PushFrame
ServerFrame = RequestFrame | Unreadable
"""What a server receives."""
ClientFrame = ReplyFrame | ErrorFrame | PushFrame | Unreadable
"""What a client receives."""

F = TypeVar("F")

_encoder = msgspec.msgpack.Encoder()
_requests = msgspec.msgpack.Decoder(RequestFrame)
_responses: msgspec.msgpack.Decoder[ReplyFrame | ErrorFrame | PushFrame] = msgspec.msgpack.Decoder(
    ReplyFrame | ErrorFrame | PushFrame
)
_envelopes = msgspec.msgpack.Decoder(tuple[int, Id, Raw])


def encode(frame: Frame) -> bytes:
    """The payload of a frame. Raises BadRequest: larger than MAX_FRAME, or with a value that cannot cross the link."""
    return _encode(frame, type(frame.body).__name__)


def encode_body(body: AnyResponse) -> bytes:
    """A body to be sent to many by `encode_push`."""
    return _encode(body, type(body).__name__)


def encode_push(id: int, encoded: bytes) -> bytes:
    """The payload of a push whose body is encoded already."""
    return _encode((3, id, Raw(encoded)), "push")


def encode_error(id: int, error: AgentlabError) -> bytes:
    """The payload of an error. Of `data` that cannot cross the link only the text remains."""
    text = str(error)
    try:
        return encode(ErrorFrame(id, (error.code, text, error.data)))
    except BadRequest:
        return encode(ErrorFrame(id, (error.code, text[:65536], {})))


def _encode(value: object, what: str) -> bytes:
    try:
        payload = _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadRequest(f"{what} cannot be sent: {error}") from None
    if len(payload) > MAX_FRAME:
        raise BadRequest(
            f"{what} is too large to be sent: {len(payload)} bytes, {MAX_FRAME} at most. Send it in parts."
        )
    return payload


def header(payload: bytes) -> bytes:
    """The bytes that go before a payload on a stream."""
    return len(payload).to_bytes(HEADER, "big")


def decode_request(payload: bytes | memoryview) -> ServerFrame:
    """Raises BadRequest: this is no request frame at all."""
    try:
        return _requests.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _salvage(payload, (0,), str(error))


def decode_response(payload: bytes | memoryview) -> ClientFrame:
    """Raises BadRequest: this is no frame of a server at all."""
    try:
        return _responses.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _salvage(payload, (1, 2, 3), str(error))


def _salvage(payload: bytes | memoryview, kinds: tuple[int, ...], why: str) -> Unreadable:
    """The id of a frame whose body is not understood, so that its sender can be told."""
    try:
        kind, id, _ = _envelopes.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        kind = id = -1
    if kind not in kinds:
        raise BadRequest(f"This is no frame of the link: {why}.")
    return Unreadable(id, BadRequest(f"Not understood: {why}. Is the other side of another version of agentlab?"))


class FrameReader(Generic[F]):
    """Cuts a stream into frames. `error` is set by what is no frame; nothing is read after it."""

    def __init__(self, decode: Callable[[bytes | memoryview], F]) -> None:
        self.error: BadRequest | None = None
        self._decode = decode
        self._buffer = bytearray()
        self._need = HEADER  # bytes until there is something new to look at

    def feed(self, data: bytes | memoryview) -> list[F]:
        """The frames that `data` completes, those before an error included."""
        if self.error:
            return []
        buffer = self._buffer
        if not buffer and int.from_bytes(data[:HEADER], "big") == len(data) - HEADER <= MAX_FRAME:
            return self._one(data[HEADER:])  # mostly it is one frame and nothing else
        buffer += data
        if len(buffer) < self._need:
            return []
        frames: list[F] = []
        at = 0
        try:
            with memoryview(buffer) as view:
                while True:
                    start = at + HEADER
                    if start > len(buffer):
                        self._need = HEADER
                        break
                    end = start + self._length(view[at:start])
                    if end > len(buffer):
                        self._need = end - at
                        break
                    frames.append(self._decode(view[start:end]))
                    at = end
        except BadRequest as error:
            self.error = error.with_traceback(None)
            self._buffer = bytearray()
            return frames
        del buffer[:at]
        return frames

    def _one(self, payload: bytes | memoryview) -> list[F]:
        try:
            return [self._decode(payload)]
        except BadRequest as error:
            self.error = error.with_traceback(None)
            return []

    @staticmethod
    def _length(header: memoryview) -> int:
        length = int.from_bytes(header, "big")
        if length > MAX_FRAME:
            raise BadRequest(f"A frame of {length} bytes is too large: {MAX_FRAME} at most.")
        return length
