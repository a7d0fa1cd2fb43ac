"""A script agent: the steps that it was given, one after the other. Deterministic, and free of any model."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from agentlab import processes
from agentlab.core.events import JSON
from agentlab.errors import AgentlabError, BadRequest

from . import steps
from .base import Context, Turn
from .playing import Playing


class ScriptDriver:
    boundaries: ClassVar[frozenset[str]] = frozenset({"tools"})

    def __init__(self, context: Context) -> None:
        self._context = context
        self._going = asyncio.Event()
        self._going.set()
        self._playing = Playing()

    async def start(self) -> None:
        if self._context.spec.task is not None:
            steps.parse(self._context.spec.task)

    async def prompt(self, task: JSON) -> Turn:
        """Runs the steps; the output is the last `say`, or else the list of results. The first error ends it."""
        try:
            script = steps.parse(task)
        except BadRequest as error:
            return Turn("failed", error=str(error), reason="bad_request")
        return await self._playing.play(self._play(script))

    async def interrupt(self) -> None:
        self._playing.interrupt()

    async def freeze(self) -> None:
        self._going.clear()
        await asyncio.to_thread(processes.freeze, self.processes())

    async def thaw(self) -> None:
        await asyncio.to_thread(processes.thaw, self.processes())
        self._going.set()

    async def close(self, *, now: bool = False) -> None:
        if self._playing:
            await asyncio.to_thread(processes.thaw, self.processes())
        await self._playing.close()

    def processes(self) -> list[int]:
        return self._context.tools.children()

    async def _play(self, script: list[steps.Step]) -> Turn:
        results: list[JSON] = []
        said: str | None = None
        for step in script:
            await self._going.wait()
            try:
                match step.verb:
                    case steps.SLEEP:
                        await asyncio.sleep(step.args["seconds"])
                    case steps.FAIL:
                        return Turn("failed", output=results, error=step.args["reason"], reason="fail")
                    case _:
                        results.append(await self._context.tools.call(step.verb, step.args))
            except AgentlabError as error:
                text = f"Step {step.number} ({step.verb}): {error}"
                return Turn("failed", output=results, error=text, reason=error.code, last_lines=text)
            if step.verb == "say":
                said = step.args["text"]
        return Turn("done", output=results if said is None else said)
