"""OpenAI Chat Completions: opencode, and most others."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from .script import CACHED, INPUT, OUTPUT, Body, Conversation, Offered, Reply
from .wire import Ids, Wire, plain, text_of


def read(body: Body) -> Conversation:
    kinds = {"user": "user", "tool": "result"}
    events = [
        (kinds[message["role"]], text_of(message.get("content")))
        for message in body.get("messages", [])
        if message["role"] in kinds
    ]
    names = [tool["function"]["name"] for tool in body.get("tools", [])]
    tools = {name: Offered(name) for name in names}
    return Conversation(tools, tuple(events), body.get("model", ""), bool(body.get("stream")))


def answer(talk: Conversation, reply: Reply, ids: Ids) -> Body:
    message: Body = {"role": "assistant", "content": reply.text}
    if reply.call:
        function = {"name": reply.call.tool.name, "arguments": json.dumps(reply.call.args)}
        message["tool_calls"] = [{"index": 0, "id": ids("call"), "type": "function", "function": function}]
    return {
        "id": ids("chatcmpl"),
        "created": int(time.time()),
        "model": talk.model,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if reply.call else "stop"}],
        "usage": {
            "prompt_tokens": INPUT,
            "completion_tokens": OUTPUT,
            "total_tokens": INPUT + OUTPUT,
            "prompt_tokens_details": {"cached_tokens": CACHED},
        },
    }


def frames(completion: Body) -> Iterator[str]:
    choice = completion["choices"][0]
    chunk = {key: value for key, value in completion.items() if key != "usage"} | {"object": "chat.completion.chunk"}
    begin = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    whole = {"index": 0, "delta": choice["message"], "finish_reason": choice["finish_reason"]}
    yield plain({**chunk, "choices": [begin]})
    yield plain({**chunk, "choices": [whole], "usage": completion["usage"]})
    yield "data: [DONE]\n\n"


def error(status: int, text: str) -> Body:
    return {"error": {"type": "scripted_error", "code": status, "message": text}}


WIRE = Wire(read, answer, frames, error)
