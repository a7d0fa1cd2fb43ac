"""What agents of a kind cannot be held to, or cannot do, for a reason that lies with their vendor's program. Pure."""

from __future__ import annotations

from typing import Final

from agentlab.errors import BadRequest

from .events import AgentSpec

NO_RESUME: Final = {
    "gemini": "Gemini CLI announces that it loads sessions, and then finds none of them. Spawn it without resume and with a "
    "task that says what was done, or keep it for follow-ups (keep, `send`)",
}
"""Kinds whose sessions cannot be gone on in by another process: why, and what to do instead."""

NO_COST: Final = frozenset({"codex", "gemini", "cli"})
"""Kinds that never tell what they cost."""

NO_TOKENS: Final = frozenset({"cli"})
"""Kinds that never tell how many tokens they use."""


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
