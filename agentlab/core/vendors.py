"""What agents of a kind cannot be held to, or cannot do, for a reason that lies with their vendor's program. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from agentlab.errors import BadRequest

from .events import JSON, AgentSpec

NO_RESUME: Final = {
    "script": "it has none. Spawn it with the steps that are left",
    "python": "it has none. Spawn it with the code that is left",
    "cli": "nobody knows the sessions of a program in a terminal. Name its own option for that in its command",
}
"""Kinds whose sessions cannot be gone on in by another process: why, and what to do instead."""

NO_COST: Final = frozenset({"codex", "gemini", "cli", "script", "python"})
"""Kinds that never tell what they cost."""

NO_TOKENS: Final = frozenset({"cli", "script", "python"})
"""Kinds that never tell how many tokens they use."""

BOUNDARIES: Final[Mapping[str, frozenset[str]]] = {
    "script": frozenset({"tools"}),
    "python": frozenset({"tools"}),
    "claude": frozenset({"tools", "native"}),
    "codex": frozenset({"tools", "native"}),
    "gemini": frozenset({"tools", "native"}),
    "opencode": frozenset({"tools", "native"}),
    "acp": frozenset({"tools", "native"}),
    "cli": frozenset({"native"}),
}
"""What the drivers that come with agentlab can hold. Of another's kind only its runner knows, and refuses there."""


def check(spec: AgentSpec) -> None:
    """Raises BadRequest: something was asked for that would silently not be so."""
    if spec.resume and spec.kind in NO_RESUME:
        raise BadRequest(f"A {spec.kind} agent cannot resume a session: {NO_RESUME[spec.kind]}.")
    if spec.budget.cost is not None and spec.kind in NO_COST:
        instead = "max_time" if spec.kind in NO_TOKENS else "max_tokens or max_time"
        raise BadRequest(
            f"A {spec.kind} agent never tells what it costs: max_cost would not end it. Use {instead} instead."
        )
    if spec.budget.tokens is not None and spec.kind in NO_TOKENS:
        raise BadRequest(
            f"A {spec.kind} agent never tells how many tokens it uses: max_tokens would not end it. Use max_time instead."
        )
    if spec.kind in BOUNDARIES:
        check_boundary(spec.kind, spec.boundary, BOUNDARIES[spec.kind], spec.options)


def check_boundary(kind: str, boundary: str, has: Iterable[str], options: Mapping[str, JSON]) -> None:
    """Raises BadRequest: an agent of this kind, with these options, cannot be held to that boundary."""
    if boundary not in (there := sorted(has, reverse=True)):
        weaker = " (weaker: its own tools stay)" if there[0] == "native" else ""
        raise BadRequest(
            f"A {kind} agent cannot have boundary={boundary!r}; it has {' or '.join(there)}. Say boundary={there[0]!r}, "
            f"--boundary {there[0]}{weaker}."
        )
    if kind == "acp" and boundary == "tools" and options.get("builtins_off") is None:
        raise BadRequest(
            "boundary='tools' cannot be kept for this agent: nobody has said how its own file and shell tools are "
            "switched off. Say boundary='native', --boundary native (its tools stay, and it asks before it uses them: "
            "weaker, for agentlab has only its word), or name the arguments that switch them off in `builtins_off` of its profile."
        )
