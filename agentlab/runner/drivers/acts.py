"""What an agent does with its own tools, where it keeps them: one act from its asking to its last word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from agentlab.core.events import Guard
from agentlab.runner.gate import Gate

WHOLE = "dir:."
"""What a command may change is not known beforehand: it holds the workspace, beside its process units."""

_HELD = 1.0  # s between looks whether an act still holds what it stands on

T = TypeVar("T")


@dataclass(kw_only=True)
class Act(Generic[T]):
    """ended: its last word; None: the turn, or the program, has ended first. accepted: it was told to go ahead."""

    ended: asyncio.Future[T | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    accepted: bool = False
    task: asyncio.Task[None] | None = None


async def settle(acts: dict[str, Any], tasks: Collection[asyncio.Task[None]]) -> None:
    """No more comes, for now: wait until all that was done was looked at, and its locks are given back."""
    for act in acts.values():
        if act.task is not None and not act.accepted:
            act.task.cancel()
        elif not act.ended.done():
            act.ended.set_result(None)
    acts.clear()
    await asyncio.gather(*tasks, return_exceptions=True)


async def guard(gate: Gate, units: Collection[str], what: str, lost: Callable[[str], None]) -> None:
    """Say so when something that an act stands on is taken from it while it goes on."""
    tickets = {granted.ticket for unit in units if (granted := gate.held(unit)) is not None}
    while all(gate.keeps(ticket) for ticket in tickets):  # noqa: ASYNC110 - a lease ends without a word
        await asyncio.sleep(_HELD)
    said = (
        f"{what!r} was cancelled: what it held ({', '.join(units)}) was taken from it, or its lease ran out, while it "
        "went on. What it wrote is put back."
    )
    gate.record(Guard(rule="lost-grant", detail=said), status="cancelled")
    lost(said)
