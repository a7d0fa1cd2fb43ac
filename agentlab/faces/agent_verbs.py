"""The verbs about agents: spawn, ps, logs, send, wait, pause, resume, interrupt, stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from agentlab.client import AgentHandle, Lab
from agentlab.client.rows import is_live
from agentlab.client.spec import BOUNDARIES
from agentlab.core.events import Priority
from agentlab.errors import BadRequest
from agentlab.kinds import DRIVERS

from . import listings, names
from .values import Listing, Said, Stream, Words
from .verb import json_or_text, pairs, run_option, tables_of, task_text, verb

if TYPE_CHECKING:
    from .table import Face

COMMANDED = ("acp", "cli")
PROGRAMS = ("claude", "codex", "gemini", "opencode")

agents_argument = click.argument("agents", type=names.Agent(), nargs=-1, required=True, metavar="AGENT...")
agent_argument = click.argument("agent", type=names.Agent())


class Waited(Listing):
    """How agents ended. `failed`: not all of them are done."""

    @property
    def failed(self) -> bool:
        return any(row["status"] != "done" for row in self.records())


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
    "--policy",
    "permissions",
    multiple=True,
    metavar="RULE",
    help="A rule that answers its requests for you, e.g. \"approve tool=run command='pytest*'\". Repeatable; the first that matches.",
)
@click.option(
    "--boundary",
    type=click.Choice(BOUNDARIES),
    help="Whose tools change things: ours, or the agent's own, which is weaker. Default: as its profile says, else tools.",
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
@click.option("--max-tokens", type=int, help="Stop it when it has used so many tokens, in and out.")
@click.option("--max-cost", type=float, help="Stop it when it has cost so many USD, where its vendor tells.")
@click.option("--max-time", type=float, help="Stop it when it has worked so many seconds.")
@click.option(
    "--retries",
    type=int,
    default=1,
    show_default=True,
    help="How often a prompt is tried again that failed before any tool had run, for want of a network or a server.",
)
@click.option("--wait-limits", is_flag=True, help="Wait for a vendor's rate limit to reset instead of failing.")
@click.option("--keep", is_flag=True, help="Stay for follow-ups (`send`) when the task is done, until it is stopped.")
@click.option("--command", help="The program of an acp or cli agent, with its arguments.")
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
    """Start an agent: KIND is script, python, claude, ..., or a profile of config.toml; TASK its steps (YAML or JSON), code or prompt."""
    text = task_text(face, task, given.pop("file"))
    workdir, run_name = given.pop("workdir"), given.pop("run")
    wait, timeout = given.pop("wait"), given.pop("timeout")
    given["env"] = pairs(given["env"], "--env")
    given["options"] = driver_options(kind, given["options"], given.pop("command"))
    given["claims_mode"] = "shared" if given.pop("shared") else "exclusive"
    given["tools"] = given["tools"] or None
    lab = face.lab()
    lab._check_kind(kind)
    run = lab.open_run(run_name, workdir) if run_name else face.current_run(workdir)
    handle = run.spawn(kind, text, **given) if run else lab.spawn(kind, text, workdir=workdir or ".", **given)
    if wait:
        handle.wait(timeout)
    return handle


def driver_options(kind: str, given: tuple[str, ...], command: str | None) -> dict[str, Any]:
    """Those of `--option`, and `--command`, which is one that has a name of its own. Raises BadRequest."""
    options = {key: json_or_text(value) for key, value in pairs(given, "--option").items()}
    if command is None:
        return options
    if "command" in options:
        raise BadRequest("--command and --option command= are the same. Say one.")
    if kind in DRIVERS and kind not in COMMANDED:
        others = (
            "the program of this one is named with --option cli=PATH" if kind in PROGRAMS else "this one has no program"
        )
        raise BadRequest(f"--command is for agents of kind {' and '.join(COMMANDED)}; {others}.")
    return options | {"command": command}


@verb("ps")
@click.option("--all", "every", is_flag=True, help="Ended agents too.")
@run_option
def ps(face: Face, every: bool, run: str | None) -> Listing:
    """List the agents: what they do, what they hold, what they wait for and behind whom."""
    return listings.agents(tables_of(face.lab(), run), every=every)


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
    message = task_text(face, text, None)
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
        rows = tables_of(lab, run)["agents"].values()
        handles = [lab._handle(row) for row in rows if run is not None or is_live(row)]
    return waited(lab, handles, timeout)


@verb("pause")
@agents_argument
def pause(face: Face, agents: tuple[str, ...]) -> Said:
    """Freeze agents where they are. They keep their locks for a while."""
    return _each(face, agents, AgentHandle.pause, "paused")


@verb("resume")
@agent_argument
@click.argument("text", nargs=-1, metavar="[TEXT]")
def resume(face: Face, agent: str, text: tuple[str, ...]) -> Said | AgentHandle:
    """Let a paused agent go on; or one that has ended, in the session in which it was, with TEXT as its prompt."""
    handle = face.lab().agent(agent)
    again = handle.resume(task_text(face, text, None) or None)
    return _said("resumed", [handle]) if again is handle else again


@verb("interrupt")
@agents_argument
def interrupt(face: Face, agents: tuple[str, ...]) -> Said:
    """End what agents do now. Those that were to stay (--keep) are ready for the next prompt; the others have ended."""
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
        handles = [lab._handle(row) for row in tables_of(lab, run)["agents"].values() if is_live(row)]
    else:
        raise BadRequest("Stop whom? Name agents, or a run with --run, or say --all.")
    for handle in handles:
        handle.stop(now=now)
    return _said("stopping", handles)


def waited(lab: Lab, handles: Sequence[AgentHandle], timeout: float | None = None) -> Waited:
    deadline = None if timeout is None else time.monotonic() + timeout
    for handle in handles:
        handle.wait(None if deadline is None else max(deadline - time.monotonic(), 0.0))
    rows = [handle.row() for handle in handles]
    tables = {**lab._tables(), "agents": {row["agent"]: row for row in rows}}
    return Waited(**vars(listings.agents(tables, every=True)))


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
