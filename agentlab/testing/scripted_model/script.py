"""The script: from a conversation to the next thing the "model" does. Pure; knows no wire format."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

INPUT, OUTPUT, CACHED = 1000, 50, 200
"""Tokens that every answer is said to have cost: fixed, so that tests can add them up."""

Body = dict[str, Any]
"""A JSON object of some vendor's wire format."""


@dataclass(frozen=True)
class Offered:
    """A tool as the CLI offers it: what to call it in the answer, and how it takes its arguments."""

    name: str
    freeform: bool = False  # raw text instead of JSON (Codex `custom` tools)
    namespace: str = ""  # Codex groups the tools of one MCP server


@dataclass(frozen=True)
class Call:
    """One tool call that the model makes."""

    tool: Offered
    args: Body


@dataclass(frozen=True)
class Reply:
    """What one answer consists of: a text, at most one call, or an HTTP error."""

    text: str = ""
    call: Call | None = None
    delay: float = 0.0  # s
    error: int = 0  # HTTP status


@dataclass(frozen=True)
class Conversation:
    """What the request formats boil down to. events: ("user" | "result", text), oldest first."""

    tools: Mapping[str, Offered] = field(default_factory=dict)
    events: tuple[tuple[str, str], ...] = ()
    model: str = ""
    stream: bool = False
    wants_json: bool = False  # a side question that only takes JSON


def next_reply(talk: Conversation) -> Reply:
    """Find the newest prompt with a script, count the tool results since, play that step."""
    steps: list[Body] = []
    done = 0
    for kind, text in talk.events:
        script = read_script(text) if kind == "user" else None
        if script is not None:
            steps, done = script, 0
        elif kind == "result":
            done += 1
    if not talk.tools or done >= len(steps):  # no tools: a side question, such as for a title
        return Reply(text="scripted: done")
    step = steps[done]
    delay, error = float(step.get("delay", 0)), int(step.get("error", 0))
    if error:
        return Reply(text=str(step.get("say", "scripted error")), delay=delay, error=error)
    if call := to_call(step, talk.tools):
        return Reply(text=str(step.get("say", f"scripted: step {done + 1}")), call=call, delay=delay)
    return Reply(text=str(step.get("say") or f"scripted: no tool here for {json.dumps(step)}"), delay=delay)


def read_script(text: str) -> list[Body] | None:
    """The steps at the end of a prompt; None where there are none.

    Only at its end: CLIs quote the prompt in side questions ("give this a title"), which must not set it off again.
    """
    at = text.rfind("@do [")
    if at < 0:
        return None
    for candidate in (text[at + 4 :], text[at + 4 :].replace('\\"', '"')):  # opencode quotes its argument
        try:
            steps, end = json.JSONDecoder().raw_decode(candidate)
        except json.JSONDecodeError:
            continue
        if candidate[end:].strip(' \n\t"'):
            return None
        if isinstance(steps, list) and all(isinstance(step, dict) for step in steps):
            return steps
    return [{"say": "scripted: the @do script is no JSON list of steps"}]


def to_call(step: Body, tools: Mapping[str, Offered]) -> Call | None:
    """The call that a step stands for, by the tools on offer. None: it is not a call, or nothing here can do it."""
    if "tool" in step:
        wanted = str(step["tool"])
        name = wanted
        if wanted not in tools and not step.get("exact"):
            name = next((name for name in tools if name.endswith(wanted)), wanted)
        return Call(tools.get(name, Offered(name, namespace=step.get("namespace", ""))), step.get("args", {}))
    for verb in VERBS.keys() & step.keys():
        values = step[verb] if isinstance(step[verb], list) else [step[verb]]
        for pattern, arguments in VERBS[verb].items():
            offered = next((tool for name, tool in tools.items() if re.fullmatch(pattern, name)), None)
            if offered:
                return Call(offered, arguments(*map(str, values)))
    return None


def _patch_adding(path: str, text: str) -> str:
    lines = "".join(f"+{line}\n" for line in text.splitlines() or [""])
    return f"*** Begin Patch\n*** Add File: {path}\n{lines}*** End Patch\n"


def _javascript(tool: str, args: object) -> str:
    """Codex "code mode": its one tool is `exec`, which takes a JavaScript module."""
    return f"text(await tools.{tool}({json.dumps(args)}))"


def _ours(name: str) -> str:
    """A tool of agentlab as the CLIs spell it: mcp__lab__write, mcp_lab_write, lab_write, mcp__lab.write."""
    return rf"(mcp_+)?lab(__|_|\.){name}"


VERBS: dict[str, dict[str, Callable[..., Body]]] = {
    "write": {
        _ours("write"): lambda path, text: {"path": path, "data": text},
        "Write": lambda path, text: {"file_path": path, "content": text},
        "write_file": lambda path, text: {"file_path": path, "content": text},
        "write": lambda path, text: {"filePath": path, "content": text},
        "apply_patch": lambda path, text: {"input": _patch_adding(path, text)},
        "exec": lambda path, text: {"input": _javascript("apply_patch", _patch_adding(path, text))},
    },
    "read": {
        _ours("read"): lambda path: {"path": path},
        "Read": lambda path: {"file_path": path},
        "read_file": lambda path: {"file_path": path},
        "read": lambda path: {"filePath": path},
        "exec_command": lambda path: {"cmd": f"cat {path}"},
        "shell_command": lambda path: {"command": f"cat {path}"},
        "exec": lambda path: {"input": _javascript("exec_command", {"cmd": f"cat {path}"})},
    },
    "shell": {
        _ours("run"): lambda command: {"argv": ["sh", "-c", command]},
        "Bash": lambda command: {"command": command, "description": "scripted"},
        "run_shell_command": lambda command: {"command": command, "description": "scripted"},
        "bash": lambda command: {"command": command, "description": "scripted"},
        "exec_command": lambda command: {"cmd": command, "yield_time_ms": 30000},
        "shell_command": lambda command: {"command": command},
        "shell": lambda command: {"command": ["bash", "-lc", command]},
        "exec": lambda command: {"input": _javascript("exec_command", {"cmd": command})},
    },
}
"""Step -> {pattern of a tool's name: how that tool wants its arguments}, the first on offer wins."""
