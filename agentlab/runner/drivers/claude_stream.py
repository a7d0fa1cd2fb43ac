"""From what Claude Code says to events of the log. Needs the `claude` extra.

Calls of our tools are not recorded here: the tool host does that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from claude_agent_sdk import (
    AssistantMessage,
    RateLimitEvent,
    StreamEvent,
    SystemMessage,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)

from agentlab.core.events import Error, Guard, Message, ModelCall
from agentlab.runner.gate import Gate

from .claude_usage import Meter, ModelAnswer
from .mcp_tools import PREFIX

if TYPE_CHECKING:
    from .claude_native import OwnTools

_SYNTHETIC = "<synthetic>"  # texts that the CLI puts into the model's mouth: not answers of a model


class Recorder:
    """Takes each message of the stream, in order, and records what it means. own: the tools that it keeps, where it may."""

    def __init__(self, gate: Gate, own: OwnTools | None = None) -> None:
        self._gate = gate
        self._own = own
        self._denied: set[str] = set()
        self._answered: set[str] = set()
        self.meter = Meter()
        self.resets: float | None = None  # s since the epoch: when the limit that was run into resets

    def take(self, message: object) -> None:
        if self._own:
            self._own.take(message)
        match message:
            case StreamEvent():
                self._stream(message.event)
            case AssistantMessage():
                self._assistant(message)
            case SystemMessage(subtype="api_retry"):
                self._retry(message.data)
            case SystemMessage(subtype="compact_boundary"):
                self._gate.record(Message(role="system", text="The conversation was compacted."))
            case RateLimitEvent():
                self._rate_limit(message.rate_limit_info)
            case _:
                pass  # echoes of tool results, states of the CLI: nothing that happened

    def end_turn(self) -> None:
        """No more of this turn comes: what is still open has ended."""
        self._model_call(self.meter.close())

    def deny(self, tool: str, call: str) -> None:
        """The model called a tool that is not ours. Recorded once, whoever notices first: the CLI, or our hook."""
        if call not in self._denied:
            self._denied.add(call)
            detail = f"{tool} is not offered: files and processes are reached by {PREFIX}* only."
            self._gate.record(Guard(rule="boundary", detail=detail), name=tool, status="denied")

    def _stream(self, event: dict[str, Any]) -> None:
        match event.get("type"):
            case "message_start":
                start = event["message"]
                self._see(start["id"], start.get("usage"), model=start.get("model", ""))
            case "message_delta" if self.meter.current:
                stop = event.get("delta", {}).get("stop_reason") or ""
                self._see(self.meter.current, event.get("usage"), stop=stop)
            case "message_stop":
                self._model_call(self.meter.close())

    def _assistant(self, message: AssistantMessage) -> None:
        if message.error:
            text = " ".join(block.text for block in message.content if isinstance(block, TextBlock))
            self._gate.record(Message(role="system", text=text))  # the CLI's words; the turn will fail with them
            return
        if message.message_id and message.model != _SYNTHETIC and message.message_id not in self._answered:
            self._see(message.message_id, message.usage, model=message.model)
        for block in message.content:
            match block:
                case TextBlock() if block.text:
                    self._gate.record(Message(role="assistant", text=block.text))
                case ThinkingBlock() if block.thinking:
                    self._gate.record(Message(role="thinking", text=block.thinking))
                case ToolUseBlock() if not (
                    block.name.startswith(PREFIX) or (self._own and block.name in self._own.names)
                ):
                    self.deny(block.name, block.id)

    def _see(self, id: str, usage: dict[str, Any] | None, *, model: str = "", stop: str = "") -> None:
        self._model_call(self.meter.see(id, usage, now=time.monotonic_ns(), model=model, stop=stop))

    def _model_call(self, answer: ModelAnswer | None) -> None:
        if answer is None:
            return
        self._answered.add(answer.id)
        self._gate.record(
            ModelCall(provider="anthropic", response_id=answer.id, stop=answer.stop),
            name=answer.model,
            status="ok",
            dur_ns=time.monotonic_ns() - answer.began,
            tok_in=answer.tokens.inp,
            tok_out=answer.tokens.out,
            tok_cache=answer.tokens.cached,
        )

    def _retry(self, data: dict[str, Any]) -> None:
        status = data.get("error_status")
        text = (
            f"attempt {data.get('attempt')} of {data.get('max_retries')} failed"
            f"{f' with HTTP {status}' if status else ''} ({data.get('error')});"
            f" again in {float(data.get('retry_delay_ms') or 0) / 1000:.1f} s"
        )
        self._gate.record(Error(kind="api_retry", message=text), status="retry")

    def _rate_limit(self, info: Any) -> None:
        detail = f"{info.rate_limit_type or 'rate limit'}: {info.status}"
        if info.utilization is not None:
            detail += f", {info.utilization:.0%} used"
        if info.resets_at:
            detail += f", resets at {time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime(info.resets_at))}"
        if info.status == "rejected":
            self.resets = float(info.resets_at) if info.resets_at else None
            self._gate.record(Error(kind="rate_limit", message=detail), status="error")
        elif info.status == "allowed_warning":
            self._gate.record(Guard(rule="rate_limit", detail=detail), status="warned")
