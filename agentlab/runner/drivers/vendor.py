"""What drivers of vendors' programs are alike in: the turns of one session, with a program that has a tree of processes."""

from __future__ import annotations

from typing import Any

from .tree import Tree
from .turns import Turns


class Vendor:
    _turns: Turns[Any]
    _tree: Tree

    @property
    def session(self) -> str | None:
        return self._turns.session

    async def interrupt(self) -> None:
        await self._turns.interrupt()

    def processes(self) -> list[int]:
        return self._tree.processes()

    async def freeze(self) -> None:
        await self._tree.freeze()

    async def thaw(self) -> None:
        await self._tree.thaw()
