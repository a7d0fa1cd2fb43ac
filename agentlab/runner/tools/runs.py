"""Running programs: under a process unit, with what they may write, waited for or in the background."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agentlab.core.events import Mode
from agentlab.core.units import KINDS, kind_of
from agentlab.errors import BadRequest, NotFound, StaleToken
from agentlab.paths import Workspace
from agentlab.processes import AGENT_VARIABLE
from agentlab.runner.gate import Gate
from agentlab.sandbox import Needs, Sandbox

from . import confined, policy
from .background import Background, Job
from .children import PROC_VARIABLE, Children, Command, Ended
from .grants import Grants
from .reach import opened, opened_alone
from .results import Printed, Ran

_HELD = 1.0  # s between looks whether a command in the background still holds what it stands on


class Runs:
    """most: programs that are waited for at once. sandbox: what they run in; None: nothing."""

    def __init__(
        self,
        workspace: Workspace,
        gate: Gate,
        grants: Grants,
        children: Children,
        background: Background,
        *,
        rules: policy.Policy,
        most: int,
        sandbox: Sandbox | None = None,
    ) -> None:
        self._workspace = workspace
        self._gate = gate
        self._grants = grants
        self._children = children
        self._background = background
        self._rules = rules
        self._bulkhead = asyncio.Semaphore(most)
        self._sandbox = sandbox and sandbox.placed(children.scratch(), children.env)

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
        chosen = (self._workspace.canonical_unit(unit),) if unit else self._rules.units(words)
        exclusive = (*chosen, *(self._written(path) for path in writes))
        held, mode = (exclusive, Mode.EXCLUSIVE) if exclusive else ((policy.ANY,), Mode.SHARED)
        wanted = Command(
            argv=tuple(words),
            cwd=self._workspace.locate(cwd).name,
            env=_chosen(env or {}),
            stdin=stdin.encode() if isinstance(stdin, str) else stdin,
            timeout=timeout,
            unit=held[0],
        )
        if background:
            return await self._background.start(
                self._children.next(), words, lambda job: self._in_background(job, wanted, held, mode)
            )
        async with self._grants.holding(held, mode), self._bulkhead:
            boxed = self._ready(wanted, mode, self._exclusive(), exclusive)
            ended = await self._children.supervise(boxed)
        return _told(self._sandbox, ended)

    def patterned(self, argv: Sequence[str] | str | None, command: str | None) -> tuple[str, ...]:
        """The process units that `run` takes of itself for such a command, where it is given none. Raises BadRequest."""
        return self._rules.units(self._words(argv, command))

    async def _in_background(self, job: Job, wanted: Command, held: tuple[str, ...], mode: Mode) -> Ran:
        """It may write what it declared, and not what its agent holds besides: that can be given back meanwhile."""
        async with self._grants.holding(held, mode) as tickets:
            with self._grants.pinning(tickets, f"{job.id} ({job.shown})"):
                exclusive = held if mode is Mode.EXCLUSIVE else ()
                boxed = self._ready(wanted, mode, exclusive, exclusive)
                boxed = replace(boxed, proc=job.id, heard=job.transcript.add, started=lambda child: job.started.set())
                guard = asyncio.ensure_future(self._guard(job, tickets))
                try:
                    ended = await self._children.supervise(boxed, job.stop)
                finally:
                    guard.cancel()
        return _told(self._sandbox, ended)

    async def _guard(self, job: Job, tickets: frozenset[int]) -> None:
        """Stop it when something that it stands on is taken from it."""
        while all(self._gate.keeps(ticket) for ticket in tickets):  # noqa: ASYNC110 - a lease ends without a word
            await asyncio.sleep(_HELD)
        self._background.end(job, "what it was granted was taken from it")

    def _words(self, argv: Sequence[str] | str | None, command: str | None) -> list[str]:
        words = self._given(argv, command)
        if not words or not words[0] or any("\0" in word for word in words):
            raise BadRequest(f"{words!r} is no command: it needs a program, and may not have a NUL in it.")
        return words

    def _given(self, argv: Sequence[str] | str | None, command: str | None) -> list[str]:
        match argv, command:
            case None, str(text):
                shell = shutil.which("bash", path=self._children.env.get("PATH")) or "sh"
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

    def _exclusive(self) -> list[str]:
        """All that the agent holds for itself alone, here and by earlier claims."""
        return [unit for g in self._gate.grants() if g.mode is Mode.EXCLUSIVE for unit in g.units]

    def _confined(self, command: Command, sandbox: Sandbox, units: Iterable[str], declared: Iterable[str]) -> Command:
        """The command in its sandbox, where these units are open to it."""
        env = {**self._children.env, **command.env}
        cwd, program = self._workspace.root / command.cwd, command.argv[0]
        if shutil.which(str(cwd / program) if "/" in program else program, path=env.get("PATH")) is None:
            raise NotFound(
                f"There is no program {program!r} that may be executed, neither on PATH nor below {command.cwd!r}."
            )
        root = self._workspace.root
        reach = opened(root, units) if sandbox.seals else opened_alone(root, units, declared)
        self._children.scratch()
        return replace(
            command, argv=sandbox.argv(root, reach, command.argv), shown=command.shown or command.argv,
            sandbox=sandbox.name, reach=reach, places=sandbox.environment(root, reach, env), box=sandbox,
        )  # fmt: skip

    def looking(self, argv: Sequence[str]) -> tuple[Sequence[str], Mapping[str, str]]:
        """A program of ours that only reads, in the agent's sandbox, in which nothing is open to it; and its environment there."""
        if self._sandbox is None:
            return argv, {}
        box, root = self._sandbox.around(Needs(seen=(Path(__file__).parent,))), self._workspace.root
        self._children.scratch()
        return box.argv(root, (), tuple(argv)), box.environment(root, (), self._children.env)

    def _written(self, path: str) -> str:
        """The unit of something that a command declares to write: a unit, or a path; a directory ends with '/' or is one."""
        if kind_of(path) in KINDS and ":" in path:
            return self._workspace.canonical_unit(path)
        located = self._workspace.locate(path)
        return f"{'dir' if path.endswith('/') or located.path.is_dir() else 'file'}:{located.name}"

    def _token(self, unit: str, mode: Mode) -> int:
        granted = self._gate.held(unit, mode)
        if granted is None:
            raise StaleToken(f"The grant on {unit} ended before the command began. Call run again.", unit=unit)
        return granted.token


def _chosen(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that an agent wants for its command. Raises BadRequest: they can be none, or are how we find processes."""
    for name, value in env.items():
        if not name or "=" in name or "\0" in name + value:
            raise BadRequest(
                f"{name!r} with {value[:80]!r} cannot be a variable: no name has =, and nothing has a NUL."
            )
        if name in (AGENT_VARIABLE, PROC_VARIABLE):
            raise BadRequest(f"{name} says whose a process is, and cannot be set. Leave it out of env.")
    return dict(env)


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
