"""What answers of models say of their tokens, in the formats of all vendors, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentlab.runner.model_usage import Used, used
from agentlab.testing.scripted_model import CACHED, INPUT, OUTPUT, anthropic, chat, gemini, responses
from agentlab.testing.scripted_model.script import Conversation, Reply
from agentlab.testing.scripted_model.wire import Ids, Wire

FORMATS = {"anthropic": anthropic.WIRE, "chat": chat.WIRE, "gemini": gemini.WIRE, "responses": responses.WIRE}
FRESH = {"anthropic": INPUT, "chat": INPUT - CACHED, "gemini": INPUT - CACHED, "responses": INPUT - CACHED}


def answer(wire: Wire) -> dict[str, Any]:
    return wire.answer(Conversation(model="m-1", stream=True), Reply(text="my usage is {}"), Ids())


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("streamed", [False, True])
def test_tokens_are_read_from_every_format_whole_and_streamed(name: str, streamed: bool) -> None:
    wire = FORMATS[name]
    said = answer(wire)
    body = "".join(wire.frames(said)) if streamed else json.dumps(said, indent=1)
    model = "" if name == "gemini" else "m-1"
    assert used(body.encode()) == Used(FRESH[name], OUTPUT, CACHED, model)


def test_a_stream_that_broke_off_tells_what_it_had_told() -> None:
    begun = list(anthropic.WIRE.frames(answer(anthropic.WIRE)))[:3]
    assert used("".join(begun).encode()) == Used(INPUT, 1, CACHED, "m-1")


def test_the_usage_of_a_chat_stream_may_come_in_a_piece_without_choices() -> None:
    pieces = [
        {"model": "m", "choices": [{}], "usage": None},
        {"model": "m", "choices": [], "usage": {"prompt_tokens": 3}},
    ]
    body = "".join(f"data: {json.dumps(piece)}\r\n\r\n" for piece in pieces) + "data: [DONE]\r\n\r\n"
    assert used(body.encode()) == Used(3, 0, 0, "m")


def test_what_gemini_thought_is_among_what_came_out() -> None:
    counts = {"promptTokenCount": 10, "candidatesTokenCount": 2, "thoughtsTokenCount": 3}
    assert used(json.dumps([{"usageMetadata": counts, "modelVersion": "g"}]).encode()) == Used(10, 5, 0, "g")


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"{", b"[1]", b'{"input_tokens": 7}', b'{"totalTokens": 7}', b'data: {"usage"\n\n', b"data: \xff usage\n\n",
     b'{"usage": "much"}', b'{"error": {"message": "usage limit"}}'],
)  # fmt: skip
def test_an_answer_without_usage_says_nothing(body: bytes) -> None:
    assert used(body) is None


def test_numbers_that_are_none_count_as_nothing() -> None:
    assert used(b'{"usage": {"prompt_tokens": "x", "completion_tokens": true}}') == Used()
