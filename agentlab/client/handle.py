"""An agent, as a notebook or a script holds it. Losing the handle loses nothing: `lab.agent(name)` gives another one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from agentlab.core.commands import Answer, Created, Done, SendText, Signal
from agentlab.errors import AgentFailed, AgentTimeout, Refused
from agentlab.link.messages import GetLogs, View, WaitAgent

from . import background, html, questions, spec
from .logs import Follower, readable
from .questions import open_of
from .rows import ENDED, Row, error_text, is_live, one_line, waits_text
from .text import line

if TYPE_CHECKING:
    import pandas as pd

    from .fleet import Subject
    from .lab import Lab
    from .run import Run

ROUND = 300.0  # s of one wait on the plane; it is asked again until the agent has ended


class Live(Protocol):
    """How a kernel shows agents that have not ended."""

    def show(self, handle: AgentHandle) -> bool:
        """Show it now and follow it. False: there is nothing to follow."""

    def show_fleet(self, subject: Subject) -> bool:
        """Show a run or a lab now and follow it. False: there is nothing to follow."""

    def ended(self, key: str, row: Row) -> None:
        """Somebody has seen its end: whatever shows it is final."""


live: Live | None = None
"""Set by `agentlab.notebook` in a kernel."""


@dataclass(frozen=True)
class Result:
    """How an agent ended. status: done | failed | cancelled; usage: tokens in, out, cached; cost in USD."""

    status: str
    output: Any = None
    error: str = ""
    usage: dict[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.status == "done"

    def check(self) -> Result:
        """Itself, where the agent is done. Raises AgentFailed where it failed or was cancelled."""
        if not self.ok:
            raise AgentFailed(f"The agent {self.status}: {line(self.error, 500) or 'no reason given'}", **vars(self))
        return self


class AgentHandle:
    """`await handle` or `handle.wait(timeout)` gives its `Result`; neither ever stops the agent, nor does Ctrl-C."""

    def __init__(self, lab: Lab, key: str, *, name: str, kind: str, run: Run | None = None) -> None:
        self.key = key
        """run/agent: what the plane calls it"""
        self.name = name
        self.kind = kind
        self._lab = lab
        self._run = run
        self._end: Row | None = None  # its row once it has ended: that does not change any more

    @property
    def run_id(self) -> str:
        return self.key.partition("/")[0]

    @property
    def agent_id(self) -> str:
        """What the events of its run call it: their `actor`."""
        return self.key.partition("/")[2]

    @property
    def run(self) -> Run:
        if self._run is None:
            self._run = self._lab.run_named(self.run_id)
        return self._run

    # --- how it is ---------------------------------------------------------------------------------------------

    def row(self) -> Row:
        """Everything that the plane knows of it now, as JSON values."""
        return background.call(self._row())

    @property
    def status(self) -> str:
        """queued, dispatched, running, waiting, blocked, paused, idle, stopping; done, failed, cancelled."""
        return str(self.row()["status"])

    @property
    def result(self) -> Result | None:
        """None as long as it lives."""
        row = self.row()
        return None if is_live(row) else result_of(row)

    @property
    def waits(self) -> str:
        """What it waits for, who holds that, its place in the queue; '' where it does not wait."""
        return waits_text(self.row())

    @property
    def boundary(self) -> str:
        """Whose tools change things: tools (ours) | native (its own, which ask first: weaker)."""
        return str(self.row()["boundary"])

    @property
    def sandbox(self) -> str:
        """What its commands run in, and its program where that keeps tools of its own: bubblewrap | landlock | none; '' until
        its runner has said."""
        return str(self.row().get("sandbox") or "")

    @property
    def claims(self) -> tuple[str, ...]:
        """The units that it holds now."""
        return tuple(self.row().get("holds") or ())

    def events(self, **options: Any) -> pd.DataFrame:
        """Its part of `run.events()`, that of its subagents included."""
        return self.run.events(actor=self.agent_id, **options)

    def logs(self, tail: int | None = None, follow: bool = False) -> str | Iterator[str]:
        """What it and its processes said, control characters written out. `follow`: an iterator of lines, to its end."""
        if follow:
            return iter(self.follow(tail))
        view = self._lab._ask(GetLogs(agent=self.key, tail=tail), View)
        return readable(view.data)

    def follow(self, tail: int | None = None) -> Follower:
        """Its lines as they come, on any thread, until it ends or `close()`."""
        return Follower(self._lab, self.key, tail)

    # --- waiting -----------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> Result:
        """Return when it has ended. Raises AgentTimeout after `timeout` seconds; the agent goes on."""
        result = background.call(self._wait(timeout))
        if live is not None and self._end is not None:
            live.ended(self.key, self._end)
        return result

    def __await__(self) -> Generator[Any, None, Result]:
        return asyncio.wrap_future(background.submit(self._wait(None))).__await__()

    async def _wait(self, timeout: float | None) -> Result:
        if self._run is not None:
            await self._run._begin()
        return result_of(await self._ended(timeout))

    async def _ended(self, timeout: float | None) -> Row:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = ROUND if deadline is None else deadline - time.monotonic()
            row = await self._row(min(max(left, 0.0), ROUND))
            if not is_live(row):
                return row
            if left <= 0:
                raise AgentTimeout(
                    f"{one_line(row)}: not ended after {round(timeout or 0, 1):g} s. It goes on: wait again, or end it with .stop().",
                    agent=self.key,
                    status=row["status"],
                )

    async def _row(self, wait: float = 0.0) -> Row:
        if self._end is not None:
            return self._end
        view = await self._lab._connection.ask(WaitAgent(agent=self.key, timeout=wait), View)
        row = dict(view.data)
        if row["status"] in ENDED:
            self._end = row
        return row

    # --- steering ----------------------------------------------------------------------------------------------

    def send(self, text: str, interrupt: bool = False) -> None:
        """A follow-up, delivered in order. `interrupt`: it stops what it does now first."""
        self._lab._ask(SendText(agent=self.key, text=text, interrupt=interrupt, by=self._lab.user), Created)

    def interrupt(self) -> None:
        """End what it does now; it stays ready for the next prompt."""
        self._signal("interrupt")

    def pause(self) -> None:
        """Freeze it where it is. It keeps its locks for a while, shown as paused."""
        self._signal("pause")

    def resume(self, text: str | None = None) -> AgentHandle:
        """Let a paused agent go on. Of one that has ended: spawn it again, in the vendor's session in which it was, with
        `text` as its prompt; the new agent. Raises Refused (it runs), BadRequest (it never had a session; a value of its
        environment was given literally, and is not kept)."""
        row = self.row()
        if is_live(row):
            if text is not None:
                raise Refused(f"Agent {self.name!r} is {row['status']}: `send` gives it a follow-up.", agent=self.key)
            self._signal("resume")
            return self
        return self._lab._spawn_again(row, spec.again(row, text))

    def stop(self, now: bool = False) -> None:
        """End it and all its processes; its locks are freed. Returns when that is under way: `wait()` for the end.

        `now`: without asking it first. Of an agent that has ended: nothing to do.
        """
        background.call(self._stop(now))

    async def _stop(self, now: bool = False, reason: str = "") -> None:
        if not is_live(await self._row()):
            return
        try:
            await self._lab._connection.ask(self._command("kill" if now else "stop", reason), Done)
        except Refused:
            if is_live(await self._row()):  # it did not just end by itself
                raise

    # --- answering ---------------------------------------------------------------------------------------------

    @property
    def questions(self) -> list[Row]:
        """What it has asked and nobody has answered, the oldest first."""
        return open_of(self._lab._tables(), self.key)

    def approve(self, answer: str = "", *, scope: str = "once", approval: str | None = None) -> None:
        """Say yes to its open question. scope: as in `Lab.answer`; approval: which, where it has several.

        Raises NotFound: it asks nothing; BadRequest: several; Refused: somebody was first, and who."""
        self._lab.approve(self._asked(approval), answer, scope=scope)

    def deny(self, reason: str = "", *, scope: str = "once", approval: str | None = None) -> None:
        """Say no to its open question, and why: it reads that. Otherwise as `approve`."""
        self._lab.deny(self._asked(approval), reason, scope=scope)

    def answer(self, answer: str, *, approval: str | None = None) -> None:
        """Answer its open question. Otherwise as `approve`."""
        self._lab.answer(self._asked(approval), answer)

    def _asked(self, approval: str | None) -> str:
        return str(questions.the_one(self.questions, approval, self.name)["approval"])

    async def _answer(self, approval: str, status: str, scope: str, answer: str) -> None:
        command = Answer(approval=approval, status=status, answer=answer, by=self._lab.user, scope=scope)
        await self._lab._connection.ask(command, Done)

    def _signal(self, verb: str) -> None:
        self._lab._ask(self._command(verb), Done)

    def _command(self, verb: str, reason: str = "") -> Signal:
        return Signal(agent=self.key, verb=verb, by=self._lab.user, reason=reason)

    # --- showing -----------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        try:
            return f"<Agent {one_line(self.row())}>"
        except Exception as error:  # a repr that raises breaks tracebacks and debuggers
            return f"<Agent {line(self.name, 60)} ({self.kind}) · unknown: {line(error)}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        row = self.row()
        return static_bundle(row, self.questions if row["status"] == "blocked" else ())

    def _ipython_display_(self) -> None:
        if live is None or not live.show(self):
            raise NotImplementedError  # IPython then asks for the mimebundle


def static_bundle(row: Row, asked: Sequence[Row] = (), note: str = "") -> dict[str, Any]:
    """How an agent is and what it asks, as text and as HTML that needs nothing else. note: what the HTML says beside it."""
    texts = [f"<Agent {one_line(row)}>"]
    texts += [f"asks: {line(q['question'], 200)} ({questions.how_to_answer(q)})" for q in asked]
    return {"text/plain": "\n".join(texts), "text/html": html.agent(row, asked, note)}


def result_of(row: Row) -> Result:
    return Result(row["status"], row.get("output"), error_text(row), dict(row.get("usage") or {}))
