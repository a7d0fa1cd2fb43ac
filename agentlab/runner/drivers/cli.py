"""Any interactive program, in a terminal: prompts are typed, and what it shows says whether it works, is done, or asks.

It has no protocol and tools of its own. What it may change is what it claimed when it was spawned, for its whole life: the
sandbox keeps it from the rest where there is one, and what it wrote elsewhere is put back when it ends. So it has the
boundary `native`, and says so.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from agentlab import processes
from agentlab.core.events import JSON, Error, Message
from agentlab.errors import AgentFailed, BadRequest, Refused, Unavailable
from agentlab.runner.gate import Permission
from agentlab.runner.tools import Command, Ended

from .acp_setup import executable
from .base import Context, Turn
from .failures import classify, of_death, of_start
from .options import read_options
from .turns import text_of

if TYPE_CHECKING:
    from .screen import Look

_CHILD = Path(__file__).with_name("pty_child.py")
_LOGIN = (
    "That is a secret, and answers are in the log: do not type it here. Log in with the program in a terminal of your own, then "
    "allow this (only Enter is typed), or deny it."
)
_LOOK = 0.1  # s between two looks at the screen
_INTERRUPT_LIMIT = 15.0  # s until a program that does not hear Ctrl-C is ended
CTRL_C = b"\x03"


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of an agent of kind `cli`."""

    command: str | list[str]  # the program and its arguments
    ready: str | None = None  # a pattern of the line in which it waits for a prompt; None: it is quiet
    quiet: float = 2.0  # s without output after which it is no longer busy
    start: float = 60.0  # s to become ready
    exit: str | None = None  # what to type so that it ends by itself
    rows: int = 40
    columns: int = 120
    profile: str = ""  # its name, for people


class CliDriver:
    boundaries: ClassVar[frozenset[str]] = frozenset({"native"})

    def __init__(self, context: Context) -> None:
        self._context = context
        self._link: socket.socket | None = None
        self._life: asyncio.Task[Ended] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._printed = time.monotonic()
        self._over = asyncio.Event()  # no turn is under way
        self._over.set()
        self._interrupted = asyncio.Event()

    async def start(self) -> None:
        if self._context.spec.task is not None:
            text_of(self._context.spec.task, "a cli agent")
        self._options = read_options(Options, self._context.spec.options, "cli")
        argv = _argv(self._options.command)
        if "/" not in argv[0] or Path(argv[0]).is_absolute():  # else it is looked for in the workspace
            executable(argv[0], self._context.env)
        try:
            from .screen import Rules, Screen
        except ImportError:
            raise Unavailable(
                "Agents in a terminal need the extra `agents`: pip install 'agentlab[agents]'.", reason="missing"
            ) from None
        try:
            ready = None if self._options.ready is None else re.compile(self._options.ready)
        except re.error as error:
            raise BadRequest(f"The option ready is no regular expression: {error}.") from None
        self._rules = Rules(quiet=self._options.quiet, ready=ready)
        self._screen = Screen(self._options.rows, self._options.columns)
        await self._begin(argv)
        if await self._until_quiet(self._options.start) is None:
            shown, code = self._screen.tail, self._code()
            await self.close(now=True)
            failure = classify(shown) if code is None else of_start("")
            said = (
                f"{argv[0]} was not ready for a prompt within {self._options.start:g} s."
                if code is None
                else f"{argv[0]} ended with exit code {code} before it was ready for a prompt."
            )
            raise AgentFailed(f"{said}\n{failure.advice}", reason=failure.reason, exit_code=code, last_lines=shown)

    def _code(self) -> int | None:
        """With which the program has ended; None: it has not, or nobody knows."""
        life = self._life
        return (
            None if life is None or not life.done() or life.cancelled() or life.exception() else life.result().exit.code
        )

    async def _begin(self, argv: list[str]) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        size = (str(self._options.rows), str(self._options.columns))
        command = Command(
            argv=(sys.executable, "-I", str(_CHILD), str(theirs.fileno()), *size, *argv),
            shown=tuple(argv),
            env={"TERM": "xterm-256color", "LINES": size[0], "COLUMNS": size[1]},
            pass_fds=(theirs.fileno(),),
            started=lambda child: theirs.close(),
        )
        self._link = ours
        self._life = asyncio.create_task(self._context.tools.supervise(command), name=f"cli {self._context.agent}")
        self._life.add_done_callback(lambda _: theirs.close())
        self._reader = asyncio.create_task(self._read(ours))

    async def _read(self, link: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(link, 65536):
                self._screen.feed(data)
                self._printed = time.monotonic()
        except OSError:
            pass  # the program is gone: its exit tells

    async def _type(self, data: bytes) -> None:
        if self._link is not None:
            self._printed = time.monotonic()  # it has something to do
            try:
                await asyncio.get_running_loop().sock_sendall(self._link, data)
            except OSError:
                pass  # the same

    # --- turns ---------------------------------------------------------------------------------------------

    async def prompt(self, task: JSON) -> Turn:
        text = text_of(task, "a cli agent")
        if not self._over.is_set():
            raise BadRequest("This agent is in the middle of a turn. Interrupt it, or wait for its end.")
        if self._life is None:
            raise BadRequest("This agent has not been started.")
        self._over.clear()
        self._interrupted.clear()
        before = self._screen.transcript
        try:
            turn = await self._asked_first(before)
            if turn is None:
                await self._type(self._screen.typed(text))
                turn = await self._turn(before)
        except asyncio.CancelledError:
            await self._type(CTRL_C)
            raise
        finally:
            self._over.set()
        if turn.output:
            self._context.gate.record(Message(role="assistant", text=turn.output))
        if turn.status == "failed":
            self._context.gate.record(Error(kind=turn.reason, message=turn.error), status="error")
        return turn

    async def _asked_first(self, before: list[str]) -> Turn | None:
        """What it asked before it was told anything, a login for instance: a prompt is no answer to that. None: it is ready."""
        from .screen import Look

        if self._life is None or self._life.done() or self._look(time.monotonic()) is not Look.BLOCKED:
            return None
        turn = await self._turn(before)
        return None if turn.status == "done" else turn

    async def _turn(self, before: list[str]) -> Turn:
        from .screen import Look, news

        while True:
            look = await self._until_quiet(None)
            said = news(before, self._screen.transcript)
            if look is None:
                return self._gone(said)
            if self._interrupted.is_set():
                return Turn("cancelled", output=said or None, reason="cancelled")
            if look is Look.READY:
                return Turn("done", output=said or None)
            try:
                answer = await self._answer()
            except Refused as refusal:
                self._screen.answer()
                await self._type(CTRL_C)
                return Turn("failed", output=said or None, error=str(refusal), reason="denied")
            self._screen.answer()
            await self._type(self._screen.typed(answer))

    async def _answer(self) -> str:
        """What to type where it waits for a person. Raises Refused.

        Answers are in the log, so a password is none: whoever agrees has logged in elsewhere, and only Enter is typed.
        """
        shown = f"It shows:\n{self._screen.tail}"
        if not self._screen.wants_secret:
            answer = await self._context.gate.ask(shown)
            return "" if answer == "approved" else answer
        login = Permission(kind="login", question=f"{shown}\n{_LOGIN}")
        verdict = await self._context.gate.approve(login)
        if not verdict.allowed:
            raise Refused(f"Its login was {verdict.answer}{f': {verdict.reason}' if verdict.reason else ''}.")
        return ""

    def _look(self, now: float) -> Look:
        from .screen import judge

        return judge(self._rules, self._screen.tail, now - self._printed, self._screen.unanswered)

    async def _until_quiet(self, limit: float | None) -> str | None:
        """How the program looks when it is no longer busy; None: it is gone, or was busy for `limit` s."""
        from .screen import Look

        assert self._life is not None
        begun = time.monotonic()
        while not self._life.done():
            now = time.monotonic()
            look = self._look(now)
            if look is not Look.BUSY:
                return look
            if limit is not None and now - begun > limit:
                return None
            await asyncio.wait({self._life}, timeout=_LOOK)
        if self._reader is not None:
            await asyncio.wait({self._reader}, timeout=1.0)  # its last words
        return None

    def _gone(self, said: str) -> Turn:
        assert self._life is not None
        ended = None if self._life.cancelled() or self._life.exception() else self._life.result()
        if self._interrupted.is_set() or ended is None:
            return Turn("cancelled", output=said or None, reason="cancelled")
        shown = self._screen.tail
        failure = of_death("")  # its screen shows what the model said and the files that it works on: no word decides
        return Turn(
            "failed", output=said or None, reason=failure.reason, exit_code=ended.exit.code, last_lines=shown,
            error=f"The program ended with exit code {ended.exit.code} before it was ready again.\n{failure.advice}",
        )  # fmt: skip

    async def interrupt(self) -> None:
        if self._over.is_set():
            return
        self._interrupted.set()
        await self._type(CTRL_C)
        try:
            async with asyncio.timeout(_INTERRUPT_LIMIT):
                await self._over.wait()
        except TimeoutError:
            await self._end()

    # --- life ----------------------------------------------------------------------------------------------

    async def freeze(self) -> None:
        await asyncio.to_thread(processes.freeze, self.processes())

    async def thaw(self) -> None:
        await asyncio.to_thread(processes.thaw, self.processes())

    def processes(self) -> list[int]:
        return self._context.tools.children()

    async def close(self, *, now: bool = False) -> None:
        if self._life is None:
            return
        await self.thaw()
        if not now and self._options.exit is not None and not self._life.done():
            await self._type(self._screen.typed(self._options.exit))
            await asyncio.wait({self._life}, timeout=2.0)
        await self._end()

    async def _end(self) -> None:
        """Its process tree, and then what it wrote without a claim: that is undone."""
        self._interrupted.set()
        for task in (self._life, self._reader):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._link is not None:
            self._link.close()
            self._link = None


def _argv(command: str | list[str]) -> list[str]:
    try:
        argv = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError as error:
        raise BadRequest(f"The command {command!r} cannot be read: {error}.") from None
    if not argv or not argv[0]:
        raise BadRequest("A cli agent needs a program: --option command='my-agent --interactive'.")
    return argv
