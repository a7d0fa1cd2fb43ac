"""The verbs about what agents share: locks, questions, runs, runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentlab.client import Hold
from agentlab.errors import BadRequest

from . import listings, names
from .values import Listing, Said
from .verb import run_option, verb

if TYPE_CHECKING:
    from .table import Face

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


@verb("bump")
@click.argument("ticket", type=int)
def bump(face: Face, ticket: int) -> Said:
    """Move a waiting ticket before the others that it conflicts with."""
    face.lab().bump(ticket)
    return Said(f"ticket {ticket} goes before those that it conflicts with: they wait longer", {"ticket": ticket})


@verb("revoke")
@click.argument("ticket", type=int)
@click.option("--reason", default="", help="Why: its owner reads it.")
def revoke(face: Face, ticket: int, reason: str) -> Said:
    """Take a ticket from whoever holds it, or end its wait."""
    lab = face.lab()
    row = lab._tables().get("locks", {}).get(str(ticket), {})
    lab.revoke(ticket, reason)
    held = f"{', '.join(row.get('units') or ())} of {row.get('owner', '?')}"
    return Said(
        f"revoked ticket {ticket} ({held}): whoever waits is next. Its owner's next write is refused and says why; a command "
        f"of its that runs is not stopped",
        {"ticket": ticket, "owner": row.get("owner"), "units": list(row.get("units") or ())},
    )


@verb("approvals")
@click.option("--all", "every", is_flag=True, help="Answered ones too.")
def approvals(face: Face, every: bool) -> Listing:
    """List the questions that agents have for you."""
    return listings.approvals(face.lab()._tables(), every=every)


@verb("approve")
@click.argument("id", type=names.Approval())
@click.argument("text", nargs=-1, metavar="[TEXT]")
@click.option("--session", "scope", flag_value="session", help="Also whenever this agent asks the same again.")
@click.option("--always", "scope", flag_value="always", help="Also whichever agent asks it in this workspace.")
@click.option("--reason", default="", help="Why: the agent reads it.")
def approve(face: Face, id: str, text: tuple[str, ...], scope: str | None, reason: str) -> Said:
    """Say yes to a question."""
    return _answer(face, id, "approved", (*text, *([reason] if reason else [])), scope or "once")


@verb("deny")
@click.argument("id", type=names.Approval())
@click.argument("text", nargs=-1, metavar="[TEXT]")
@click.option("--session", "scope", flag_value="session", help="Also whenever this agent asks the same again.")
@click.option("--always", "scope", flag_value="always", help="Also whichever agent asks it in this workspace.")
@click.option("--reason", default="", help="Why: the agent reads it.")
def deny(face: Face, id: str, text: tuple[str, ...], scope: str | None, reason: str) -> Said:
    """Say no to a question, and why."""
    return _answer(face, id, "denied", (*text, *([reason] if reason else [])), scope or "once")


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


def _answer(face: Face, id: str, status: str, words: tuple[str, ...], scope: str = "once") -> Said:
    lab = face.lab()
    found = listings.approval_named(lab._tables(), id)
    lab.answer(found, " ".join(words), status=status, scope=scope)
    said = f"{status} {found}" + ("" if scope == "once" else f", {scope}")
    return Said(said, {"approval": found, "status": status, "scope": scope})
