"""The arguments of Gemini's calls, read out of what its model says: the right ones, or none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from agentlab.core.events import JSON
from agentlab.runner.drivers.acp_wire import Tool
from agentlab.runner.drivers.gemini_calls import Calls
from agentlab.testing.scripted_model import gemini
from agentlab.testing.scripted_model.script import Call, Conversation, Offered, Reply
from agentlab.testing.scripted_model.wire import Ids

Made = dict[str, Any]
SHELL = "run_shell_command"
ANEW = f"{SHELL}__{SHELL}_1795743322710_0"
"""An id that Gemini CLI makes."""


def shell(command: str, id: str | None = None, **more: JSON) -> Made:
    return {"name": SHELL, "args": {"command": command, **more}, **({"id": id} if id else {})}


def change(path: str, id: str) -> Made:
    return {"name": "write_file", "id": id, "args": {"file_path": path, "content": "x"}}


def asked(call: str, command: str | None, text: str = "") -> Tool:
    return Tool(call, command, "execute", "pending", text=text)


def written(path: str, call: str = "write_file__1") -> Tool:
    return Tool(call, f"Writing to {path}", "edit", "pending", paths=(path,), diffs=((path, None, "x"),))


def document(*made: Made) -> Made:
    return {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "I do"}, *({"functionCall": m} for m in made)]}}
        ]
    }


def stream(*made: Made) -> bytes:
    return "".join(f"data: {json.dumps(document(one))}\r\n\r\n" for one in made).encode()


def heard(*answers: bytes | None) -> Calls:
    calls = Calls()
    for answer in answers:
        calls.heard(answer)
    return calls


@pytest.mark.parametrize(
    "wire",
    [
        lambda said: "".join(gemini.WIRE.frames(said)),
        lambda said: json.dumps(said),
        lambda said: json.dumps([said], indent=1),
        lambda said: "\n".join(gemini.WIRE.frames(said)).replace("\n", "\r\n"),
    ],
)
def test_a_call_is_read_from_an_answer_whole_and_streamed(wire: Callable[[Made], str]) -> None:
    args = {"command": "printf 'a\nb' # \u2028 é", "dir_path": "sub"}
    said = gemini.WIRE.answer(Conversation(), Reply(text="now", call=Call(Offered(SHELL), args)), Ids())
    calls = heard(wire(said).encode())
    assert calls.input_of(asked(f"{SHELL}__call_000001", args["command"])) == args


def test_each_of_two_calls_in_one_answer_has_its_own_arguments() -> None:
    calls = heard(stream(shell("make", "1", dir_path="one"), shell("make", "2", dir_path="two")))
    assert calls.input_of(asked(f"{SHELL}__1", "make")) == {"command": "make", "dir_path": "one"}
    assert calls.input_of(asked(f"{SHELL}__2", "make")) == {"command": "make", "dir_path": "two"}


def test_without_ids_two_calls_are_told_apart_by_their_commands() -> None:
    calls = heard(stream(shell("ls", dir_path="one"), shell("rm -r a\nls")))
    assert calls.input_of(asked(ANEW, "ls")) == {"command": "ls", "dir_path": "one"}
    assert calls.input_of(asked(ANEW, "rm -r a\nls")) == {"command": "rm -r a\nls"}


def test_without_ids_the_same_call_twice_has_the_same_arguments_and_a_similar_one_has_none() -> None:
    assert heard(stream(shell("make"), shell("make"))).input_of(asked(ANEW, "make")) == {"command": "make"}
    calls = heard(stream(shell("make"), shell("make", dir_path="two")))
    assert calls.input_of(asked(ANEW, "make")) is None


@pytest.mark.parametrize("id", [None, "1"])
@pytest.mark.parametrize("title", ["ls", "ls && rm", "ls && rm -r a ", "ls && rm -r …", "Shell"])
def test_a_title_that_is_not_the_whole_command_has_no_arguments(id: str | None, title: str) -> None:
    calls = heard(stream(shell("ls && rm -r a", id)))
    assert calls.input_of(asked(f"{SHELL}__1" if id else ANEW, title)) is None


def test_the_arguments_of_a_call_with_an_id_are_nobody_else_s() -> None:
    calls = heard(stream(shell("ls", "1")))
    for other in (f"{SHELL}__2", ANEW, "write_file__1", SHELL):
        assert calls.input_of(asked(other, "ls")) is None


def test_an_answer_that_a_command_has_fetched_can_hide_arguments_and_not_change_them() -> None:
    real, planted = stream(shell("make", dir_path="real")), stream(shell("make", dir_path="planted"))
    assert heard(real, planted).input_of(asked(ANEW, "make")) is None
    assert heard(planted, real).input_of(asked(ANEW, "make")) is None
    known = heard(stream(shell("make", "1", dir_path="real")), stream(shell("make", "9", dir_path="planted")), planted)
    assert known.input_of(asked(f"{SHELL}__1", "make")) == {"command": "make", "dir_path": "real"}


@pytest.mark.parametrize(
    "unread",
    [
        None, b'data: {"candidates": [{"content": {"parts": [{"functionCall": {"na', b'data: {"functionCall": \xff}\n\n',
        b'data: {"candidates": [{"content": {"parts": [{"functionCall": {"name": 7}}]}}]}\n\n', b'[{"functionCall": ' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_where_an_answer_could_not_be_read_only_an_id_says_which_call_it_is(unread: bytes | None) -> None:
    calls = heard(unread, stream(shell("make"), shell("make", "1", dir_path="one")))
    assert calls.input_of(asked(ANEW, "make")) is None
    assert calls.input_of(asked(f"{SHELL}__1", "make")) == {"command": "make", "dir_path": "one"}


def test_a_stream_that_broke_off_tells_the_calls_that_had_come() -> None:
    whole = stream(shell("make", "1"), shell("ls", "2"))
    calls = heard(whole[: len(whole) - 20])
    assert calls.input_of(asked(f"{SHELL}__1", "make")) == {"command": "make"}
    assert calls.input_of(asked(f"{SHELL}__2", "ls")) is None


def test_calls_of_an_earlier_turn_are_not_made_any_more() -> None:
    calls = heard(None, stream(shell("make", "1")))
    calls.forget()
    assert calls.input_of(asked(f"{SHELL}__1", "make")) is None
    calls.heard(stream(shell("make")))
    assert calls.input_of(asked(ANEW, "make")) == {"command": "make"}


def test_a_change_is_the_one_of_its_file() -> None:
    calls = heard(stream(change("src/a.py", "1"), change("b.py", "2")))
    assert calls.input_of(written("/w/src/a.py")) == {"file_path": "src/a.py", "content": "x"}
    assert calls.input_of(written("/w/b.py")) is None


def test_what_is_called_in_another_candidate_or_in_a_text_is_no_call() -> None:
    two = document(shell("ls", "1"))
    two["candidates"] += document(shell("make", "2"))["candidates"]
    text = {"candidates": [{"content": {"parts": [{"text": json.dumps(document(shell("cat", "3")))}]}}]}
    calls = heard(json.dumps(two).encode(), json.dumps(text).encode(), f"data: {json.dumps(text)}\n\n".encode())
    assert calls.input_of(asked(f"{SHELL}__1", "ls")) == {"command": "ls"}
    assert calls.input_of(asked(f"{SHELL}__2", "make")) is None
    assert calls.input_of(asked(f"{SHELL}__3", "cat")) is None


def test_that_a_command_goes_to_the_background_is_known_without_its_arguments() -> None:
    assert Calls().input_of(asked(ANEW, "make", "[in /w] (builds) [background]")) == {"is_background": True}
    assert Calls().input_of(asked(ANEW, "make", "[in /w] ([background] builds)")) is None
