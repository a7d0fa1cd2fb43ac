"""What the server says of itself and of its tools. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agentlab.__about__ import __version__

from .wire import VERSIONS, Message

if TYPE_CHECKING:
    from agentlab.runner.tools import ToolSpec

SERVER: Final = "lab"
"""Its name in the configuration of every agent: `mcp__lab__read`, `mcp_lab_read` or `lab_read` is our `read`."""

INSTRUCTIONS: Final = """\
You work in a workspace that other agents change at the same time. Its files and programs are reached by the tools of \
the server `lab` only (read, edit, write, run, ...); name paths relative to the workspace.

- Work that spans several files or steps: claim all its units first, in one call (units such as file:src/a.py, dir:src \
or proc:test), and release them when done. A single edit or run takes what it needs by itself.
- Held by another agent? Wait by calling again (your place in the queue is kept), or do something else meanwhile. Never \
work around a lock.
- Tell run in `writes` what its command will change; everything else is read-only for it.
- A write that is refused as stale was made from an old version: read the file again and redo the change on what it \
says now."""


@dataclass(frozen=True)
class Address:
    """Where the tools are served by HTTP, and what a client sends to be let in."""

    url: str
    token: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def welcome(asked: object, instructions: str = INSTRUCTIONS) -> Message:
    """The result of `initialize`. A version that is not ours is answered with our newest, as MCP wants it."""
    return {
        "protocolVersion": asked if asked in VERSIONS else VERSIONS[-1],
        "capabilities": {"tools": {"listChanged": False}},
        "serverInfo": {"name": SERVER, "title": "agentlab", "version": __version__},
        "instructions": instructions,
    }


def listing(specs: Iterable[ToolSpec]) -> Message:
    """The result of `tools/list`: all of them at once."""
    return {"tools": [_tool(spec) for spec in specs]}


def _tool(spec: ToolSpec) -> Message:
    hints = {
        "readOnlyHint": spec.read_only,
        "destructiveHint": spec.destructive,
        "idempotentHint": spec.idempotent,
        "openWorldHint": spec.open_world,
    }
    return {
        "name": spec.name,
        "description": spec.description,
        "inputSchema": {"type": "object", "properties": {}} | dict(spec.schema),
        "annotations": hints,
    }
