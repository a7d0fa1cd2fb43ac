"""The tool host: the one door between an agent and its workspace. Every call is checked, recorded, done, recorded."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import msgspec

from agentlab import processes
from agentlab.core.commands import Granted
from agentlab.core.events import JSON, AgentSpec, Artifact, Message, Mode, ToolCall, ToolResult
from agentlab.core.policy import Rule
from agentlab.errors import AgentlabError, AgentTimeout, BadRequest, Forbidden, Refused
from agentlab.paths import IGNORED, Workspace, problem
from agentlab.processes import AGENT_VARIABLE
from agentlab.runner.gate import Gate, Permission, Verdict
from agentlab.sandbox import Sandbox

from . import aliases, policy, waits
from . import catalogue as offered
from .around import Around
from .background import Background
from .catalogue import ToolSpec
from .children import Children, Command, Ended
from .contents import all_edited, edited, patched
from .fence import Fences
from .files import Files
from .grants import Grants
from .ledger import BLOB_LIMIT, Ledger, Scope
from .look import Look
from .page import Page
from .permit import Permit
from .results import Change, Kept, Printed, Ran, Todo, Todos, granted_json
from .runs import Runs
from .scan import ignored
from .search import Search, Wanted
from .shadow import Shadow
from .texts import encode
from .walk import Walk
from .watch import Watch

Names = list[str]
Pids = list[int]  # the class below has a method `list`


class ToolHost:
    """The tools of one agent in one workspace.

    root: the workspace. home: where fences and private copies are kept, shared by the agents of this machine.
    env: the complete environment of the children. claims: implicit | explicit (what a change without a claim does);
    None: as the spec says. hold: s that a call may wait in a queue before it is told to ask again. children: how many
    programs may run at once. sandbox: for the commands of `run`; None: they run with the rights of the user.
    """

    def __init__(
        self,
        root: Path,
        gate: Gate,
        *,
        home: Path,
        env: Mapping[str, str],
        spec: AgentSpec,
        claims: str | None = None,
        hold: float | None = None,
        children: int = 8,
        blob_limit: int = BLOB_LIMIT,
        sandbox: Sandbox | None = None,
        home_rules: tuple[Rule, ...] = (),
    ) -> None:
        self.gate = gate
        self.spec = spec
        self.workspace = Workspace(root, home)
        rules = policy.load(self.workspace)
        private = home / "private" / sha256(gate.owner.encode()).hexdigest()[:24]
        for directory in (home, private.parent, private):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fences = Fences(home / "fences")
        self._ledger = Ledger(gate, blob_limit=blob_limit)
        self._grants = Grants(gate, policy=spec.claims_policy or claims or "implicit", hold=hold)
        self._watch = Watch(
            self.workspace, self._ledger, self._grants, fences, Shadow(private / "shadow"), rules.ignore
        )
        self.around = Around(self._ledger, self._grants, self._watch)
        """For drivers: around what the agent's own program does by itself, where its boundary lets it."""
        self._files = Files(self.workspace, self._ledger, self._grants, fences, self._watch)
        walk = Walk(self.workspace, rules.ignore)
        self._look = Look(self.workspace, walk)
        self._children = Children(self.workspace, self._ledger, self._watch, env=env, directory=private)
        self._background = Background(private, self._watch.look)
        offered.check_names(spec.tools or ())
        self._runs = Runs(
            self.workspace, gate, self._grants, self._children, self._background, rules=rules, most=children, sandbox=sandbox
        )  # fmt: skip
        self._search = Search(self.workspace, walk, {**env, AGENT_VARIABLE: gate.owner}, self._runs.looking)
        self._permit = Permit(
            gate, spec, str(self.workspace.root), home=home_rules, workspace=rules.policy,
            named=self.workspace.canonical_unit, processes=self._runs.patterned,
        )  # fmt: skip
        self.against_look = self._permit.against_look
        """For drivers: whether a rule has something against a look of the agent's own program."""
        self.processes = rules.units_of
        """For drivers: the process units of a command that the agent's own program would run, from how it is told."""
        self._done: dict[str, Callable[[Any], Awaitable[Any]]] = {
            "read": lambda a: self._files.read(a.path, a.start, a.end),
            "read_bytes": lambda a: self._files.read_bytes(a.path, a.start, a.end),
            "write": lambda a: self._files.write(a.path, _bytes_of(a, a.path), base=a.base, overwrite=a.overwrite),
            "edit": lambda a: self._files.edit(a.path, a.old, a.new, all=a.all),
            "multi_edit": lambda a: self._files.multi_edit(a.path, a.edits),
            "patch": lambda a: self._files.patch(a.path, a.diff),
            "delete": lambda a: self._files.delete(a.path),
            "move": lambda a: self._files.move(a.path, a.to),
            "list": lambda a: self._look.list(a.path, a.pattern),
            "glob": lambda a: self._look.glob(a.pattern, a.path, sort=a.sort, limit=a.limit, everything=a.ignored),
            "search": self._searched,
            "run": lambda a: self._runs.run(
                a.argv,
                command=a.command,
                writes=a.writes,
                unit=a.unit,
                timeout=a.timeout,
                env=a.env,
                cwd=a.cwd,
                stdin=a.stdin,
                background=a.background,
            ),
            "output": lambda a: self._background.output(a.id, a.since, a.wait),
            "stop": lambda a: self._background.stop(a.id),
            "todo": _todo,
            "artifact": lambda a: self._artifact(a.name, _bytes_of(a, a.name), a.kind),
            "claim": self._claim,
            "release": self._release,
            "plan": lambda a: gate.plan(tuple(a.steps), tuple(self.workspace.canonical_unit(u) for u in a.units)),
            "ask": lambda a: gate.ask(a.question, tuple(a.options)),
            "say": self._say,
        }
        self._paged: dict[str, Callable[[Any], Awaitable[Any]]] = {
            "read": lambda a: self._files.page(a.path, a.start, a.end),
            "read_bytes": lambda a: self._files.few_bytes(a.path, a.start, a.end),
        }

    @property
    def hold(self) -> float | None:
        """s that a call may wait in a queue before it is told to ask again; None: as long as it takes."""
        return self._grants.hold

    @hold.setter
    def hold(self, seconds: float | None) -> None:
        self._grants.hold = seconds

    @property
    def scratch(self) -> Path:
        """The agent's own folder for temporary files."""
        return self._children.scratch()

    @property
    def root(self) -> Path:
        return self.workspace.root

    @staticmethod
    def preload() -> None:
        """What takes long the first time: the schemas of the tools, and the patterns that commands and names are held against."""
        for name in offered.TOOLS:
            offered.spec_of(name)
        policy.Policy().units(["-"])
        ignored("-", IGNORED)

    # --- the door ------------------------------------------------------------------------------------------

    def catalogue(self) -> list[ToolSpec]:
        """The tools that this agent may use."""
        return [offered.spec_of(name) for name in offered.TOOLS if self._allowed(name)]

    async def call(
        self,
        name: str,
        args: Mapping[str, JSON],
        *,
        call_id: str | None = None,
        actor: str | None = None,
        span: str | None = None,
        parent: str | None = None,
        vendor: JSON = None,
        queued: waits.Listener | None = None,
        paged: bool = False,
    ) -> JSON:
        """Do one call as a driver brings it: arguments and result are JSON values. Bytes are base64 texts.

        actor: the subagent that calls, where it is one. queued: told its place whenever it waits in a queue. paged: for a
        model, so that a file comes as a `Page` of it. Raises what the tool raises; every call is recorded with how it
        ended, also one that makes no sense.
        """
        name, args = aliases.ours(name, args)
        if name not in offered.TOOLS:
            known = ", ".join(tool.name for tool in self.catalogue())
            raise BadRequest(f"There is no tool {name!r}. There are: {known}.")
        with waits.told_to(queued):
            result = await self._door(name, args, call_id, actor, span, parent, vendor, paged)
        return to_json(result)

    async def _door(
        self,
        name: str,
        args: Mapping[str, JSON],
        call_id: str | None = None,
        actor: str | None = None,
        span: str | None = None,
        parent: str | None = None,
        vendor: JSON = None,
        paged: bool = False,
    ) -> Any:
        call = call_id or secrets.token_hex(8)
        span = span or call
        columns: dict[str, JSON] = {"name": name, "actor": actor, "span": span, "parent": parent}
        shown = await self._ledger.spill(dict(args))
        self._ledger.record(ToolCall(call=call, args=shown, vendor=vendor), **columns)
        begun = time.monotonic_ns()
        status, output, error = "ok", None, ""
        try:
            with self._ledger.within(Scope(actor=actor, span=span)):
                result = await self._do(name, args, paged)
            output = await self._ledger.spill(result.text if isinstance(result, Page) else to_json(result))
            if isinstance(result, Ran) and result.timed_out:
                status = "timeout"
        except asyncio.CancelledError:
            status, error = "cancelled", "cancelled"
            raise
        except Exception as problem:
            status, error = _status(problem), str(problem)
            raise
        else:
            return result
        finally:
            self._ledger.record(
                ToolResult(call=call, output=output, error=error),
                **columns,
                status=status,
                dur_ns=time.monotonic_ns() - begun,
            )

    async def _do(self, name: str, args: Mapping[str, JSON], paged: bool) -> Any:
        if not self._allowed(name):
            raise Forbidden(f"The tool {name!r} is not among those of this agent: {', '.join(self.spec.tools or ())}.")
        checked = offered.check(name, args)
        await self._permit.check(name, args, lambda: self._preview(checked))
        try:
            return await (self._done | (self._paged if paged else {}))[name](checked)
        except AgentlabError:
            raise
        except OSError as error:
            raise problem(error, str(args.get("path", name))) from error

    async def _preview(self, args: Any) -> str:
        """The difference that a call would make; "" where it is none of those that change a file's content."""
        match args:
            case offered.Write():
                data = _bytes_of(args, args.path)
                return await self._files.preview(args.path, lambda now: data)
            case offered.Edit():
                return await self._files.preview(args.path, edited(args.path, args.old, args.new, all=args.all))
            case offered.MultiEdit():
                return await self._files.preview(args.path, all_edited(args.path, args.edits))
            case offered.Patch():
                return await self._files.preview(args.path, lambda now: patched(args.path, args.diff)(now))
            case offered.Delete():
                return await self._files.preview(args.path, None)
            case _:
                return ""

    def _allowed(self, name: str) -> bool:
        return self.spec.tools is None or name in self.spec.tools

    # --- the tools, for Python -----------------------------------------------------------------------------

    async def read(self, path: str, start: int | None = None, end: int | None = None) -> str:
        """The text of a file; lines `start` to `end` (from 1, inclusive) where given."""
        return cast(str, await self._door("read", _given(path=path, start=start, end=end)))

    async def read_bytes(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of a file; from `start` up to but not including `end` where given."""
        return cast(bytes, await self._door("read_bytes", _given(path=path, start=start, end=end)))

    async def write(
        self, path: str, data: str | bytes, *, base: str | None = "auto", overwrite: bool = False
    ) -> Change:
        """Write a whole file. base: hash of what `data` was made from, None (it must not exist), or "auto": what this
        agent last saw. Raises StaleBase, NotHeld, WouldBlock, StaleToken, OutsideWorkspace."""
        args = {"path": path, **_data(data, path)} | ({"overwrite": True} if overwrite else {})
        if base != "auto":
            args["base"] = base
        return cast(Change, await self._door("write", args))

    async def edit(self, path: str, old: str, new: str, *, all: bool = False) -> Change:
        """Replace `old`, which must be there exactly once unless `all`. Raises PatchFailed, and as `write`."""
        return cast(Change, await self._door("edit", {"path": path, "old": old, "new": new, "all": all}))

    async def multi_edit(self, path: str, edits: Iterable[Mapping[str, JSON]]) -> Change:
        """Several edits, {"old", "new"} and perhaps "all" each: all or none. Raises as `edit`, naming the first that fails."""
        return cast(Change, await self._door("multi_edit", {"path": path, "edits": [dict(edit) for edit in edits]}))

    async def patch(self, path: str, diff: str) -> Change:
        """Apply a unified diff. Raises PatchFailed, and as `write`."""
        return cast(Change, await self._door("patch", {"path": path, "diff": diff}))

    async def delete(self, path: str) -> Change:
        return cast(Change, await self._door("delete", {"path": path}))

    async def move(self, path: str, to: str) -> Change:
        return cast(Change, await self._door("move", {"path": path, "to": to}))

    async def list(self, path: str = ".", pattern: str | None = None) -> Names:
        return cast(Names, await self._door("list", _given(path=path, pattern=pattern)))

    async def glob(self, pattern: str, path: str = ".", **options: JSON) -> Names:
        """Files by name. options: sort ("name" | "newest"), limit, ignored (also what a `.gitignore` names)."""
        return cast(Names, await self._door("glob", _given(pattern=pattern, path=path, **options)))

    async def search(self, regex: str, path: str = ".", glob: str | None = None, **options: JSON) -> Names:
        """Lines that match. options: mode ("content" | "files" | "count"), context, ignore_case, limit, ignored."""
        return cast(Names, await self._door("search", _given(regex=regex, path=path, glob=glob, **options)))

    async def run(
        self,
        argv: Sequence[str] | str,
        *,
        writes: Iterable[str] = (),
        unit: str | None = None,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = ".",
        stdin: str | None = None,
    ) -> Ran:
        """Run a program to its end. A text is split like a shell would, but no shell is asked."""
        args = _given(
            argv=argv if isinstance(argv, str) else [*argv],
            writes=[*writes] or None,
            unit=unit,
            timeout=timeout,
            env=dict(env) if env else None,
            cwd=cwd,
            stdin=stdin,
        )
        return cast(Ran, await self._door("run", args))

    async def start(self, argv: Sequence[str] | str | None = None, **options: Any) -> Printed:
        """Start a program, or by `command` a shell, in the background. options: as of `run`. Raises as `run`, and Refused: there are too many."""
        args = _given(argv=argv if argv is None or isinstance(argv, str) else [*argv], background=True, **options)
        return cast(Printed, await self._door("run", args))

    async def output(self, id: str, since: int | None = None, wait: float = 0) -> Printed:
        """What a program in the background has printed since it was looked at last, or from a byte on; below 0: from the end.
        wait: s that it may have to end."""
        return cast(Printed, await self._door("output", _given(id=id, since=since, wait=wait)))

    async def stop(self, id: str) -> Printed:
        """End a program in the background, with all that it started."""
        return cast(Printed, await self._door("stop", {"id": id}))

    async def todo(self, items: Iterable[Mapping[str, str]]) -> Todos:
        """Replace the list of what is to be done: {"text", "status"} each."""
        return cast(Todos, await self._door("todo", {"items": [dict(item) for item in items]}))

    async def artifact(self, name: str, data: str | bytes, kind: str = "file") -> Kept:
        return cast(Kept, await self._door("artifact", {"name": name, "kind": kind, **_data(data, name)}))

    async def claim(
        self,
        *units: str,
        mode: str | Mode = "exclusive",
        ttl: float | None = None,
        yields: bool = False,
        wait: bool = True,
        timeout: float | None = None,
    ) -> Granted:
        """Take units, all or none. mode: exclusive | shared."""
        named = {"X": "exclusive", "S": "shared"}.get(mode, mode)
        args = _given(units=[*units], mode=named, ttl=ttl, yields=yields, wait=wait, timeout=timeout)
        return cast(Granted, await self._door("claim", args))

    async def release(self, *units: str, ticket: int | None = None) -> None:
        """Give back units, a ticket, or everything."""
        await self._door("release", _given(units=[*units], ticket=ticket))

    async def plan(self, steps: Sequence[str], units: Sequence[str] = ()) -> None:
        await self._door("plan", {"steps": [*steps], "units": [*units]})

    async def ask(self, question: str, options: Sequence[str] = ()) -> str:
        return cast(str, await self._door("ask", {"question": question, "options": [*options]}))

    async def say(self, text: str) -> None:
        await self._door("say", {"text": text})

    # --- for drivers ---------------------------------------------------------------------------------------

    async def approve(self, request: Permission) -> Verdict:
        """Ask whether the agent may do something that its own program is about to do, or what it wants to know. It blocks until
        a rule, a person or the timeout has decided. Cancelling the call takes the question back: it was not allowed."""
        units = tuple(dict.fromkeys(self._named(unit) for unit in request.units))
        return await self.gate.approve(replace(request, units=units), self._permit.workspace)

    async def write_within(self, call: str, path: str, text: str, *, base: str | None) -> Change:
        """Write a whole file as a part of an act that stands inside `around` as `call`: it is that call in the log, and no
        other. Raises as `write`."""
        try:
            with self._ledger.within(Scope(span=call)):
                return await self._files.write(path, encode(text, path), base=base)
        except OSError as error:
            raise problem(error, path) from error

    async def supervise(self, command: Command) -> Ended:
        """Run a part of the agent itself: logged, watched and ended like a command of its, but under no process unit."""
        return await self._children.supervise(command)

    @asynccontextmanager
    async def holding(self, *units: str) -> AsyncIterator[None]:
        """Units held for what the agent's own program does inside: by its own claims, or else by an implicit one.
        Raises NotHeld (`hold` has passed; the place is kept), WouldBlock."""
        async with self._grants.holding(tuple(self.workspace.canonical_unit(unit) for unit in units)):
            yield

    async def freeze(self) -> None:
        """Stop the clock of all that the host runs, in the background too."""
        await asyncio.to_thread(processes.freeze, self.children())

    async def thaw(self) -> None:
        await asyncio.to_thread(processes.thaw, self.children())

    def children(self) -> Pids:
        """Pids of the roots of all process trees that the host runs at the moment."""
        return self._children.pids

    async def end(self) -> None:
        """Kill what still runs."""
        await self._children.end(now=True)

    async def close(self, *, now: bool = False) -> None:
        """End what still runs and remove the private copies. The grants are the runner's to give back."""
        await self._children.end(now=now)
        await self._background.close()
        await self._children.close()
        await asyncio.to_thread(self._watch.close)

    # --- tools that need no room of their own --------------------------------------------------------------

    async def _claim(self, args: offered.Claim) -> Granted:
        if args.yields:
            self._grants.check_yields()
        if not args.units:
            raise BadRequest("claim needs at least one unit, such as 'file:a.txt'.")
        units = tuple(self.workspace.canonical_unit(unit) for unit in args.units)
        mode = Mode.SHARED if args.mode == "shared" else Mode.EXCLUSIVE
        timeout = args.timeout if args.timeout is not None else self.hold
        return await self._grants.patiently(
            lambda: self.gate.claim(
                units,
                mode,
                yields=args.yields,
                wait=args.wait,
                timeout=timeout,
                ttl=args.ttl or self.spec.ttl,
                queued=waits.listener(),
            )
        )

    def _named(self, unit: str) -> str:
        """A unit in its one spelling; what is none, as it is."""
        try:
            return self.workspace.canonical_unit(unit)
        except (BadRequest, Refused):
            return unit

    async def _searched(self, args: offered.Search) -> Names:
        against = await self._permit.check_search({"path": args.path}, folder=self._search.is_folder(args.path))
        wanted = Wanted(args.regex, args.mode, args.context, args.ignore_case)
        return await self._search(
            wanted, args.path, args.glob, limit=args.limit, everything=args.ignored, against=against
        )

    async def _release(self, args: offered.Release) -> None:
        units = tuple(self.workspace.canonical_unit(unit) for unit in args.units)
        await self._grants.release(args.ticket, units)

    async def _artifact(self, name: str, data: bytes, kind: str) -> Kept:
        if len(data) > self._ledger.blob_limit:
            raise BadRequest(
                f"The artifact {name!r} has {len(data)} bytes; at most {self._ledger.blob_limit} are kept."
            )
        hash, _ = await self._ledger.keep(data)
        self._ledger.record(Artifact(kind=kind, hash=hash, size=len(data)), name=name)
        return Kept(name=name, hash=hash, size=len(data))

    async def _say(self, args: offered.Say) -> None:
        self._ledger.record(Message(role="assistant", text=args.text))


async def _todo(args: offered.Todo) -> Todos:
    """All of it is in the call and its result: the list is the agent's own, nothing else depends on it."""
    return Todos(tuple(Todo(item.text, item.status) for item in args.items))


def to_json(value: object) -> JSON:
    """A result as JSON values: bytes in base64, structs as objects."""
    match value:
        case Granted():
            return granted_json(value)
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return msgspec.to_builtins(value)


def _status(error: Exception) -> str:
    match error:
        case AgentTimeout() | TimeoutError():
            return "timeout"
        case Refused():
            return "denied"
        case _:
            return "error"


def _given(**args: JSON) -> dict[str, JSON]:
    return {key: value for key, value in args.items() if value is not None}


def _data(data: str | bytes, name: str) -> dict[str, JSON]:
    if isinstance(data, bytes):
        return {"data": base64.b64encode(data).decode(), "encoding": "base64"}
    encode(data, name)
    return {"data": data}


def _bytes_of(args: offered.Write | offered.Artifact, name: str) -> bytes:
    if args.encoding == "utf-8":
        return encode(args.data, name)
    try:
        return base64.b64decode(args.data, validate=True)
    except binascii.Error as error:
        raise BadRequest(f"The data for {name} is no base64: {error}.") from None
