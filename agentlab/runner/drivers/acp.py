"""Agents that speak the Agent Client Protocol: one program, one session, our tools over MCP beside it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from agentlab.core.events import JSON, Message
from agentlab.errors import AgentFailed, AgentlabError, BadRequest, Unavailable
from agentlab.runner.governor import LIMITED
from agentlab.runner.mcp import ToolServer
from agentlab.runner.model_usage import Used

from . import acp_wire as wire
from .acp_native import Native
from .acp_record import Recorder, our_tool
from .acp_setup import SERVER, AnyAgent, Recipe, Setup
from .base import Context, Turn
from .boxed import boxed, kept_out
from .call_ids import CallIds
from .failures import Failure, classify, of_death, of_start
from .jsonrpc import METHOD_NOT_FOUND, Gone, JsonRpc, Params, RpcError
from .program import MARK, Program, check_version
from .tree import Tree
from .turns import Prompt, Turns, insist, put_away, started, text_of
from .vendor import Vendor

if TYPE_CHECKING:
    from agentlab.runner.mcp.http import HttpServer

_START = 150.0  # s for the handshake and the session; opencode takes 45 s where the machine is busy
_LISTED = 60.0  # s after it for the agent to have asked for our tools
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
class _Prompt(Prompt):
    """It is closed with the result of session/prompt. stop, usage: how it ended, and what it used, once its record is closed."""

    began: int = field(default_factory=time.monotonic_ns)
    stop: str = ""
    usage: dict[str, float] = field(default_factory=dict)


class AcpDriver(Vendor):
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
        self._server = ToolServer(context.tools, context.private / "mcp", vendor_call=self._record.called)
        self._http: HttpServer | None = None
        self._setup: Setup | None = None
        self._tree = Tree(MARK)
        self._turns = Turns[_Prompt](context.gate, context.spec.resume, self._stop)
        self._program: Program | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._planning: asyncio.Task[None] | None = None
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
            text_of(context.spec.task, context.spec.kind)
        wire.require()
        await self._server.start()
        self._offered_at = await self._offer()
        setup = self._setup = await asyncio.to_thread(self.recipe.prepare, context, self._options, self._offered_at)
        self._locks.cwd = setup.cwd
        if setup.inputs and context.models:
            context.models.listener = setup.inputs.heard
        if self._native and context.sandbox is not None:
            setup = self._setup = boxed(context, context.sandbox, setup)
        program = self._program = await Program.start(
            context, self._tree, setup.argv, setup.env, self._answer, self._notice, cwd=setup.cwd
        )
        self._watcher = asyncio.create_task(self._watch(program, setup), name=f"acp {context.agent}")
        try:
            async with asyncio.timeout(_START):
                await asyncio.to_thread(wire.schema)
                await self._open(program.rpc, setup)
            if self._turns.gone is None:
                await self._offered(setup, program)
        except (RpcError, Gone, TimeoutError) as error:
            raise await self._failed_start(setup, program, error) from None
        except AgentlabError:
            await self.close(now=True)
            raise

    async def _offer(self) -> wire.Server:
        """Where it finds our tools. Raises Unavailable: by HTTP, from within a network of its own."""
        if getattr(self._options, "mcp", "stdio") == "stdio":
            return self._server.proxy()
        if self._native and self._context.sandbox is not None and self._context.network != "all":
            raise Unavailable(
                f'With [sandbox] network = "{self._context.network}" in config.toml nothing on loopback is reached, so our tools '
                'are not by HTTP. Leave out the option mcp, or say network = "all".'
            )
        from agentlab.runner.mcp.http import HttpServer

        self._http = HttpServer(self._server)
        await self._http.start()
        return self._http.address

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
        if not setup.told and self._http is not None and not wire.takes_http(able):
            raise Unavailable(
                f"{setup.title} does not say that it reaches MCP servers by HTTP (mcpCapabilities.http), so it cannot be offered our "
                "tools so. Leave out the option mcp: it starts them as a program.",
                reason="version",
            )
        servers = () if setup.told else ((SERVER, self._offered_at),)
        try:
            opened = await self._session_of(rpc, able, setup, servers)
        except RpcError as error:
            if self._turns.session is None or error.code == _AUTH:
                raise
            said = f"{setup.title} does not resume session {self._turns.session}: {error}"
            failure = Failure("resume_rejected", "Spawn without resume.")
            self._turns.no_more(self._turns.failed(said, failure, vendor_session=None))
            return
        if setup.mode:
            await rpc.request("session/set_mode", {"sessionId": self._turns.session, "modeId": setup.mode})
        self._replaying = False  # Gemini goes on telling behind its answer, before it reads what it is asked next
        if setup.model:
            await self._choose(rpc, setup, opened)
        elif setup.listed and (values := _models(opened)):
            _check_model(setup, setup.listed, values)

    async def _session_of(self, rpc: JsonRpc, able: Params, setup: Setup, servers: Any) -> Params:
        ask = wire.open_session(setup.cwd, servers, self._turns.session)
        if self._turns.session is None:
            opened: Params = await rpc.request("session/new", ask)
            self._turns.session = str(opened["sessionId"])
            self._paid = 0.0
            return opened
        if "resume" in (able.get("sessionCapabilities") or {}):
            return await rpc.request("session/resume", ask) or {}
        if able.get("loadSession"):
            self._replaying = True
            return await rpc.request("session/load", ask) or {}
        raise RpcError("it cannot resume sessions.")

    async def _choose(self, rpc: JsonRpc, setup: Setup, opened: Params) -> None:
        """The model, over the protocol. Raises BadRequest, naming those there are."""
        assert setup.model is not None
        _check_model(setup, setup.model, _models(opened))
        if option := _model_option(opened):
            ask = {"sessionId": self._turns.session, "configId": option["id"], "value": setup.model}
            await rpc.request("session/set_config_option", ask)
        else:
            await rpc.request("session/set_model", {"sessionId": self._turns.session, "modelId": setup.model})

    async def _offered(self, setup: Setup, program: Program) -> None:
        """Fail closed: an agent whose tools are off and that has not got ours can only talk."""
        try:
            async with asyncio.timeout(_LISTED):
                await self._server.listed.wait()
        except TimeoutError:
            raise AgentFailed(
                f"{setup.title} has not asked for our tools in {_LISTED:g} s: it did not start its MCP server {SERVER!r}.",
                reason="process", last_lines=program.rpc.last_lines,
            ) from None  # fmt: skip

    async def _failed_start(self, setup: Setup, program: Program, error: Exception) -> AgentlabError:
        died = isinstance(error, Gone)
        code = await program.ended() if died else None
        lines = program.rpc.last_lines
        await self.close(now=True)
        if isinstance(error, TimeoutError):
            said = f"{setup.title} did not open a session in {_START:g} s."
            failure = Failure("timeout", "Try again; its last lines may say what it waits for.")
        elif died:
            said = f"{setup.title} ended with exit code {code} before a session was open."
            failure = of_start(lines, login=setup.login)
            if (
                self._native
                and self._context.sandbox is not None
                and (advice := kept_out(self._context.sandbox, lines))
            ):
                failure = replace(failure, advice=advice)
        else:
            said = f"{setup.title} opened no session: {_text_of(error)}"
            status = 401 if isinstance(error, RpcError) and error.code == _AUTH else None
            failure = classify(said, status=status, login=setup.login)
        return AgentFailed(f"{said}\n{failure.advice}".strip(), reason=failure.reason, exit_code=code, last_lines=lines)

    async def close(self, *, now: bool = False) -> None:
        self._turns.close()
        program, self._program = self._program, None
        if program is not None:
            await program.close(now=now, leaves=self._setup is None or self._setup.leaves)
        await put_away(self._watcher, self._turns.stopper, self._planning)
        await self._locks.settle()
        if self._http is not None:
            await self._http.close()
        await self._server.close()
        self._turns.end()

    async def _watch(self, program: Program, setup: Setup) -> None:
        """The turn, and all later ones, have ended when the program has."""
        code = await program.ended()
        if self._program is not None:
            await self._tree.kill()  # what it is a wrapper of may have outlived it
        self._server.drop("The agent's program has ended.")
        await self._locks.settle()
        said, last = f"{setup.title} ended with exit code {code} and without closing the turn.", program.rpc.last_lines
        failure = of_death(last, login=setup.login)
        self._turns.no_more(self._turns.failed(said, failure, exit_code=code, last_lines=last))
        self._turns.end()

    # --- turns ---------------------------------------------------------------------------------------------

    async def prompt(self, task: JSON) -> Turn:
        """Who refused something with a reason wants it read: it is the agent's next prompt, in the same turn."""
        self._locks.reasons()  # of a turn that was cancelled: none of this one's
        turn = await self._one(text_of(task, self._context.spec.kind))
        while (why := self._locks.reasons()) and turn.status == "done":
            self._context.gate.record(Message(role="user", text=why))
            usage, turn = turn.usage, await self._one(why)
            turn = replace(turn, usage=_sum(usage, turn.usage))
        return turn

    async def _one(self, text: str) -> Turn:
        if gone := self._turns.over():
            return gone
        program, session, prompt = started(self._program), started(self._turns.session), _Prompt()
        self._record.begin_turn()
        if self._setup and self._setup.inputs:
            self._setup.inputs.forget()
        asking = asyncio.create_task(self._ask_turn(program.rpc, prompt, wire.prompt(session, text)))

        async def settle() -> None:
            """Whoever waited for the turn may be gone: what it did and used is none of the next one's."""
            try:
                await put_away(asking)
                await self._locks.settle()
                if self._context.models:
                    await self._context.models.settled()
            finally:
                self._account(prompt)

        async with self._turns.begin(prompt, settle):
            result = await asyncio.shield(prompt.ended)
        return self._turns.told(self._conclude(prompt, result))

    async def _ask_turn(self, rpc: JsonRpc, prompt: _Prompt, ask: Params) -> None:
        try:
            prompt.close(await rpc.request("session/prompt", ask) or {})
        except RpcError as error:
            said, status = _text_of(error), _status_of(error)
            if status is None and (models := self._context.models):
                await models.settled()
                status = models.refused
            login = self._setup.login if self._setup else ""
            if not prompt.interrupted and not prompt.verdict:
                prompt.verdict = said, classify(said, status=status, login=login)
            prompt.close({})
        except Gone:
            pass  # the watcher closes the turn, when it knows how the program ended

    async def _stop(self, prompt: _Prompt) -> None:
        if self._program is None:
            return
        rpc = self._program.rpc
        await insist(prompt, self._tree, lambda: self._ask_to_stop(rpc))
        self._server.drop("The turn was interrupted.")

    async def _ask_to_stop(self, rpc: JsonRpc) -> None:
        """Not every agent tells its MCP servers: calls under way are dropped here."""
        with suppress(Gone):
            await rpc.notify("session/cancel", {"sessionId": self._turns.session})
            self._locks.cancel()
            self._server.drop("The turn was interrupted.")

    def _account(self, prompt: _Prompt) -> None:
        """Close the record of a turn."""
        result = prompt.ended.result() if prompt.ended.done() else None
        ended = wire.ended(result, self._context.spec.model or self._context.spec.kind) if result else None
        cost = None if self._paid is None or not self._cost else max(0.0, self._cost - self._paid)
        prompt.usage = _usage(self._record.end_turn(ended, cost, prompt.began), cost)
        prompt.stop = ended.stop if ended else ""
        self._paid = self._cost

    def _conclude(self, prompt: _Prompt, result: Params | None) -> Turn:
        turns, usage, stop = self._turns, prompt.usage, prompt.stop
        if result is None:
            return turns.unclosed(prompt, usage)
        if prompt.verdict:
            models, limited = self._context.models, prompt.verdict[1].reason in LIMITED
            resets = models.resets if models and limited else None
            return turns.failed(*prompt.verdict, usage=usage, resets=resets)
        if prompt.interrupted or stop == "cancelled":
            return turns.cancelled(usage=usage)
        meant = {**_STOPS, **(self._setup.stops if self._setup else {})}
        if stop in meant:
            return turns.failed(f"The turn ended with {stop}.", meant[stop], usage=usage)
        if stop != "end_turn":
            said = f"The turn ended without a reason that is known here ({stop!r})."
            return turns.failed(said, Failure("unknown"), usage=usage)
        return Turn("done", output=self._record.last or None, usage=usage, vendor_session=turns.session)

    def _breach(self, what: str) -> None:
        """A tool of the agent's own has acted where all were to be off, or where it had to ask: what it still wants to do is
        not waited for."""
        why = "without asking" if self._native else "although all of them are off"
        advice = "This version has tools that are not known here, or settings that let them pass: use another one."
        said = f"The agent used a tool of its own ({what}), {why}."
        self._turns.give_up(said, Failure("boundary", advice), self._tree.kill)

    def _lost(self, said: str) -> None:
        """An act of its own goes on without the locks it stands on: nothing but the end of the turn ends it."""
        self._turns.give_up(said, Failure("lost_grant", "Send it on with another prompt: it has to ask again."))

    # --- what it asks and says -----------------------------------------------------------------------------

    async def _answer(self, method: str, params: Params) -> JSON:
        try:
            match method:
                case "session/request_permission":
                    ask = wire.ask(params)
                    return wire.selected(await self._permit(replace(ask, tool=self._filled(ask.tool))))
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
        if self._turns.current is None or self._turns.current.interrupted:
            return None
        return await self._locks.permit(ask)

    def _filled(self, tool: wire.Tool) -> wire.Tool:
        """With its arguments, where they are known otherwise than by the agent's word. Ours come with the call."""
        inputs = self._setup.inputs if self._setup else None
        if inputs is None or tool.input is not None or our_tool(tool):
            return tool
        return replace(tool, input=inputs.input_of(tool))

    def _notice(self, method: str, params: Params) -> None:
        if method != "session/update" or self._replaying:
            return
        session, told = wire.update(params)
        if session != self._turns.session:
            return
        match told:
            case wire.Said():
                self._record.said(told)
            case wire.Tool():
                told = self._filled(told)
                self._record.tool(told)
                if told.status in ("completed", "failed"):
                    self._locks.completed(told)
            case wire.Plan():
                self._planning = asyncio.create_task(self._context.gate.plan(told.steps))
            case wire.Spent(cost=cost) if cost is not None:
                self._cost = cost


def _model_option(opened: Params) -> Params | None:
    return next((o for o in opened.get("configOptions") or () if o.get("category") == "model"), None)


def _models(opened: Params) -> list[str]:
    """Those that it can have, by name; none, where it does not say."""
    listed = [m.get("modelId") for m in (opened.get("models") or {}).get("availableModels") or ()]
    return [str(o.get("value")) for o in (_model_option(opened) or {}).get("options") or ()] or [str(m) for m in listed]


def _check_model(setup: Setup, model: str, values: list[str]) -> None:
    """Raises BadRequest, naming those there are."""
    if model not in values:
        known = f" It knows: {', '.join(values[:20])}." if values else " It does not let us choose one."
        raise BadRequest(f"{setup.title} has no model {model!r}.{known}", reason="model_not_found")


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


def _sum(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {what: one.get(what, 0.0) + other.get(what, 0.0) for what in one | other}


def _usage(much: Used | None, cost: float | None) -> dict[str, float]:
    row = {} if much is None else {"in": float(much.inp), "out": float(much.out), "cached": float(much.cached)}
    return row if cost is None else row | {"cost": cost}
