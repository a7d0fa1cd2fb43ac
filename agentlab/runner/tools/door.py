"""The one door between an agent and its workspace. Every call is checked, recorded, done, recorded."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agentlab.core.events import JSON, AgentSpec, ToolCall, ToolResult
from agentlab.errors import AgentTimeout, Forbidden, Refused
from agentlab.paths import explained

from . import catalogue
from .ledger import Ledger, Scope
from .page import Page
from .permit import Permit
from .results import Ran, to_json

Tool = Callable[[Any], Awaitable[Any]]
"""What does a call, from its checked arguments."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a call comes from. call: its id there. actor: the subagent that calls, where it is one. vendor: what the agent's
    program called it."""

    call: str | None = None
    actor: str | None = None
    span: str | None = None
    parent: str | None = None
    vendor: JSON = None


OURS = Origin()


class Door:
    """paged: what does a call for a model, where that is something else. preview: the difference that a call would make."""

    def __init__(
        self,
        spec: AgentSpec,
        ledger: Ledger,
        permit: Permit,
        tools: Mapping[str, Tool],
        paged: Mapping[str, Tool],
        preview: Callable[[Any], Awaitable[str]],
    ) -> None:
        self._spec = spec
        self._ledger = ledger
        self._permit = permit
        self._tools = tools
        self._paged = paged
        self._preview = preview

    def lets(self, name: str) -> bool:
        """Whether this agent may use this tool."""
        return self._spec.tools is None or name in self._spec.tools

    async def call(self, name: str, args: Mapping[str, JSON], origin: Origin = OURS, *, paged: bool = False) -> Any:
        """Raises what the tool raises; every call is recorded with how it ended, also one that makes no sense."""
        call = origin.call or secrets.token_hex(8)
        span = origin.span or call
        columns: dict[str, JSON] = {"name": name, "actor": origin.actor, "span": span, "parent": origin.parent}
        shown = await self._ledger.spill(dict(args))
        self._ledger.record(ToolCall(call=call, args=shown, vendor=origin.vendor), **columns)
        begun = time.monotonic_ns()
        status, output, error = "ok", None, ""
        try:
            with self._ledger.within(Scope(actor=origin.actor, span=span)):
                result = await self._do(name, args, paged)
            output = await self._ledger.spill(result.text if isinstance(result, Page) else to_json(result))
            if isinstance(result, Ran) and result.timed_out:
                status = "timeout"
        except asyncio.CancelledError:
            status, error = "cancelled", "cancelled"
            raise
        except Exception as failure:
            status, error = _status(failure), str(failure)
            raise
        else:
            return result
        finally:
            self._ledger.record(
                ToolResult(call=call, output=output, error=error),
                **columns,
                status=status,
                dur_ns=time.monotonic_ns() - begun,
            )

    async def _do(self, name: str, args: Mapping[str, JSON], paged: bool) -> Any:
        if not self.lets(name):
            raise Forbidden(f"The tool {name!r} is not among those of this agent: {', '.join(self._spec.tools or ())}.")
        checked = catalogue.check(name, args)
        await self._permit.check(name, args, lambda: self._preview(checked))
        tool = self._paged.get(name) if paged else None
        with explained(str(args.get("path", name))):
            return await (tool or self._tools[name])(checked)


def _status(error: Exception) -> str:
    match error:
        case AgentTimeout() | TimeoutError():
            return "timeout"
        case Refused():
            return "denied"
        case _:
            return "error"
