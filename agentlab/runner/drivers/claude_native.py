"""Claude Code with its own tools (`boundary="native"`): each call of them that acts waits for our word.

A hook of ours stands before every call, and a call that it fails on is blocked. Nothing else allows one either: there are no
rules and no settings, so what the hook has not allowed Claude asks for, and nobody is there to say yes. Looking is let through
and recorded. What a call wrote without holding it is put back when it has ended, as for all who keep their tools.

Needs the `claude` extra.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from claude_agent_sdk import AssistantMessage, ToolResultBlock, ToolUseBlock, UserMessage

from agentlab.core.events import JSON
from agentlab.errors import AgentlabError

from .acp_native import Native
from .acp_record import Recorder
from .acp_wire import Ask, Tool
from .base import Context
from .call_ids import CallIds

KINDS: Final[Mapping[str, str]] = {
    "Read": "read", "Glob": "search", "Grep": "search", "Write": "edit", "Edit": "edit", "NotebookEdit": "edit",
    "Bash": "execute", "TodoWrite": "think",
}  # fmt: skip
"""The tools that it keeps, as the protocol of agents calls their kinds. It is offered no others."""

_SHOWN = 1_000_000  # bytes of a file that a change is shown for


class OwnTools:
    """breach: told of a tool that has acted without asking. lost: of an act that goes on without the locks it stands on."""

    names = frozenset(KINDS)

    def __init__(self, context: Context, breach: Callable[[str], None], lost: Callable[[str], None]) -> None:
        self._root = context.root
        self._tools = context.tools
        self._record = Recorder(context.gate, CallIds(), native=True, breach=breach)
        self._acts = Native(context, self._record, lost)

    async def before(self, name: str, given: Mapping[str, Any], call: str) -> str:
        """Return when it may go ahead: "", or why it may not."""
        tool = Tool(call, name, KINDS[name], "pending", dict(given), paths=_paths(given))
        if tool.kind == "edit":
            tool = replace(tool, diffs=self._diffs(name, given))
        self._record.tool(tool)
        if await self._acts.permit(Ask(tool, {"allow_once": "allow", "reject_once": "deny"})) == "allow":
            return ""
        return self._acts.refusal(call) or "The turn was cancelled."

    def take(self, message: object) -> None:
        """What the stream tells of calls: that one was made, and how it ended."""
        content = message.content if isinstance(message, AssistantMessage | UserMessage) else None
        for block in content if isinstance(content, list) else ():
            match block:
                case ToolUseBlock(id=call, name=name, input=given) if name in KINDS:
                    self._record.tool(Tool(call, name, KINDS[name], "pending", given, paths=_paths(given)))
                case ToolResultBlock(tool_use_id=call, content=said, is_error=failed):
                    told = Tool(call, status="failed" if failed else "completed", text=_text(said))
                    if self._record.knows(call):
                        self._record.tool(told)
                    self._acts.completed(told)
                case _:
                    pass

    def cancel(self) -> None:
        """Nobody waits for permissions any more."""
        self._acts.cancel()

    async def settle(self) -> None:
        """No more of them comes, for now: all is looked at, recorded, and given back."""
        await self._acts.settle()
        self._record.end_turn(None, None, 0)

    def _diffs(self, name: str, given: Mapping[str, Any]) -> tuple[tuple[str, str | None, str], ...]:
        """What it would change, for whoever is asked. (): it cannot be shown; it is refused or not, all the same."""
        if name == "NotebookEdit" or not (paths := _paths(given)):
            return ()
        try:
            path = self._tools.workspace.locate(str(self._root / paths[0])).path
            old = _content(path)
        except (AgentlabError, OSError, UnicodeDecodeError):
            return ()
        if name == "Write":
            return ((paths[0], old, str(given.get("content", ""))),)
        before, after = str(given.get("old_string", "")), str(given.get("new_string", ""))
        if old is None or not before:
            return ((paths[0], old, after),)
        return ((paths[0], old, old.replace(before, after, -1 if given.get("replace_all") else 1)),)


def _content(path: Path) -> str | None:
    """None: there is none. Raises OSError, UnicodeDecodeError."""
    if not path.exists():
        return None
    if path.stat().st_size > _SHOWN:
        raise OSError(f"{path} is too large to be shown.")
    return path.read_text()


def _paths(given: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(given[name]) for name in ("file_path", "notebook_path", "path") if given.get(name))[:1]


def _text(said: JSON) -> str:
    if isinstance(said, list):
        return "\n".join(str(part.get("text", "")) for part in said if isinstance(part, dict))
    return str(said or "")
