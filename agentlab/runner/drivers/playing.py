"""A turn that is played here, in a task of its own, and ended by cancelling that."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from agentlab.errors import BadRequest

from .base import Turn


class Playing:
    """One turn at a time."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Turn] | None = None

    async def play(self, turn: Coroutine[Any, Any, Turn]) -> Turn:
        """To its end; cancelled, when it was by `interrupt`. Cancelling this waits until it has ended. Raises BadRequest: there
        is one already."""
        if self._task is not None:
            turn.close()
            raise BadRequest("This agent is in the middle of a turn. Interrupt it, or wait for its end.")
        self._task = asyncio.ensure_future(turn)
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._task.cancelled():
                return Turn("cancelled", reason="cancelled")  # by `interrupt`: nobody cancelled us
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            raise
        finally:
            self._task = None

    def __bool__(self) -> bool:
        return self._task is not None

    def interrupt(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """No step of it runs afterwards."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
