"""Claude Code, driven through claude-agent-sdk: its own tools off, ours offered in process."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from agentlab import processes
from agentlab.core.events import JSON, Error
from agentlab.errors import AgentFailed, BadRequest, Unavailable

from . import claude_setup as setup
from .base import Context, Turn
from .claude_usage import Tokens, session_tokens, tokens, turn_cost
from .failures import Failure, classify, of_death

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ResultMessage

_MARK = "AGENTLAB_CLAUDE"
"""A variable of the CLI's environment, by which we know it among our children: the SDK does not tell its pid."""

_MESSAGE_BYTES = 64 * 1024 * 1024  # one message of the CLI may hold a whole file
_INTERRUPT_AGAIN = 1.0  # s; an interrupt that comes before the CLI has begun the turn is lost
_INTERRUPT_LIMIT = 15.0  # s until a CLI that does not react is killed
_AUTH_ATTEMPTS = 2  # a refused key does not get better, yet the CLI would try for minutes


@dataclass
class _Prompt:
    """The turn that is under way. `ended` holds None when the CLI went without closing it."""

    ended: asyncio.Future[ResultMessage | None]
    interrupted: bool = False
    verdict: tuple[str, Failure] | None = None  # our own reason to end it: what was said, what it means


class ClaudeDriver:
    """One process of Claude Code and one session of it. Options: see `claude_setup.Options`."""

    boundaries: ClassVar[frozenset[str]] = frozenset({"tools"})

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client: ClaudeSDKClient | None = None
        self._listener: asyncio.Task[None] | None = None
        self._stopper: asyncio.Task[None] | None = None
        self._prompt: _Prompt | None = None
        self._gone: Turn | None = None  # how a turn ends now that the CLI is not there any more
        self._last_lines: deque[str] = deque(maxlen=50)
        self._mark = uuid.uuid4().hex
        self._process = ""  # identity of the CLI
        self._frozen = False
        self._session = context.spec.resume
        self._spent = None if context.spec.resume else 0.0  # USD of the session so far, where known

    @staticmethod
    def preload() -> None:
        """What takes long to import."""
        sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
        from . import claude_stream, mcp_tools  # noqa: F401

    # --- life ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        context, spec = self._context, self._context.spec
        if spec.task is not None:
            _text(spec.task)
        options = setup.options(spec.options)
        setup.check_env(spec.env)
        try:
            self.preload()
            import claude_agent_sdk as sdk
        except ImportError:
            raise Unavailable(
                "Claude agents need the extra `claude`: pip install 'agentlab[claude]'.", reason="missing"
            ) from None
        from .claude_stream import Recorder

        own = {processes.AGENT_VARIABLE: context.agent, _MARK: self._mark}
        env = setup.recorded(setup.environment(context.env, os.environ) | own, context.models)
        bundled = Path(sdk.__file__).parent / "_bundled" / "claude"
        cli = setup.find_cli(options.cli, bundled, context.env.get("PATH", os.environ.get("PATH")))
        await setup.check_version(cli, env)
        self._recorder = Recorder(context.gate)
        client = sdk.ClaudeSDKClient(self._options(options, cli, env))
        try:
            await client.connect()
        except Exception as error:  # its own errors, and plain ones for a CLI that does not answer
            await self._kill()
            self._gone = gone = self._ended_by(error)
            if gone.reason == "resume_rejected":
                return  # the first turn says so
            raise AgentFailed(
                gone.error, reason=gone.reason, exit_code=gone.exit_code, last_lines=gone.last_lines
            ) from error
        self._client = client
        self._process = next(
            (processes.identity(pid) for pid in processes.marked(self._mark, _MARK) if _is_child(pid)), ""
        )
        self._listener = asyncio.create_task(self._listen(client), name=f"claude {context.agent}")
        if not self._process:
            await self.close(now=True)
            raise AgentFailed(f"{cli} answers but is not among our processes: it could be neither paused nor ended.")

    def _options(self, options: setup.Options, cli: Path, env: dict[str, str]) -> ClaudeAgentOptions:
        from claude_agent_sdk import ClaudeAgentOptions, HookMatcher

        from .call_ids import CallIds
        from .mcp_tools import SERVER, Boundary, serve

        spec, ids = self._context.spec, CallIds()
        boundary = Boundary(ids, self._recorder.deny)
        return ClaudeAgentOptions(
            tools=[],
            mcp_servers={SERVER: serve(self._context.tools, ids)},
            strict_mcp_config=True,
            setting_sources=[],
            permission_mode="default",  # no rule allows anything: what the hook does not allow is denied
            hooks={"PreToolUse": [HookMatcher(hooks=[boundary.before_tool], on_failure="block")]},
            verbatim_prompts=True,  # a prompt is a text: no @file is read for it, no /command is run
            system_prompt={"type": "preset", "preset": "claude_code", "append": setup.instructions(spec.instructions)},
            model=spec.model,
            resume=spec.resume,
            max_turns=options.max_turns,
            max_budget_usd=options.max_cost,
            cwd=self._context.root,
            cli_path=cli,
            env=env,
            stderr=self._last_lines.append,
            max_buffer_size=_MESSAGE_BYTES,
            include_partial_messages=True,  # they alone have the final number of tokens of each answer
        )

    async def close(self, *, now: bool = False) -> None:
        client, self._client = self._client, None
        if self._gone is None:
            self._gone = Turn(
                "cancelled", reason="cancelled", error="The agent was closed.", vendor_session=self._session
            )
        if client is None:
            return
        await self.thaw()
        if now:
            await self._kill()
        for task in (self._stopper, self._listener):
            if task:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._end_prompt(None)
        await client.disconnect()  # closes its input, after 5 s TERM, after 5 more KILL
        await self._kill()

    async def _kill(self) -> None:
        await processes.end(self.processes(), marker=f"{_MARK}={self._mark}", grace=0)

    def processes(self) -> list[int]:
        return [int(self._process.partition(":")[0])] if processes.alive(self._process) else []

    async def freeze(self) -> None:
        self._frozen = True
        await asyncio.to_thread(processes.freeze, self.processes())

    async def thaw(self) -> None:
        self._frozen = False
        processes.thaw(self.processes())

    # --- turns ---------------------------------------------------------------------------------------------

    async def prompt(self, task: JSON) -> Turn:
        text = _text(task)
        if self._prompt:
            raise BadRequest("This agent is in the middle of a turn. Interrupt it, or wait for its end.")
        if self._gone:
            return self._gone
        if self._client is None:
            raise BadRequest("This agent has not been started.")
        prompt = self._prompt = _Prompt(asyncio.get_running_loop().create_future())
        self._recorder.meter.begin_turn()
        try:
            await self._send(self._client, text)
            result = await asyncio.shield(prompt.ended)
        except asyncio.CancelledError:
            await self.interrupt()  # until the CLI has closed the turn: its answer must not end the next one
            raise
        finally:
            self._recorder.end_turn()
            self._prompt = None
        turn = self._conclude(prompt, result) if result else self._went(prompt)
        if turn.status == "failed":
            self._context.gate.record(Error(kind=turn.reason, message=turn.error), status="error")
        return turn

    async def interrupt(self) -> None:
        if prompt := self._prompt:
            prompt.interrupted = True
            await self._stop(prompt)

    async def _send(self, client: ClaudeSDKClient, text: str) -> None:
        from claude_agent_sdk import CLIConnectionError

        try:
            await client.query(text)
        except CLIConnectionError as error:
            self._lost(error)

    async def _stop(self, prompt: _Prompt) -> None:
        """Interrupt the CLI until it has closed the turn, awake for that long. One that does not react is killed."""
        from claude_agent_sdk import ClaudeSDKError

        processes.thaw(self.processes())
        try:
            async with asyncio.timeout(_INTERRUPT_LIMIT):
                while self._client and not prompt.ended.done():
                    await self._client.interrupt()
                    await asyncio.wait([prompt.ended], timeout=_INTERRUPT_AGAIN)
        except (TimeoutError, ClaudeSDKError):
            await self._kill()  # the listener notices
        if self._frozen:
            await self.freeze()

    async def _listen(self, client: ClaudeSDKClient) -> None:
        """Take in what the CLI says, until it is gone."""
        try:
            async for message in client.receive_messages():
                self._take(message)
        except Exception as error:  # whatever the SDK met while reading: it raises plain ones too
            await self._lost_for_good(client, error)
        else:
            await self._lost_for_good(client, None)

    async def _lost_for_good(self, client: ClaudeSDKClient, error: Exception | None) -> None:
        """Nobody waits for the calls of our tools that are under way: with the client they end, and give back their tickets."""
        if self._gone is None:
            self._gone = self._ended_by(error)
        await self._kill()
        await client.disconnect()
        self._lost(error)

    def _take(self, message: Any) -> None:
        from claude_agent_sdk import ConversationResetMessage, ResultMessage, SystemMessage

        self._recorder.take(message)
        match message:
            case ResultMessage():
                self._end_prompt(message)
            case SystemMessage(subtype="init"):
                self._opened(str(message.data.get("session_id")))
            case SystemMessage(
                subtype="api_retry", data={"error_status": 401 | 403 as status, "attempt": int(attempt)}
            ):
                if attempt >= _AUTH_ATTEMPTS:
                    said = f"The model's server answers HTTP {status}: the login or key was refused."
                    self._give_up(said, classify(said, status=status, login=setup.LOGIN))
            case ConversationResetMessage():  # its totals begin anew, perhaps under another id
                self._session, self._spent = None, 0.0

    def _opened(self, session: str) -> None:
        """A turn begins in this session: the one that was asked for?"""
        if self._session and session != self._session:
            said = f"Session {self._session} was to be resumed, but Claude Code opened {session}."
            self._give_up(said, Failure("resume_rejected", "Spawn without resume."))
        self._session = session

    def _give_up(self, said: str, failure: Failure) -> None:
        """End the turn as failed, for a reason of ours."""
        if (prompt := self._prompt) and not prompt.verdict:
            prompt.verdict = said, failure
            self._stopper = asyncio.create_task(self._stop(prompt))

    def _end_prompt(self, result: ResultMessage | None) -> None:
        if self._prompt and not self._prompt.ended.done():
            self._prompt.ended.set_result(result)

    # --- how it ended --------------------------------------------------------------------------------------

    def _conclude(self, prompt: _Prompt, result: ResultMessage) -> Turn:
        """The turn by its own closing message. Its `is_error` counts, not its subtype."""
        self._session = result.session_id
        usage = self._usage(result)
        said = result.result or "; ".join(result.errors or ()) or result.subtype
        aborted = (result.terminal_reason or "").startswith("aborted")
        if prompt.verdict:
            return _failed(*prompt.verdict, usage=usage, vendor_session=self._session)
        if aborted or (prompt.interrupted and result.is_error):
            return Turn("cancelled", reason="cancelled", usage=usage, vendor_session=self._session)
        if result.is_error:
            facts = f"{said} {result.subtype} {result.terminal_reason}"
            failure = classify(facts, status=result.api_error_status, login=setup.LOGIN)
            resets = self._recorder.resets if failure.reason in ("rate_limit", "quota") else None
            return _failed(said, failure, usage=usage, vendor_session=self._session, resets=resets)
        return Turn("done", output=result.result, usage=usage, vendor_session=self._session)

    def _went(self, prompt: _Prompt) -> Turn:
        """The turn of a CLI that went without a closing message."""
        usage = _usage_row(self._recorder.meter.turn, None)
        gone = self._gone or self._ended_by(None)
        if prompt.verdict:
            gone = _failed(*prompt.verdict, exit_code=gone.exit_code, last_lines=gone.last_lines)
        status, reason = ("cancelled", "cancelled") if prompt.interrupted else (gone.status, gone.reason)
        return Turn(
            status, error=gone.error, reason=reason, usage=usage, vendor_session=self._session,
            exit_code=gone.exit_code, last_lines=gone.last_lines,
        )  # fmt: skip

    def _lost(self, error: Exception | None) -> None:
        """The CLI is not there any more: this turn and all later ones have ended."""
        if self._gone is None:
            self._gone = self._ended_by(error)
        self._end_prompt(None)

    def _ended_by(self, error: Exception | None) -> Turn:
        said = str(error) if error else "Claude Code ended without a result."
        failure = of_death(said, status=getattr(error, "api_error_status", None), login=setup.LOGIN)
        return _failed(
            said,
            failure,
            vendor_session=self._session,
            exit_code=getattr(error, "exit_code", None),
            last_lines="\n".join(self._last_lines),
        )

    def _usage(self, result: ResultMessage) -> dict[str, float]:
        turn, total = tokens(result.usage), result.total_cost_usd
        if total is None:
            return _usage_row(turn, None)
        cost = turn_cost(total, self._spent, turn, session_tokens(result.model_usage))
        self._spent = total
        return _usage_row(turn, cost)


def _failed(said: str, failure: Failure, **facts: Any) -> Turn:
    return Turn("failed", error=f"{said.rstrip()}\n{failure.advice}".strip(), reason=failure.reason, **facts)


def _usage_row(turn: Tokens, cost: float | None) -> dict[str, float]:
    row: dict[str, float] = {"in": turn.inp, "out": turn.out, "cached": turn.cached}
    return row if cost is None else row | {"cost": cost}


def _is_child(pid: int) -> bool:
    found = processes.info(pid)
    return found is not None and found.parent == os.getpid()


def _text(task: JSON) -> str:
    if not isinstance(task, str) or not task.strip():
        raise BadRequest("The task of a claude agent is its prompt: a text that is not empty.")
    return task
