"""A python agent: code in a process of its own, which reaches its workspace through `tools`."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path
from typing import ClassVar

from agentlab import processes
from agentlab.core.events import JSON
from agentlab.errors import AgentlabError, BadRequest
from agentlab.runner.tools import Command, Ended

from .base import Context, Turn
from .playing import Playing

_CHILD = Path(__file__).with_name("python_child.py")
_MAX_LINE = 128 * 1024 * 1024  # bytes of one message


class PythonDriver:
    boundaries: ClassVar[frozenset[str]] = frozenset({"tools"})

    def __init__(self, context: Context) -> None:
        self._context = context
        self._playing = Playing()

    async def start(self) -> None:
        if self._context.spec.task is not None:
            _check(self._context.spec.task)

    async def prompt(self, task: JSON) -> Turn:
        """Runs the code in a new process: what an earlier prompt defined is not there any more."""
        try:
            code = _check(task)
        except BadRequest as error:
            return Turn("failed", error=str(error), reason="bad_request")
        return await self._playing.play(self._run(code))

    async def interrupt(self) -> None:
        self._playing.interrupt()

    async def freeze(self) -> None:
        await asyncio.to_thread(processes.freeze, self.processes())

    async def thaw(self) -> None:
        await asyncio.to_thread(processes.thaw, self.processes())

    async def close(self, *, now: bool = False) -> None:
        await self._playing.close()

    def processes(self) -> list[int]:
        return self._context.tools.children()

    async def _run(self, code: str) -> Turn:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            talk = asyncio.ensure_future(self._talk(ours, code))
            command = Command(
                argv=(sys.executable, "-I", str(_CHILD), str(theirs.fileno())),
                shown=("python", "<agent>"),
                pass_fds=(theirs.fileno(),),
                started=lambda child: theirs.close(),
            )
            try:
                ended = await self._context.tools.supervise(command)
                await asyncio.wait({talk}, timeout=1.0)  # its last word is in the socket already
            finally:
                theirs.close()
                said = await _end_of(talk)
        finally:
            ours.close()
        return _turn_of(ended, said)

    async def _talk(self, sock: socket.socket, code: str) -> dict[str, JSON]:
        """Answer the child's calls until it says how it ended, or is gone ({})."""
        reader, writer = await asyncio.open_connection(sock=sock, limit=_MAX_LINE)
        try:
            await _send(writer, {"code": code})
            while line := await reader.readline():
                message = json.loads(line)
                if "call" not in message:
                    return dict(message)
                await _send(writer, await self._answer(message["call"], message["args"]))
        except (ConnectionError, json.JSONDecodeError):
            pass  # it died in the middle of a line: its exit tells
        finally:
            writer.close()
        return {}

    async def _answer(self, tool: str, args: dict[str, JSON]) -> dict[str, JSON]:
        try:
            return {"ok": await self._context.tools.call(tool, args)}
        except AgentlabError as error:
            return {"error": [error.code, str(error), error.data]}


async def _send(writer: asyncio.StreamWriter, message: dict[str, JSON]) -> None:
    writer.write(json.dumps(message, default=str).encode() + b"\n")
    await writer.drain()


async def _end_of(talk: asyncio.Task[dict[str, JSON]]) -> dict[str, JSON]:
    """What the process said in the end. A call that it left behind is given up."""
    talk.cancel()
    await asyncio.gather(talk, return_exceptions=True)
    return {} if talk.cancelled() else talk.result()


def _check(task: JSON) -> str:
    if not isinstance(task, str) or not task.strip():
        raise BadRequest("The task of a python agent is its code, as text. It finds its tools in `tools`.")
    try:
        compile(task, "<agent>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise BadRequest(f"The agent's code is no Python: {error}.") from None
    return task


def _turn_of(ended: Ended, said: dict[str, JSON]) -> Turn:
    code, number = ended.exit.code, ended.exit.signal
    if "done" in said and code == 0:
        return Turn("done", output=said["done"], exit_code=0, last_lines=ended.found.violations)
    if "failed" in said:
        text, trace = said["failed"]
        return Turn("failed", error=text, reason="exception", exit_code=code, last_lines=trace or ended.tail)
    how = f"with exit code {code}" if number is None else f"by {_name(number)}"
    error = f"The agent's process ended {how} before its code was done."
    return Turn(
        "failed", error=error, reason="process", exit_code=code if number is None else -number, last_lines=ended.tail
    )


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
