"""Bytes as text: to the letter, or not at all."""

from __future__ import annotations

import base64
import binascii

from agentlab.core.events import JSON
from agentlab.errors import BadRequest


def plain(data: bytes) -> str | None:
    """As text; None where it is none."""
    try:
        return None if b"\0" in data[:8192] else data.decode()
    except UnicodeDecodeError:
        return None


def decode(data: bytes, name: str) -> str:
    """Raises BadRequest: replaced characters would be lost for good when the text is written back."""
    if b"\0" in data[:8192]:
        raise BadRequest(f"{name} is binary ({len(data)} bytes). Use read_bytes({name!r}), or a program through run.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"{name} is no UTF-8 text (byte 0x{data[error.start]:02x} at offset {error.start}). "
            f"Use read_bytes({name!r}) and decode it, or convert it through run(['iconv', ...])."
        ) from None


def encode(text: str, name: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"The text for {name} cannot be written as UTF-8: {error}.") from None


def as_args(data: str | bytes, name: str) -> dict[str, JSON]:
    """Content as the arguments of a call: `data`, and `encoding` where it is no text. `bytes_of` is the way back."""
    if isinstance(data, bytes):
        return {"data": base64.b64encode(data).decode(), "encoding": "base64"}
    encode(data, name)
    return {"data": data}


def bytes_of(data: str, encoding: str, name: str) -> bytes:
    if encoding == "utf-8":
        return encode(data, name)
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise BadRequest(f"The data for {name} is no base64: {error}.") from None
