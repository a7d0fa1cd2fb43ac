"""How an agent ended, as the plane is told: by its last turn, by an exception, or because it was stopped."""

from __future__ import annotations

import logging
import traceback

from agentlab.core.commands import Finish
from agentlab.errors import AgentlabError

from .drivers.base import Turn

log = logging.getLogger(__name__)


def by_turn(agent: str, turn: Turn, usage: dict[str, float]) -> Finish:
    return Finish(
        agent=agent, status=turn.status, output=turn.output, error=turn.error, reason=turn.reason,
        exit_code=turn.exit_code, last_lines=turn.last_lines, usage=usage,
        resets=None if turn.resets is None else int(turn.resets * 1e9),
    )  # fmt: skip


def by_error(agent: str, error: Exception, usage: dict[str, float]) -> Finish:
    if isinstance(error, AgentlabError):
        reason = str(error.data.get("reason") or error.code)
        last_lines = str(error.data.get("last_lines", ""))
        code = error.data.get("exit_code")
    else:
        log.error("the agent failed inside", exc_info=error)
        reason = "internal"
        last_lines = "".join(traceback.format_exception(error)[-5:])
        code = None
    return Finish(
        agent=agent, status="failed", error=str(error) or type(error).__name__, reason=reason, usage=usage,
        exit_code=code if isinstance(code, int) else None, last_lines=last_lines,
    )  # fmt: skip


def by_stop(agent: str, why: str, usage: dict[str, float]) -> Finish:
    return Finish(agent=agent, status="cancelled", reason="cancelled", error=why, usage=usage)
