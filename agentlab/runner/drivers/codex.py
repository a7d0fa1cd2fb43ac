"""Codex, driven through its app-server: ours as dynamic tools, whose calls come to us over its pipe; its own are off, or
(`boundary="native"`) ask us first: see `codex_native`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from agentlab.__about__ import __version__
from agentlab.core.events import JSON, Error, Guard, Message, ModelCall, ToolCall, ToolResult
from agentlab.errors import AgentFailed, AgentlabError, BadRequest

from . import codex_setup as setup
from . import sharing
from .answers import as_text
from .base import Context, Turn
from .codex_native import ACTS, Native
from .failures import Failure, classify, of_death, of_reason
from .jsonrpc import METHOD_NOT_FOUND, Gone, JsonRpc, Params, RpcError
from .program import Program, check_version, find

_START = 60.0  # s for the handshake
_INTERRUPT_AGAIN = 1.0  # s; an interrupt that comes before the turn has begun is lost
_INTERRUPT_LIMIT = 15.0  # s until a program that does not react is killed

_OWN_TOOLS = frozenset({"commandExecution", "fileChange", "mcpToolCall", "webSearch", "imageGeneration"})
"""Items by which Codex would act itself. None can come where its tools are off: one that does ends the turn."""

_REASONS = {
    "contextWindowExceeded": "context_overflow",
    "sessionBudgetExceeded": "limit",
    "usageLimitExceeded": "quota",
    "rateLimitExceeded": "rate_limit",
    "serverOverloaded": "server",
    "internalServerError": "server",
    "modelNotFound": "model_not_found",
    "unauthorized": "auth",
    "badRequest": "invalid_request",
    "httpConnectionFailed": "network",
    "responseStreamConnectionFailed": "network",
    "responseStreamDisconnected": "network",
}
"""Codex's own classes of failure -> ours."""


@dataclass
class _Prompt:
    """The turn that is under way. `ended` holds None when the program went without closing it."""

    ended: asyncio.Future[Params | None]
    id: str | None = None
    interrupted: bool = False
    verdict: tuple[str, Failure] | None = None
    text: str = ""  # its last message
    tokens: dict[str, float] = field(default_factory=lambda: {"in": 0.0, "out": 0.0, "cached": 0.0})
    asked: int = field(default_factory=time.monotonic_ns)  # when the model was asked last


class CodexDriver:
    """One process of Codex and one thread of it. Options: see `codex_setup.Options`."""

    boundaries: ClassVar[frozenset[str]] = frozenset({"tools", "native"})

    def __init__(self, context: Context) -> None:
        self._context = context
        self._program: Program | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._prompt: _Prompt | None = None
        self._stopper: asyncio.Task[None] | None = None
        self._planning: asyncio.Task[None] | None = None
        self._gone: Turn | None = None
        self._session = context.spec.resume
        self._model = context.spec.model or ""
        self._native = Native(context, self._tell) if context.spec.boundary == "native" else None
        self._telling: set[asyncio.Task[None]] = set()
        self._resets: float | None = None  # when the limit that was run into resets

    # --- life ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        context, spec = self._context, self._context.spec
        if spec.task is not None:
            _text(spec.task)
        options = setup.options(spec.options)
        setup.check_env(spec.env)
        cli, told = setup.native(find("codex", context.env, options.cli))
        user = Path(context.env.get("CODEX_HOME") or Path(context.env.get("HOME", "/")) / ".codex")
        pattern = await setup.pattern(cli, context.shared, context.env)
        home = await asyncio.to_thread(setup.make_home, context.private, context.shared, user, pattern)
        env = {**context.env, **told, "CODEX_HOME": str(home)}
        native = self._native is not None
        models = setup.bare(await setup.catalogue(cli, context.shared, env), spec.model, native=native)
        (home / "models.json").write_bytes(models)
        config = setup.config(
            options, context.env, home / "models.json", context.root, native=native, models=context.models
        )
        env = context.models.environment(env) if context.models else env
        (home / "config.toml").write_text(config)
        program = self._program = await Program.start(
            context, [str(cli), "app-server"], env, self._answer, self._notice
        )
        self._watcher = asyncio.create_task(self._watch(program.rpc), name=f"codex {context.agent}")
        try:
            async with asyncio.timeout(_START):
                await self._shake_hands(program.rpc, cli)
        except RpcError as error:
            failure = classify(str(error), login=setup.LOGIN)
            if spec.resume and failure.reason in ("unknown", "resume_rejected", "invalid_request"):
                failure = of_reason("resume_rejected")
                self._gone = _failed(str(error), failure, vendor_session=spec.resume)
                return  # the first turn says so
            await self.close(now=True)
            raise AgentFailed(f"{error}\n{failure.advice}", reason=failure.reason) from error
        except (Gone, TimeoutError) as error:
            await self.close(now=True)
            last = program.rpc.last_lines
            said = str(error) or f"codex app-server did not answer within {_START:g} s."
            failure = of_death(f"{said} {last}", login=setup.LOGIN)
            raise AgentFailed(f"{said}\n{failure.advice}", reason=failure.reason, last_lines=last) from error
        except BaseException:
            await self.close(now=True)
            raise

    async def _shake_hands(self, rpc: JsonRpc, cli: Path) -> None:
        context, spec = self._context, self._context.spec
        client = {"name": "agentlab", "title": "agentlab", "version": __version__}
        hello = await rpc.request("initialize", {"clientInfo": client, "capabilities": {"experimentalApi": True}})
        check_version("codex", str(hello.get("userAgent", "")).partition("/")[2], cli)
        await rpc.notify("initialized")
        thread: Params = {
            "cwd": str(context.root),
            "approvalPolicy": "untrusted"
            if self._native
            else "never",  # untrusted: it asks before each change and command
            "sandbox": "read-only",  # the second wall; an approved command that it stops is run again outside of it
            "developerInstructions": sharing.instructions(setup.PREFIX, spec.instructions, spec.boundary),
            **({"model": spec.model} if spec.model else {}),
        }
        if spec.resume:  # the tools of a thread are kept with it
            opened = await rpc.request("thread/resume", {**thread, "threadId": spec.resume})
        else:
            tools = setup.dynamic_tools(context.tools.catalogue())
            opened = await rpc.request("thread/start", {**thread, "dynamicTools": tools})
        self._session = str(opened["thread"]["id"])
        self._model = str(opened.get("model") or self._model)
        if spec.resume and self._session != spec.resume:
            raise RpcError(f"Thread {spec.resume} was to be resumed, but Codex opened {self._session}.")

    async def close(self, *, now: bool = False) -> None:
        if self._gone is None:
            closed = "The agent was closed."
            self._gone = Turn("cancelled", reason="cancelled", error=closed, vendor_session=self._session)
        program, self._program = self._program, None
        if program is not None:
            await program.close(now=now)
        for task in (self._watcher, self._stopper, self._planning, *self._telling):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._native:
            await self._native.settle()
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
        if self._native:
            await self._native.settle()
        if self._gone is None:
            code = exit.code if exit.signal is None else -exit.signal
            said = f"Codex ended with exit code {code} and without closing the turn."
            failure = of_death(rpc.last_lines, login=setup.LOGIN)
            self._gone = _failed(said, failure, vendor_session=self._session, exit_code=code, last_lines=rpc.last_lines)
        self._end(None)

    # --- turns ---------------------------------------------------------------------------------------------

    async def prompt(self, task: JSON) -> Turn:
        text = _text(task)
        if self._prompt:
            raise BadRequest("This agent is in the middle of a turn. Interrupt it, or wait for its end.")
        if self._gone:
            return self._gone
        if self._program is None:
            raise BadRequest("This agent has not been started.")
        prompt = self._prompt = _Prompt(asyncio.get_running_loop().create_future())
        try:
            turn = await self._turn(prompt, self._program.rpc, text)
        except asyncio.CancelledError:
            await self.interrupt()  # until the turn is closed: its end must not end the next one
            raise
        finally:
            self._prompt = None
        if turn.status == "failed":
            self._context.gate.record(Error(kind=turn.reason, message=turn.error), status="error")
        return turn

    async def _turn(self, prompt: _Prompt, rpc: JsonRpc, text: str) -> Turn:
        try:
            ask = {"threadId": self._session, "input": [{"type": "text", "text": text}]}
            begun = await rpc.request("turn/start", ask)
            prompt.id = str(begun["turn"]["id"])
        except RpcError as error:
            return _failed(str(error), classify(str(error), login=setup.LOGIN), vendor_session=self._session)
        except Gone:
            pass  # `ended` says so as well
        if prompt.interrupted and not prompt.ended.done():
            await self._stop(prompt)
        closed = await asyncio.shield(prompt.ended)
        if self._native:
            await self._native.settle()
        return self._conclude(prompt, closed)

    def _tell(self, text: str) -> None:
        """Say something to the model in the middle of the turn."""
        if self._program and self._prompt and self._prompt.id:
            words = [{"type": "text", "text": f"[agentlab] {text}"}]
            steer = {"threadId": self._session, "expectedTurnId": self._prompt.id, "input": words}
            task = asyncio.create_task(_quietly(self._program.rpc.request("turn/steer", steer)))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def interrupt(self) -> None:
        if prompt := self._prompt:
            prompt.interrupted = True
            await self._stop(prompt)

    async def _stop(self, prompt: _Prompt) -> None:
        """Interrupt the turn until it is closed. Codex says nothing to the calls that it no longer waits for: we end them."""
        if self._program is None or prompt.id is None:
            return  # it has not begun: `_turn` interrupts it as soon as it has
        program = self._program
        frozen = program.frozen
        await program.thaw()
        program.rpc.cancel_answers()
        try:
            async with asyncio.timeout(_INTERRUPT_LIMIT):
                while not prompt.ended.done():
                    await self._ask_to_stop(program.rpc, prompt.id)
                    await asyncio.wait([prompt.ended], timeout=_INTERRUPT_AGAIN)
        except Gone:
            pass
        except TimeoutError:
            await program.kill()
        if frozen:
            await program.freeze()

    async def _ask_to_stop(self, rpc: JsonRpc, turn: str) -> None:
        asked = asyncio.ensure_future(rpc.request("turn/interrupt", {"threadId": self._session, "turnId": turn}))
        try:
            await asyncio.wait([asked], timeout=_INTERRUPT_AGAIN)  # it may answer only when the turn is over
            if asked.done():
                asked.result()
        except RpcError:
            pass  # there is no such turn yet, or any more
        finally:
            asked.cancel()

    def _conclude(self, prompt: _Prompt, closed: Params | None) -> Turn:
        usage, session = dict(prompt.tokens), self._session
        if closed is None:
            gone = self._gone or _failed("Codex went away.", of_reason("process"))
            if prompt.interrupted:
                return Turn("cancelled", reason="cancelled", usage=usage, vendor_session=session)
            return Turn(
                gone.status, error=gone.error, reason=gone.reason, usage=usage, vendor_session=session,
                exit_code=gone.exit_code, last_lines=gone.last_lines,
            )  # fmt: skip
        if prompt.verdict:
            return _failed(*prompt.verdict, usage=usage, vendor_session=session)
        match closed.get("status"):
            case "completed":
                return Turn("done", output=prompt.text or None, usage=usage, vendor_session=session)
            case "interrupted":
                return Turn("cancelled", reason="cancelled", usage=usage, vendor_session=session)
        said, failure = _failure_of(closed.get("error"))
        resets = self._resets if failure.reason in ("rate_limit", "quota") else None
        return _failed(said, failure, usage=usage, vendor_session=session, resets=resets)

    def _end(self, closed: Params | None) -> None:
        if self._prompt and not self._prompt.ended.done():
            self._prompt.ended.set_result(closed)

    def _give_up(self, said: str, failure: Failure) -> None:
        """End the turn as failed, for a reason of ours."""
        if (prompt := self._prompt) and not prompt.verdict:
            prompt.verdict = said, failure
            self._stopper = asyncio.create_task(self._stop(prompt))

    # --- what it asks ----------------------------------------------------------------------------------------

    async def _answer(self, method: str, params: Params) -> JSON:
        match method:
            case "item/tool/call":
                return await self._call(params)
            case "item/tool/requestUserInput":
                return {"answers": {q["id"]: {"answers": [await self._ask(q)]} for q in params.get("questions", [])}}
            case "item/commandExecution/requestApproval" | "item/fileChange/requestApproval":
                if self._native:
                    return await self._native.approve(params)
                self._refuse(method)
                return {"decision": "decline"}
            case "execCommandApproval" | "applyPatchApproval":
                self._refuse(method)
                return {"decision": "denied"}
            case "mcpServer/elicitation/request":
                return {"action": "decline", "content": None}
            case "currentTime/read":
                return {"currentTimeAt": int(time.time())}
        raise RpcError(f"agentlab does not answer {method}.", METHOD_NOT_FOUND)

    async def _call(self, params: Params) -> JSON:
        offered = str(params.get("tool", ""))
        name = offered.removeprefix(setup.PREFIX)
        args = params.get("arguments")
        vendor = {"tool": offered, "turn": params.get("turnId")}
        try:
            output = await self._context.tools.call(
                name,
                args if isinstance(args, dict) else {},
                call_id=str(params.get("callId")),
                vendor=vendor,
                paged=True,
            )
        except AgentlabError as error:
            return _content(str(error), success=False)
        return _content(as_text(name, output), success=True)

    async def _ask(self, question: Params) -> str:
        options = tuple(str(option.get("label")) for option in question.get("options") or ())
        return await self._context.gate.ask(str(question.get("question", "")), options)

    def _refuse(self, what: str) -> None:
        detail = f"{what}: files and processes are reached by {setup.PREFIX}* only."
        self._context.gate.record(Guard(rule="boundary", detail=detail), status="denied")

    # --- what it says ----------------------------------------------------------------------------------------

    def _notice(self, method: str, params: Params) -> None:
        record = self._context.gate.record
        match method:
            case "item/started" if self._native and params["item"]["type"] in ACTS:
                self._native.started(params["item"])
            case "item/completed" if self._native and params["item"]["type"] in ACTS:
                if not self._native.completed(params["item"]):
                    self._give_up("Codex has acted without asking.", Failure("boundary", _NEW))
            case "item/started" if params["item"]["type"] in _OWN_TOOLS:
                kind = params["item"]["type"]
                self._refuse(kind)
                self._give_up(
                    f"Codex used a tool of its own ({kind}), although all are off.", Failure("boundary", _NEW)
                )
            case "item/completed":
                self._item(params["item"])
            case "thread/tokenUsage/updated":
                self._tokens(params["tokenUsage"]["last"])
            case "turn/plan/updated":
                steps = tuple(str(step.get("step", "")) for step in params.get("plan", []))
                self._planning = asyncio.create_task(self._context.gate.plan(steps))
            case "error":
                error = params.get("error") or {}
                if params.get("willRetry"):
                    record(Error(kind="api_retry", message=str(error.get("message"))), status="retry")
            case "account/rateLimits/updated":
                self._rate_limits(params.get("rateLimits") or {})
            case "turn/completed":
                turn = params["turn"]
                if self._prompt and (self._prompt.id is None or turn["id"] == self._prompt.id):
                    self._end(turn)

    def _item(self, item: Params) -> None:
        record = self._context.gate.record
        match item["type"]:
            case "agentMessage" if item.get("text"):
                if self._prompt:
                    self._prompt.text = item["text"]
                record(Message(role="assistant", text=item["text"]))
            case "reasoning":
                if text := "\n\n".join(item.get("summary") or item.get("content") or ()):
                    record(Message(role="thinking", text=text))
            case "contextCompaction":
                record(Message(role="system", text="The conversation was compacted."))
            case "imageView":  # the one tool of its own that cannot be taken away: it only reads
                record(
                    ToolCall(call=item["id"], args={"path": item.get("path")}, vendor={"tool": "view_image"}),
                    name="read",
                )
                record(ToolResult(call=item["id"]), name="read", status="ok")
            case "dynamicToolCall" if self._prompt:
                self._prompt.asked = time.monotonic_ns()

    def _tokens(self, last: Params) -> None:
        """Of one answer of the model. What was read from the cache is not counted among `in`."""
        cached = int(last.get("cachedInputTokens") or 0)
        inp, out = int(last.get("inputTokens") or 0) - cached, int(last.get("outputTokens") or 0)
        detail = {"reasoning": reasoning} if (reasoning := last.get("reasoningOutputTokens")) else None
        began, now = (self._prompt.asked if self._prompt else time.monotonic_ns()), time.monotonic_ns()
        self._context.gate.record(
            ModelCall(provider="openai", detail=detail),
            name=self._model, status="ok", dur_ns=max(0, now - began), tok_in=inp, tok_out=out, tok_cache=cached,
        )  # fmt: skip
        if self._prompt:
            for name, more in (("in", inp), ("out", out), ("cached", cached)):
                self._prompt.tokens[name] += more
            self._prompt.asked = now

    def _rate_limits(self, limits: Params) -> None:
        reached = limits.get("rateLimitReachedType")
        if not reached:
            return
        resets = [w["resetsAt"] for w in (limits.get("primary"), limits.get("secondary")) if w and w.get("resetsAt")]
        self._resets = float(max(resets)) if resets else None
        when = time.strftime(", resets at %Y-%m-%d %H:%M:%SZ", time.gmtime(max(resets))) if resets else ""
        self._context.gate.record(Error(kind="rate_limit", message=f"{reached}{when}"), status="error")


_NEW = "This version of Codex has tools that are not known here: use an older one (option cli)."


def _failure_of(error: Params | None) -> tuple[str, Failure]:
    """What a failed turn says of itself: by Codex's own class, else by its words."""
    error = error or {}
    said = str(error.get("message") or "The turn failed, and Codex did not say why.")
    if details := error.get("additionalDetails"):
        said += f" {details}"
    info = error.get("codexErrorInfo")
    name, status = "", None
    if isinstance(info, str):
        name = info
    elif isinstance(info, dict) and info:
        name, facts = next(iter(info.items()))
        status = facts.get("httpStatusCode") if isinstance(facts, dict) else None
    failure = classify(said, status=status, login=setup.LOGIN)
    if failure.reason == "unknown" and name in _REASONS:
        failure = of_reason(_REASONS[name], setup.LOGIN)
    return said, failure


async def _quietly(asked: Awaitable[JSON]) -> None:
    """The turn may have ended meanwhile: then there is nobody to be told."""
    try:
        await asked
    except (RpcError, Gone):
        pass


def _failed(said: str, failure: Failure, **facts: Any) -> Turn:
    return Turn("failed", error=f"{said.rstrip()}\n{failure.advice}".strip(), reason=failure.reason, **facts)


def _content(text: str, *, success: bool) -> JSON:
    return {"contentItems": [{"type": "inputText", "text": text}], "success": success}


def _text(task: JSON) -> str:
    if not isinstance(task, str) or not task.strip():
        raise BadRequest("The task of a codex agent is its prompt: a text that is not empty.")
    return task
