"""Codex, driven through its app-server: ours as dynamic tools, whose calls come to us over its pipe; its own are off, or
(`boundary="native"`) ask us first: see `codex_native`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from agentlab.__about__ import __version__
from agentlab.core.events import JSON, Error, Guard, Message, ModelCall, ToolCall, ToolResult
from agentlab.errors import AgentFailed, AgentlabError
from agentlab.runner.governor import LIMITED

from . import codex_setup as setup
from . import sharing
from .answers import as_text
from .base import Context, Turn
from .boxed import boxed
from .codex_failures import failure_of
from .codex_native import ACTS, Native
from .failures import Failure, classify, of_death, of_reason
from .jsonrpc import METHOD_NOT_FOUND, Gone, JsonRpc, Params, RpcError
from .options import read_options
from .program import MARK, Program, check_version, find
from .start import Start, write_anew
from .tree import Tree
from .turns import Prompt, Turns, insist, put_away, started, text_of
from .vendor import Vendor

_START = 60.0  # s for the handshake
_ANSWER = 1.0  # s for the answer to an interrupt
_WHOSE = "a codex agent"

_OWN_TOOLS = frozenset({"commandExecution", "fileChange", "mcpToolCall", "webSearch", "imageGeneration"})
"""Items by which Codex would act itself. None can come where its tools are off: one that does ends the turn."""


@dataclass
class _Prompt(Prompt):
    """It is closed with the turn as Codex tells it."""

    id: str | None = None
    text: str = ""  # its last message
    tokens: dict[str, float] = field(default_factory=lambda: {"in": 0.0, "out": 0.0, "cached": 0.0})
    asked: int = field(default_factory=time.monotonic_ns)  # when the model was asked last


class CodexDriver(Vendor):
    """One process of Codex and one thread of it. Options: see `codex_setup.Options`."""

    boundaries: ClassVar[frozenset[str]] = frozenset({"tools", "native"})

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tree = Tree(MARK)
        self._turns = Turns[_Prompt](context.gate, context.spec.resume, self._stop)
        self._program: Program | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._planning: asyncio.Task[None] | None = None
        self._model = context.spec.model or ""
        self._native = Native(context, self._tell, self._lost) if context.spec.boundary == "native" else None
        self._telling: set[asyncio.Task[None]] = set()
        self._resets: float | None = None  # when the limit that was run into resets

    @staticmethod
    def preload() -> None:
        """What takes long the first time."""
        setup.check_env(("OPENAI_API_KEY", "CODEX_HOME"))

    # --- life ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        context, spec = self._context, self._context.spec
        if spec.task is not None:
            text_of(spec.task, _WHOSE)
        options = read_options(setup.Options, spec.options, "codex")
        setup.check_env(spec.env)
        cli, told = setup.native(find("codex", context.env, options.cli))
        user = Path(context.env.get("CODEX_HOME") or Path(context.env.get("HOME", "/")) / ".codex")
        pattern = await setup.pattern(cli, context.shared, context.env)
        home = await asyncio.to_thread(setup.make_home, context.private, context.shared, user, pattern)
        env = {**context.env, **told, "CODEX_HOME": str(home)}
        native = self._native is not None
        models = setup.bare(await setup.catalogue(cli, context.shared, env), spec.model, native=native)
        write_anew(home / "models.json", models.decode())
        config = setup.config(
            options, context.env, home / "models.json", context.root, native=native, models=context.models
        )
        env = context.models.environment(env) if context.models else env
        write_anew(home / "config.toml", config)
        start = Start(
            title="Codex", argv=(str(cli), "app-server"), env=env,
            opens=(home, context.shared / "sessions", user / "auth.json"), asks=True,
            reads=(pattern,) if pattern else (),
        )  # fmt: skip
        if native and context.sandbox is not None:
            start = boxed(context, context.sandbox, start)
        program = self._program = await Program.start(
            context, self._tree, start.argv, start.env, self._answer, self._notice
        )
        self._watcher = asyncio.create_task(self._watch(program), name=f"codex {context.agent}")
        try:
            async with asyncio.timeout(_START):
                await self._shake_hands(program.rpc, cli)
        except RpcError as error:
            failure = classify(str(error), login=setup.LOGIN)
            if spec.resume and failure.reason in ("unknown", "resume_rejected", "invalid_request"):
                failure = of_reason("resume_rejected")
                self._turns.no_more(self._turns.failed(str(error), failure, vendor_session=spec.resume))
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
        if not any(context.env.get(name) for name in setup.LOGINS):
            await _check_login(rpc)
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
        self._turns.session = str(opened["thread"]["id"])
        self._model = str(opened.get("model") or self._model)
        if spec.resume and self._turns.session != spec.resume:
            raise RpcError(f"Thread {spec.resume} was to be resumed, but Codex opened {self._turns.session}.")

    async def close(self, *, now: bool = False) -> None:
        self._turns.close()
        program, self._program = self._program, None
        if program is not None:
            await program.close(now=now)
        await put_away(self._watcher, self._turns.stopper, self._planning, *self._telling)
        if self._native:
            await self._native.settle()
        self._turns.end()

    async def _watch(self, program: Program) -> None:
        """The turn, and all later ones, have ended when the program has."""
        code = await program.ended()
        if self._program is not None:
            await self._tree.kill()  # what it is a wrapper of may have outlived it
        if self._native:
            await self._native.settle()
        said, last = f"Codex ended with exit code {code} and without closing the turn.", program.rpc.last_lines
        failure = of_death(last, login=setup.LOGIN)
        self._turns.no_more(self._turns.failed(said, failure, exit_code=code, last_lines=last))
        self._turns.end()

    # --- turns ---------------------------------------------------------------------------------------------

    async def prompt(self, task: JSON) -> Turn:
        text = text_of(task, _WHOSE)
        if gone := self._turns.over():
            return gone
        program = started(self._program)
        async with self._turns.begin(_Prompt()) as prompt:
            turn = await self._turn(prompt, program.rpc, text)
        return self._turns.told(turn)

    async def _turn(self, prompt: _Prompt, rpc: JsonRpc, text: str) -> Turn:
        try:
            ask = {"threadId": self._turns.session, "input": [{"type": "text", "text": text}]}
            begun = await rpc.request("turn/start", ask)
            prompt.id = str(begun["turn"]["id"])
        except RpcError as error:
            return self._turns.failed(str(error), classify(str(error), login=setup.LOGIN))
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
        if self._program and self._turns.current and self._turns.current.id:
            words = [{"type": "text", "text": f"[agentlab] {text}"}]
            steer = {"threadId": self._turns.session, "expectedTurnId": self._turns.current.id, "input": words}
            task = asyncio.create_task(_quietly(self._program.rpc.request("turn/steer", steer)))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _stop(self, prompt: _Prompt) -> None:
        """Codex says nothing to the calls that it no longer waits for: we end them."""
        if self._program is None or prompt.id is None:
            return  # it has not begun: `_turn` interrupts it as soon as it has
        rpc, turn = self._program.rpc, prompt.id
        rpc.cancel_answers()
        await insist(prompt, self._tree, lambda: self._ask_to_stop(rpc, turn))

    async def _ask_to_stop(self, rpc: JsonRpc, turn: str) -> None:
        asked = asyncio.ensure_future(rpc.request("turn/interrupt", {"threadId": self._turns.session, "turnId": turn}))
        try:
            await asyncio.wait([asked], timeout=_ANSWER)  # it may answer only when the turn is over
            if asked.done():
                asked.result()
        except (RpcError, Gone):
            pass  # there is no such turn yet, or any more
        finally:
            asked.cancel()

    def _conclude(self, prompt: _Prompt, closed: Params | None) -> Turn:
        turns, usage = self._turns, dict(prompt.tokens)
        if closed is None:
            return turns.unclosed(prompt, usage)
        if prompt.verdict:
            return turns.failed(*prompt.verdict, usage=usage)
        if prompt.interrupted or closed.get("status") == "interrupted":
            return turns.cancelled(usage=usage)  # it may have come to an end because its call was dropped
        if closed.get("status") == "completed":
            return Turn("done", output=prompt.text or None, usage=usage, vendor_session=turns.session)
        said, failure = failure_of(closed.get("error"))
        resets = self._resets if failure.reason in LIMITED else None
        return turns.failed(said, failure, usage=usage, resets=resets)

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

    def _lost(self, said: str) -> None:
        """An act of its own goes on without the locks it stands on: nothing but the end of the turn ends it."""
        self._turns.give_up(said, Failure("lost_grant", "Send it on with another prompt: it has to ask again."))

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
                    self._turns.give_up("Codex has acted without asking.", Failure("boundary", _NEW))
            case "item/started" if params["item"]["type"] in _OWN_TOOLS:
                kind = params["item"]["type"]
                self._refuse(kind)
                self._turns.give_up(
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
                if self._turns.current and (self._turns.current.id is None or turn["id"] == self._turns.current.id):
                    self._turns.end(turn)

    def _item(self, item: Params) -> None:
        record = self._context.gate.record
        match item["type"]:
            case "agentMessage" if item.get("text"):
                if self._turns.current:
                    self._turns.current.text = item["text"]
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
            case "dynamicToolCall" if self._turns.current:
                self._turns.current.asked = time.monotonic_ns()

    def _tokens(self, last: Params) -> None:
        """Of one answer of the model. What was read from the cache is not counted among `in`."""
        cached = int(last.get("cachedInputTokens") or 0)
        inp, out = int(last.get("inputTokens") or 0) - cached, int(last.get("outputTokens") or 0)
        detail = {"reasoning": reasoning} if (reasoning := last.get("reasoningOutputTokens")) else None
        began, now = (self._turns.current.asked if self._turns.current else time.monotonic_ns()), time.monotonic_ns()
        self._context.gate.record(
            ModelCall(provider="openai", detail=detail),
            name=self._model, status="ok", dur_ns=max(0, now - began), tok_in=inp, tok_out=out, tok_cache=cached,
        )  # fmt: skip
        if self._turns.current:
            for name, more in (("in", inp), ("out", out), ("cached", cached)):
                self._turns.current.tokens[name] += more
            self._turns.current.asked = now

    def _rate_limits(self, limits: Params) -> None:
        reached = limits.get("rateLimitReachedType")
        if not reached:
            return
        resets = [w["resetsAt"] for w in (limits.get("primary"), limits.get("secondary")) if w and w.get("resetsAt")]
        self._resets = float(max(resets)) if resets else None
        when = time.strftime(", resets at %Y-%m-%d %H:%M:%SZ", time.gmtime(max(resets))) if resets else ""
        self._context.gate.record(Error(kind="rate_limit", message=f"{reached}{when}"), status="error")


_NEW = "This version of Codex has tools that are not known here: use an older one (option cli)."


async def _check_login(rpc: JsonRpc) -> None:
    """Raises RpcError: it needs an account and has none. Told to work it would wait for the network, and say so for hours."""
    try:
        found = await rpc.request("account/read", {"refreshToken": False})
    except RpcError:
        return  # a version that cannot be asked finds out by itself
    if found.get("requiresOpenaiAuth") and found.get("account") is None:
        raise RpcError("Codex is not logged in, and was given no key.")


async def _quietly(asked: Awaitable[JSON]) -> None:
    """The turn may have ended meanwhile: then there is nobody to be told."""
    try:
        await asked
    except (RpcError, Gone):
        pass


def _content(text: str, *, success: bool) -> JSON:
    return {"contentItems": [{"type": "inputText", "text": text}], "success": success}
