"""The process tree of a vendor's program: frozen, woken, and ended with everything that it started."""

from __future__ import annotations

import asyncio
import uuid

from agentlab import processes


class Tree:
    """Known by its root, and by a mark in the environment of all that the program starts, tool children of ours not
    among them. There is one before there is a program: then it is empty."""

    def __init__(self, variable: str) -> None:
        self.variable = variable
        self.mark = uuid.uuid4().hex
        processes.excuse(f"{variable}={self.mark}")
        self.root = ""  # identity of the program
        self._frozen = False

    @property
    def environment(self) -> dict[str, str]:
        return {self.variable: self.mark}

    def processes(self) -> list[int]:
        return [int(self.root.partition(":")[0])] if processes.alive(self.root) else []

    async def freeze(self) -> None:
        self._frozen = True
        await asyncio.to_thread(processes.freeze, self.processes())

    async def thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            await self.wake()

    async def wake(self) -> None:
        """For as long as it has something to do for us, until `rest`."""
        await asyncio.to_thread(processes.thaw, self.processes())

    async def rest(self) -> None:
        """Frozen again, unless it was thawed meanwhile."""
        if self._frozen:
            await self.freeze()

    async def kill(self, *, grace: float = 0) -> None:
        await processes.end(self.processes(), marker=f"{self.variable}={self.mark}", grace=grace)
