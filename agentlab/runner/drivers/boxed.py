"""The program of an agent that keeps its own tools, in the agent's sandbox, with what it starts.

It may write the workspace, a `/tmp` that it shares with the agent's commands, and what its recipe opens. Of agentlab's home it
reads what is its own: its folder, and the socket of its tools. Its network is what the settings say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from agentlab.errors import Unavailable
from agentlab.runner.mcp import proxy
from agentlab.runner.tools import confined
from agentlab.sandbox import Door, Needs, Opened, Sandbox

from .base import Context
from .start import Start

S = TypeVar("S", bound=Start)


def boxed(context: Context, sandbox: Sandbox, start: S) -> S:
    """What to start instead. Raises Unavailable: it cannot have the network that the settings leave to it."""
    door = _door(context, start)
    shown = (context.private / "mcp", *start.reads, *((door.place.parent,) if door else ()))
    needs = Needs(
        opened=tuple(path.resolve() for path in start.opens if path.exists()),
        shown=tuple(path.resolve() for path in shown if path.exists()),
        seen=(Path(proxy.__file__).parent, *_named(start)),
        door=door,
    )
    box = sandbox.placed(context.tools.scratch, start.env).around(needs)
    opened = (Opened(folder=context.root),)
    places = box.environment(context.root, opened, start.env)
    return replace(start, argv=box.argv(context.root, opened, start.argv), env={**start.env, **places, **start.own})


def kept_out(sandbox: Sandbox, last_lines: str) -> str:
    """What to do where a program has ended because of its sandbox, by its last lines. "": that was not why."""
    if not confined.refused(sandbox, last_lines):
        return ""
    return (
        f"It runs in a sandbox ({sandbox.name}), and may write the workspace and its own folder for temporary files ($TMPDIR). "
        "What it has to write besides stands in config.toml: [sandbox] writable = [...]."
    )


def _door(context: Context, start: Start) -> Door | None:
    """How it reaches its model, where that is all that it may. Raises Unavailable."""
    said = f'[sandbox] network = "{context.network}" in config.toml'
    door = context.models.door() if context.models and context.network != "all" else None
    match context.network:
        case "model" if door is None:
            raise Unavailable(
                f"{said}, and nobody here knows where the model of {start.title} is: that is so for a user's login, and without "
                'a record of models ([models] record). Hand it a key with --env, or say network = "all".'
            )
        case "none" if door is not None or start.asks:
            raise Unavailable(
                f'{said} leaves {start.title} without its model. Say network = "model": that alone is reached.'
            )
        case "model":
            return door
    return None


def _named(start: Start) -> Iterator[Path]:
    """What its command names: such a program would not be found where /tmp is the agent's own."""
    for word in start.argv:
        path = Path(word)
        if path.is_absolute() and path.exists():
            yield path if path.is_dir() or path.parent.parent == Path("/") else path.parent
