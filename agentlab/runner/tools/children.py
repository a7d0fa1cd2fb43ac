"""The programs that an agent has running: each watched and recorded, and gone as a whole when it ends."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from agentlab import processes
from agentlab.core.events import ProcExit, ProcStart
from agentlab.errors import AgentlabError, Forbidden, NotFound, Unavailable
from agentlab.paths import Workspace
from agentlab.sandbox import Sandbox, variables

from . import confined
from .ledger import Ledger
from .output import Output
from .placeholders import Placeholders
from .watch import Found, Reach, Watch

PINNED: dict[str, str] = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "SOURCE_DATE_EPOCH": "315532800",  # 1980-01-01: the first moment that a zip file can hold
    "NO_COLOR": "1",
    "COLUMNS": "80",
}
"""What every child gets, so that a command prints and writes the same when it is run again.

GIT_AUTHOR_DATE and GIT_COMMITTER_DATE are left alone: with them every commit would carry one and the same date, and
the user's own history would be wrong for good, which is a higher price than a differing hash on re-execution.
"""

PROC_VARIABLE = "AGENTLAB_PROC"
"""In the environment of a command and of all that it starts: which call they belong to."""

_GRACE = 2.0  # s between TERM and KILL on timeout and cancel
_STRAGGLERS = 0.5  # s for what a command left behind
_DRAIN = 5.0  # s for pipes to close once everything that could write to them is dead


@dataclass(frozen=True, kw_only=True)
class Command:
    """A process to be. env: beyond what every child has. shown: the argv for the log, where the real one is only noise."""

    argv: tuple[str, ...]
    cwd: str = "."
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    stdin: bytes | None = None
    timeout: float | None = None
    unit: str | None = None
    token: int = 0
    shown: tuple[str, ...] = ()
    sandbox: str = "none"
    reach: Reach = None
    places: Mapping[str, str] = field(default_factory=dict)  # environment of its sandbox
    box: Sandbox | None = None  # hands it its env, which is the agent's word and for the command alone
    pass_fds: tuple[int, ...] = ()
    started: Callable[[processes.Child], None] | None = None
    proc: str = ""  # its name in the log; "": the next one
    heard: Callable[[bytes], None] | None = None  # what it prints


@dataclass(frozen=True)
class Ended:
    """How a supervised process ended. why: "" by itself, "timeout", "cancelled"."""

    exit: processes.Exit
    why: str
    killed: int
    stdout: str
    stderr: str
    stored: Mapping[str, str]
    tail: str  # the last lines of both, standard error last
    found: Found


class Children:
    """env: of each of them, beside what is pinned. directory: of the agent's own, for what they are given and what they print."""

    def __init__(
        self, workspace: Workspace, ledger: Ledger, watch: Watch, *, env: Mapping[str, str], directory: Path
    ) -> None:
        self.env = {**PINNED, **env, processes.AGENT_VARIABLE: ledger.gate.owner}
        self._workspace = workspace
        self._ledger = ledger
        self._watch = watch
        self._directory = directory
        self._scratch = directory / "tmp"
        self._placeholders = Placeholders()
        self._count = 0
        self._live: dict[int, str] = {}  # pid -> marker
        self._stops: set[asyncio.Event] = set()

    def scratch(self) -> Path:
        """The agent's own folder for temporary files, made if it is not there. It goes with the agent."""
        self._scratch.mkdir(mode=0o700, exist_ok=True)
        return self._scratch

    @property
    def pids(self) -> list[int]:
        """Of the roots of their process trees."""
        return list(self._live)

    def next(self) -> str:
        """The name of the next one in the log."""
        self._count += 1
        return f"p{self._count}"

    async def supervise(self, command: Command, stop: asyncio.Event | None = None) -> Ended:
        """A process from its start until nothing of it is left and all that it wrote is sorted out.

        stop: set to end it. Cancelling ends it in the same order, and only then raises CancelledError.
        """
        stop = stop or asyncio.Event()
        work = asyncio.ensure_future(self._supervised(command, stop))
        self._stops.add(stop)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            stop.set()
            await _to_its_end(work)
            raise
        finally:
            self._stops.discard(stop)

    async def end(self, *, now: bool = False) -> None:
        """End whatever still runs. now: without asking it first."""
        for stop in list(self._stops):
            stop.set()
        for pid, marker in list(self._live.items()):
            await processes.end([pid], marker=marker, grace=0 if now else _GRACE)

    async def close(self) -> None:
        """Remove what was theirs, once none of them runs."""
        await asyncio.to_thread(_remove, self._scratch)

    # --- one of them ---------------------------------------------------------------------------------------

    async def _supervised(self, command: Command, stop: asyncio.Event) -> Ended:
        proc = command.proc or self.next()
        marker = f"{PROC_VARIABLE}={self._ledger.gate.owner}:{proc}:{secrets.token_hex(4)}"
        shown = command.shown or command.argv
        columns = {"name": os.path.basename(shown[0]), "unit": command.unit}  # noqa: PTH119
        await self._watch.begin(command.reach)
        async with self._settled(command.reach) as settle:
            begun = time.monotonic_ns()
            child = self._start(command, marker.partition("=")[2])
            self._live[child.pid] = marker
            out, err = (Output(self._ledger, proc, fd, self._directory) for fd in (1, 2))
            try:
                start = ProcStart(
                    proc=proc,
                    argv=shown,
                    cwd=command.cwd,
                    env=dict(command.env),
                    pid=child.pid,
                    token=command.token,
                    sandbox=command.sandbox,
                )
                self._ledger.record(start, **columns)
                if command.started is not None:
                    command.started(child)
                pumps = [
                    asyncio.ensure_future(processes.read_pipe(child.stdout, _heard(out, command.heard))),
                    asyncio.ensure_future(processes.read_pipe(child.stderr, _heard(err, command.heard))),
                ]
                why = await self._until_ended(child, pumps, command.timeout, stop)
                ended = await processes.end([child.pid], marker=marker, grace=_GRACE) if why else 0
                exit = await child.wait()
                if command.sandbox == "bubblewrap":
                    exit = confined.exit_of(exit)
                left = await processes.end([child.pid], marker=marker, grace=_STRAGGLERS)
                left += await self._end_strays(child)
                await _drained(pumps)
                for stream in (out, err):
                    await stream.finish()
                duration = time.monotonic_ns() - begun
                found = await settle()
                body = ProcExit(
                    proc=proc,
                    code=exit.code,
                    signal=exit.signal,
                    rusage=exit.rusage,
                    wrote=found.wrote,
                    killed=max(ended - 1, 0) + left,
                )
                self._ledger.record(body, **columns, status=why or _status(exit), dur_ns=duration)
                stored = {name: s.stored for name, s in (("stdout", out), ("stderr", err)) if s.stored}
                return Ended(exit, why, body.killed, out.text(), err.text(), stored, out.tail() + err.tail(), found)
            except BaseException:
                await processes.end([child.pid], marker=marker, grace=0)
                raise
            finally:
                del self._live[child.pid]
                child.close_pipes()
                out.close()
                err.close()

    async def _end_strays(self, child: processes.Child) -> int:
        """What has left both its session and its environment is nobody's: but for what the others that run have started."""
        found = await asyncio.to_thread(
            processes.strays, lambda: [mark for pid, mark in self._live.items() if pid != child.pid]
        )
        return await processes.end(found, grace=_STRAGGLERS) if found else 0

    @asynccontextmanager
    async def _settled(self, reach: Reach) -> AsyncIterator[Callable[[], asyncio.Future[Found]]]:
        """Whatever happens inside, the watch is settled once, and what was only made for it is gone."""
        done: list[asyncio.Future[Found]] = []

        def settle() -> asyncio.Future[Found]:
            self._placeholders.end(reach or ())
            done.append(asyncio.ensure_future(self._watch.settle(reach)))
            return done[-1]

        self._placeholders.begin(reach or ())
        try:
            yield settle
        finally:
            if not done:
                await settle()

    def _start(self, command: Command, mark: str) -> processes.Child:
        argv = command.argv
        env = {**self.env, **command.places, **(command.env if command.box is None else {}), PROC_VARIABLE: mark}
        fd = self._workspace.open_dir(command.cwd)
        try:
            with (
                _spooled(command.stdin, self._directory if command.reach is None else self.scratch()) as stdin,
                _handed(command) as (argv, fds),
            ):
                return processes.spawn(argv, cwd=f"/proc/self/fd/{fd}", env=env, stdin=stdin, pass_fds=fds)
        except FileNotFoundError:
            raise NotFound(
                f"There is no program {argv[0]!r}: neither on PATH nor, as a path, below {command.cwd!r}."
            ) from None
        except PermissionError:
            raise Forbidden(f"{argv[0]!r} may not be executed. Is it a program, and has it the x bit?") from None
        except OSError as error:
            raise Unavailable(f"{argv[0]!r} could not be started: {error.strerror}.") from error
        finally:
            os.close(fd)

    async def _until_ended(
        self, child: processes.Child, pumps: Sequence[asyncio.Future[None]], timeout: float | None, stop: asyncio.Event
    ) -> str:
        """Raises what a pump raises: nobody reads on then, and the child would wait for that for ever."""
        ended, stopped = asyncio.ensure_future(child.wait()), asyncio.ensure_future(stop.wait())
        broken = asyncio.ensure_future(_broken(pumps))
        try:
            done, _ = await asyncio.wait({ended, stopped, broken}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            broken.cancel()
        if ended in done:
            return ""
        ended.cancel()
        if broken in done:
            broken.result()
        return "cancelled" if stop.is_set() else "timeout"


@contextmanager
def _handed(command: Command) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Its argv, and the descriptors that it gets: one of them with its variables, where its sandbox hands it those."""
    if command.box is None or not command.env:
        yield command.argv, command.pass_fds
        return
    with os.fdopen(os.memfd_create("variables"), "w+b") as file:
        file.write(variables(command.env))
        file.seek(0)
        yield command.box.handed(command.argv, file.fileno()), (*command.pass_fds, file.fileno())


def _heard(output: Output, listener: Callable[[bytes], None] | None) -> Callable[[bytes], Awaitable[None]]:
    async def feed(data: bytes) -> None:
        if listener is not None:
            listener(data)
        await output.feed(data)

    return feed


def _status(exit: processes.Exit) -> str:
    if exit.signal is not None:
        return "signal"
    return "ok" if exit.code == 0 else "error"


async def _broken(pumps: Sequence[asyncio.Future[None]]) -> None:
    """Raises as soon as one of them does."""
    await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
    for pump in pumps:
        if pump.done() and not pump.cancelled():
            pump.result()
    await asyncio.Event().wait()


async def _drained(pumps: Sequence[asyncio.Future[None]]) -> None:
    _, open_ends = await asyncio.wait(pumps, timeout=_DRAIN)
    for pump in open_ends:
        pump.cancel()
    await asyncio.gather(*pumps, return_exceptions=True)
    for pump in pumps:
        if not pump.cancelled() and (error := pump.exception()):
            raise error


async def _to_its_end(work: asyncio.Future[Ended]) -> None:
    """Wait for it, however often we are told not to: what it undoes must be undone."""
    while not work.done():
        try:
            await asyncio.shield(asyncio.wait({work}))
        except asyncio.CancelledError:
            continue
    if not work.cancelled() and (error := work.exception()) and not isinstance(error, AgentlabError):
        raise error


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:  # folders in each other, more than Python goes down
        subprocess.run(["rm", "-rf", "--", folder], capture_output=True, check=False)


def _spooled(data: bytes | None, directory: Path) -> IO[bytes]:
    """Standard input as a file: no pipe to feed, nothing that could block."""
    file = tempfile.TemporaryFile(dir=directory) if data is not None else open(os.devnull, "rb")  # noqa: PTH123, SIM115
    if data is not None:
        file.write(data)
        file.seek(0)
    return file
