"""Around what the agent's own program does by itself, where its boundary lets it: grants, the record, and a look afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agentlab.core.events import JSON, Mode, ToolCall, ToolResult
from agentlab.errors import AgentlabError, Refused

from .grants import Grants
from .ledger import Ledger, Scope
from .watch import Found, Watch


@dataclass
class Outcome:
    """How it ended: whoever does it says so before the end of the block. found: what it wrote, known afterwards."""

    status: str = "cancelled"  # as of a tool result: ok | denied | error | cancelled
    output: JSON = None
    error: str = ""
    found: Found | None = None


class Around:
    def __init__(self, ledger: Ledger, grants: Grants, watch: Watch) -> None:
        self._ledger = ledger
        self._grants = grants
        self._watch = watch

    @asynccontextmanager
    async def __call__(
        self,
        name: str,
        args: Mapping[str, JSON],
        units: Sequence[str],
        mode: Mode = Mode.EXCLUSIVE,
        *,
        call: str,
        vendor: JSON = None,
    ) -> AsyncIterator[Outcome]:
        """One act of the program, as a call of the tool `name`. Inside, `units` (canonical) are held, and the act may begin.

        Raises what a claim raises, before the block: then the act must not happen. What it wrote on other units than
        those that the agent holds is put back at the end of the block.
        """
        columns: dict[str, JSON] = {"name": name, "span": call}
        shown = await self._ledger.spill(dict(args))
        self._ledger.record(ToolCall(call=call, args=shown, vendor=vendor), **columns)
        outcome, begun = Outcome(), time.monotonic_ns()
        try:
            with self._ledger.within(Scope(actor=None, span=call)):
                async with self._grants.holding(units, mode):
                    await self._watch.begin()
                    try:
                        if mode is Mode.EXCLUSIVE:
                            for unit in units:
                                self._grants.token(unit)
                        yield outcome
                    finally:
                        outcome.found = await asyncio.shield(self._watch.settle())
        except AgentlabError as error:
            outcome.status, outcome.error = "denied" if isinstance(error, Refused) else "error", str(error)
            raise
        finally:
            violations = "" if outcome.found is None else outcome.found.violations
            body = ToolResult(
                call=call,
                output=await self._ledger.spill(outcome.output),
                error=" ".join(text for text in (outcome.error, violations) if text),
            )
            self._ledger.record(body, **columns, status=outcome.status, dur_ns=time.monotonic_ns() - begun)
