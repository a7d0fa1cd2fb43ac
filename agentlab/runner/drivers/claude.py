"""Claude Code, driven through claude-agent-sdk: ours are offered in process; its own are off, or (`boundary="native"`) ask us
first: see `claude_native`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from agentlab import processes
from agentlab.core.events import JSON
from agentlab.errors import AgentFailed, Unavailable
from agentlab.runner.governor import LIMITED

from . import claude_setup as setup
from .base import Context, Turn
from .claude_usage import Tokens, session_usage, tokens, turn_cost
from .failures import Failure, classify, of_death
from .options import read_options
from .tree import Tree
from .turns import Prompt, Turns, insist, put_away, started, text_of
from .vendor import Vendor

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ResultMessage

    from .claude_native import OwnTools

_MARK = "AGENTLAB_CLAUDE"
"""A variable of the CLI's environment, by which we know it among our children: the SDK does not tell its pid."""

_MESSAGE_BYTES = 64 * 1024 * 1024  # one message of the CLI may hold a whole file
_WHOSE = "a claude agent"
_AUTH_ATTEMPTS = 2  # a refused key does not get better, yet the CLI would try for minutes
# Nor does a rate limit in the seconds that these take. The governor counts what passes by the record; a login's traffic does not.
_LIMIT_ATTEMPTS = 3
_LOOK = 1.0  # s between looks whether a program that says nothing is there at all
_GONE, _NOT_STARTED = 2, 15  # looks in a row at which it was not, after it was seen and before


class ClaudeDriver(Vendor):
    """One process of Claude Code and one session of it. Options: see `claude_setup.Options`."""

    boundaries: ClassVar[frozenset[str]] = frozenset({"tools", "native"})

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client: ClaudeSDKClient | None = None
        self._listener: asyncio.Task[None] | None = None
        self._turns: Turns[Prompt] = Turns(context.gate, context.spec.resume, self._stop)
        self._last_lines: deque[str] = deque(maxlen=50)
        self._tree = Tree(_MARK)
        self._own: OwnTools | None = None
        self._spent = None if context.spec.resume else 0.0  # USD of the session so far, where known

    @staticmethod
    def preload() -> None:
        """What takes long to import."""
        sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
        import jsonschema  # type: ignore[import-untyped]

        from . import claude_stream, mcp_tools  # noqa: F401

        jsonschema.validate({}, {})  # it reads all that a schema may say; so does the SDK with each call
        setup.check_env(("ANTHROPIC_API_KEY", "CLAUDE_CONFIG_DIR"))

    # --- life ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        context, spec = self._context, self._context.spec
        if spec.task is not None:
            text_of(spec.task, _WHOSE)
        options = read_options(setup.Options, spec.options, "claude")
        setup.check_env(spec.env)
        try:
            self.preload()
            import claude_agent_sdk as sdk
        except ImportError:
            raise Unavailable(
                "Claude agents need the extra `claude`: pip install 'agentlab[claude]'.", reason="missing"
            ) from None
        from .claude_stream import Recorder

        own = {processes.AGENT_VARIABLE: context.agent, **self._tree.environment}
        env = setup.recorded(setup.environment(context.env, os.environ) | own, context.models)
        bundled = Path(sdk.__file__).parent / "_bundled" / "claude"
        cli = setup.find_cli(options.cli, bundled, context.env.get("PATH", os.environ.get("PATH")))
        await setup.check_version(cli, env, context.shared)
        if spec.boundary == "native":
            from .claude_native import OwnTools

            self._own = OwnTools(context, self._breach, self._lost_grant)
            cli, env = setup.confined(context, cli, env)
        self._recorder = Recorder(context.gate, self._own)
        client = sdk.ClaudeSDKClient(self._options(options, cli, env))
        try:
            await self._connect(client)
        except Exception as error:  # its own errors, and plain ones for a CLI that does not answer
            await self._tree.kill()
            self._turns.no_more(gone := self._ended_by(error))
            if gone.reason == "resume_rejected":
                return  # the first turn says so
            raise AgentFailed(
                gone.error, reason=gone.reason, exit_code=gone.exit_code, last_lines=gone.last_lines
            ) from error
        self._client = client
        marked = processes.marked(self._tree.mark, _MARK)
        self._tree.root = next((processes.identity(pid) for pid in marked if _is_child(pid)), "")
        self._listener = asyncio.create_task(self._listen(client), name=f"claude {context.agent}")
        if not self._tree.root:
            await self.close(now=True)
            raise AgentFailed(f"{cli} answers but is not among our processes: it could be neither paused nor ended.")

    async def _connect(self, client: ClaudeSDKClient) -> None:
        """The SDK waits for a minute for a program that has ended without an error, and then says that it was slow."""
        try:
            async with asyncio.timeout(None) as patience:
                watching = asyncio.create_task(self._until_gone(patience))
                try:
                    await client.connect()
                finally:
                    watching.cancel()
        except TimeoutError:
            raise Unavailable("Claude Code ended before a session was open.") from None

    async def _until_gone(self, patience: asyncio.Timeout) -> None:
        looks = 0  # at which it was not there
        seen = False
        while looks < (_GONE if seen else _NOT_STARTED):
            await asyncio.sleep(_LOOK)
            there = bool(await asyncio.to_thread(processes.marked, self._tree.mark, _MARK))
            seen, looks = seen or there, 0 if there else looks + 1
        patience.reschedule(asyncio.get_running_loop().time())

    def _options(self, options: setup.Options, cli: Path, env: dict[str, str]) -> ClaudeAgentOptions:
        from claude_agent_sdk import ClaudeAgentOptions, HookMatcher

        from .call_ids import CallIds
        from .mcp_tools import SERVER, Boundary, serve

        spec, ids = self._context.spec, CallIds()
        boundary = Boundary(ids, self._recorder.deny, self._own)
        hook = HookMatcher(hooks=[boundary.before_tool], on_failure="block", timeout=setup.HELD_BY_HOOK)
        append = setup.instructions(spec.instructions, spec.boundary)
        return ClaudeAgentOptions(
            tools=sorted(self._own.names) if self._own else [],
            mcp_servers={SERVER: serve(self._context.tools, ids)},
            strict_mcp_config=True,
            setting_sources=[],
            permission_mode="default",  # no rule allows anything: what the hook does not allow is denied
            hooks={"PreToolUse": [hook]},
            verbatim_prompts=True,  # a prompt is a text: no @file is read for it, no /command is run
            system_prompt={"type": "preset", "preset": "claude_code", "append": append},
            model=spec.model,
            resume=spec.resume,
            max_turns=options.max_turns,
            max_budget_usd=min(
                (most for most in (options.max_cost, spec.budget.cost) if most is not None), default=None
            ),
            cwd=self._context.root,
            cli_path=cli,
            env=env,
            stderr=self._last_lines.append,
            max_buffer_size=_MESSAGE_BYTES,
            include_partial_messages=True,  # they alone have the final number of tokens of each answer
        )

    async def close(self, *, now: bool = False) -> None:
        client, self._client = self._client, None
        self._turns.close()
        if client is None:
            return
        await self.thaw()
        await put_away(
            self._turns.stopper, self._listener
        )  # first: it would begin to disconnect as well, and be cut off
        if now:
            await self._tree.kill()
        self._turns.end()
        if self._own:
            self._own.cancel()
        await client.disconnect()  # closes its input, after 5 s TERM, after 5 more KILL
        await self._tree.kill()
        await self._settle()

    # --- turns ---------------------------------------------------------------------------------------------

    async def prompt(self, task: JSON) -> Turn:
        text = text_of(task, _WHOSE)
        if gone := self._turns.over():
            return gone
        client = started(self._client)
        self._recorder.meter.begin_turn()
        prompt = Prompt()
        try:
            async with self._turns.begin(prompt, self._settle):
                await self._send(client, text)
                result = await asyncio.shield(prompt.ended)
        except asyncio.CancelledError:
            if prompt.ended.done() and (closed := prompt.ended.result()) and closed.total_cost_usd is not None:
                self._spent = closed.total_cost_usd  # what it cost is none of the next one's
            raise
        finally:
            self._recorder.end_turn()
        return self._turns.told(self._conclude(prompt, result) if result else self._went(prompt))

    async def _send(self, client: ClaudeSDKClient, text: str) -> None:
        from claude_agent_sdk import CLIConnectionError

        try:
            await client.query(text)
        except CLIConnectionError as error:
            self._turns.no_more(self._ended_by(error))
            self._turns.end()

    async def _stop(self, prompt: Prompt) -> None:
        await insist(prompt, self._tree, self._ask_to_stop)

    async def _settle(self) -> None:
        if self._own:
            await self._own.settle()

    def _breach(self, what: str) -> None:
        said = f"Claude Code used a tool of its own ({what}) without asking."
        advice = "This version has ways past its hooks that are not known here: use another one."
        self._turns.give_up(said, Failure("boundary", advice), self._tree.kill)

    def _lost_grant(self, said: str) -> None:
        self._turns.give_up(said, Failure("lost_grant", "Send it on with another prompt: it has to ask again."))

    async def _ask_to_stop(self) -> None:
        from claude_agent_sdk import ClaudeSDKError

        if self._own:
            self._own.cancel()
        try:
            if self._client:
                await self._client.interrupt()
        except ClaudeSDKError:
            await self._tree.kill()  # the listener notices

    async def _listen(self, client: ClaudeSDKClient) -> None:
        """Take in what the CLI says, until it is gone."""
        try:
            async for message in client.receive_messages():
                self._take(message)
        except Exception as error:  # whatever the SDK met while reading: it raises plain ones too
            await self._lost(client, error)
        else:
            await self._lost(client, None)

    async def _lost(self, client: ClaudeSDKClient, error: Exception | None) -> None:
        """Nobody waits for the calls of our tools that are under way: with the client they end, and give back their tickets."""
        self._turns.no_more(self._ended_by(error))
        await self._tree.kill()
        await client.disconnect()
        await self._settle()
        self._turns.end()

    def _take(self, message: Any) -> None:
        from claude_agent_sdk import ConversationResetMessage, ResultMessage, SystemMessage

        self._recorder.take(message)
        match message:
            case ResultMessage():
                self._turns.end(message)
            case SystemMessage(subtype="init"):
                self._opened(str(message.data.get("session_id")))
            case SystemMessage(
                subtype="api_retry", data={"error_status": 401 | 403 as status, "attempt": int(attempt)}
            ):
                if attempt >= _AUTH_ATTEMPTS:
                    said = f"The model's server answers HTTP {status}: the login or key was refused."
                    self._turns.give_up(said, classify(said, status=status, login=setup.LOGIN))
            case SystemMessage(subtype="api_retry", data={"error_status": 429, "attempt": int(attempt)}) if (
                attempt >= _LIMIT_ATTEMPTS and not self._context.spec.wait_limits
            ):
                said = "The model's server answers HTTP 429: too many requests."
                self._turns.give_up(said, classify(said, status=429, login=setup.LOGIN))
            case ConversationResetMessage():  # its totals begin anew, perhaps under another id
                self._turns.session, self._spent = None, 0.0

    def _opened(self, session: str) -> None:
        """A turn begins in this session: the one that was asked for?"""
        if self._turns.session and session != self._turns.session:
            said = f"Session {self._turns.session} was to be resumed, but Claude Code opened {session}."
            self._turns.give_up(said, Failure("resume_rejected", "Spawn without resume."))
        self._turns.session = session

    # --- how it ended --------------------------------------------------------------------------------------

    def _conclude(self, prompt: Prompt, result: ResultMessage) -> Turn:
        """The turn by its own closing message. Its `is_error` counts, not its subtype."""
        turns = self._turns
        turns.session = result.session_id
        usage = self._usage(result)
        said = result.result or "; ".join(result.errors or ()) or result.subtype
        aborted = (result.terminal_reason or "").startswith("aborted")
        if prompt.verdict:
            return turns.failed(*prompt.verdict, usage=usage, resets=self._resets(prompt.verdict[1]))
        if aborted or prompt.interrupted:  # it may have come to an end because its call was dropped
            return turns.cancelled(usage=usage)
        if result.is_error:
            facts = f"{said} {result.subtype} {result.terminal_reason}"
            failure = classify(facts, status=result.api_error_status, login=setup.LOGIN)
            return turns.failed(said, failure, usage=usage, resets=self._resets(failure))
        return Turn("done", output=result.result, usage=usage, vendor_session=turns.session)

    def _resets(self, failure: Failure) -> float | None:
        return self._recorder.resets if failure.reason in LIMITED else None

    def _went(self, prompt: Prompt) -> Turn:
        """The turn of a CLI that went without a closing message."""
        gone = self._turns.gone or self._ended_by(None)
        if prompt.verdict:
            gone = self._turns.failed(*prompt.verdict, exit_code=gone.exit_code, last_lines=gone.last_lines)
        if prompt.interrupted:
            gone = replace(gone, status="cancelled", reason="cancelled")
        return replace(gone, usage=_usage_row(self._recorder.meter.seen, None), vendor_session=self._turns.session)

    def _ended_by(self, error: Exception | None) -> Turn:
        said = str(error) if error else "Claude Code ended without a result."
        failure = of_death(said, status=getattr(error, "api_error_status", None), login=setup.LOGIN)
        code = getattr(error, "exit_code", None)
        return self._turns.failed(said, failure, exit_code=code, last_lines="\n".join(self._last_lines))

    def _usage(self, result: ResultMessage) -> dict[str, float]:
        """A turn that a limit ended leaves out its last answer, which the stream had."""
        meter, total = self._recorder.meter, result.total_cost_usd
        turn = tokens(result.usage).max(meter.seen)
        if total is None:
            return _usage_row(turn, None)
        cost = turn_cost(total, self._spent, meter.turn, session_usage(result.model_usage))
        self._spent = total
        return _usage_row(turn, cost)


def _usage_row(turn: Tokens, cost: float | None) -> dict[str, float]:
    row: dict[str, float] = {"in": turn.inp, "out": turn.out, "cached": turn.cached}
    return row if cost is None else row | {"cost": cost}


def _is_child(pid: int) -> bool:
    found = processes.info(pid)
    return found is not None and found.parent == os.getpid()
