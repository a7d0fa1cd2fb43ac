"""Kinds, agents, runs and units as parameters of commands: what Tab offers for them, in a shell and in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from agentlab import config
from agentlab.client import profiles
from agentlab.client.rows import Tables, is_live
from agentlab.client.text import line

if TYPE_CHECKING:
    from .table import Face

    Parameter = click.ParamType[str]
else:
    Parameter = click.ParamType


class Name(Parameter):
    """A text; `name` says of what."""

    def offers(self, face: Face) -> dict[str, str]:
        """What may be written here, and a word on each."""
        return {}

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        face = ctx.find_root().obj
        offers = self.offers(face) if face is not None else {}
        return [CompletionItem(value, help=note) for value, note in offers.items() if value.startswith(incomplete)]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value)


class Kind(Name):
    name = "kind"

    def offers(self, face: Face) -> dict[str, str]:
        from agentlab.kinds import kinds

        there = dict.fromkeys(kinds(), "")
        for row in face.peek().get("runtimes", {}).values():
            there |= {kind: f"on {row['runtime_id']}" for kind in row.get("kinds") or () if kind not in there}
        return there | profiles.names(config.home_dir())


class Agent(Name):
    name = "agent"

    def offers(self, face: Face) -> dict[str, str]:
        tables = face.peek()
        rows = sorted(
            tables.get("agents", {}).values(), key=lambda row: (not is_live(row), -(row.get("queued_at") or 0))
        )
        return {row["name"]: f"{row['kind']}, {row['status']}" for row in reversed(rows)} | _qualified(tables)


def _qualified(tables: Tables) -> dict[str, str]:
    """run/agent, for names that several runs have."""
    runs, seen = tables.get("runs", {}), dict[str, int]()
    rows = list(tables.get("agents", {}).values())
    for row in rows:
        seen[row["name"]] = seen.get(row["name"], 0) + 1
    twice = [row for row in rows if seen[row["name"]] > 1]
    return {f"{runs.get(row['run_id'], {}).get('name', row['run_id'])}/{row['name']}": row["status"] for row in twice}


class Run(Name):
    name = "run"

    def offers(self, face: Face) -> dict[str, str]:
        rows = [row for key, row in face.peek().get("runs", {}).items() if key != "plane"]
        return {row["name"]: row["status"] for row in rows} | {row["run_id"]: row["name"] for row in rows}


class Unit(Name):
    name = "unit"

    def offers(self, face: Face) -> dict[str, str]:
        from agentlab.core.units import KINDS

        known = {unit: "" for row in face.peek().get("locks", {}).values() for unit in row.get("units") or ()}
        return {f"{kind}:": "" for kind in sorted(KINDS)} | known


class Approval(Name):
    name = "id"

    def offers(self, face: Face) -> dict[str, str]:
        rows = face.peek().get("approvals", {}).values()
        return {row["approval"]: line(row["question"], 60) for row in rows if row["status"] == "asked"}
