"""Anthropic Messages: Claude Code."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .script import CACHED, INPUT, OUTPUT, Body, Conversation, Offered, Reply
from .wire import Ids, Wire, typed

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def read(body: Body) -> Conversation:
    events = []
    for message in body.get("messages", []):
        if message["role"] != "user":
            continue
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if block["type"] == "text":
                events.append(("user", block["text"]))
            elif block["type"] == "tool_result":
                events.append(("result", json.dumps(block.get("content"))))
    tools = {tool["name"]: Offered(tool["name"]) for tool in body.get("tools", [])}
    return Conversation(tools, tuple(events), body.get("model", ""), bool(body.get("stream")))


def answer(talk: Conversation, reply: Reply, ids: Ids) -> Body:
    content: list[Body] = [{"type": "text", "text": reply.text}] if reply.text else []
    if reply.call:
        name, args = reply.call.tool.name, reply.call.args
        content.append({"type": "tool_use", "id": ids("toolu"), "name": name, "input": args})
    return {
        "id": ids("msg"),
        "type": "message",
        "role": "assistant",
        "model": talk.model,
        "content": content,
        "stop_reason": "tool_use" if reply.call else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": INPUT,
            "output_tokens": OUTPUT,
            "cache_read_input_tokens": CACHED,
            "cache_creation_input_tokens": 0,
        },
    }


def _events(message: Body) -> Iterator[tuple[str, Body]]:
    so_far = {**message["usage"], "output_tokens": 1}  # as the real one: the final number comes at the end
    yield "message_start", {"message": {**message, "content": [], "stop_reason": None, "usage": so_far}}
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            empty, delta = (
                {**block, "input": {}},
                {"type": "input_json_delta", "partial_json": json.dumps(block["input"])},
            )
        yield "content_block_start", {"index": index, "content_block": empty}
        yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield "message_delta", {"delta": stop, "usage": message["usage"]}
    yield "message_stop", {}


def frames(message: Body) -> Iterator[str]:
    for number, (name, data) in enumerate(_events(message)):
        yield typed(name, data, number)


def error(status: int, text: str) -> Body:
    return {"type": "error", "error": {"type": _ERRORS.get(status, "api_error"), "message": text}}


WIRE = Wire(read, answer, frames, error)
