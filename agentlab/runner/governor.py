"""What an agent may use up, and when its silence means something: budgets, stalls, and what is tried again.

Pure: it is told what happens and when, and says what follows. Times are seconds of one clock that never goes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentlab.core.events import (
    AnyBody,
    Budget,
    Error,
    Message,
    ModelCall,
    ModelExchange,
    ProcOutput,
    ToolCall,
    ToolResult,
)

RETRY_AFTER = (5.0, 20.0, 60.0)  # s before the 1st, 2nd and every later try
RETRIED = frozenset({"network", "server", "timeout"})
"""Failures that may be gone in a while, with nothing changed."""
LIMITED = frozenset({"rate_limit", "quota"})
"""Failures that end by themselves at a known time: waited out only where that was asked for."""
REFUSALS = 4
"""So often in a row a model may refuse a program for a limit, which then tries by itself, perhaps for minutes."""
UNKNOWN_RESET = 60.0  # s to wait where a vendor does not say when its limit resets


@dataclass(frozen=True)
class Silence:
    """s without a sign of life until it is said, and until it is ended; longer while a tool runs."""

    said: float = 300.0
    ended: float = 1800.0
    said_in_tool: float = 1800.0
    ended_in_tool: float = 7200.0


@dataclass(frozen=True)
class Verdict:
    """Why an agent is ended: a class that programs can branch on, and a text for people."""

    reason: str
    text: str


@dataclass
class Governor:
    """Watches one agent. `see` it act, `begin` and `end` its prompts, `pause` and `go_on`; then ask `verdict` and `stalled`."""

    budget: Budget
    silence: Silence = field(default_factory=Silence)
    wait_limits: bool = False  # a vendor's limit is waited out, by its program too
    tokens: int = 0
    cost: float = 0.0
    calls: int = 0  # of tools, since the prompt began
    said: int = 0  # texts, since the prompt began
    refused: int = 0  # times in a row, by its model for a limit
    _worked: float = 0.0  # s, of prompts that have ended or were paused
    _since: float | None = None  # when the prompt began, or went on
    _sign: float = 0.0  # when it was last heard of
    _before: tuple[int, float] = (0, 0.0)  # tokens and cost when the prompt began
    _warned: set[str] = field(default_factory=set)
    _open: set[str] = field(default_factory=set)  # tool calls that have not returned
    _trying: str = ""  # what it said when it tried again to reach its model, the last thing that was heard of it

    # --- what happens ------------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        self.calls, self.said, self._since, self._sign = 0, 0, now, now
        self._before = (self.tokens, self.cost)
        self._open.clear()
        self._trying = ""

    def end(self, now: float) -> None:
        self.pause(now)
        self.refused = 0
        self._open.clear()

    def pause(self, now: float) -> None:
        if self._since is not None:
            self._worked += now - self._since
            self._since = None

    def go_on(self, now: float) -> None:
        self._since = self._sign = now

    def go_on_waiting(self, now: float) -> None:
        """It is quiet because a person is asked: that is no silence."""
        self._sign = now

    def see(self, body: AnyBody, columns: dict[str, Any], now: float) -> None:
        """Something of it was recorded. That it tries to reach its model again, and again, is no sign of life."""
        if isinstance(body, ModelExchange):
            self.refused = self.refused + 1 if body.code == 429 else 0
            if not 200 <= body.code < 300:
                return
        self._trying = body.message if isinstance(body, Error) and body.kind == "api_retry" else ""
        if self._trying:
            return
        self._sign = now
        match body:
            case ModelCall():
                self.tokens += sum(int(columns.get(name) or 0) for name in ("tok_in", "tok_out"))
                self.cost += float(columns.get("cost") or 0.0)
            case Message(role="assistant"):
                self.said += 1
            case ToolCall():
                self.calls += 1
                self._open.add(body.call)
            case ToolResult():
                self._open.discard(body.call)
            case ProcOutput():
                pass  # a sign of life, and no more

    def settle(self, usage: Mapping[str, float]) -> None:
        """What a turn has used by its own account at its end, where that is more than was told call by call. Before `end`."""
        tokens, cost = self._before
        self.tokens = max(self.tokens, tokens + int(usage.get("in", 0) + usage.get("out", 0)))
        self.cost = max(self.cost, cost + usage.get("cost", 0.0))

    def untold(self) -> list[str]:
        """The limits that a turn has told nothing of: they cannot end it. Each is named once."""
        limits = {
            "max_tokens": self.budget.tokens is not None and not self.tokens,
            "max_cost": self.budget.cost is not None and not self.cost,
        }
        found = [limit for limit, unknown in limits.items() if unknown and limit not in self._warned]
        self._warned.update(found)
        return found

    # --- what follows ------------------------------------------------------------------------------------------

    def verdict(self, now: float) -> Verdict | None:
        """Why it must end now, if it must."""
        budget = self.budget
        if budget.tokens is not None and self.tokens >= budget.tokens:
            return Verdict("budget", f"It has used {self.tokens:,} of {budget.tokens:,} tokens (--max-tokens).")
        if budget.cost is not None and self.cost >= budget.cost:
            return Verdict("budget", f"It has cost ${self.cost:.4f} of ${budget.cost:.4f} (--max-cost).")
        if budget.time is not None and (worked := self.worked(now)) >= budget.time:
            return Verdict("budget", f"It has worked for {worked:.0f} of {budget.time:g} s (--max-time).")
        if self.refused >= REFUSALS and not self.wait_limits:
            said = f"Its model refused it {self.refused} times in a row for a limit (HTTP 429)."
            return Verdict("rate_limit", f"{said} Try again later, or spawn it with --wait-limits.")
        if self._since is not None and self.silent(now) >= self._limit(self.silence.ended, self.silence.ended_in_tool):
            return Verdict("idle", f"Nothing was heard of it for {self.silent(now):.0f} s{self._where()}.")
        return None

    def stalled(self, now: float) -> str:
        """What is to be said of its silence; "" where it is none."""
        if self._since is None or self.silent(now) < self._limit(self.silence.said, self.silence.said_in_tool):
            return ""
        return f"stalled: nothing heard{self._where()}"

    def worked(self, now: float) -> float:
        """s that it has been at work, pauses left out."""
        return self._worked + (now - self._since if self._since is not None else 0.0)

    def silent(self, now: float) -> float:
        return now - self._sign

    def next(self, now: float) -> float:
        """s until something could follow from time alone. Never less than a little."""
        dues = []
        if self._since is not None:
            said = self._limit(self.silence.said, self.silence.said_in_tool)
            ended = self._limit(self.silence.ended, self.silence.ended_in_tool)
            dues += [limit - self.silent(now) for limit in (said, ended) if limit > self.silent(now)]
            if self.budget.time is not None:
                dues.append(self.budget.time - self.worked(now))
        return max(0.05, min(dues, default=60.0))

    def _limit(self, without: float, within: float) -> float:
        return within if self._open else without

    def _where(self) -> str:
        trying = f" but that it tries again: {self._trying}" if self._trying else ""
        return f"{' while a tool runs' if self._open else ''}{trying}"


def retry_after(reason: str, attempt: int, retries: int, calls: int) -> float | None:
    """s until a failed prompt is tried again; None: it is not. attempt: of how many tries this was the last, from 1.

    Only what may be gone in a while, and only where no tool had run: what was done is not done twice.
    """
    if reason not in RETRIED or attempt > retries or calls:
        return None
    return RETRY_AFTER[min(attempt, len(RETRY_AFTER)) - 1]
