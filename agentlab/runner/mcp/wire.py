"""JSON-RPC as MCP uses it: messages told apart, answers made. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

Message = dict[str, Any]
Id = str | int

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602

VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Revisions of MCP that begin with `initialize`, oldest first. Clients of later ones fall back to it."""

_decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder(enc_hook=str).encode


class Malformed(Exception):
    """A message that cannot be taken in; `answer` is what to say to whoever sent it."""

    def __init__(self, code: int, text: str, id: Id | None = None) -> None:
        super().__init__(text)
        self.answer = error(id, code, text)


def parse(line: bytes) -> Message:
    """One message. Raises Malformed."""
    try:
        message = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Malformed(PARSE_ERROR, f"This is no JSON: {problem}.") from None
    if not isinstance(message, dict):
        raise Malformed(INVALID_REQUEST, "A message is a JSON object; send several one after the other.")
    id = message.get("id")
    if "method" in message and not isinstance(message["method"], str):
        raise Malformed(INVALID_REQUEST, "`method` is a text.", id if _is_id(id) else None)
    if "id" in message and not _is_id(id):
        raise Malformed(INVALID_REQUEST, "`id` is a text or a whole number.")
    params = message.get("params")
    if params is not None and not isinstance(params, dict):
        raise Malformed(INVALID_REQUEST, "`params` is an object.", id)
    return message


def _is_id(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def is_request(message: Message) -> bool:
    return "method" in message and "id" in message


def result(id: Id, value: Message) -> Message:
    return {"jsonrpc": "2.0", "id": id, "result": value}


def error(id: Id | None, code: int, text: str) -> Message:
    return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": text}}


ACTOR: Final = "agentlab/actor"
PARENT: Final = "agentlab/parent"
"""Keys in `_meta` of a call: the subagent that makes it, and the id of the call that the subagent's work is a part of."""

FACTS: Final = "agentlab/result"
"""The key in `_meta` of a result under which programs find it as data."""


def text(said: str, *, is_error: bool = False, facts: Message | None = None) -> Message:
    """The result of a tool call. The model reads the text; facts go to `_meta`, where no client shows them to a model: of a
    result with `structuredContent` some show that instead of the text, and others the text alone."""
    answer: Message = {"content": [{"type": "text", "text": said}], "isError": is_error}
    return answer | ({"_meta": {FACTS: facts}} if facts else {})


def progress(token: Id, number: int, said: str) -> Message:
    """`number` must grow from one to the next."""
    params = {"progressToken": token, "progress": number, "message": said}
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
