"""What can be done: each command once, with its options and help, for the command line and for `%agent`.

A verb returns a value (`faces.values`, a handle, a hold) and prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentlab.client import AgentHandle, Hold
from agentlab.client.rows import Row, is_live
from agentlab.client.spec import BOUNDARIES
from agentlab.core.events import Priority
from agentlab.errors import BadRequest

from . import listings, names
from .records import record
from .values import Listing, Said, Stream, Words

if TYPE_CHECKING:
    from agentlab.client import Lab

    from .table import Face

VERBS: list[click.Command] = []
F = TypeVar("F", bound=Callable[..., Any])


def verb(name: str) -> Callable[[F], click.Command]:
    """Enter a function in the table; the first line of its docstring is its help."""

    def enter(function: F) -> click.Command:
        command = click.command(name)(click.pass_obj(function))
        VERBS.append(command)
        return command

    return enter


class Waited(Listing):
    """How agents ended. `failed`: not all of them are done."""

    @property
    def failed(self) -> bool:
        return any(row["status"] != "done" for row in self.records())


agents_argument = click.argument("agents", type=names.Agent(), nargs=-1, required=True, metavar="AGENT...")
agent_argument = click.argument("agent", type=names.Agent())
run_option = click.option("--run", "run", type=names.Run(), help="Only what belongs to this run (name or id).")


# --- agents ----------------------------------------------------------------------------------------------------


@verb("spawn")
@click.argument("kind", type=names.Kind())
@click.argument("task", nargs=-1, metavar="[TASK]")
@click.option("--name", help="What to call it. Default: the kind and a number.")
@click.option("--workdir", type=click.Path(), help="The folder to work in. Default: the current one.")
@click.option(
    "--run", "run", type=names.Run(), help="The open run to spawn it in; a new one of that name where there is none."
)
@click.option(
    "--claim",
    "claims",
    multiple=True,
    type=names.Unit(),
    help="A work unit to take before it begins, e.g. file:a.txt. Repeatable.",
)
@click.option("--shared", is_flag=True, help="Take the claims shared (to read) instead of exclusively.")
@click.option(
    "--claims-policy", type=click.Choice(["implicit", "explicit"]), help="What a write outside any claim does."
)
@click.option(
    "--ttl", type=float, default=60.0, show_default=True, help="Seconds that its locks live without a sign of life."
)
@click.option(
    "--env", "env", multiple=True, metavar="KEY=REF", help="KEY=env:NAME, KEY=file:/path or a literal. Repeatable."
)
@click.option("--model", help="The model, for kinds that have one.")
@click.option("--role", default="", help="Its role, for people to read.")
@click.option("--instructions", default="", help="Text appended to its system prompt.")
@click.option("--tool", "tools", multiple=True, help="A tool that it may use. Repeatable; default: all.")
@click.option(
    "--boundary", type=click.Choice(BOUNDARIES), default="tools", show_default=True, help="Whose tools change things."
)
@click.option(
    "--priority",
    type=click.Choice([p.value for p in Priority]),
    default="normal",
    show_default=True,
    help="Its class in queues.",
)
@click.option("--runtime", help="The runtime to start it on. Default: whichever has a free slot.")
@click.option("--resume", help="The vendor's session to go on from.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the kind's driver (VALUE: JSON or text). Repeatable.",
)
@click.option("--file", "file", type=click.Path(dir_okay=False), help="Read the task from this file.")
@click.option("--wait", is_flag=True, help="Return when it has ended.")
@click.option("--timeout", type=float, help="With --wait: for at most so many seconds.")
def spawn(face: Face, kind: str, task: tuple[str, ...], **given: Any) -> AgentHandle:
    """Start an agent: KIND is script, python, claude, ...; TASK its steps (YAML or JSON), code or prompt."""
    text = _task(face, task, given.pop("file"))
    workdir, run_name = given.pop("workdir"), given.pop("run")
    wait, timeout = given.pop("wait"), given.pop("timeout")
    given["env"] = _pairs(given["env"], "--env")
    given["options"] = {key: _json_or_text(value) for key, value in _pairs(given["options"], "--option").items()}
    given["claims_mode"] = "shared" if given.pop("shared") else "exclusive"
    given["tools"] = given["tools"] or None
    lab = face.lab()
    lab._check_kind(kind)
    run = lab.open_run(run_name, workdir) if run_name else face.current_run(workdir)
    handle = run.spawn(kind, text, **given) if run else lab.spawn(kind, text, workdir=workdir or ".", **given)
    if wait:
        handle.wait(timeout)
    return handle


@verb("ps")
@click.option("--all", "every", is_flag=True, help="Ended agents too.")
@run_option
def ps(face: Face, every: bool, run: str | None) -> Listing:
    """List the agents: what they do, what they hold, what they wait for and behind whom."""
    return listings.agents(_tables_of(face.lab(), run), every=every)


@verb("logs")
@agent_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until it ends.")
@click.option("--tail", type=int, help="Only the last so many lines.")
def logs(face: Face, agent: str, follow: bool, tail: int | None) -> Words | Stream:
    """Show what an agent and its processes said."""
    handle = face.lab().agent(agent)
    if follow:
        return Stream(handle.key, lambda: iter(handle.follow(tail)))
    return Words(str(handle.logs(tail)))


@verb("send")
@agent_argument
@click.argument("text", nargs=-1, metavar="TEXT")
@click.option("--interrupt", is_flag=True, help="Stop what it does now first.")
def send(face: Face, agent: str, text: tuple[str, ...], interrupt: bool) -> Said:
    """Give an agent a follow-up."""
    message = _task(face, text, None)
    if not message:
        raise BadRequest("Send what? Write the text after the agent's name, or as the body of the cell.")
    handle = face.lab().agent(agent)
    handle.send(message, interrupt=interrupt)
    return _said("sent to", [handle])


@verb("wait")
@click.argument("agents", type=names.Agent(), nargs=-1, metavar="[AGENT...]")
@click.option("--timeout", type=float, help="Seconds; the agents go on after it.")
@run_option
def wait(face: Face, agents: tuple[str, ...], timeout: float | None, run: str | None) -> Waited:
    """Wait until agents have ended: those named, else all of the run, else all that live."""
    lab = face.lab()
    if agents:
        handles = [lab.agent(agent) for agent in agents]
    else:
        rows = _tables_of(lab, run)["agents"].values()
        handles = [lab._handle(row) for row in rows if run is not None or is_live(row)]
    return waited(handles, timeout)


@verb("pause")
@agents_argument
def pause(face: Face, agents: tuple[str, ...]) -> Said:
    """Freeze agents where they are. They keep their locks for a while."""
    return _each(face, agents, AgentHandle.pause, "paused")


@verb("resume")
@agents_argument
def resume(face: Face, agents: tuple[str, ...]) -> Said:
    """Let paused agents go on."""
    return _each(face, agents, AgentHandle.resume, "resumed")


@verb("interrupt")
@agents_argument
def interrupt(face: Face, agents: tuple[str, ...]) -> Said:
    """End what agents do now; they stay ready for the next prompt."""
    return _each(face, agents, AgentHandle.interrupt, "interrupted")


@verb("stop")
@click.argument("agents", type=names.Agent(), nargs=-1, metavar="[AGENT...]")
@click.option("--now", is_flag=True, help="Kill, without asking first.")
@click.option("--all", "every", is_flag=True, help="All that live.")
@run_option
def stop(face: Face, agents: tuple[str, ...], now: bool, every: bool, run: str | None) -> Said:
    """End agents and all their processes. Their locks are freed."""
    lab = face.lab()
    if agents:
        handles = [lab.agent(agent) for agent in agents]
    elif every or run is not None:
        handles = [lab._handle(row) for row in _tables_of(lab, run)["agents"].values() if is_live(row)]
    else:
        raise BadRequest("Stop whom? Name agents, or a run with --run, or say --all.")
    for handle in handles:
        handle.stop(now=now)
    return _said("stopping", handles)


# --- locks and questions ---------------------------------------------------------------------------------------


@verb("claim")
@click.argument("units", type=names.Unit(), nargs=-1, required=True, metavar="UNIT...")
@click.option(
    "--workdir", type=click.Path(), help="The folder that the units are relative to. Default: the current one."
)
@click.option("--shared", is_flag=True, help="With other readers, against writers.")
@click.option(
    "--ttl", type=float, default=60.0, show_default=True, help="Seconds that it lives without a sign of life."
)
@click.option("--timeout", type=float, help="Seconds to wait for it.")
@click.option("--no-wait", is_flag=True, help="Be refused at once where it is not free.")
def claim(
    face: Face,
    units: tuple[str, ...],
    workdir: str | None,
    shared: bool,
    ttl: float,
    timeout: float | None,
    no_wait: bool,
) -> Hold:
    """Hold work units yourself, all or none: in a notebook as long as the kernel lives, from a shell for --ttl seconds."""
    return face.lab().claim(
        *units, workdir=workdir or ".", mode="shared" if shared else "exclusive", ttl=ttl, wait=not no_wait, timeout=timeout,
        renew=face.stays,
    )  # fmt: skip


@verb("release")
@click.argument("tickets", type=int, nargs=-1, metavar="[TICKET...]")
def release(face: Face, tickets: tuple[int, ...]) -> Said:
    """Give back what you hold: these tickets, else everything."""
    face.lab().release(*tickets)
    return Said(f"released {', '.join(map(str, tickets)) or 'everything'}", {"released": list(tickets)})


@verb("locks")
@run_option
def locks(face: Face, run: str | None) -> Listing:
    """List who holds what, and the queues behind it."""
    lab = face.lab()
    return listings.locks(lab._tables(), None if run is None else [lab.run_named(run).run_id])


@verb("approvals")
@click.option("--all", "every", is_flag=True, help="Answered ones too.")
def approvals(face: Face, every: bool) -> Listing:
    """List the questions that agents have for you."""
    return listings.approvals(face.lab()._tables(), every=every)


@verb("approve")
@click.argument("id", type=names.Approval())
@click.argument("text", nargs=-1, metavar="[TEXT]")
def approve(face: Face, id: str, text: tuple[str, ...]) -> Said:
    """Say yes to a question."""
    return _answer(face, id, "approved", text)


@verb("deny")
@click.argument("id", type=names.Approval())
@click.argument("text", nargs=-1, metavar="[TEXT]")
def deny(face: Face, id: str, text: tuple[str, ...]) -> Said:
    """Say no to a question, and why."""
    return _answer(face, id, "denied", text)


@verb("answer")
@click.argument("id", type=names.Approval())
@click.argument("text", nargs=-1, metavar="TEXT")
def answer(face: Face, id: str, text: tuple[str, ...]) -> Said:
    """Answer a question in words."""
    return _answer(face, id, "answered", text)


# --- runs and places -------------------------------------------------------------------------------------------


@verb("runs")
@click.option("--limit", type=int, default=20, show_default=True, help="The newest so many; 0: all.")
def runs(face: Face, limit: int) -> Listing:
    """List the runs, the newest last."""
    return listings.runs(face.lab().runs(), limit or None)


@verb("end")
@click.argument("run", type=names.Run())
@click.option("--stop", "stop_agents", is_flag=True, help="Stop its agents first.")
def end(face: Face, run: str, stop_agents: bool) -> Said:
    """Close a run."""
    found = face.lab().run_named(run)
    found.end(stop=stop_agents)
    return Said(f"ended run {found.name} ({found.run_id})", {"run_id": found.run_id, "status": found.status})


@verb("events")
@click.argument("run", type=names.Run())
@click.option("--type", "types", multiple=True, help="Only events of this type, e.g. lock.grant. Repeatable.")
@click.option("--since", type=int, help="Only events after this seq.")
@click.option(
    "--parquet", type=click.Path(dir_okay=False), metavar="FILE", help="Write them to a Parquet file instead."
)
def events(face: Face, run: str, types: tuple[str, ...], since: int | None, parquet: str | None) -> Listing | Said:
    """Show the log of a run."""
    lab = face.lab()
    found = lab.run_named(run)
    if parquet is None:
        frame = found.events(types=list(types) or None, since=since, payload="text")
        return listings.events(frame, f"Events of {found.name} ({found.run_id})")
    if types or since is not None:
        raise BadRequest("--parquet writes the whole log of the run: leave --type and --since out.")
    from agentlab.trace.export import to_parquet

    path = Path(parquet).expanduser()
    count = to_parquet(lab._database(), found.run_id, path)
    return Said(f"{count} events to {path}", {"run_id": found.run_id, "events": count, "file": str(path)})


@verb("runtimes")
def runtimes(face: Face) -> Listing:
    """List the places where agents run, their health, and the agent programs found there."""
    return listings.runtimes(face.lab()._tables())


@verb("doctor")
def doctor(face: Face) -> Listing:
    """Check what works here, and say what to do about the rest."""
    from agentlab.client.doctor import checks

    return listings.doctor(checks(face.lab))


# --- parts -----------------------------------------------------------------------------------------------------


def waited(handles: Sequence[AgentHandle], timeout: float | None = None) -> Waited:
    import time

    deadline = None if timeout is None else time.monotonic() + timeout
    for handle in handles:
        handle.wait(None if deadline is None else max(deadline - time.monotonic(), 0.0))
    rows = [handle.row() for handle in handles]
    tables = {"agents": {row["agent"]: row for row in rows}}
    return Waited(**vars(listings.agents(tables, every=True)))


def agent_record(handle: AgentHandle) -> Row:
    return record("agents", handle.row())


def _tables_of(lab: Lab, run: str | None) -> Any:
    return lab._tables() if run is None else lab.run_named(run)._now()


def _task(face: Face, words: tuple[str, ...], file: str | None) -> str | None:
    """From one of: the words on the line, the body of the cell, a file."""
    given = [
        source for source, there in (("on the line", words), ("in the cell", face.cell), ("in --file", file)) if there
    ]
    if len(given) > 1:
        raise BadRequest(f"There is a task {' and one '.join(given)}. Give one.")
    if file:
        try:
            return Path(file).expanduser().read_text()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise BadRequest(f"The task cannot be read from {file}: {why}.") from None
    return " ".join(words) or face.cell or None


def _pairs(given: tuple[str, ...], option: str) -> dict[str, str]:
    pairs = {}
    for text in given:
        key, sep, value = text.partition("=")
        if not sep or not key:
            raise BadRequest(f"{option} wants KEY=VALUE, not {key!r}.")
        pairs[key] = value
    return pairs


def _json_or_text(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def _each(face: Face, agents: tuple[str, ...], act: Callable[[AgentHandle], None], word: str) -> Said:
    handles = [face.lab().agent(agent) for agent in agents]
    for handle in handles:
        act(handle)
    return _said(word, handles)


def _said(word: str, handles: Sequence[AgentHandle]) -> Said:
    return Said(
        f"{word} {', '.join(handle.name for handle in handles) or 'nobody'}",
        {"did": word, "agents": [handle.key for handle in handles]},
    )


def _answer(face: Face, id: str, status: str, words: tuple[str, ...]) -> Said:
    face.lab().answer(id, " ".join(words), status=status)
    return Said(f"{status} {id}", {"approval": id, "status": status})
