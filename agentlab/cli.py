"""`agentlab`: the verbs of `faces.verbs` on the command line, and the daemon.

Exit codes: 0 ok, 1 an agent failed, 2 the request makes no sense or was refused, 3 the plane or its log cannot be
used, 124 a wait timed out, 130 interrupted. Errors are text on standard error, or JSON there with --json.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentlab.__about__ import __version__
from agentlab.errors import AgentFailed, AgentlabError, AgentTimeout, BadRequest, Refused
from agentlab.faces.table import Table, explained, table_for
from agentlab.faces.values import Listing, Said, Stream, Words, console

if TYPE_CHECKING:
    from agentlab.client import Lab, Run
    from agentlab.client.rows import Tables

HELP = f"Run coding agents side by side, under locks, into one log. (agentlab {__version__})"


class Shell:
    """The face of a shell: each command opens the lab and lets go of it."""

    cell: str | None = None
    stays = False

    def __init__(self, home: str | None, url: str | None) -> None:
        self._home, self._url = home, url
        self._lab: Lab | None = None

    def lab(self) -> Lab:
        if self._lab is None:
            from agentlab.client import connect

            self._lab = connect(self._home, self._url, kind="cli")
        return self._lab

    def peek(self) -> Tables:
        from agentlab.client import connect

        try:
            with connect(self._home, self._url, start=False, kind="cli") as lab:
                return lab._tables()
        except AgentlabError:
            return {}

    def current_run(self, workdir: str | None) -> Run | None:
        return None

    def close(self) -> None:
        if self._lab is not None:
            self._lab.close()


# --- the daemon ------------------------------------------------------------------------------------------------


@click.group("daemon")
def daemon() -> None:
    """The plane of this home: start, stop, status, logs."""


@daemon.command("start")
@click.pass_obj
def start(shell: Shell) -> Said:
    """Start it, if it does not run."""
    from agentlab import discovery

    plane = discovery.ensure(_home(shell))
    return Said(f"The plane runs (pid {plane.pid}, {plane.http or plane.address})", _facts(plane))


@daemon.command("stop")
@click.option("--force", is_flag=True, help="Kill it if it does not end in time. Agents are not lost by that.")
@click.pass_obj
def stop(shell: Shell, force: bool) -> Said:
    """Stop it. Agents go on, and are found again when it is started."""
    from agentlab import discovery

    was = discovery.stop(_home(shell), force=force)
    return Said("The plane has stopped; agents go on." if was else "No plane runs.", {"running": False, "stopped": was})


@daemon.command("status")
@click.pass_obj
def status(shell: Shell) -> Said:
    """Say whether it runs, and where."""
    from agentlab import discovery

    home = _home(shell)
    plane = discovery.read(home)
    if plane is None:
        return Said(f"No plane runs for {home}.", {"running": False, "home": str(home)})
    answers = discovery.answers(plane.address)
    said = f"The plane runs (pid {plane.pid}, version {plane.version}, {plane.http or plane.address}, home {home})"
    return Said(
        said if answers else f"{said}, but does not answer", {**_facts(plane), "home": str(home), "answers": answers}
    )


@daemon.command("logs")
@click.option("--tail", type=int, default=100, show_default=True, help="The last so many lines; 0: all.")
@click.pass_obj
def logs(shell: Shell, tail: int) -> Words:
    """Show what the plane wrote to its log."""
    from agentlab import discovery

    path = discovery.log_path(_home(shell))
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return Words(f"There is no {path}: no plane was started here.")
    return Words("\n".join(lines[-tail:] if tail > 0 else lines))


def _home(shell: Shell) -> Path:
    from agentlab.config import home_dir

    return home_dir(shell._home)


def _facts(plane: Any) -> dict[str, Any]:
    return {
        "running": True, "pid": plane.pid, "address": plane.address, "http": plane.http, "version": plane.version,
        "protocol": plane.protocol,
    }  # fmt: skip


# --- putting it together ---------------------------------------------------------------------------------------


def json_option() -> click.Option:
    return click.Option(
        ["--json", "as_json"], is_flag=True, expose_value=False, callback=_remember_json, help="Print JSON."
    )


def _remember_json(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().meta["agentlab.json"] = True


def build() -> Table:
    from agentlab.faces.verbs import VERBS

    table = table_for("agentlab", VERBS, json_option, help=HELP)
    table.aliases = {"plane": "daemon"}  # what everything else calls it
    table.add_command(table_for("daemon", list(daemon.commands.values()), json_option, help=daemon.help or ""))
    table.params += [
        click.Option(["--home"], help="Where everything is kept. Default: $AGENTLAB_HOME, or your data folder."),
        click.Option(["--url"], help="The address of a plane: unix:/path, ws://host:port. Default: $AGENTLAB_URL."),
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
        ),
    ]
    for command in (table, *table.commands.values(), *table.commands["daemon"].commands.values()):  # type: ignore[attr-defined]
        command.add_help_option = True
    table.callback = _open
    return table


@click.pass_context
def _open(ctx: click.Context, home: str | None, url: str | None) -> None:
    ctx.obj = Shell(home, url)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"agentlab {__version__}")
        ctx.exit()


def main(argv: Sequence[str] | None = None) -> None:
    """The entry point. Always ends in SystemExit."""
    if "_AGENTLAB_COMPLETE" in os.environ:  # a shell asks for completion
        build()(prog_name="agentlab", obj=Shell(None, None))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 gets escapes, not a traceback
    sys.exit(run(sys.argv[1:] if argv is None else list(argv)))


def run(argv: list[str]) -> int:
    """Do it, show what came of it; the exit code."""
    table = build()
    as_json = "--json" in argv
    try:
        with table.make_context("agentlab", argv) as ctx:
            value = table.invoke(ctx)
            try:
                return show(value, ctx.meta.get("agentlab.json", False))
            finally:
                if isinstance(ctx.obj, Shell):
                    ctx.obj.close()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _fail("Interrupted; agents go on.", 130, as_json, "Interrupted")
    except click.ClickException as error:
        return _fail(explained(error), 2, as_json, "BadRequest")
    except AgentlabError as error:
        return _fail(str(error), code_of(error), as_json, error.code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the exit does not try again
        return 141


def code_of(error: AgentlabError) -> int:
    if isinstance(error, BadRequest | Refused):
        return 2
    if isinstance(error, AgentFailed):
        return 1
    return 124 if isinstance(error, AgentTimeout) else 3


def _fail(text: str, code: int, as_json: bool, name: str) -> int:
    from agentlab.client.text import visible

    text = text.replace("`%agent ", "`agentlab ")  # the plane does not know who reads it
    if as_json:
        click.echo(json.dumps({"error": name, "message": text}), err=True)
    else:
        click.echo(visible(text), err=True)
    return code


# --- showing ---------------------------------------------------------------------------------------------------


def show(value: Any, as_json: bool) -> int:
    """Print a value; 1 where it says that an agent failed."""
    from agentlab.client import AgentHandle, Hold

    match value:
        case AgentHandle():
            return _show_agent(value, as_json)
        case Hold():
            facts = {"ticket": value.ticket, "units": list(value.units), "token": value.token, "run_id": value.run_id}
            return _print(Said(f"{value!r}. Give it back with: agentlab release {value.ticket}", facts), as_json)
        case Stream():
            return _stream(value, as_json)
        case None:
            return 0
    return _print(value, as_json)


def _show_agent(handle: Any, as_json: bool) -> int:
    from agentlab.client.rows import one_line
    from agentlab.faces.records import record

    row = handle.row()
    _print(Said(one_line(row), record("agents", row)), as_json)
    return 1 if row["status"] in ("failed", "cancelled") else 0


def _stream(stream: Stream, as_json: bool) -> int:
    for text in stream.lines():
        click.echo(json.dumps({"agent": stream.agent, "line": text}) if as_json else text)
    return 0


def _print(value: Any, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps(value.data(), default=str))
    elif isinstance(value, Listing):
        out = console() if sys.stdout.isatty() else console(width=200)
        out.print(value)
    else:
        click.echo(str(value))
    return 1 if value.failed else 0


if __name__ == "__main__":
    main()
