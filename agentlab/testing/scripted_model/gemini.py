"""Gemini generateContent: Gemini CLI. Whether it streams stands in the path, not in the body."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .script import CACHED, INPUT, OUTPUT, Body, Conversation, Offered, Reply
from .wire import Ids, Wire, plain

_SIDE_ANSWER = {  # to the model router and the next-speaker check
    "reasoning": "scripted",
    "model_choice": "flash",
    "next_speaker": "user",
    "complexity_score": 1,
    "complexity_reasoning": "scripted",
}


def read(body: Body) -> Conversation:
    events = []
    for content in body.get("contents", []):
        for part in content.get("parts", []):
            if "functionResponse" in part:
                events.append(("result", json.dumps(part["functionResponse"].get("response"))))
            elif "text" in part and content.get("role") == "user":
                events.append(("user", part["text"]))
    declared = [f for group in body.get("tools", []) for f in group.get("functionDeclarations", [])]
    wants_json = body.get("generationConfig", {}).get("responseMimeType") == "application/json"
    return Conversation({f["name"]: Offered(f["name"]) for f in declared}, tuple(events), wants_json=wants_json)


def answer(talk: Conversation, reply: Reply, ids: Ids) -> Body:
    text = json.dumps(_SIDE_ANSWER) if talk.wants_json else reply.text
    parts: list[Body] = [{"text": text}] if text else []
    if reply.call:
        parts.append({"functionCall": {"id": ids("call"), "name": reply.call.tool.name, "args": reply.call.args}})
    return {
        "candidates": [{"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": INPUT,
            "candidatesTokenCount": OUTPUT,
            "cachedContentTokenCount": CACHED,
            "totalTokenCount": INPUT + OUTPUT,
        },
    }


def frames(chunk: Body) -> Iterator[str]:
    yield plain({**chunk, "candidates": []})
    yield plain(chunk)


def error(status: int, text: str) -> Body:
    return {"error": {"code": status, "message": text, "status": "SCRIPTED"}}


WIRE = Wire(read, answer, frames, error)
