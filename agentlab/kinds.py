"""The kinds of agents that can be driven here, and where their drivers are. Looked at by clients, planes and runners.

Further kinds come by the entry point group `agentlab.drivers`: name -> a class that keeps the promises of
`agentlab.runner.drivers.base.Driver`.
"""

from __future__ import annotations

from typing import Any, Final

from agentlab.errors import BadRequest

GROUP: Final = "agentlab.drivers"

DRIVERS: Final[dict[str, str]] = {
    "script": "agentlab.runner.drivers.script:ScriptDriver",
    "python": "agentlab.runner.drivers.python:PythonDriver",
    "claude": "agentlab.runner.drivers.claude:ClaudeDriver",
    "cli": "agentlab.runner.drivers.cli:CliDriver",
    "codex": "agentlab.runner.drivers.codex:CodexDriver",
    "gemini": "agentlab.runner.drivers.gemini:GeminiDriver",
    "opencode": "agentlab.runner.drivers.opencode:OpencodeDriver",
    "acp": "agentlab.runner.drivers.acp:AcpDriver",
}
"""kind -> module:class. Loaded when first used."""

PROGRAMS: Final = frozenset({"script", "python"})
"""Kinds that are no models: they may wait for a lock as long as it takes, and what they are given is no message."""


def kinds() -> list[str]:
    """All kinds that can be driven here."""
    from importlib.metadata import entry_points

    return sorted(DRIVERS.keys() | {entry.name for entry in entry_points(group=GROUP)})


def load(kind: str) -> type[Any]:
    """The driver of a kind. Raises BadRequest, naming the kinds there are."""
    from importlib import import_module
    from importlib.metadata import entry_points

    if kind in DRIVERS:
        module, _, name = DRIVERS[kind].partition(":")
        return getattr(import_module(module), name)  # type: ignore[no-any-return]
    for entry in entry_points(group=GROUP, name=kind):
        return entry.load()  # type: ignore[no-any-return]
    raise BadRequest(f"No driver for agents of kind {kind!r}. Known: {', '.join(kinds())}.")
