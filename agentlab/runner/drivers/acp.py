"""Agents that speak the Agent Client Protocol: one program, one session, our tools over MCP beside it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from agentlab.core.events import JSON, Error
from agentlab.errors import AgentFailed, AgentlabError, BadRequest, Unavailable
from agentlab.runner.mcp import ToolServer
from agentlab.runner.model_usage import Used

from . import acp_wire as wire
from .acp_native import Native
from .acp_record import Recorder, our_tool
from .acp_setup import SERVER, AnyAgent, Recipe, Setup
from .base import Context, Turn
from .call_ids import CallIds
from .failures import Failure, classify, of_death
from .jsonrpc import METHOD_NOT_FOUND, Gone, JsonRpc, Params, RpcError
from .program import Program, check_version

_START = 150.0  # s for the handshake and the session; opencode takes 45 s where the machine is busy
_LISTED = 60.0  # s after it for the agent to have asked for our tools
_INTERRUPT_AGAIN = 1.0  # s; an interrupt that comes before the turn has begun is lost
_INTERRUPT_LIMIT = 15.0  # s until a program that does not react is killed
_AUTH = -32000  # the protocol's code for "log in first"
_STOPS = {
    "max_tokens": Failure(
        "limit", "The model's answer was cut at its greatest length. Send it on with another prompt."
    ),
    "max_turn_requests": Failure(
        "limit", "The agent used up its own limit of requests. Send it on with another prompt."
    ),
    "refusal": Failure("refusal", "The model refused to go on. Word the task differently."),
}


@dataclass
class _Prompt:
    """The turn that is under way. `ended` holds the result of session/prompt; None: the program went without one."""

    ended: asyncio.Future[Params | None]
    interrupted: bool = False
    verdict: tuple[str, Failure] | None = None  # our own reason to end it
    began: int = field(default_factory=time.monotonic_ns)


class AcpDriver:
    """Any agent of the protocol. Options: see `acp_setup.Options`; of gemini and opencode in their modules."""

    boundaries: ClassVar[frozenset[str]] = frozenset({"tools", "native"})
    recipe: ClassVar[Recipe] = AnyAgent()

    def __init__(self, context: Context) -> None:
        self._context = context
        self._options = self.recipe.check(context.spec.options, context.spec.boundary)
        self._native = context.spec.boundary == "native"
        ids = CallIds()
        self._record = Recorder(context.gate, ids, native=self._native, breach=self._breach)
        if context.models:
            context.models.meter = self._record.metered
        self._locks = Native(context, self._record, self._lost)
        self._server = ToolServer(context.tools, context.private / "mcp", vendor_call=self._record.served)
        self._setup: Setup | None = None
        self._program: Program | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._stopper: asyncio.Task[None] | None = None
        self._planning: asyncio.Task[None] | None = None
        self._prompt: _Prompt | None = None
        self._gone: Turn | None = None
        self._session = context.spec.resume
        self._replaying = False  # session/load tells the old conversation once more
        self._cost = 0.0  # USD of the session
        self._paid: float | None = None  # of it, before this turn; None: nobody knows

    @staticmethod
    def preload() -> None:
        """What takes long to import."""
        wire.require()
        wire.schema()

    # --- life ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        context = self._context
        if context.spec.task is not None:
            self._text(context.spec.task)
        wire.require()
        await self._server.start()
        setup = self._setup = await asyncio.to_thread(self.recipe.prepare, context, self._options, self._server.proxy())
        self._locks.cwd = setup.cwd
        self._program = await Program.start(context, setup.argv, setup.env, self._answer, self._notice, cwd=setup.cwd)
        self._watcher = asyncio.create_task(self._watch(self._program.rpc), name=f"acp {context.agent}")
        try:
            async with asyncio.timeout(_START):
                await asyncio.to_thread(wire.schema)
                await self._open(self._program.rpc, setup)
            if self._gone is None:
                await self._offered(setup)
        except (RpcError, Gone, TimeoutError) as error:
            raise await self._failed_start(setup, error) from None
        except AgentlabError:
            await self.close(now=True)
            raise

    async def _open(self, rpc: JsonRpc, setup: Setup) -> None:
        """Handshake and session. A resume that is refused is told by the first turn."""
        hello = await rpc.request("initialize", wire.initialize(writes=self._native))
        if hello.get("protocolVersion") != wire.VERSION:
            raise Unavailable(
                f"{setup.title} speaks version {hello.get('protocolVersion')} of the Agent Client Protocol; "
                f"agentlab speaks version {wire.VERSION}. Install a version of it, or of agentlab, that speaks the other's.",
                reason="version",
            )
        check_version(setup.name, str((hello.get("agentInfo") or {}).get("version", "")), Path(setup.argv[0]))
        able = hello.get("agentCapabilities") or {}
        servers = () if setup.told else ((SERVER, self._server.proxy()),)
        try:
            opened = await self._session_of(rpc, able, setup, servers)
        except RpcError as error:
            if self._session is None or error.code == _AUTH:
                raise
            said = f"{setup.title} does not resume session {self._session}: {error}"
            self._gone = _failed(said, Failure("resume_rejected", "Spawn without resume."))
            return
        if setup.mode:
            await rpc.request("session/set_mode", {"sessionId": self._session, "modeId": setup.mode})
        if setup.model:
            await self._choose(rpc, setup, opened)

    async def _session_of(self, rpc: JsonRpc, able: Params, setup: Setup, servers: Any) -> Params:
        ask = wire.open_session(setup.cwd, servers, self._session)
        if self._session is None:
            opened: Params = await rpc.request("session/new", ask)
            self._session = str(opened["sessionId"])
            self._paid = 0.0
            return opened
        if "resume" in (able.get("sessionCapabilities") or {}):
            return await rpc.request("session/resume", ask) or {}
        if able.get("loadSession"):
            self._replaying = True
            try:
                return await rpc.request("session/load", ask) or {}
            finally:
                self._replaying = False
        raise RpcError("it cannot resume sessions.")

    async def _choose(self, rpc: JsonRpc, setup: Setup, opened: Params) -> None:
        """The model, over the protocol. Raises BadRequest, naming those there are."""
        assert setup.model is not None
        option = next((o for o in opened.get("configOptions") or () if o.get("category") == "model"), None)
        listed = [m.get("modelId") for m in (opened.get("models") or {}).get("availableModels") or ()]
        values = [str(o.get("value")) for o in (option or {}).get("options") or ()] or [str(m) for m in listed]
        if setup.model not in values:
            known = f" It knows: {', '.join(values[:20])}." if values else " It does not let us choose one."
            raise BadRequest(f"{setup.title} has no model {setup.model!r}.{known}", reason="model_not_found")
        if option:
            ask = {"sessionId": self._session, "configId": option["id"], "value": setup.model}
            await rpc.request("session/set_config_option", ask)
        else:
            await rpc.request("session/set_model", {"sessionId": self._session, "modelId": setup.model})

    async def _offered(self, setup: Setup) -> None:
        """Fail closed: an agent whose tools are off and that has not got ours can only talk."""
        try:
            async with asyncio.timeout(_LISTED):
                await self._server.listed.wait()
        except TimeoutError:
            raise AgentFailed(
                f"{setup.title} has not asked for our tools in {_LISTED:g} s: it did not start its MCP server {SERVER!r}.",
                reason="process", last_lines=self._program.rpc.last_lines if self._program else "",
            ) from None  # fmt: skip

    async def _failed_start(self, setup: Setup, error: Exception) -> AgentlabError:
        assert self._program is not None
        rpc = self._program.rpc
        died = isinstance(error, Gone)
        code: int | None = None
        if died:
            exit = await rpc.ended()
            code = exit.code if exit.signal is None else -exit.signal
        lines = rpc.last_lines
        await self.close(now=True)
        if isinstance(error, TimeoutError):
            said = f"{setup.title} did not open a session in {_START:g} s."
            failure = Failure("timeout", "Try again; its last lines may say what it waits for.")
        elif died:
            said = f"{setup.title} ended with exit code {code} before a session was open."
            failure = of_death(lines, login=setup.login)
        else:
            said = f"{setup.title} opened no session: {_text_of(error)}"
            status = 401 if isinstance(error, RpcError) and error.code == _AUTH else None
            failure = classify(said, status=status, login=setup.login)
        return AgentFailed(f"{said}\n{failure.advice}".strip(), reason=failure.reason, exit_code=code, last_lines=lines)

    async def close(self, *, now: bool = False) -> None:
        if self._gone is None:
            closed = "The agent was closed."
            self._gone = Turn("cancelled", reason="cancelled", error=closed, vendor_session=self._session)
        program, self._program = self._program, None
        if program is not None:
            await program.close(now=now, leaves=self._setup is None or self._setup.leaves)
        for task in (self._watcher, self._stopper, self._planning):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._locks.settle()
        await self._server.close()
        self._end(None)

    def processes(self) -> list[int]:
        return self._program.processes() if self._program else []

    async def freeze(self) -> None:
        if self._program:
            await self._program.freeze()

    async def thaw(self) -> None:
        if self._program:
            await self._program.thaw()

    async def _watch(self, rpc: JsonRpc) -> None:
        """The turn, and all later ones, have ended when the program has."""
        exit = await rpc.ended()
        if self._program is not None:
            await self._program.kill()  # what it is a wrapper of may have outlived it
        self._server.drop("The agent's program has ended.")
        await self._locks.settle()
        if self._gone is None:
            code = exit.code if exit.signal is None else -exit.signal
            assert self._setup is not None
            said = f"{self._setup.title} ended with exit code {code} and without closing the turn."
            failure = of_death(rpc.last_lines, login=self._setup.login)
            self._gone = _failed(said, failure, vendor_session=self._session, exit_code=code, last_lines=rpc.last_lines)
        self._end(None)

    # --- turns ---------------------------------------------------------------------------------------------

    async def prompt(self, task: JSON) -> Turn:
        text = self._text(task)
        if self._prompt:
            raise BadRequest("This agent is in the middle of a turn. Interrupt it, or wait for its end.")
        if self._gone:
            return self._gone
        if self._program is None or self._session is None:
            raise BadRequest("This agent has not been started.")
        prompt = self._prompt = _Prompt(asyncio.get_running_loop().create_future())
        self._record.begin_turn()
        asking = asyncio.create_task(self._ask_turn(self._program.rpc, prompt, text))
        try:
            result = await asyncio.shield(prompt.ended)
        except asyncio.CancelledError:
            await self.interrupt()  # until the turn is closed: its end must not end the next one
            raise
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await self._locks.settle()
            self._prompt = None
        if self._context.models:
            await self._context.models.settled()
        turn = self._conclude(prompt, result)
        if turn.status == "failed":
            self._context.gate.record(Error(kind=turn.reason, message=turn.error), status="error")
        return turn

    async def _ask_turn(self, rpc: JsonRpc, prompt: _Prompt, text: str) -> None:
        assert self._session is not None
        result: Params | None = None
        try:
            result = await rpc.request("session/prompt", wire.prompt(self._session, text)) or {}
        except RpcError as error:
            said, status = _text_of(error), _status_of(error)
            login = self._setup.login if self._setup else ""
            if not prompt.interrupted and not prompt.verdict:
                prompt.verdict = said, classify(said, status=status, login=login)
            result = {}
        except Gone:
            return  # the watcher closes the turn, when it knows how the program ended
        if not prompt.ended.done():
            prompt.ended.set_result(result)

    async def interrupt(self) -> None:
        if prompt := self._prompt:
            prompt.interrupted = True
            await self._stop(prompt)

    async def _stop(self, prompt: _Prompt) -> None:
        """Cancel the turn until it is closed. Not every agent tells its MCP servers: calls under way are dropped here."""
        program = self._program
        if program is None:
            return
        frozen = program.frozen
        await program.thaw()
        try:
            async with asyncio.timeout(_INTERRUPT_LIMIT):
                while not prompt.ended.done():
                    await program.rpc.notify("session/cancel", {"sessionId": self._session})
                    self._locks.cancel()
                    self._server.drop("The turn was interrupted.")
                    await asyncio.wait([prompt.ended], timeout=_INTERRUPT_AGAIN)
        except Gone:
            await asyncio.wait([prompt.ended], timeout=_INTERRUPT_LIMIT)
        except TimeoutError:
            await program.kill()
            await asyncio.wait([prompt.ended], timeout=_INTERRUPT_LIMIT)
        self._server.drop("The turn was interrupted.")
        if frozen:
            await program.freeze()

    def _conclude(self, prompt: _Prompt, result: Params | None) -> Turn:
        model = self._context.spec.model or self._context.spec.kind
        ended = wire.ended(result, model) if result else None
        cost = None if self._paid is None or not self._cost else max(0.0, self._cost - self._paid)
        usage = _usage(self._record.end_turn(ended, cost, prompt.began), cost)
        self._paid = self._cost
        session = self._session
        if result is None:
            gone = self._gone or _failed("The agent's program went away.", Failure("process"))
            if prompt.interrupted:
                return Turn("cancelled", reason="cancelled", usage=usage, vendor_session=session)
            if prompt.verdict:
                return _failed(*prompt.verdict, usage=usage, vendor_session=session)
            return Turn(
                gone.status, error=gone.error, reason=gone.reason, usage=usage, vendor_session=session,
                exit_code=gone.exit_code, last_lines=gone.last_lines,
            )  # fmt: skip
        if prompt.verdict:
            models, limited = self._context.models, prompt.verdict[1].reason in ("rate_limit", "quota")
            resets = models.resets if models and limited else None
            return _failed(*prompt.verdict, usage=usage, vendor_session=session, resets=resets)
        stop = ended.stop if ended else ""
        if prompt.interrupted or stop == "cancelled":
            return Turn("cancelled", reason="cancelled", usage=usage, vendor_session=session)
        if stop in _STOPS:
            return _failed(f"The turn ended with {stop}.", _STOPS[stop], usage=usage, vendor_session=session)
        if stop != "end_turn":
            said = f"The turn ended without a reason that is known here ({stop!r})."
            return _failed(said, Failure("unknown"), usage=usage, vendor_session=session)
        return Turn("done", output=self._record.last or None, usage=usage, vendor_session=session)

    def _end(self, result: Params | None) -> None:
        if self._prompt and not self._prompt.ended.done():
            self._prompt.ended.set_result(result)

    def _breach(self, what: str) -> None:
        """A tool of the agent's own has acted where all were to be off, or where it had to ask: what it still wants to do is
        not waited for."""
        if (prompt := self._prompt) and not prompt.verdict:
            why = "without asking" if self._native else "although all of them are off"
            advice = "This version has tools that are not known here, or settings that let them pass: use another one."
            prompt.verdict = f"The agent used a tool of its own ({what}), {why}.", Failure("boundary", advice)
            if self._program:
                self._stopper = asyncio.create_task(self._program.kill())

    def _lost(self, said: str) -> None:
        """An act of its own goes on without the locks it stands on: nothing but the end of the turn ends it."""
        if (prompt := self._prompt) and not prompt.verdict:
            prompt.verdict = said, Failure("lost_grant", "Send it on with another prompt: it has to ask again.")
            self._stopper = asyncio.create_task(self._stop(prompt))

    def _text(self, task: JSON) -> str:
        if not isinstance(task, str) or not task.strip():
            raise BadRequest(f"The task of {self._context.spec.kind} is its prompt: a text that is not empty.")
        return task

    # --- what it asks and says -----------------------------------------------------------------------------

    async def _answer(self, method: str, params: Params) -> JSON:
        try:
            match method:
                case "session/request_permission":
                    return wire.selected(await self._permit(wire.ask(params)))
                case "fs/write_text_file" if self._native:
                    await self._locks.write(*wire.written(params))
                    return {}
        except ValueError as error:
            raise RpcError(f"{method} is not of the form that the protocol gives it: {error}", -32602) from None
        raise RpcError(f"agentlab does not answer {method}.", METHOD_NOT_FOUND)

    async def _permit(self, ask: wire.Ask) -> str | None:
        """The option to choose; None: the turn is cancelled."""
        self._record.flush()
        if our_tool(ask.tool):
            return ask.allow()  # guarded inside, call by call
        if not self._native:
            self._record.deny(ask.tool)
            return ask.reject()
        if self._prompt is None or self._prompt.interrupted:
            return None
        return await self._locks.permit(ask)

    def _notice(self, method: str, params: Params) -> None:
        if method != "session/update" or self._replaying:
            return
        session, told = wire.update(params)
        if session != self._session:
            return
        match told:
            case wire.Said():
                self._record.said(told)
            case wire.Tool():
                self._record.tool(told)
                if told.status in ("completed", "failed"):
                    self._locks.completed(told)
            case wire.Plan():
                self._planning = asyncio.create_task(self._context.gate.plan(told.steps))
            case wire.Spent(cost=cost) if cost is not None:
                self._cost = cost


def _failed(said: str, failure: Failure, **facts: Any) -> Turn:
    return Turn("failed", error=f"{said.rstrip()}\n{failure.advice}".strip(), reason=failure.reason, **facts)


def _text_of(error: Exception) -> str:
    """What an agent says of a failure: the words, and the details where they add something."""
    said = str(error)
    data = error.data if isinstance(error, RpcError) else None
    if isinstance(data, dict):
        data = data.get("details") or data.get("message") or data
    return f"{said}: {str(data)[:2000]}" if data and str(data) not in said else said


def _status_of(error: RpcError) -> int | None:
    """Gemini and others put the HTTP status in the place of the code."""
    if error.code == _AUTH:
        return 401
    return error.code if 400 <= error.code < 600 else None


def _usage(much: Used | None, cost: float | None) -> dict[str, float]:
    row = {} if much is None else {"in": float(much.inp), "out": float(much.out), "cached": float(much.cached)}
    return row if cost is None else row | {"cost": cost}
