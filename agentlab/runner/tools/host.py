"""The tool host: the tools of one agent in one workspace, and what its driver asks for beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from agentlab import processes
from agentlab.core.commands import Granted
from agentlab.core.events import JSON, AgentSpec, Artifact, Message, Mode
from agentlab.core.policy import Rule
from agentlab.errors import BadRequest, Refused
from agentlab.paths import IGNORED, Workspace, explained
from agentlab.processes import AGENT_VARIABLE
from agentlab.runner.gate import Gate, Permission, Verdict
from agentlab.sandbox import Sandbox

from . import aliases, policy, waits
from . import catalogue as offered
from .around import Around
from .background import Background
from .catalogue import ToolSpec
from .children import Children, Command, Ended
from .contents import made_by
from .door import Door, Origin, Tool
from .fence import Fences
from .files import Files
from .grants import Grants
from .ledger import BLOB_LIMIT, Ledger, Scope
from .look import Look
from .methods import Methods
from .permit import Permit
from .results import Change, Kept, Todo, Todos, to_json
from .runs import Runs
from .scan import ignored
from .search import Search, Wanted
from .shadow import Shadow
from .texts import bytes_of, encode
from .walk import Walk
from .watch import Watch


class ToolHost(Methods):
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
            named=self._named, processes=self._runs.patterned,
        )  # fmt: skip
        self.against_look = self._permit.against_look
        """For drivers: whether a rule has something against a look of the agent's own program."""
        self.processes = rules.units_of
        """For drivers: the process units of a command that the agent's own program would run, from how it is told."""
        paged: dict[str, Tool] = {
            "read": lambda a: self._files.page(a.path, a.start, a.end),
            "read_bytes": lambda a: self._files.few_bytes(a.path, a.start, a.end),
        }
        self._door = Door(spec, self._ledger, self._permit, self._tools(), paged, self._preview)

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
        return [offered.spec_of(name) for name in offered.TOOLS if self._door.lets(name)]

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
            origin = Origin(call=call_id, actor=actor, span=span, parent=parent, vendor=vendor)
            result = await self._door.call(name, args, origin, paged=paged)
        return to_json(result)

    async def _preview(self, args: Any) -> str:
        """The difference that a call would make; "" where it is none of those that change a file's content."""
        match args:
            case offered.Write() | offered.Edit() | offered.MultiEdit() | offered.Patch():
                return await self._files.preview(args.path, made_by(args))
            case offered.Delete():
                return await self._files.preview(args.path, None)
            case _:
                return ""

    # --- for drivers ---------------------------------------------------------------------------------------

    async def approve(self, request: Permission) -> Verdict:
        """Ask whether the agent may do something that its own program is about to do, or what it wants to know. It blocks until
        a rule, a person or the timeout has decided. Cancelling the call takes the question back: it was not allowed."""
        units = tuple(dict.fromkeys(self._named(unit) for unit in request.units))
        return await self.gate.approve(replace(request, units=units), self._permit.workspace)

    async def write_within(self, call: str, path: str, text: str, *, base: str | None) -> Change:
        """Write a whole file as a part of an act that stands inside `around` as `call`: it is that call in the log, and no
        other. Raises as `write`."""
        with explained(path), self._ledger.within(Scope(span=call)):
            return await self._files.write(path, encode(text, path), base=base)

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

    def children(self) -> list[int]:
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

    # --- what does each tool -------------------------------------------------------------------------------

    def _tools(self) -> dict[str, Tool]:
        return {
            "read": lambda a: self._files.read(a.path, a.start, a.end),
            "read_bytes": lambda a: self._files.read_bytes(a.path, a.start, a.end),
            "write": lambda a: self._files.write(
                a.path, bytes_of(a.data, a.encoding, a.path), base=a.base, overwrite=a.overwrite
            ),
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
            "artifact": lambda a: self._artifact(a.name, bytes_of(a.data, a.encoding, a.name), a.kind),
            "claim": self._claim,
            "release": self._release,
            "plan": lambda a: self.gate.plan(tuple(a.steps), tuple(self.workspace.canonical_unit(u) for u in a.units)),
            "ask": lambda a: self.gate.ask(a.question, tuple(a.options)),
            "say": self._say,
        }

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

    async def _searched(self, args: offered.Search) -> list[str]:
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
