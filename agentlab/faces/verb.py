"""What all verbs are made with: the table that they enter, the options that they share, what they read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentlab.client.rows import Tables
from agentlab.errors import BadRequest

from . import names

if TYPE_CHECKING:
    from agentlab.client import Lab

    from .table import Face

VERBS: list[click.Command] = []
"""In the order in which they are listed"""

F = TypeVar("F", bound=Callable[..., Any])


def verb(name: str) -> Callable[[F], click.Command]:
    """Enter a function in the table; the first line of its docstring is its help."""

    def enter(function: F) -> click.Command:
        command = click.command(name)(click.pass_obj(function))
        VERBS.append(command)
        return command

    return enter


run_option = click.option("--run", "run", type=names.Run(), help="Only what belongs to this run (name or id).")


def tables_of(lab: Lab, run: str | None) -> Tables:
    return lab._tables() if run is None else lab.run_named(run)._now()


def task_text(face: Face, words: tuple[str, ...], file: str | None) -> str | None:
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


def pairs(given: tuple[str, ...], option: str) -> dict[str, str]:
    found = {}
    for text in given:
        key, sep, value = text.partition("=")
        if not sep or not key:
            raise BadRequest(f"{option} wants KEY=VALUE, not {key!r}.")
        found[key] = value
    return found


def json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
