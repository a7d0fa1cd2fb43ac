"""Tab in `%agent ...`: commands, options, kinds, agents, runs, units, as the command table offers them."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, ShellComplete
from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from agentlab.errors import AgentlabError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .magics import AgentMagics

_MAGIC = re.compile(r"^\s*(?:\w+\s*=\s*)?%{1,2}agent\s+(?P<rest>.*)$")
_NAME = "agentlab_matcher"


def install(ipython: InteractiveShell, magics: AgentMagics) -> None:
    uninstall(ipython)
    ipython.Completer.custom_matchers.append(matcher(magics))


def uninstall(ipython: InteractiveShell) -> None:
    kept = [each for each in ipython.Completer.custom_matchers if getattr(each, "__name__", "") != _NAME]
    ipython.Completer.custom_matchers[:] = kept


def matcher(magics: AgentMagics) -> Any:
    @context_matcher(identifier="agentlab")  # type: ignore[untyped-decorator]
    def agentlab_matcher(context: CompletionContext) -> SimpleMatcherResult:
        found = _MAGIC.match(context.text_until_cursor)
        if found is None or (context.cursor_line and "%%" in context.line_with_cursor):
            return {"completions": [], "suppress": False}
        typed, incomplete = split(found["rest"])
        offers = [
            SimpleCompletion(text=item.value, type=item.help or item.type)
            for item in complete(magics, typed, incomplete)
        ]
        return {"completions": offers, "matched_fragment": incomplete, "suppress": True, "ordered": True}

    return agentlab_matcher


def split(rest: str) -> tuple[list[str], str]:
    """The complete words before the cursor, and the beginning of the one that it stands in."""
    incomplete = "" if not rest or rest[-1].isspace() else rest.split()[-1]
    before = rest[: len(rest) - len(incomplete)]
    try:
        return shlex.split(before), incomplete
    except ValueError:  # inside quotes: that is a text of the user's own
        return [], "\0"


def complete(magics: AgentMagics, typed: list[str], incomplete: str) -> list[CompletionItem]:
    table = magics.table
    if typed and typed[0] not in table.commands:
        return []
    shell = ShellComplete(table, {"obj": magics.face}, "%agent", "_AGENT_COMPLETE")
    try:
        items = shell.get_completions(typed, incomplete)
    except (click.ClickException, AgentlabError):
        return []
    return [item for item in items if item.type == "plain"]
