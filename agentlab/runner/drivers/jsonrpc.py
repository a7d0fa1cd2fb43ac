"""A child process that speaks JSON-RPC, one message a line, over its standard input and output.

What vendors print beside their protocol (banners, update notices, half a line before they die) is no reason to fail: a
line that is no message is kept for `last_lines` and passed over. Memory is bounded: by `LINE` for one message, by the
tail of what it said beside them.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import IO, Any

import msgspec

from agentlab import processes
from agentlab.core.events import JSON
from agentlab.errors import AgentlabError

LINE = 64 * 1024 * 1024  # bytes of one message: it may hold a whole file
TAIL = 50  # lines
WIDTH = 2000  # characters of one of them
_DRAIN = 1.0  # s for what a dead child has said to be taken in
METHOD_NOT_FOUND = -32601
INTERNAL = -32603

Params = dict[str, Any]
OnRequest = Callable[[str, Params], Awaitable[JSON]]
"""A request of the child's: its result. Raises `RpcError` to refuse it."""
OnNotice = Callable[[str, Params], None]

log = logging.getLogger(__name__)


class RpcError(Exception):
    """The other side, or we, answered with an error."""

    def __init__(self, message: str, code: int = INTERNAL, data: JSON = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class Gone(Exception):
    """The child has ended, or closed its output: nothing more will be answered."""


class Lines:
    """Cuts a stream into lines. One that is longer than `LINE` is dropped as a whole; `dropped` counts them."""

    def __init__(self, limit: int = LINE) -> None:
        self.dropped = 0
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends."""
        *ends, rest = data.split(b"\n")
        lines = []
        for end in ends:
            self._keep(end)
            if self._size > self._limit:
                self.dropped += 1
            else:
                lines.append(b"".join(self._parts))
            self._parts, self._size = [], 0
        self._keep(rest)
        return lines

    def rest(self) -> bytes:
        return b"".join(self._parts)

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            self._parts = []
        elif part:
            self._parts.append(part)


class _Pipe(asyncio.BaseProtocol):
    """The writing end of the child's standard input: whether there is room in it."""

    def __init__(self) -> None:
        self.room = asyncio.Event()
        self.room.set()
        self.lost = False

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.room.set()


class JsonRpc:
    """One child. `on_notice` is called in order, on the event loop; each request of the child is a task of its own."""

    def __init__(self, child: processes.Child, stdin: IO[bytes], on_request: OnRequest, on_notice: OnNotice) -> None:
        self.child = child
        self._stdin = stdin
        self._on_request = on_request
        self._on_notice = on_notice
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[JSON]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._last: deque[str] = deque(maxlen=TAIL)
        self._pipe = _Pipe()
        self._transport: asyncio.WriteTransport | None = None
        self._gone = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        on_request: OnRequest,
        on_notice: OnNotice,
    ) -> JsonRpc:
        """Raises OSError: it cannot be started."""
        theirs, ours = os.pipe()
        stdin = os.fdopen(ours, "wb", buffering=0)
        try:
            with os.fdopen(theirs, "rb") as end:
                child = processes.spawn(argv, cwd=cwd, env=env, stdin=end)
        except BaseException:
            stdin.close()
            raise
        rpc = cls(child, stdin, on_request, on_notice)
        await rpc._connect()
        return rpc

    async def _connect(self) -> None:
        self._transport, _ = await asyncio.get_running_loop().connect_write_pipe(lambda: self._pipe, self._stdin)
        self._tasks = [
            asyncio.create_task(self._read(), name=f"jsonrpc {self.child.pid}"),
            asyncio.create_task(self._read_errors()),
        ]
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """Its death counts, also where something that it left behind holds its pipes open."""
        await self.child.wait()
        await asyncio.wait(self._tasks, timeout=_DRAIN)
        self._end()

    # --- asking ------------------------------------------------------------------------------------------------

    async def request(self, method: str, params: JSON = None) -> Any:
        """The result. Raises RpcError, Gone."""
        if self._gone.is_set():
            raise Gone(f"{method} was not sent: the process has ended.")
        number = next(self._numbers)
        answer: asyncio.Future[JSON] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            await self._send({"id": number, "method": method, "params": params if params is not None else {}})
            return await answer
        finally:
            self._asked.pop(number, None)

    async def notify(self, method: str, params: JSON = None) -> None:
        """Raises Gone."""
        await self._send({"method": method} | ({"params": params} if params is not None else {}))

    async def _send(self, message: Params) -> None:
        if self._transport is None or self._gone.is_set():
            raise Gone("The process has ended.")
        self._transport.write(msgspec.json.encode({"jsonrpc": "2.0", **message}) + b"\n")
        await self._pipe.room.wait()
        if self._pipe.lost:
            raise Gone("The process does not read any more.")

    # --- reading -----------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        lines = Lines()

        async def sink(data: bytes) -> None:
            for line in lines.feed(data):
                self._take(line)
            if lines.dropped:
                self._say(f"[{lines.dropped} lines of more than {LINE >> 20} MiB were passed over]")
                lines.dropped = 0

        try:
            await processes.read_pipe(self.child.stdout, sink)
            if rest := lines.rest():
                self._take(rest)
        finally:
            self._end()

    async def _read_errors(self) -> None:
        lines = Lines(limit=1 << 20)

        async def sink(data: bytes) -> None:
            for line in lines.feed(data):
                self._say(line.decode("utf-8", "replace"))

        await processes.read_pipe(self.child.stderr, sink)
        if rest := lines.rest():
            self._say(rest.decode("utf-8", "replace"))

    def _take(self, line: bytes) -> None:
        try:
            message = msgspec.json.decode(line) if line.strip() else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            message = None
        if not isinstance(message, dict) or not ({"method", "result", "error"} & message.keys()):
            self._say(line[: WIDTH * 4].decode("utf-8", "replace"))
            return
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        if "method" not in message:
            self._answered(message)
        elif "id" in message:
            task = asyncio.create_task(self._answer(message["id"], str(message["method"]), params))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        else:
            try:
                self._on_notice(str(message["method"]), params)
            except Exception:  # of a shape that we do not know: the next one may be fine
                log.exception("the notice %s could not be taken in", message["method"])

    def _answered(self, message: Params) -> None:
        number = message.get("id")
        waiting = self._asked.get(number) if isinstance(number, int) else None
        if waiting is None or waiting.done():
            return  # nobody waits any more
        error = message.get("error")
        if error is None:
            waiting.set_result(message.get("result"))
        elif isinstance(error, dict):
            code = error.get("code")
            text = str(error.get("message") or "it did not say why")
            waiting.set_exception(RpcError(text, code if isinstance(code, int) else INTERNAL, error.get("data")))
        else:
            waiting.set_exception(RpcError(str(error)))

    async def _answer(self, number: JSON, method: str, params: Params) -> None:
        reply: Params
        try:
            reply = {"result": await self._on_request(method, params)}
        except asyncio.CancelledError:
            reply = {"error": {"code": INTERNAL, "message": "cancelled"}}
        except RpcError as error:
            reply = {"error": {"code": error.code, "message": str(error)}}
        except AgentlabError as error:
            reply = {"error": {"code": INTERNAL, "message": str(error)}}
        except Exception as error:
            log.exception("the request %s failed inside", method)
            reply = {"error": {"code": INTERNAL, "message": f"{type(error).__name__} inside agentlab"}}
        try:
            await self._send({"id": number, **reply})
        except Gone:
            pass  # it asked and died

    def cancel_answers(self) -> None:
        """End all requests of the child that are being answered: it has stopped waiting for them."""
        for task in list(self._answering):
            task.cancel()

    # --- its end -----------------------------------------------------------------------------------------------

    @property
    def last_lines(self) -> str:
        """The end of what it said beside its protocol, and on standard error."""
        return "\n".join(self._last)

    async def ended(self) -> processes.Exit:
        """Return when it has ended and all that it said was taken in."""
        await self._gone.wait()
        return await self.child.wait()

    async def close(self, *, grace: float = 2.0) -> None:
        """Close its input and, when it has not ended by itself in `grace` seconds, leave the rest to the caller's kill."""
        self.cancel_answers()
        if self._transport is not None:
            self._transport.close()
        if grace:
            try:
                async with asyncio.timeout(grace):
                    await self.child.wait()
            except TimeoutError:
                pass

    async def dispose(self) -> None:
        """After its death: let go of pipes and tasks."""
        tasks = [self._watcher, *self._tasks, *self._answering]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._transport is not None:
            self._transport.close()
        self._end()
        self.child.close_pipes()

    def _end(self) -> None:
        self._gone.set()
        self.cancel_answers()
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(Gone("The process ended before it answered."))

    def _say(self, line: str) -> None:
        if line.strip():
            self._last.append(line[:WIDTH])
