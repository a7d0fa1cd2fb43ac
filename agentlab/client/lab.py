"""The lab: a client's connection to a plane, and everything that can be asked of it."""

from __future__ import annotations

import asyncio
import os
import platform
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from agentlab.__about__ import __version__
from agentlab.core.commands import Answer, Bump, Done, Opened, Revoke, StartRun
from agentlab.core.turn import PLANE
from agentlab.errors import AgentlabError, BadRequest, NotFound, Unavailable
from agentlab.link.client import hello
from agentlab.link.messages import AnyRequest, GetState, Hello, View, Welcome

from . import background, fleet, frames, handle, hold, named, profiles, spec
from .connection import Connection
from .feed import Feed
from .handle import AgentHandle
from .hold import Hold
from .rows import Row, Tables
from .run import Run
from .target import Target
from .text import line
from .who import host_name, kind_here, user_name

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


def connect(
    home: str | Path | None = None, url: str | None = None, start: bool = True, *, kind: str | None = None
) -> Lab:
    """The lab of the plane at `url`, else at `$AGENTLAB_URL`, else of `home` (`$AGENTLAB_HOME`, the user's data folder).

    A home without a plane gets one, unless `start` is False. kind: who asks (notebook, cli, python), for people to read.
    Raises PlaneUnavailable, VersionMismatch, BadRequest (no such home or address).
    """
    lab = Lab(Target.of(home, url, start), kind=kind)
    lab._welcome()
    return lab


class Lab:
    """Made by `agentlab.connect()`. Safe to use from several threads; finds its plane again when that was restarted."""

    def __init__(self, target: Target, *, kind: str | None = None, user: str | None = None) -> None:
        self.home = target.home
        self.kind = kind or kind_here()
        self.user = user or user_name()
        self.session_id = spec.new_id("s")
        self._target = target
        self._pid = 0
        self._open()

    def _open(self) -> None:
        self._pid = os.getpid()
        self._link = Connection(self._target, self._hello(self.kind, self.session_id, self.user))
        self._rows = Feed(self._link)
        weakref.finalize(self, _let_go, self._link, self._pid).atexit = False

    def _after_fork(self) -> None:
        """The link, and the thread that it lives on, stay with the process that we were forked from."""
        if self._pid != os.getpid():
            self._open()

    @property
    def _connection(self) -> Connection:
        self._after_fork()
        return self._link

    @property
    def _feed(self) -> Feed:
        self._after_fork()
        return self._rows

    @staticmethod
    def _hello(kind: str, session_id: str, user: str) -> Callable[[str], Hello]:
        """Apart from the lab, which nothing of its link may keep alive."""
        return lambda token: hello(token, kind, session_id=session_id, user=user)

    @property
    def owner(self) -> str:
        """Whose the locks are that you claim yourself."""
        return f"user:{self.user}"

    # --- runs and agents ---------------------------------------------------------------------------------------

    def run(
        self, name: str, workdir: str | os.PathLike[str] = ".", schedule: str = "arrival", claims: str = "implicit"
    ) -> Run:
        """Open a run over the workspace at `workdir`. It stays open until the end of its `with` block, or `run.end()`.

        schedule: arrival (the order of claims is recorded), turns (it is fixed by the order of the agents), recorded.
        claims: what a write outside any claim does: implicit (claims for itself) or explicit (is refused).
        """
        return self._start_run(name, workdir, schedule, claims, auto_end=False)

    def _start_run(
        self, name: str, workdir: str | os.PathLike[str], schedule: str, claims: str, *, auto_end: bool
    ) -> Run:
        spec.checked_name("a run", name)
        root = spec.workspace(workdir, self.home)
        command = StartRun(
            run_id=spec.new_id("r"), name=name, root=str(root), host=host_name(), auto_end=auto_end,
            schedule=spec.one_of("schedule", schedule, spec.SCHEDULES), claims=spec.one_of("claims", claims, spec.CLAIMS),
            session_id=self.session_id, user=self.user, session_kind=self.kind,
            versions={"agentlab": __version__, "python": platform.python_version()},
        )  # fmt: skip
        self._ask(command, Opened)
        return Run(self, command.run_id, name=name, root=root, schedule=schedule)

    def spawn(
        self,
        kind: str,
        task: Any = None,
        *,
        workdir: str | os.PathLike[str] = ".",
        name: str | None = None,
        **options: Any,
    ) -> AgentHandle:
        """Spawn an agent in a run of its own, which ends with it. Options: those of `Run.spawn`."""
        if unknown := sorted(set(options) - spec.OPTIONS):
            raise BadRequest(f"There is no option {', '.join(unknown)}. There are: {', '.join(sorted(spec.OPTIONS))}.")
        self._check_kind(kind)
        kind, options = profiles.resolve(self.home, kind, options)
        root = spec.workspace(workdir, self.home)
        definition = spec.define(kind, task, root=root, home=self.home, name=name, **options)
        return self._spawn_alone(name or kind, root, definition)

    def _spawn_alone(self, name: str, root: Path, definition: spec.Definition) -> AgentHandle:
        """In a run of its own, which ends with it."""
        run = self._start_run(name, root, "arrival", "implicit", auto_end=True)
        try:
            return run._spawn(definition)
        except AgentlabError as error:
            run.end("failed", reason=line(error, 300))
            raise

    def _spawn_again(self, row: Row, definition: spec.Definition) -> AgentHandle:
        """In the run of the agent of this row where that is still open, else in one of its own over the same folder."""
        run = self.run_named(row["run_id"])
        if run.status == "open":
            return run._spawn(definition)
        if run.root is None:
            raise BadRequest(f"The folder of run {run.name!r} is not here: spawn the agent anew, with resume=.")
        return self._spawn_alone(run.name, run.root, definition)

    def _check_kind(self, kind: str) -> None:
        from agentlab.kinds import kinds

        known = set(kinds()) | profiles.names(self.home).keys()
        if kind in known:
            return
        known |= {k for row in self.state()["tables"].get("runtimes", {}).values() for k in row.get("kinds") or ()}
        if kind not in known:
            raise BadRequest(
                f"There are no agents of kind {kind!r}. There are: {', '.join(sorted(known))}. Others come with a package "
                "that offers them under the entry point group 'agentlab.drivers'; `agentlab doctor` shows what is installed."
            )

    def agent(self, name: str) -> AgentHandle:
        """The agent of that name: `a`, or `run/a` with a run's name or id. Of several the live one, else the newest. Raises
        NotFound; BadRequest: of several that live nobody knows which."""
        tables = self._tables()
        return self._handle(named.the_agent(tables, named.agents(tables, name) or self._ended_agents(name), name))

    def _ended_agents(self, name: str) -> list[Row]:
        """Of a run that has ended long ago."""
        run, _, agent = name.rpartition("/")
        run = run or self._run_in_log(agent)
        try:
            return named.agents(self.run_named(run)._now(), agent) if run else []
        except NotFound:
            return []

    def _handle(self, row: Row) -> AgentHandle:
        return AgentHandle(self, row["agent"], name=row["name"], kind=row["kind"])

    def run_named(self, name: str) -> Run:
        """The run of that name or id: an open one, else the newest. Raises NotFound."""
        rows = named.runs(self._tables(), name)
        rows = rows or [row for run_id in self._runs_in_log(name) for row in self._run_rows(run_id)]
        if not rows:
            raise NotFound(f"There is no run {line(name)!r}. `agentlab runs` lists those that there are.", run=name)
        return self._run_from(rows[0])

    def _run_in_log(self, agent: str) -> str:
        """The newest run of the log in which an agent of that name was; "": there is none."""
        try:
            database = self._database()
        except Unavailable:
            return ""
        from agentlab.trace.frames import events_df

        begun = events_df(database, types=["agent.start"], where="name = ?", params=[agent], columns=["run_id", "ts"])
        return "" if begun.empty else str(begun.sort_values("ts")["run_id"].iloc[-1])

    def _runs_in_log(self, name: str) -> list[str]:
        """Ids of runs that the plane has let go of: by id, else the newest of that name."""
        if self._run_rows(name):
            return [name]
        try:
            frame = self.runs()
        except (Unavailable, NotFound):
            return []
        return [str(run_id) for run_id in frame.loc[frame["name"] == name, "run_id"][-1:]]

    def _run_rows(self, run_id: str) -> list[Row]:
        try:
            view = self._ask(GetState(run_id=run_id), View)
        except NotFound:
            return []
        return list(view.data["tables"]["runs"].values())

    def open_run(self, name: str, workdir: str | os.PathLike[str] | None = None) -> Run:
        """The open run of that name (or id), or a new one over `workdir`. Raises BadRequest: it is over another folder."""
        row = next(iter(named.runs(self._tables(), name)), None)
        if row is None or row["status"] != "open":
            return self.run(name, "." if workdir is None else workdir)
        if workdir is not None and str(spec.workspace(workdir, self.home)) != row["root"]:
            raise BadRequest(
                f"Run {name!r} is over {row['root']}: leave the workdir out, or choose another run.", run=row["run_id"]
            )
        return self._run_from(row)

    def _run_from(self, row: Row) -> Run:
        root = Path(row["root"]) if row.get("root") else None
        here = root is not None and root.is_dir() and row.get("host") == host_name()
        schedule = "arrival" if row.get("begun") else row.get("schedule") or "arrival"
        return Run(self, row["run_id"], name=row["name"], root=root if here else None, schedule=schedule)

    # --- what is now -------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The raw snapshot: {"seq": id of the newest event, "tables": {table: {key: row}}}. Times are ns since the epoch."""
        return dict(self._ask(GetState(), View).data)

    def _tables(self) -> Tables:
        tables: Tables = self.state()["tables"]
        return tables

    def runs(self) -> pd.DataFrame:
        """All runs of the log, ended ones too; of a plane whose log is elsewhere, those that it still knows."""
        try:
            database = self._database()
        except Unavailable:
            return frames.frame("runs", [r for r in self._tables().get("runs", {}).values() if r["run_id"] != PLANE])
        from agentlab.trace.frames import runs_df

        return runs_df(database, where="run_id <> ?", params=[PLANE])

    def agents(self) -> pd.DataFrame:
        return self._live_frame("agents")

    def locks(self) -> pd.DataFrame:
        """Who holds what and who waits for it, in the order of their tickets."""
        return self._live_frame("locks")

    def runtimes(self) -> pd.DataFrame:
        return self._live_frame("runtimes")

    def approvals(self) -> pd.DataFrame:
        return self._live_frame("approvals")

    def _live_frame(self, table: str) -> pd.DataFrame:
        return frames.frame(table, self._tables().get(table, {}).values())

    def doctor(self) -> pd.DataFrame:
        """check, verdict (ok, warn, fail), detail, fix: what works here, and what to do about the rest."""
        import pandas as pd

        from .doctor import Check, checks

        return pd.DataFrame(checks(lambda: self), columns=list(Check._fields), dtype="string")

    # --- a person's own part -----------------------------------------------------------------------------------

    def claim(
        self,
        *units: str,
        workdir: str | os.PathLike[str] = ".",
        mode: str = "exclusive",
        ttl: float = 60.0,
        wait: bool = True,
        timeout: float | None = None,
        run: Run | None = None,
        renew: bool = True,
    ) -> Hold:
        """Hold work units yourself, all or none: `with lab.claim("file:a.txt"): ...`, or until `.release()`.

        Waits for its turn, for at most `timeout` seconds (then NotHeld); `wait=False`: WouldBlock at once. Ctrl-C leaves
        the queue. renew: keep it as long as this process lives; else it ends after `ttl` seconds.
        """
        root = spec.workspace(workdir, self.home) if run is None else run.root
        wanted = spec.canonical_units(units, root, self.home)
        if not wanted:
            raise BadRequest("Claim what? Name work units, for example 'file:src/a.py' or 'dir:src'.")
        taking = hold.take(
            self, wanted, root, host_name(), mode=spec.MODES[spec.one_of("mode", mode, spec.MODES)], ttl=ttl, wait=wait,
            timeout=timeout, run_id=None if run is None else run.run_id, new_run=spec.new_id("r"), renew=renew,
        )  # fmt: skip
        return background.call(taking)

    def release(self, *tickets: int, units: str | Sequence[str] = ()) -> None:
        """Give back tickets of yours, or everything. What you do not hold any more is no error."""
        background.call(hold.release(self, tickets, spec.canonical_units(units, None)))

    def bump(self, ticket: int) -> None:
        """Move a waiting ticket before the others that it conflicts with. Raises NotFound: it does not wait."""
        self._ask(Bump(ticket=ticket, by=self.user), Done)

    def revoke(self, ticket: int, reason: str = "") -> None:
        """Take a ticket from whoever holds it, or end its wait. Its owner's next write is refused, and says who did it and why;
        what a command of its is writing meanwhile is not stopped by this. Raises NotFound."""
        self._ask(Revoke(ticket=ticket, by=self.user, reason=reason), Done)

    def answer(self, approval: str, answer: str = "", *, status: str = "answered", scope: str = "once") -> None:
        """Answer a question of an agent. status: answered | approved | denied. Raises Refused: somebody was first, and who.

        scope: once; session: for whenever this agent asks the same again; always: for all agents in this workspace.
        """
        spec.one_of("status", status, ("answered", "approved", "denied"))
        spec.one_of("scope", scope, ("once", "session", "always"))
        self._ask(Answer(approval=approval, status=status, answer=answer, by=self.user, scope=scope), Done)

    def approve(self, approval: str, answer: str = "", *, scope: str = "once") -> None:
        self.answer(approval, answer, status="approved", scope=scope)

    def deny(self, approval: str, reason: str = "", *, scope: str = "once") -> None:
        self.answer(approval, reason, status="denied", scope=scope)

    # --- the way to the plane and its log ----------------------------------------------------------------------

    def _ask(self, body: AnyRequest, answer: type[T]) -> T:
        return background.call(self._connection.ask(body, answer))

    def _welcome(self) -> Welcome:
        background.call(self._connection.link())
        welcome = self._connection.welcome
        assert welcome is not None
        return welcome

    def _database(self) -> Path:
        """Where the log is. Raises Unavailable: not on this machine."""
        return background.call(self._connection.database())

    def _peek(self) -> Tables:
        """The rows now, for completion: raises Unavailable rather than start a plane or wait long for one."""

        async def look() -> Tables:
            async with asyncio.timeout(2.0):
                view = await self._connection.ask(GetState(), View, start=False)
                return view.data["tables"]  # type: ignore[no-any-return]

        try:
            return background.call(look())
        except TimeoutError:
            raise Unavailable("The plane did not answer in time.") from None

    @property
    def closed(self) -> bool:
        return self._connection.closed

    def close(self) -> None:
        """Let go of the plane. Agents go on."""
        background.call(self._connection.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- showing -----------------------------------------------------------------------------------------------

    @property
    def _lab(self) -> Lab:
        return self

    def _fleet(self, tables: Tables) -> fleet.Fleet:
        return fleet.of_lab(f"Lab of {line(self.user, 40)}", tables, over=self.closed)

    def _spans(self) -> None:
        """Agents of several runs are no one picture."""

    def _bundle(self) -> dict[str, Any]:
        return self._still(self._fleet(self._tables()))

    def _still(self, shown: fleet.Fleet) -> dict[str, Any]:
        return fleet.bundle(shown)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        try:
            return self._bundle()
        except AgentlabError as error:  # closed, or its plane is gone: that is to be read, not raised
            return {"text/plain": f"{self!r}: {line(error, 300)}"}

    def _ipython_display_(self) -> None:
        if handle.live is None or self.closed or not handle.live.show_fleet(self):
            raise NotImplementedError  # IPython then asks for the mimebundle

    def __repr__(self) -> str:
        where = self._target.url or self.home
        return f"<Lab {where} · {self.user} · {self.kind}>"


def _let_go(connection: Connection, pid: int) -> None:
    """A lab that nobody holds any more: end its link, unless that is of the process we forked from."""
    if pid == os.getpid() and not connection.closed:
        background.submit(connection.close())
