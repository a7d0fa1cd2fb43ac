"""OpenAI Responses: Codex."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from .script import CACHED, INPUT, OUTPUT, Body, Conversation, Offered, Reply
from .wire import Ids, Wire, typed


def read(body: Body) -> Conversation:
    given = body.get("input", [])
    items: list[Body] = [{"role": "user", "content": given}] if isinstance(given, str) else given
    events, offered = [], list(body.get("tools", []))
    for item in items:
        kind = item.get("type", "message")
        if kind == "message" and item.get("role") == "user":
            content = item["content"]
            texts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
            events += [("user", text) for text in texts]
        elif kind in ("additional_tools", "tool_search_output"):  # code mode; tools found by search
            offered += item.get("tools", [])
        elif kind.endswith("_output"):  # of a function call or a custom tool call
            events.append(("result", json.dumps(item.get("output"))))
    return Conversation(_tools(offered), tuple(events), body.get("model", ""), bool(body.get("stream")))


def _tools(offered: list[Body]) -> dict[str, Offered]:
    tools: dict[str, Offered] = {}
    for tool in offered:
        if tool["type"] == "namespace":
            group = "" if tool["name"] == "functions" else tool["name"]
            for inner in tool.get("tools", []):
                key = f"{group}.{inner['name']}" if group else inner["name"]
                tools[key] = Offered(inner["name"], inner.get("type") == "custom", group)
        else:
            name = str(tool.get("name", tool["type"]))
            tools[name] = Offered(name, tool["type"] == "custom")
    return tools


def answer(talk: Conversation, reply: Reply, ids: Ids) -> Body:
    output: list[Body] = []
    if reply.text:
        text = {"type": "output_text", "text": reply.text, "annotations": []}
        output.append(
            {"type": "message", "id": ids("msg"), "role": "assistant", "status": "completed", "content": [text]}
        )
    if reply.call:
        tool, args = reply.call.tool, reply.call.args
        item: Body = {"id": ids("fc"), "call_id": ids("call"), "name": tool.name, "status": "completed"}
        if tool.freeform:
            item |= {"type": "custom_tool_call", "input": args["input"]}
        else:
            item |= {"type": "function_call", "arguments": json.dumps(args)}
        if tool.namespace:
            item["namespace"] = tool.namespace
        output.append(item)
    return {
        "id": ids("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "model": talk.model,
        "output": output,
        "usage": {
            "input_tokens": INPUT,
            "output_tokens": OUTPUT,
            "total_tokens": INPUT + OUTPUT,
            "input_tokens_details": {"cached_tokens": CACHED},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _events(response: Body) -> Iterator[tuple[str, Body]]:
    yield "response.created", {"response": {**response, "status": "in_progress", "output": []}}
    for index, item in enumerate(response["output"]):
        yield "response.output_item.added", {"output_index": index, "item": item}
        if item["type"] == "message":
            delta = item["content"][0]["text"]
            where = {"item_id": item["id"], "output_index": index, "content_index": 0}
            yield "response.output_text.delta", {**where, "delta": delta}
        yield "response.output_item.done", {"output_index": index, "item": item}
    yield "response.completed", {"response": response}


def frames(response: Body) -> Iterator[str]:
    for number, (name, data) in enumerate(_events(response)):
        yield typed(name, data, number)


def error(status: int, text: str) -> Body:
    return {"error": {"type": "scripted_error", "code": str(status), "message": text, "param": None}}


WIRE = Wire(read, answer, frames, error)
