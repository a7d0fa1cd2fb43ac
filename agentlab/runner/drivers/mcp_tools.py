"""Our tools, offered to Claude as an MCP server in this very process: a call may wait for a lock as long as it takes.

Needs the `claude` extra.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from claude_agent_sdk import McpSdkServerConfig, SdkMcpTool, ToolAnnotations, create_sdk_mcp_server

from agentlab.errors import AgentlabError

from .answers import as_text
from .call_ids import CallIds

if TYPE_CHECKING:
    from agentlab.runner.tools import ToolHost, ToolSpec

    from .claude_native import OwnTools

SERVER = "lab"
PREFIX = f"mcp__{SERVER}__"

_RESULT_CHARS = 500_000
"""Up to here the CLI hands a result on whole. Beyond, it would put it in a file, which an agent without Read cannot open."""


class Boundary:
    """The second wall: our tools are allowed, all others denied, should the CLI ever offer more than it was told to; but
    those that it keeps (`own`) are asked about.

    deny: told the name of the tool and the vendor's id of the call.
    """

    def __init__(self, ids: CallIds, deny: Callable[[str, str], None], own: OwnTools | None = None) -> None:
        self._ids = ids
        self._deny = deny
        self._own = own

    async def before_tool(self, hook: Mapping[str, Any], call: str | None, context: object) -> dict[str, Any]:
        """A PreToolUse hook."""
        tool = str(hook["tool_name"])
        if tool.startswith(PREFIX):
            if call:
                self._ids.announce(tool.removeprefix(PREFIX), hook["tool_input"], call)
            return _decision("allow", "the tool host decides")
        if self._own and call and tool in self._own.names:
            why = await self._own.before(tool, hook["tool_input"], call)
            return _decision("deny", f"Refused: {why}") if why else _decision("allow", "it holds what it needs")
        self._deny(tool, call or "")
        return _decision(
            "deny",
            f"{tool} is switched off here. Use the tools of the server {SERVER} instead: {PREFIX}read, {PREFIX}write and "
            f"{PREFIX}edit for files, {PREFIX}run for programs.",
        )


def serve(tools: ToolHost, ids: CallIds) -> McpSdkServerConfig:
    """The server, with everything of the catalogue. Whatever goes wrong in a call is a text for the model."""
    return create_sdk_mcp_server(SERVER, tools=[_offer(spec, tools, ids) for spec in tools.catalogue()])


def _offer(spec: ToolSpec, tools: ToolHost, ids: CallIds) -> SdkMcpTool[Any]:
    async def handle(args: dict[str, Any]) -> dict[str, Any]:
        vendor = {"tool": PREFIX + spec.name}
        try:
            call_id = ids.take(spec.name, args)
            output = await tools.call(spec.name, args, call_id=call_id, vendor=vendor, paged=True)
        except AgentlabError as error:
            return _text(str(error), is_error=True)
        return _text(as_text(spec.name, output))

    hints = ToolAnnotations(
        readOnlyHint=spec.read_only, destructiveHint=spec.destructive, idempotentHint=spec.idempotent,
        openWorldHint=spec.open_world, maxResultSizeChars=_RESULT_CHARS,
    )  # fmt: skip
    return SdkMcpTool(spec.name, spec.description, spec.schema, handle, hints)


def _text(text: str, *, is_error: bool = False) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "is_error": is_error}


def _decision(decision: str, reason: str) -> dict[str, Any]:
    output = {"hookEventName": "PreToolUse", "permissionDecision": decision, "permissionDecisionReason": reason}
    return {"hookSpecificOutput": output}
