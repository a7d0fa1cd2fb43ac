"""The process of a python agent. Run as a file (`python -I python_child.py FD`): imports next to nothing.

FD is a socket of the driver: JSON values, one a line. Ours: {"code": ...} comes first, then an answer to each call,
{"ok": value} or {"error": [code, text, data]}. We send {"call": tool, "args": {...}}, and in the end
{"done": value} or {"failed": [text, traceback]}.
"""

from __future__ import annotations

import ast
import base64
import json
import os
import socket
import sys
import threading
import traceback
from typing import Any

NAME = "<agent>"


class Record(dict):  # type: ignore[type-arg]
    """What a tool answered: `ran.code` or `ran["code"]`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"There is no {name!r}. There are: {', '.join(self)}.") from None


class Grant(Record):
    """What `tools.claim` gives: held until its `with` ends, or until it is released."""

    def __enter__(self) -> Grant:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def release(self) -> None:
        _channel().call("release", {"ticket": self["ticket"]})


class Channel:
    def __init__(self, fd: int) -> None:
        self._lines = socket.socket(fileno=fd).makefile("rwb")
        self._lock = threading.Lock()

    def receive(self) -> Any:
        line = self._lines.readline()
        if not line:
            os._exit(1)  # the runner is gone: nothing may be done without it
        return json.loads(line)

    def send(self, message: dict[str, Any]) -> None:
        self._lines.write(json.dumps(message).encode() + b"\n")
        self._lines.flush()

    def call(self, tool: str, args: dict[str, Any]) -> Any:
        with self._lock:
            self.send({"call": tool, "args": args})
            answer = self.receive()
        if "error" in answer:
            raise _error(*answer["error"])
        return answer["ok"]


class Tools:
    """The tools, without `await`. Each raises the errors of `agentlab` that the tool host raised."""

    def read(self, path: str, start: int | None = None, end: int | None = None) -> str:
        return str(self._call("read", path=path, start=start, end=end))

    def read_bytes(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        return base64.b64decode(self._call("read_bytes", path=path, start=start, end=end))

    def write(self, path: str, data: str | bytes, *, base: str | None = "auto", overwrite: bool = False) -> Record:
        args: dict[str, Any] = {"path": path, **_data(data), "overwrite": overwrite}
        return Record(_channel().call("write", args if base == "auto" else args | {"base": base}))

    def edit(self, path: str, old: str, new: str, *, all: bool = False) -> Record:
        return Record(self._call("edit", path=path, old=old, new=new, all=all))

    def multi_edit(self, path: str, edits: Any) -> Record:
        return Record(self._call("multi_edit", path=path, edits=[dict(edit) for edit in edits]))

    def patch(self, path: str, diff: str) -> Record:
        return Record(self._call("patch", path=path, diff=diff))

    def delete(self, path: str) -> Record:
        return Record(self._call("delete", path=path))

    def move(self, path: str, to: str) -> Record:
        return Record(self._call("move", path=path, to=to))

    def list(self, path: str = ".", pattern: str | None = None) -> Any:
        return self._call("list", path=path, pattern=pattern)

    def glob(self, pattern: str, path: str = ".", **options: Any) -> Any:
        return self._call("glob", pattern=pattern, path=path, **options)

    def search(self, regex: str, path: str = ".", glob: str | None = None, **options: Any) -> Any:
        return self._call("search", regex=regex, path=path, glob=glob, **options)

    def run(self, argv: Any = None, **options: Any) -> Record:
        argv = argv if argv is None or isinstance(argv, str) else [str(a) for a in argv]
        if "writes" in options:
            options["writes"] = [str(path) for path in options["writes"]]
        return Record(self._call("run", argv=argv, **options))

    def output(self, id: str, since: int | None = None, wait: float = 0) -> Record:
        return Record(self._call("output", id=id, since=since, wait=wait))

    def stop(self, id: str) -> Record:
        return Record(self._call("stop", id=id))

    def todo(self, items: Any) -> Record:
        return Record(self._call("todo", items=[dict(item) for item in items]))

    def artifact(self, name: str, data: str | bytes, kind: str = "file") -> Record:
        return Record(self._call("artifact", name=name, kind=kind, **_data(data)))

    def claim(self, *units: str, **options: Any) -> Grant:
        return Grant(self._call("claim", units=[*units], **options))

    def release(self, *units: str, ticket: int | None = None) -> None:
        self._call("release", units=[*units], ticket=ticket)

    def plan(self, steps: Any, units: Any = ()) -> None:
        self._call("plan", steps=[*steps], units=[*units])

    def ask(self, question: str, options: Any = ()) -> str:
        return str(self._call("ask", question=question, options=[*options]))

    def say(self, text: object) -> None:
        self._call("say", text=str(text))

    def _call(self, tool: str, **args: Any) -> Any:
        return _channel().call(tool, {name: value for name, value in args.items() if value is not None})


_open: list[Channel] = []


def _channel() -> Channel:
    return _open[0]


def _data(data: str | bytes) -> dict[str, str]:
    if isinstance(data, str):
        return {"data": data}
    return {"data": base64.b64encode(data).decode(), "encoding": "base64"}


def _error(code: str, text: str, data: dict[str, Any]) -> Exception:
    from agentlab.errors import from_code

    return from_code(code, text, data)


def run(code: str) -> Any:
    """Execute it; the value of `result`, or else of a last expression."""
    tree = ast.parse(code, NAME)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__, "tools": Tools()}
    exec(compile(tree, NAME, "exec"), names)  # noqa: S102 - it is what this process is for
    value = eval(compile(ast.Expression(last.value), NAME, "eval"), names) if isinstance(last, ast.Expr) else None  # noqa: S307
    return names.get("result", value)


def plain(value: Any) -> Any:
    """The value as JSON can hold it; else how Python shows it."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return repr(value)


def main(fd: int) -> int:
    os.set_inheritable(fd, False)
    channel = Channel(fd)
    _open.append(channel)
    code = channel.receive()["code"]
    sys.path.append(os.getcwd())  # noqa: PTH109 - its own modules are there; last, so that they stand in for nothing
    sys.argv = [NAME]
    import linecache

    linecache.cache[NAME] = (len(code), None, code.splitlines(keepends=True), NAME)
    try:
        channel.send({"done": plain(run(code))})
    except SystemExit as exit:
        status = exit.code if isinstance(exit.code, int) else 0 if exit.code is None else 1
        if status == 0:
            channel.send({"done": None})
            return 0
        channel.send({"failed": [f"SystemExit: {exit.code}", ""]})
        return status
    except BaseException as error:
        text = "".join(traceback.format_exception(_trimmed(error)))
        sys.stderr.write(text)
        channel.send({"failed": [f"{type(error).__name__}: {error}", text]})
        return 1
    return 0


def _trimmed(error: BaseException) -> BaseException:
    """Without our own frames above the agent's code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != NAME:
        trace = trace.tb_next
    return error.with_traceback(trace or error.__traceback__)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
