"""The real gate: what the tool host asks of the plane, over a link that may break and a plane that may be away."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agentlab.core.commands import (
    AnyCommand,
    Ask,
    Entry,
    Granted,
    Hired,
    SetPlan,
    Touched,
    Units,
    Withdraw,
)
from agentlab.core.events import JSON, AnyBody, Blob, Mode, Revocation
from agentlab.core.policy import Rule
from agentlab.core.redaction import Redactor
from agentlab.errors import (
    AgentlabError,
    BadRequest,
    NotFound,
    Refused,
)
from agentlab.link.client import OnMessage
from agentlab.link.journal import Journal, path_of
from agentlab.link.messages import (
    MAX_FRAME,
    AnyRequest,
    AnyResponse,
    BlobData,
    GetBlob,
    Message,
)
from agentlab.runtimes.base import Launch

from .claims import Claims
from .gate import Permission, Verdict
from .uplink import Uplink

LARGEST_BLOB = MAX_FRAME - 4096  # bytes
HASH_APART = 1024 * 1024  # bytes; larger content is hashed beside the event loop
KNOWN_BLOBS = 4096  # hashes remembered as stored

R = TypeVar("R", bound=AnyResponse)

_encoder = msgspec.msgpack.Encoder()


class PlaneGate:
    """The `Gate` of one agent. `start` it before anything else; `hired` is what the plane said of the agent.

    `on_message` gets what the plane says that is not the gate's own business (send, interrupt, pause, ...);
    `adopted` is called with each `Hired`, the first included; `recorded` with each record, as soon as it is in the journal.
    """

    hired: Hired

    def __init__(
        self,
        launch: Launch,
        *,
        on_message: OnMessage | None = None,
        adopted: Callable[[Hired], None] | None = None,
        recorded: Callable[[AnyBody, dict[str, Any]], None] | None = None,
    ) -> None:
        self._launch = launch
        self._on_message = on_message
        self._on_adopted = adopted
        self._on_recorded = recorded
        self._redactor = Redactor(launch.secrets)
        self._journal = Journal(path_of(Path(launch.home), launch.agent))
        self._uplink = Uplink(launch, self._journal, self._message, self._adopted)
        self._claims = Claims(self._uplink, launch.agent, launch.heartbeat)
        self.claim, self.release = self._claims.claim, self._claims.release
        self._questions: dict[str, tuple[Ask, asyncio.Future[Message]]] = {}
        self._known: OrderedDict[str, None] = OrderedDict()

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self) -> Hired:
        """Connect and be hired. Raises PlaneUnavailable, Forbidden, VersionMismatch, NotFound."""
        await self._uplink.start()
        self._uplink.background(self._claims.heartbeat())
        return self.hired

    @property
    def refused(self) -> asyncio.Future[AgentlabError]:
        """Done when the plane will not have this runner any more, with the reason."""
        return self._uplink.refused

    @property
    def asking(self) -> bool:
        """Whether a person's answer is waited for."""
        return bool(self._questions)

    async def command(self, command: AnyCommand) -> AnyResponse:
        """Ask what is not an agent's business but its runner's; secrets are redacted."""
        return await self._uplink.ask(self._uplink.named(self._redactor.value(command)))

    async def close(self, *, done: bool = False) -> None:
        """Let go. `done`: the agent has ended and the plane knows it, so the journal is not needed any more."""
        self._claims.close()
        await self._uplink.close()
        if done:
            self._journal.remove()
        else:
            self._journal.close()

    # --- locks -------------------------------------------------------------------------------------------------

    @property
    def owner(self) -> str:
        return self._launch.agent

    def held(self, unit: str, mode: Mode = Mode.EXCLUSIVE) -> Granted | None:
        return self._claims.leases.held(unit, mode)

    def grants(self) -> tuple[Granted, ...]:
        return self._claims.leases.live()

    def keeps(self, ticket: int) -> bool:
        return ticket in self._claims.leases.tickets()

    def revoked(self, units: Iterable[str]) -> Revocation | None:
        return self._claims.take_revocation(units)

    async def touched(self, units: tuple[str, ...], since: int) -> tuple[str, ...]:
        return (await self._touched(units, since)).units

    async def position(self) -> int:
        return (await self._touched((), 0)).position

    async def _touched(self, units: tuple[str, ...], since: int) -> Units:
        asked = Touched(owner=self.owner, units=units, since=since, run_id=self.hired.run_id)
        return await self._ask(asked, Units)

    # --- the record --------------------------------------------------------------------------------------------

    def record(self, body: AnyBody, **columns: Any) -> None:
        entry = Entry(n=self._journal.last + 1, ts=time.time_ns(), body=body, **columns)
        encoded = _encoder.encode(entry)
        if self._redactor.found_in(encoded):
            encoded = _encoder.encode(self._redactor.value(entry))
        self._journal.append_encoded(entry.n, encoded)
        self._uplink.outbox.stir()
        if self._on_recorded:
            self._on_recorded(body, columns)

    async def flush(self) -> None:
        await self._uplink.flush()

    async def keep(self, data: bytes) -> str:
        data = self._redactor.data(data)
        if len(data) > LARGEST_BLOB:
            raise BadRequest(f"Content of {len(data)} bytes is too large to be kept: {LARGEST_BLOB} at most.")
        digest = sha256(data) if len(data) < HASH_APART else await asyncio.to_thread(sha256, data)
        hash = digest.hexdigest()
        if hash in self._known:
            self._known.move_to_end(hash)
        else:
            self._journal.keep(Blob(hash=hash, data=data))
            self._uplink.outbox.stir()
            self._known[hash] = None
            if len(self._known) > KNOWN_BLOBS:
                self._known.popitem(last=False)
        return hash

    def settled(self, data: bytes) -> int:
        return self._redactor.settled(data)

    async def fetch(self, hash: str) -> bytes | None:
        try:
            return (await self._ask(GetBlob(hash=hash), BlobData)).data
        except NotFound:
            return None

    async def plan(self, steps: tuple[str, ...], units: tuple[str, ...] = ()) -> None:
        await self.command(SetPlan(agent=self.owner, steps=steps, units=units))

    async def ask(self, question: str, options: tuple[str, ...] = (), input: JSON = None) -> str:
        """The answer, or "approved" where the person only agreed."""
        verdict = await self.approve(Permission(kind="question", question=question, options=options, input=input))
        if not verdict.allowed:
            raise Refused(f"{question!r} was {verdict.answer}{f': {verdict.reason}' if verdict.reason else ''}.")
        return verdict.answer

    async def approve(self, request: Permission, rules: tuple[Rule, ...] = ()) -> Verdict:
        approval = f"{self.hired.agent_id}-{secrets.token_hex(3)}"
        diff = None if request.diff is None else await self.keep(request.diff.encode("utf-8", "surrogateescape"))
        asked = self._uplink.named(
            self._redactor.value(
                Ask(
                    agent=self.owner, approval=approval, question=request.question, kind=request.kind,
                    options=request.options, tool=request.tool, units=request.units, input=request.input, diff=diff,
                    timeout=request.timeout, rules=rules,
                )
            )
        )  # fmt: skip
        answered: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._questions[approval] = (asked, answered)
        try:
            await self._uplink.ask(asked)
            message = await self._or_refused(answered)
        except asyncio.CancelledError:
            withdraw = Withdraw(agent=self.owner, approval=approval, reason="its call was cancelled")
            self._uplink.background(self._uplink.ask(self._uplink.named(withdraw)))
            raise
        except AgentlabError as error:
            if not self.refused.done():
                raise
            return Verdict(allowed=False, answer="cancelled", by="plane", reason=str(error))
        finally:
            del self._questions[approval]
        return verdict(message)

    # --- what comes by itself ----------------------------------------------------------------------------------

    def _adopted(self, hired: Hired, sent: float) -> None:
        self.hired = hired
        self._journal.last = max(self._journal.last, hired.journal)
        self._claims.adopted(hired, sent)
        for asked, _ in self._questions.values():
            self._uplink.background(self._uplink.ask(asked))  # its answer may have been missed
        if self._on_adopted:
            self._on_adopted(hired)

    def _message(self, message: Message) -> None:
        facts = message.data if isinstance(message.data, dict) else {}
        if message.verb == "revoked":
            if isinstance(ticket := facts.get("ticket"), int):
                taken = msgspec.convert(facts, Revocation) if facts.get("by") else None
                self._claims.revoked(ticket, taken)
        elif message.verb == "answer":
            _, answered = self._questions.get(str(facts.get("approval")), (None, None))
            if answered is not None and not answered.done():
                answered.set_result(message)
        elif self._on_message:
            self._on_message(message)

    # --- inside ------------------------------------------------------------------------------------------------

    async def _ask(self, request: AnyRequest, kind: type[R]) -> R:
        answer = await self._uplink.ask(request)
        if not isinstance(answer, kind):
            raise AgentlabError(f"The plane answered {type(request).__name__} with {type(answer).__name__}.")
        return answer

    async def _or_refused(self, future: asyncio.Future[Message]) -> Message:
        either: list[asyncio.Future[Any]] = [future, self.refused]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise self.refused.result()
        return future.result()


def verdict(message: Message) -> Verdict:
    """What the plane's word on a question means. What is not said to be allowed is not."""
    facts = message.data if isinstance(message.data, dict) else {}
    status = str(facts.get("status", ""))
    allowed = status in ("approved", "answered")
    return Verdict(
        allowed=allowed,
        answer=(message.text if allowed else "") or status,
        scope=str(facts.get("scope", "once")),
        by=str(facts.get("by", "")),
        reason=message.text,
    )
