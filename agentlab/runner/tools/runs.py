"""Running programs: under a process unit, in a pinned environment, watched, and gone as a whole when the call ends."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from agentlab import processes
from agentlab.core.events import Mode, ProcExit, ProcStart
from agentlab.core.units import KINDS, kind_of
from agentlab.errors import AgentlabError, BadRequest, Forbidden, NotFound, StaleToken, Unavailable
from agentlab.paths import Workspace
from agentlab.sandbox import Sandbox

from . import confined, policy
from .background import Background, Job
from .grants import Grants
from .ledger import Ledger
from .output import Output
from .placeholders import Placeholders
from .reach import opened, opened_alone
from .results import Printed, Ran
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

_HELD = 1.0  # s between looks whether a command in the background still holds what it stands on
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


class Runs:
    def __init__(
        self,
        workspace: Workspace,
        ledger: Ledger,
        grants: Grants,
        watch: Watch,
        *,
        rules: policy.Policy,
        env: Mapping[str, str],
        children: int,
        directory: Path,
        sandbox: Sandbox | None = None,
    ) -> None:
        self._workspace = workspace
        self._ledger = ledger
        self._grants = grants
        self._watch = watch
        self._rules = rules
        self._env = {**PINNED, **env, processes.AGENT_VARIABLE: ledger.gate.owner}
        self._bulkhead = asyncio.Semaphore(children)
        self._directory = directory
        self._scratch = directory / "tmp"
        self._sandbox = sandbox and sandbox.placed(self._scratch, self._env)
        self._placeholders = Placeholders()
        self._count = 0
        self._live: dict[int, str] = {}  # pid -> marker
        self._stops: set[asyncio.Event] = set()
        self.background = Background(directory, watch.look)

    @property
    def scratch(self) -> Path:
        """The agent's own folder for temporary files, made if it was not there. It goes with the agent."""
        self._scratch.mkdir(mode=0o700, exist_ok=True)
        return self._scratch

    @property
    def pids(self) -> list[int]:
        return list(self._live)

    async def run(
        self,
        argv: Sequence[str] | str | None = None,
        *,
        command: str | None = None,
        writes: Iterable[str] = (),
        unit: str | None = None,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = ".",
        stdin: str | bytes | None = None,
        background: bool = False,
    ) -> Ran | Printed:
        """argv: words; one text is split into them. command: a text for the shell instead. background: return when it runs."""
        words = self._words(argv, command)
        if not words or not words[0] or any("\0" in word for word in words):
            raise BadRequest(f"{words!r} is no command: it needs a program, and may not have a NUL in it.")
        chosen = (self._workspace.canonical_unit(unit),) if unit else self._rules.units(words)
        exclusive = (*chosen, *(self.written(path) for path in writes))
        held, mode = (exclusive, Mode.EXCLUSIVE) if exclusive else ((policy.ANY,), Mode.SHARED)
        wanted = Command(
            argv=tuple(words),
            cwd=self._workspace.locate(cwd).name,
            env=dict(env or {}),
            stdin=stdin.encode() if isinstance(stdin, str) else stdin,
            timeout=timeout,
            unit=held[0],
        )
        if background:
            return await self.background.start(
                self._next(), words, lambda job: self._in_background(job, wanted, held, mode)
            )
        async with self._grants.holding(held, mode), self._bulkhead:
            boxed = self._ready(wanted, mode, self._exclusive(), exclusive)
            ended = await self.supervise(boxed)
        return _told(self._sandbox, ended)

    async def _in_background(self, job: Job, wanted: Command, held: tuple[str, ...], mode: Mode) -> Ran:
        """It may write what it declared, and not what its agent holds besides: that can be given back meanwhile."""
        async with self._grants.holding(held, mode) as tickets:
            with self._grants.pinning(tickets, f"{job.id} ({job.shown})"):
                exclusive = held if mode is Mode.EXCLUSIVE else ()
                boxed = self._ready(wanted, mode, exclusive, exclusive)
                boxed = replace(boxed, proc=job.id, heard=job.transcript.add, started=lambda child: job.started.set())
                guard = asyncio.ensure_future(self._guard(job, tickets))
                try:
                    ended = await self.supervise(boxed, job.stop)
                finally:
                    guard.cancel()
        return _told(self._sandbox, ended)

    async def _guard(self, job: Job, tickets: frozenset[int]) -> None:
        """Stop it when something that it stands on is taken from it."""
        while all(self._ledger.gate.keeps(ticket) for ticket in tickets):  # noqa: ASYNC110 - a lease ends without a word
            await asyncio.sleep(_HELD)
        self.background.end(job, "what it was granted was taken from it")

    def _words(self, argv: Sequence[str] | str | None, command: str | None) -> list[str]:
        match argv, command:
            case None, str(text):
                shell = shutil.which("bash", path=self._env.get("PATH")) or "sh"
                return ["bash" if shell.endswith("/bash") else shell, "-c", text]
            case str(text), None:
                return policy.split(text)
            case [*words], None:
                return [str(word) for word in words]
            case _:
                raise BadRequest("run takes either argv, a list of words, or command, a text for the shell.")

    def _ready(self, command: Command, mode: Mode, open_to: Iterable[str], declared: Iterable[str]) -> Command:
        """With its token, and in its sandbox where there is one, open to these units, of which it declared some itself."""
        assert command.unit is not None
        command = replace(command, token=self._token(command.unit, mode))
        return command if self._sandbox is None else self._confined(command, self._sandbox, open_to, declared)

    def _next(self) -> str:
        self._count += 1
        return f"p{self._count}"

    def _exclusive(self) -> list[str]:
        """All that the agent holds for itself alone, here and by earlier claims."""
        return [unit for g in self._ledger.gate.grants() if g.mode is Mode.EXCLUSIVE for unit in g.units]

    def _confined(self, command: Command, sandbox: Sandbox, units: Iterable[str], declared: Iterable[str]) -> Command:
        """The command in its sandbox, where these units are open to it."""
        env = {**self._env, **command.env}
        cwd, program = self._workspace.root / command.cwd, command.argv[0]
        if shutil.which(str(cwd / program) if "/" in program else program, path=env.get("PATH")) is None:
            raise NotFound(
                f"There is no program {program!r} that may be executed, neither on PATH nor below {command.cwd!r}."
            )
        root = self._workspace.root
        reach = opened(root, units) if sandbox.seals else opened_alone(root, units, declared)
        self._scratch.mkdir(mode=0o700, exist_ok=True)
        return replace(
            command, argv=sandbox.argv(root, reach, command.argv), shown=command.shown or command.argv,
            sandbox=sandbox.name, reach=reach, places=sandbox.environment(root, reach, env),
        )  # fmt: skip

    def written(self, path: str) -> str:
        """The unit of something that a command declares to write: a unit, or a path; a directory ends with '/' or is one."""
        if kind_of(path) in KINDS and ":" in path:
            return self._workspace.canonical_unit(path)
        located = self._workspace.locate(path)
        return f"{'dir' if path.endswith('/') or located.path.is_dir() else 'file'}:{located.name}"

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

    async def end(self, *, grace: float = _GRACE) -> None:
        """End whatever still runs; s between TERM and KILL."""
        for stop in list(self._stops):
            stop.set()
        for pid, marker in list(self._live.items()):
            await processes.end([pid], marker=marker, grace=grace)

    async def close(self, *, now: bool = False) -> None:
        await self.end(grace=0 if now else _GRACE)
        await self.background.close()
        await asyncio.to_thread(shutil.rmtree, self._scratch, ignore_errors=True)

    # --- one process ---------------------------------------------------------------------------------------

    async def _supervised(self, command: Command, stop: asyncio.Event) -> Ended:
        proc = command.proc or self._next()
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
                why = await self._until_ended(child, command.timeout, stop)
                ended = await processes.end([child.pid], marker=marker, grace=_GRACE) if why else 0
                exit = await child.wait()
                if command.sandbox == "bubblewrap":
                    exit = confined.exit_of(exit)
                left = await processes.end([child.pid], marker=marker, grace=_STRAGGLERS)
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
        env = {**self._env, **command.places, **command.env, PROC_VARIABLE: mark}
        fd = self._workspace.open_dir(command.cwd)
        try:
            with _spooled(command.stdin, self._directory if command.reach is None else self._scratch) as stdin:
                return processes.spawn(argv, cwd=f"/proc/self/fd/{fd}", env=env, stdin=stdin, pass_fds=command.pass_fds)
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

    async def _until_ended(self, child: processes.Child, timeout: float | None, stop: asyncio.Event) -> str:
        ended, stopped = asyncio.ensure_future(child.wait()), asyncio.ensure_future(stop.wait())
        try:
            done, _ = await asyncio.wait({ended, stopped}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if ended in done:
            return ""
        ended.cancel()
        return "cancelled" if stop.is_set() else "timeout"

    def _token(self, unit: str, mode: Mode) -> int:
        granted = self._ledger.gate.held(unit, mode)
        if granted is None:
            raise StaleToken(f"The grant on {unit} ended before the command began. Call run again.", unit=unit)
        return granted.token


def _told(sandbox: Sandbox | None, ended: Ended) -> Ran:
    """The end of a command as its agent is told of it. Raises Unavailable: it had no sandbox, so it was not run."""
    exit = ended.exit
    if sandbox is not None:
        confined.check_started(sandbox, exit, ended.stderr)
    return Ran(
        code=exit.code,
        signal=exit.signal,
        stdout=ended.stdout,
        stderr=ended.stderr,
        wrote=ended.found.wrote,
        timed_out=ended.why == "timeout",
        violations=ended.found.violations,
        hint=confined.hint(sandbox, ended.stdout, ended.stderr) if sandbox is not None and exit.code != 0 else "",
        stored=dict(ended.stored),
    )


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


def _spooled(data: bytes | None, directory: Path) -> IO[bytes]:
    """Standard input as a file: no pipe to feed, nothing that could block."""
    file = tempfile.TemporaryFile(dir=directory) if data is not None else open(os.devnull, "rb")  # noqa: PTH123, SIM115
    if data is not None:
        file.write(data)
        file.seek(0)
    return file
