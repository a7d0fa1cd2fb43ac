"""One recorded execution: agents over one workspace, and everything that they did as frames."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from agentlab.core.commands import BeginRun, Done, EndRun, Spawn, Spawned
from agentlab.core.events import JSON
from agentlab.errors import AgentlabError, NotFound
from agentlab.link.messages import GetState, View

from . import background, fleet, handle, profiles, spec
from .fleet import Fleet
from .handle import AgentHandle, Result, result_of
from .rows import Row, Tables, is_live
from .text import line

if TYPE_CHECKING:
    import os

    import pandas as pd

    from .lab import Lab


class Run:
    """`with lab.run("name") as run:` leaves the block when the run's agents have ended, and ends the run; an exception
    inside stops them and ends it as failed. Ctrl-C leaves it as it is: agents go on, `lab.run_named(...)` finds it again.
    """

    def __init__(self, lab: Lab, run_id: str, *, name: str, root: Path | None, schedule: str = "arrival") -> None:
        self.run_id = run_id
        self.name = name
        self.root = root
        """The workspace, where it is on this machine"""
        self.schedule = schedule
        self._lab = lab
        self._begun = schedule != "turns"

    # --- agents ------------------------------------------------------------------------------------------------

    def spawn(
        self,
        kind: str,
        task: JSON = None,
        *,
        name: str | None = None,
        claims: str | Sequence[str] = (),
        claims_mode: str = "exclusive",
        claims_policy: str | None = None,
        steps: JSON = None,
        code: str | None = None,
        model: str | None = None,
        env: Mapping[str, str] | None = None,
        boundary: str | None = None,
        priority: str = "normal",
        ttl: float = 60.0,
        role: str = "",
        instructions: str = "",
        tools: Sequence[str] | None = None,
        permissions: Sequence[str] = (),
        memory: str = "none",
        runtime: str | None = None,
        resume: str | None = None,
        max_tokens: int | None = None,
        max_cost: float | None = None,
        max_time: float | None = None,
        retries: int = 1,
        wait_limits: bool = False,
        keep: bool = False,
        options: Mapping[str, JSON] | None = None,
    ) -> AgentHandle:
        """Queue an agent and return at once.

        kind: script (`steps`), python (`code`), claude, ... (`task`, a prompt). claims: units taken, all or none, before
        its first action; `claims_mode` exclusive | shared. claims_policy: what a write outside any claim does, implicit |
        explicit (None: as the run says). env: NAME -> `env:NAME` or `file:/path`, resolved here and never logged, or a literal.
        What the kind logs in with (`spec.credentials`) is passed on by itself where it is exported here.
        boundary: tools | native (weaker); None: what the profile says, else tools. priority: operator | normal | background. ttl: s that its locks live without a sign of life.
        resume: the vendor's session to go on from. max_tokens, max_cost (USD), max_time (s at work): what it may use up
        before it is stopped. retries: of a prompt that failed before any tool had run, for a reason that may be gone in a
        while. wait_limits: wait for a vendor's limit to reset, instead of failing. keep: stay for follow-ups (`send`) until stopped. options: of the driver.

        Raises BadRequest (an unknown kind, a task that does not fit it, a reference that leads nowhere), NameTaken.
        """
        self._lab._check_kind(kind)
        kind, of = profiles.resolve(
            self._lab.home, kind, {"options": options, "env": env, "model": model, "boundary": boundary}
        )
        options, env, model, boundary = of["options"], of["env"], of["model"], of["boundary"]
        definition = spec.define(
            kind, task, root=self.root, home=self._lab.home, name=name, steps=steps, code=code, claims=claims,
            claims_mode=claims_mode, claims_policy=claims_policy, model=model, env=env, boundary=boundary, priority=priority, ttl=ttl, role=role,
            instructions=instructions, tools=tools, permissions=permissions, memory=memory, runtime=runtime, resume=resume,
            max_tokens=max_tokens, max_cost=max_cost, max_time=max_time, retries=retries, wait_limits=wait_limits,
            keep=keep, options=options,
        )  # fmt: skip
        return self._spawn(definition)

    def _spawn(self, definition: spec.Definition) -> AgentHandle:
        wanted = definition.spec
        spawned = self._lab._ask(Spawn(run_id=self.run_id, spec=wanted, secrets=definition.secrets), Spawned)
        name = wanted.name or spawned.agent.partition("/")[2]
        return AgentHandle(self._lab, spawned.agent, name=name, kind=wanted.kind, run=self)

    @property
    def agents(self) -> list[AgentHandle]:
        """Its agents, in the order in which they were spawned; those of other clients too."""
        return [self._handle(row) for row in self._agent_rows(self._now())]

    def _handle(self, row: Row) -> AgentHandle:
        return AgentHandle(self._lab, row["agent"], name=row["name"], kind=row["kind"], run=self)

    def _agent_rows(self, tables: Tables) -> list[Row]:
        rows = [row for row in tables.get("agents", {}).values() if row["run_id"] == self.run_id]
        return sorted(rows, key=lambda row: row.get("queued_at") or 0)

    def _now(self) -> Tables:
        return background.call(self._tables())

    async def _tables(self) -> Tables:
        """The rows of this run, live or as the log ends with them."""
        view = await self._lab._connection.ask(GetState(run_id=self.run_id), View)
        return view.data["tables"]  # type: ignore[no-any-return]

    # --- from begin to end -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """All agents of a `turns` run are spawned: let them go. Waiting does it too; nothing happens in other modes."""
        background.call(self._begin())

    async def _begin(self) -> None:
        if not self._begun:
            await self._lab._connection.ask(BeginRun(run_id=self.run_id), Done)
            self._begun = True

    def wait(self, timeout: float | None = None) -> dict[str, Result]:
        """Return when all its agents have ended: agent id -> Result. Raises AgentTimeout; the agents go on."""
        return background.call(self._wait(timeout))

    async def _wait(self, timeout: float | None = None) -> dict[str, Result]:
        await self._begin()
        clock = asyncio.get_running_loop().time
        deadline = None if timeout is None else clock() + timeout
        while True:  # agents may spawn agents
            rows = self._agent_rows(await self._tables())
            live = [row for row in rows if is_live(row)]
            if not live:
                return {row["agent"].partition("/")[2]: result_of(row) for row in rows}
            for row in live:
                await self._handle(row)._ended(None if deadline is None else max(deadline - clock(), 0.0))

    def end(self, status: str | None = None, *, reason: str = "", stop: bool = False) -> None:
        """Close the run. Raises Refused while agents live, unless `stop`: then they are stopped first.

        status: done | failed | cancelled; None: failed where an agent failed, else done. Of a run that has ended: nothing to do.
        """
        if status is not None:
            spec.one_of("status", status, ("done", "failed", "cancelled"))
        background.call(self._finish(status, reason, stop))

    async def _finish(self, status: str | None, reason: str = "", stop: bool = False) -> None:
        tables = await self._tables()
        own = tables.get("runs", {}).get(self.run_id)
        if own is not None and own["status"] != "open":
            return
        if stop:
            live = [self._handle(row) for row in self._agent_rows(tables) if is_live(row)]
            await asyncio.gather(*(agent._stop(reason=reason) for agent in live))
            await asyncio.gather(*(agent._ended(None) for agent in live))
            tables = await self._tables()
        if status is None:
            failed = any(row["status"] == "failed" for row in self._agent_rows(tables))
            status = "failed" if failed else "done"
        await self._lab._connection.ask(EndRun(run_id=self.run_id, status=status, reason=reason), Done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.wait()
            self.end()
        elif issubclass(kind, Exception):
            try:
                self.end("failed", reason=line(f"{kind.__name__}: {error}", 300), stop=True)
            except AgentlabError as second:
                if error is not None:
                    error.add_note(f"The run {self.run_id} could not be ended: {second}")

    @property
    def status(self) -> str:
        """open, done, failed or cancelled."""
        return str(self._row(self._now())["status"])

    def _row(self, tables: Tables) -> Row:
        row = tables.get("runs", {}).get(self.run_id)
        if row is None:
            raise NotFound(f"No run {self.run_id}. `lab.runs()` lists those that there are.", run=self.run_id)
        return row

    # --- what happened -----------------------------------------------------------------------------------------

    def events(self, **options: Any) -> pd.DataFrame:
        """The log, one row an event, by `seq`. Options: those of `trace.frames.events_df`."""
        return self._frame("events_df", options)

    def messages(self, **options: Any) -> pd.DataFrame:
        """What was said to and by agents."""
        return self._frame("messages_df", options)

    def exchanges(self, **options: Any) -> pd.DataFrame:
        """What programs and their models said to each other, one row an HTTP request; `blobs=True`: with the bodies."""
        return self._frame("exchanges_df", options)

    def tool_calls(self, **options: Any) -> pd.DataFrame:
        """One row a call, joined to its result."""
        return self._frame("tool_calls_df", options)

    def locks(self, **options: Any) -> pd.DataFrame:
        """One row a lease: requested, granted, released, wait, hold, queue depth."""
        return self._frame("locks_df", options)

    def files(self, **options: Any) -> pd.DataFrame:
        """One row a change of a file."""
        return self._frame("files_df", options)

    def procs(self, **options: Any) -> pd.DataFrame:
        """One row a process."""
        return self._frame("procs_df", options)

    def usage(self, **options: Any) -> pd.DataFrame:
        """Tokens and cost."""
        return self._frame("usage_df", options)

    def _frame(self, name: str, options: dict[str, Any]) -> pd.DataFrame:
        from agentlab.trace import frames

        read = getattr(frames, name)
        return read(self._lab._database(), self.run_id, **options)  # type: ignore[no-any-return]

    def spans(self, **options: Any) -> pd.DataFrame:
        """Everything that took time: agents, calls, processes, waits for locks and their holds."""
        return self._frame("spans_df", options)

    def gantt(self, width: int = 800) -> Any:
        """The spans as an Altair chart. Wants the extra `charts`."""
        from agentlab.trace.charts import gantt

        return gantt(self.spans(), width=width)

    def at(self, seq: int | None = None) -> dict[str, Any]:
        """R0: how it was after event `seq` (None: the last), from the log alone.

        {"seq": seq, "tables": as in `lab.state()`, "files": path -> {hash, mode, size, link}; None where the run was recorded
        without a snapshot}. Raises NotFound: there is no such event.
        """
        from agentlab.trace import view

        database = self._lab._database()
        tables = view.at(database, self.run_id, seq)
        files = None
        with contextlib.suppress(NotFound):
            files = {path: file._asdict() for path, file in view.files_at(database, self.run_id, seq).items()}
        return {"seq": tables["runs"][self.run_id]["seq"], "tables": tables, "files": files}

    def checkout(self, seq: int | None, dir: str | os.PathLike[str], *, strict: bool = True) -> Any:
        """R1: write the workspace as it was after event `seq` (None: the last) into a new or empty folder.

        strict: refuse where some content was never stored; else the rest is written and `missing` says what is not.
        """
        from agentlab.trace.checkout import checkout

        return checkout(self._lab._database(), self.run_id, seq, Path(dir).expanduser(), strict=strict)

    # --- showing -----------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        try:
            return f"<{self._title(self._now())}>"
        except Exception as error:  # a repr that raises breaks tracebacks and debuggers
            return f"<Run {line(self.name, 60)} {self.run_id} · unknown: {line(error)}>"

    def _title(self, tables: Tables) -> str:
        agents = self._agent_rows(tables)
        live = sum(map(is_live, agents))
        status = tables.get("runs", {}).get(self.run_id, {}).get("status", "ended")
        parts = [f"Run {line(self.name, 60)} {self.run_id}", status, f"{len(agents)} agents"]
        return " · ".join(parts + ([f"{live} live"] if live else []))

    def _fleet(self, tables: Tables) -> Fleet:
        row = tables.get("runs", {}).get(self.run_id)
        return Fleet(self._title(tables), self._agent_rows(tables), row is None or row["status"] != "open")

    def _spans(self) -> pd.DataFrame:
        return self.spans()

    def _bundle(self) -> dict[str, Any]:
        self._row(tables := self._now())
        return self._still(self._fleet(tables))

    def _still(self, shown: Fleet) -> dict[str, Any]:
        spans = fleet.quiet_spans(self)
        behind = {} if spans is None or spans.empty else fleet.waited_for(self.locks())
        return fleet.bundle(shown, spans, behind)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return self._bundle()

    def _ipython_display_(self) -> None:
        if handle.live is None or not handle.live.show_fleet(self):
            raise NotImplementedError  # IPython then asks for the mimebundle
