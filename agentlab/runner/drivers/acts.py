"""What an agent does with its own tools, where it keeps them: one act from its asking to its last word."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

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
