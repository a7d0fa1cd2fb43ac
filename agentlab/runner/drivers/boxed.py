"""The program of an agent that keeps its own tools, in the agent's sandbox, with what it starts.

It may write the workspace, a `/tmp` that it shares with the agent's commands, and what its recipe opens. Of agentlab's home it
reads what is its own: its folder, and the socket of its tools. Its network is what the settings say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from agentlab.errors import Unavailable
from agentlab.runner.mcp import proxy
from agentlab.runner.tools import confined
from agentlab.sandbox import Door, Opened, Sandbox

from .acp_setup import Setup
from .base import Context


def boxed(context: Context, sandbox: Sandbox, setup: Setup) -> Setup:
    """What to start instead. Raises Unavailable: it cannot have the network that the settings leave to it."""
    door = _door(context, setup)
    shown = (context.private / "mcp", *setup.reads, *((door.place.parent,) if door else ()))
    box = sandbox.placed(context.tools.scratch, setup.env).around(
        opened=[path.resolve() for path in setup.opens if path.exists()],
        shown=[path.resolve() for path in shown if path.exists()],
        seen=[Path(proxy.__file__).parent, *_named(setup)],
        door=door,
    )
    opened = (Opened(folder=context.root),)
    places = box.environment(context.root, opened, setup.env)
    return replace(setup, argv=box.argv(context.root, opened, setup.argv), env={**setup.env, **places, **setup.own})


def kept_out(sandbox: Sandbox, last_lines: str) -> str:
    """What to do where a program has ended because of its sandbox, by its last lines. "": that was not why."""
    if not confined.refused(sandbox, last_lines):
        return ""
    return (
        f"It runs in a sandbox ({sandbox.name}), and may write the workspace and its own folder for temporary files ($TMPDIR). "
        "What it has to write besides stands in config.toml: [sandbox] writable = [...]."
    )


def _door(context: Context, setup: Setup) -> Door | None:
    """How it reaches its model, where that is all that it may. Raises Unavailable."""
    said = f'[sandbox] network = "{context.network}" in config.toml'
    door = context.models.door() if context.models and context.network != "all" else None
    match context.network:
        case "model" if door is None:
            raise Unavailable(
                f"{said}, and nobody here knows where the model of {setup.title} is: that is so for a user's login, and without "
                'a record of models ([models] record). Hand it a key with --env, or say network = "all".'
            )
        case "none" if door is not None or setup.asks:
            raise Unavailable(
                f'{said} leaves {setup.title} without its model. Say network = "model": that alone is reached.'
            )
        case "model":
            return door
    return None


def _named(setup: Setup) -> Iterator[Path]:
    """What its command names: such a program would not be found where /tmp is the agent's own."""
    for word in setup.argv:
        path = Path(word)
        if path.is_absolute() and path.exists():
            yield path if path.is_dir() or path.parent.parent == Path("/") else path.parent
