"""Open questions of agents, as people are shown them: pure functions over rows of `approvals`."""

from __future__ import annotations

import json

from agentlab.core import policy
from agentlab.errors import BadRequest, NotFound

from .rows import Row, Tables, short
from .text import line, visible

SHOWN = 2000  # characters of a call's arguments


def open_of(tables: Tables, agent: str) -> list[Row]:
    """What an agent (run/agent) has asked and nobody has answered, the oldest first."""
    rows = tables.get("approvals", {}).values()
    return sorted((r for r in rows if r["agent"] == agent and r["status"] == "asked"), key=lambda row: row["asked"])


def the_one(rows: list[Row], approval: str | None, name: str) -> Row:
    """The question that is meant. Raises NotFound: there is none; BadRequest: several, and it is not said which."""
    meant = [row for row in rows if approval in (None, row["approval"])]
    if not meant:
        which = f"no open question {approval!r}" if approval else "no open question"
        raise NotFound(f"{name} has {which}: lab.approvals() shows all, and who answered them.", approval=approval)
    if len(meant) > 1:
        listed = "; ".join(f"{row['approval']}: {line(row['question'], 80)}" for row in meant)
        raise BadRequest(f"{name} has {len(meant)} open questions; say which one with approval=. {listed}")
    return meant[0]


def about(row: Row) -> str:
    """`Bash · file:a.txt · file:a.txt is held by b · high risk: deletes files`: what it is about, and why to look."""
    parts = [row.get("tool") or "", ", ".join(row.get("units") or ()), locks_text(row)]
    if row["kind"] == "permission":
        parts.append(": ".join(filter(None, [f"{row.get('risk') or 'low'} risk", ", ".join(row.get("risks") or ())])))
    return " \u00b7 ".join(line(part, 200) for part in parts if part)


def locks_text(row: Row) -> str:
    """`proc:push is held by b, c waits for it`: how its units stood when it was asked. '': all were free, or it names none."""
    standing: dict[str, list[str]] = {}
    for lock in row.get("locks") or ():
        who = short(lock["owner"])
        said = (
            f"{who} waits for it" if lock.get("waits") else f"is {'shared' if lock['mode'] == 'S' else 'held'} by {who}"
        )
        standing.setdefault(lock["unit"], []).append(said)
    return "; ".join(f"{line(unit, 200)} {', '.join(said)}" for unit, said in standing.items())


def call_text(row: Row) -> str:
    """The arguments that are to be allowed, visible; where they are cut, that is said."""
    given = row.get("input")
    if given is None:
        return ""
    whole = visible(json.dumps(given, indent=1, ensure_ascii=False))
    if len(whole) <= SHOWN:
        return whole
    return f"{whole[:SHOWN]}\n[... {len(whole) - SHOWN} characters more: look at all of them in lab.approvals() ...]"


def can_be_remembered(row: Row) -> bool:
    """Whether it can be told what the same call again would be."""
    if row["kind"] != "permission" or not row.get("tool"):
        return False
    return policy.remembered("approved", row["tool"], tuple(row.get("units") or ()), row.get("input")) is not None


def how_to_answer(row: Row) -> str:
    """The commands, in a cell; in a shell they begin with `agentlab`."""
    id = row["approval"]
    if row["kind"] == "question":
        return f"%agent answer {id} TEXT"
    scopes = " [--session | --always]" if can_be_remembered(row) else ""
    return f"%agent approve {id}{scopes} or %agent deny {id} --reason TEXT"
