"""An agent of the Agent Client Protocol without a model: it does what its prompt says, well or badly. For tests.

    python -m agentlab.testing.fake_acp

The prompt is a JSON list of steps, among other words or not, taken one after the other:
    {"say": text}  {"think": text}  {"pay": USD that the session has cost so far}
    {"call": [tool, {...}]}           a tool of the MCP server that was handed over with the session
    {"ask": {"title", "kind", "path", "old", "new"}}   request permission for a tool of its own; then it acts, if it may.
                                      over: "client" hands the write to us; also: a file that it
                                      writes besides; linger: s that it goes on afterwards;
                                      command: what it says that it would run
    {"act": {...}}                    the same without asking
    {"sleep": seconds}  {"garbage": lines}  {"long": bytes of one line}  {"daemon": seconds}  {"exit": code}  {"stop": reason}  {"fail": text}
It reaches MCP servers by HTTP too, unless there is FAKE_ACP_NO_HTTP.
Where FAKE_ACP_HEARD names a file, what its calls were answered is written there, a JSON text a line.
It imports the standard library only, so that it starts at once.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

Message = dict[str, Any]


class Tools:
    """A client of one MCP server over its standard input and output."""

    def __init__(self, argv: list[str]) -> None:
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._numbers = itertools.count(1)
        self._request(
            "initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "fake"}}
        )
        self._request("tools/list", {})

    def call(self, name: str, args: Message) -> Message:
        return self._request("tools/call", {"name": name, "arguments": args})

    def _request(self, method: str, params: Message) -> Message:
        number = next(self._numbers)
        assert self._process.stdin and self._process.stdout
        line = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        while line_back := self._process.stdout.readline():
            message: Message = json.loads(line_back)
            if message.get("id") == number:
                return dict(message["result"])
        raise ConnectionError("the MCP server is gone")


class HttpTools:
    """A client of one MCP server by streamable HTTP."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._url, self._headers = url, headers
        self._numbers = itertools.count(1)
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "fake"}}
        self._request("initialize", hello)
        self._request("tools/list", {})

    def call(self, name: str, args: Message) -> Message:
        return self._request("tools/call", {"name": name, "arguments": args})

    def _request(self, method: str, params: Message) -> Message:
        number = next(self._numbers)
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        asked = urllib.request.Request(self._url, body, headers | self._headers)  # noqa: S310 - what we were given
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked) as answer:
            if session := answer.headers.get("mcp-session-id"):
                self._headers["mcp-session-id"] = session
            streamed = answer.headers.get_content_type() == "text/event-stream"
            for line in answer:
                if streamed and not line.startswith(b"data: "):
                    continue
                message: Message = json.loads(line.removeprefix(b"data: "))
                if message.get("id") == number:
                    return dict(message["result"])
        raise ConnectionError("the MCP server is gone")


class Agent:
    def __init__(self) -> None:
        self._answers: dict[Any, queue.Queue[Message]] = {}
        self._numbers = itertools.count(1)
        self._calls = itertools.count(1)
        self._lock = threading.Lock()
        self._tools: Tools | HttpTools | None = None
        self._cancelled = threading.Event()

    def run(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            method, id = message.get("method"), message.get("id")
            if method is None:
                self._answers.pop(id).put(message)
            elif method == "session/cancel":
                self._cancelled.set()
            elif method == "session/prompt":
                threading.Thread(target=self._prompt, args=(id, message["params"]), daemon=True).start()
            else:
                self._send({"id": id, **self._answer(method, message.get("params") or {})})

    def _answer(self, method: str, params: Message) -> Message:
        match method:
            case "initialize":
                return {
                    "result": {
                        "protocolVersion": 1,
                        "agentCapabilities": {"mcpCapabilities": {"http": "FAKE_ACP_NO_HTTP" not in os.environ}},
                        "agentInfo": {"name": "fake", "version": "1.0.0"},
                    }
                }
            case "session/new":
                for server in params["mcpServers"]:
                    if server.get("type") == "http":
                        given = {header["name"]: header["value"] for header in server["headers"]}
                        self._tools = HttpTools(server["url"], given)
                    else:
                        self._tools = Tools([server["command"], *server["args"]])
                return {"result": {"sessionId": f"fake-{os.getpid()}"}}
        return {"error": {"code": -32601, "message": f"no {method}"}}

    def _prompt(self, id: Any, params: Message) -> None:
        self._cancelled.clear()
        self._session = params["sessionId"]
        stop = "end_turn"
        try:
            text = params["prompt"][0]["text"]
            steps, _ = json.JSONDecoder().raw_decode(text, max(0, text.find("[{")))
            for step in steps:
                if self._cancelled.is_set():
                    break
                stop = self._step(step) or stop
        except Exception as error:
            self._send({"id": id, "error": {"code": -32603, "message": f"{type(error).__name__}: {error}"}})
            return
        stop = "cancelled" if self._cancelled.is_set() else stop
        usage = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
        self._send({"id": id, "result": {"stopReason": stop, "usage": usage}})

    def _step(self, step: Message) -> str | None:
        ((verb, value),) = step.items()
        match verb:
            case "say" | "think":
                kind = "agent_message_chunk" if verb == "say" else "agent_thought_chunk"
                self._update({"sessionUpdate": kind, "content": {"type": "text", "text": value}})
            case "pay":
                cost = {"amount": value, "currency": "USD"}
                self._update({"sessionUpdate": "usage_update", "used": 15, "size": 1000, "cost": cost})
            case "call":
                self._call(*value)
            case "ask":
                if self._ask(value):
                    self._act(value)
            case "act":
                self._act(value)
            case "sleep":
                self._cancelled.wait(value)
            case "garbage":
                for _ in range(value):
                    self._raw(b"\x1b[31mNotice:\x1b[0m {not json")
            case "long":
                self._raw(b"x" * value)
            case "daemon":
                subprocess.Popen(["sleep", str(value)], start_new_session=True)
            case "exit":
                os._exit(value)
            case "fail":
                raise RuntimeError(value)
            case "stop":
                return str(value)
        return None

    def _call(self, name: str, args: Message) -> None:
        call = {"toolCallId": f"fake-call-{next(self._calls)}", "title": f"lab_{name}", "kind": "other"}
        self._update({"sessionUpdate": "tool_call", **call, "status": "in_progress", "rawInput": args})
        assert self._tools is not None
        result = self._tools.call(name, args)
        if heard := os.environ.get("FAKE_ACP_HEARD"):
            with Path(heard).open("a") as file:
                file.write(json.dumps("".join(part.get("text", "") for part in result["content"])) + "\n")
        status = "failed" if result["isError"] else "completed"
        content = [{"type": "content", "content": part} for part in result["content"]]
        self._update({"sessionUpdate": "tool_call_update", **call, "status": status, "content": content})

    def _ask(self, what: Message) -> bool:
        options = [{"optionId": kind, "name": kind, "kind": kind} for kind in ("allow_once", "reject_once")]
        params = {"sessionId": self._session, "toolCall": self._shown(what), "options": options}
        outcome = self._request("session/request_permission", params)["outcome"]
        return bool(outcome.get("optionId") == "allow_once")

    def _shown(self, what: Message) -> Message:
        shown: Message = {
            "toolCallId": f"own-{what.get('title')}",
            "title": what.get("title"),
            "kind": what.get("kind"),
        }
        if command := what.get("command"):
            shown["rawInput"] = {"command": command}
        if path := what.get("path"):
            diff = {"type": "diff", "path": path, "oldText": what.get("old"), "newText": what.get("new", "")}
            shown |= {"content": [diff], "locations": [{"path": path}]}
        return shown

    def _act(self, what: Message) -> None:
        self._update({"sessionUpdate": "tool_call", **self._shown(what), "status": "in_progress"})
        status = "completed"
        if path := what.get("path"):
            if what.get("over") == "client":
                params = {"sessionId": self._session, "path": path, "content": what.get("new", "")}
                with contextlib.suppress(PermissionError):
                    status = "failed"
                    self._request("fs/write_text_file", params)
                    status = "completed"
            else:
                Path(path).write_text(what.get("new", ""))
        if also := what.get("also"):
            Path(also).write_text("")
        self._cancelled.wait(what.get("linger", 0))
        self._update({"sessionUpdate": "tool_call_update", **self._shown(what), "status": status})

    def _request(self, method: str, params: Message) -> Message:
        number = f"fake-{next(self._numbers)}"
        answer = self._answers[number] = queue.Queue()
        self._send({"id": number, "method": method, "params": params})
        message = answer.get()
        if "error" in message:
            raise PermissionError(message["error"]["message"])
        return dict(message["result"] or {})

    def _update(self, update: Message) -> None:
        self._send({"method": "session/update", "params": {"sessionId": self._session, "update": update}})

    def _send(self, message: Message) -> None:
        self._raw(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def _raw(self, line: bytes) -> None:
        with self._lock:
            sys.stdout.buffer.write(line + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    if delay := os.environ.get("FAKE_ACP_SLOW"):
        time.sleep(float(delay))
    print("Welcome! A new version is available.", flush=True)
    Agent().run()
