"""The scripted model answers in four wire formats, by the script at the end of the prompt."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentlab.testing.scripted_model import CACHED, INPUT, OUTPUT, ScriptedModel
from agentlab.testing.scripted_model.script import Conversation, Offered, next_reply, read_script, to_call


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


def do(*steps: dict[str, Any]) -> str:
    return f"Work. @do {json.dumps(steps)}"


def offered(*names: str) -> dict[str, Offered]:
    return {name: Offered(name) for name in names}


WRITE = {"write": ["a.txt", "hi"]}


# --- the script ------------------------------------------------------------------------------------------------


def test_the_step_is_the_number_of_results_since_the_newest_script() -> None:
    first, second = do(WRITE, {"say": "one"}), do(WRITE, {"say": "two"})
    talk = Conversation(offered("Write"), (("user", first), ("result", "ok"), ("user", second), ("result", "ok")))
    assert next_reply(talk).text == "two"


def test_after_the_last_step_it_is_done() -> None:
    talk = Conversation(offered("Write"), (("user", do(WRITE)), ("result", "ok")))
    assert (next_reply(talk).text, next_reply(talk).call) == ("scripted: done", None)


def test_a_side_question_without_tools_does_not_set_the_script_off() -> None:
    assert next_reply(Conversation({}, (("user", do(WRITE)),))).call is None


def test_a_script_that_is_only_quoted_does_not_count() -> None:
    assert read_script(f"{do(WRITE)}\nGive this a title.") is None


def test_a_script_quoted_by_the_cli_counts() -> None:
    quoted = json.dumps(do(WRITE))
    assert read_script(quoted) == [WRITE]


def test_a_broken_script_says_so() -> None:
    assert next_reply(Conversation(offered("Write"), (("user", "@do [{]"),))).text.startswith(
        "scripted: the @do script"
    )


@pytest.mark.parametrize("name", ["mcp__lab__write", "mcp_lab_write", "lab_write", "mcp__lab.write"])
def test_our_write_goes_before_the_own_one_of_the_cli(name: str) -> None:
    call = to_call(WRITE, offered("Write", "write", name))
    assert call is not None
    assert (call.tool.name, call.args) == (name, {"path": "a.txt", "data": "hi"})


@pytest.mark.parametrize(
    ("step", "tool", "args"),
    [
        ({"read": "a"}, "mcp__lab__read", {"path": "a"}),
        ({"shell": "ls -l"}, "mcp__lab__run", {"argv": ["sh", "-c", "ls -l"]}),
        ({"shell": "ls -l"}, "Bash", {"command": "ls -l", "description": "scripted"}),
        ({"write": ["a", "b"]}, "write_file", {"file_path": "a", "content": "b"}),
        ({"tool": "lab__claim", "args": {"units": ["file:a"]}}, "mcp__lab__claim", {"units": ["file:a"]}),
    ],
)
def test_a_step_is_put_in_the_words_of_the_tool_on_offer(step: dict[str, Any], tool: str, args: Any) -> None:
    call = to_call(step, offered("other", tool))
    assert call is not None
    assert (call.tool.name, call.args) == (tool, args)


def test_a_step_that_nothing_can_do_is_said() -> None:
    talk = Conversation(offered("Glob"), (("user", do(WRITE)),))
    assert next_reply(talk).text.startswith("scripted: no tool here for")


# --- the four formats ------------------------------------------------------------------------------------------


def ask(server: ScriptedModel, path: str, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(server.url + path, json=body, timeout=10)


def frames(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def anthropic(*steps: dict[str, Any], stream: bool = False) -> dict[str, Any]:
    tools = [{"name": "mcp__lab__write", "input_schema": {}}]
    return {"model": "m", "stream": stream, "tools": tools, "messages": [{"role": "user", "content": do(*steps)}]}


def test_anthropic_whole_and_streamed_say_the_same(server: ScriptedModel) -> None:
    whole = ask(server, "/v1/messages", anthropic(WRITE)).json()
    events = frames(ask(server, "/v1/messages", anthropic(WRITE, stream=True)).text)
    assert whole["content"][1]["input"] == {"path": "a.txt", "data": "hi"}
    assert whole["stop_reason"] == "tool_use"
    assert [event["type"] for event in events][:1] + [event["type"] for event in events][-2:] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]
    assert events[-2]["usage"] == whole["usage"]
    assert (whole["usage"]["input_tokens"], whole["usage"]["output_tokens"]) == (INPUT, OUTPUT)
    assert whole["usage"]["cache_read_input_tokens"] == CACHED


def test_openai_responses_call_a_tool_of_a_namespace(server: ScriptedModel) -> None:
    inner = {"type": "function", "name": "write"}
    tools = [{"type": "namespace", "name": "mcp__lab", "tools": [inner]}]
    body = {"model": "m", "tools": tools, "input": do(WRITE)}
    call = ask(server, "/v1/responses", body).json()["output"][1]
    assert (call["type"], call["namespace"], call["name"]) == ("function_call", "mcp__lab", "write")
    assert json.loads(call["arguments"]) == {"path": "a.txt", "data": "hi"}
    last = frames(ask(server, "/v1/responses", {**body, "stream": True}).text)[-1]
    assert last["response"]["usage"]["total_tokens"] == INPUT + OUTPUT


def test_openai_responses_give_a_freeform_tool_its_text(server: ScriptedModel) -> None:
    body = {"model": "m", "tools": [{"type": "custom", "name": "apply_patch"}], "input": do(WRITE)}
    call = ask(server, "/v1/responses", body).json()["output"][1]
    assert (call["type"], "*** Add File: a.txt" in call["input"]) == ("custom_tool_call", True)


@pytest.mark.parametrize("verb", ["generateContent", "streamGenerateContent"])
def test_gemini_streams_by_its_path(server: ScriptedModel, verb: str) -> None:
    tools = [{"functionDeclarations": [{"name": "mcp_lab_write"}]}]
    body = {"tools": tools, "contents": [{"role": "user", "parts": [{"text": do(WRITE)}]}]}
    response = ask(server, f"/v1beta/models/gemini-2.5-flash:{verb}", body)
    answer = frames(response.text)[-1] if verb.startswith("stream") else response.json()
    call = answer["candidates"][0]["content"]["parts"][1]["functionCall"]
    assert (call["name"], call["args"]) == ("mcp_lab_write", {"path": "a.txt", "data": "hi"})
    assert server.seen[-1].model == "gemini-2.5-flash"


def test_chat_whole_and_streamed_say_the_same(server: ScriptedModel) -> None:
    tools = [{"type": "function", "function": {"name": "lab_write"}}]
    body = {"model": "m", "tools": tools, "messages": [{"role": "user", "content": do(WRITE)}]}
    whole = ask(server, "/v1/chat/completions", body).json()["choices"][0]["message"]["tool_calls"][0]["function"]
    chunks = frames(ask(server, "/v1/chat/completions", {**body, "stream": True}).text)
    assert chunks[-1]["choices"][0]["delta"]["tool_calls"][0]["function"] == whole
    assert whole["name"] == "lab_write"
    assert chunks[-1]["usage"]["prompt_tokens"] == INPUT


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "authentication_error"), (404, "not_found_error"), (529, "overloaded_error")]
)
def test_an_error_step_fails_the_request_as_the_vendor_would(server: ScriptedModel, status: int, kind: str) -> None:
    response = ask(server, "/v1/messages", anthropic({"error": status, "say": "no"}))
    assert response.status_code == status
    assert response.json()["error"] == {"type": kind, "message": "no"}


def test_every_request_is_seen_with_what_was_offered_and_called(server: ScriptedModel) -> None:
    ask(server, "/v1/messages", anthropic(WRITE))
    seen = server.seen[-1]
    assert (seen.path, seen.tools, seen.model) == ("/v1/messages", ("mcp__lab__write",), "m")
    assert seen.call == ("mcp__lab__write", {"path": "a.txt", "data": "hi"})
    assert seen.last == do(WRITE)
    assert httpx.get(f"{server.url}/_seen").json()[-1]["path"] == "/v1/messages"


def test_what_it_does_not_know_is_answered_and_seen(server: ScriptedModel) -> None:
    assert httpx.get(f"{server.url}/api/hello").json() == {}
    assert server.seen[-1].path == "/api/hello"


def test_two_servers_stand_side_by_side() -> None:
    with ScriptedModel() as one, ScriptedModel() as other:
        assert one.url != other.url
        ask(one, "/v1/messages", anthropic(WRITE))
        assert (len(one.turns), len(other.turns)) == (1, 0)


def test_it_runs_from_the_shell_and_logs_what_it_sees(tmp_path: Path) -> None:
    log = tmp_path / "seen.jsonl"
    argv = [sys.executable, "-m", "agentlab.testing.scripted_model", "--port", "0", "--log", str(log)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip().rpartition(" ")[2]
        assert httpx.post(f"{url}/v1/messages", json=anthropic(WRITE), timeout=10).status_code == 200
        assert json.loads(log.read_text())["path"] == "/v1/messages"
    finally:
        process.terminate()
        process.communicate(timeout=10)
