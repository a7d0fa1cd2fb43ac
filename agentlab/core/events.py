"""What can have happened: one event type a class, tagged as it stands in the log.

An `Event` is an envelope (the promoted columns of the log) around one body. Bodies hold facts, never advice.
Each body names in `NONDET` the fields that may differ between two equal runs; what is left, with the envelope's
actor, name, unit and status, is the event's deterministic projection (`core.digest`).
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
from msgspec import Struct

from .modes import Mode as Mode
from .spec import GO_ON as GO_ON
from .spec import JSON as JSON
from .spec import AgentSpec as AgentSpec
from .spec import Budget as Budget
from .spec import Priority as Priority


class Body(Struct, frozen=True, omit_defaults=True, tag_field="type", kw_only=True):
    NONDET: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def type(cls) -> str:
        return str(cls.__struct_config__.tag)


# --- runs and tasks ----------------------------------------------------------------------------------------


class RunStart(Body, frozen=True, tag="run.start"):
    NONDET = frozenset({"root", "host", "versions", "user", "base_tree", "session_kind"})
    name: str
    root: str  # absolute path of the workspace
    host: str  # the machine whose disk holds it
    schedule: str = "arrival"  # arrival | turns | recorded
    claims: str = "implicit"  # implicit | explicit: what a write outside any claim does
    auto_end: bool = False  # ends by itself with its last agent
    base_tree: str | None = None
    parent_run_id: str | None = None
    fork_seq: int | None = None
    source: str = "native"
    user: str = ""
    session_kind: str = ""
    env: dict[str, str] = {}  # pinned environment of every child
    nondet: int = 1  # version of the NONDET lists
    versions: dict[str, str] = {}


class RunBegin(Body, frozen=True, tag="run.begin"):
    """The agents of a `turns` run are all there: the turnstile opens."""


class RunEnd(Body, frozen=True, tag="run.end"):
    NONDET = frozenset({"final_tree", "usage"})
    reason: str = ""
    final_tree: str | None = None
    usage: dict[str, float] = {}  # of all its agents, as in `AgentEnd`; what nobody told is not there


class TaskCreate(Body, frozen=True, tag="task.create"):
    NONDET = frozenset({"rid"})
    goal: str
    parent: str | None = None
    owner: str | None = None
    input: JSON = None
    rid: str = ""


class TaskUpdate(Body, frozen=True, tag="task.update"):
    """status of the envelope is the new one: pending, running, blocked, done, failed, cancelled."""

    was: str
    output: JSON = None
    artifacts: tuple[str, ...] = ()


class PlanSet(Body, frozen=True, tag="plan"):
    steps: tuple[str, ...]
    units: tuple[str, ...] = ()


# --- agents ------------------------------------------------------------------------------------------------


class AgentStart(Body, frozen=True, tag="agent.start"):
    NONDET = frozenset({"rid"})
    spec: AgentSpec
    rid: str = ""  # id of the request, so that a repeat finds this agent


class AgentState(Body, frozen=True, tag="agent.state"):
    """status of the envelope is the new one; `reason` says why, for people."""

    NONDET = frozenset({"pid", "place", "runtime", "vendor_session"})
    was: str
    reason: str = ""
    runtime: str | None = None
    place: str | None = None  # the runtime's own handle (JSON text), enough to find the agent again
    pid: int | None = None
    vendor_session: str | None = None


class AgentEnd(Body, frozen=True, tag="agent.end"):
    """status of the envelope: done, failed or cancelled."""

    NONDET = frozenset({"usage", "last_lines", "resets"})
    output: JSON = None
    error: str = ""
    reason: str = ""  # class of failure: process, lost, auth, timeout, cancelled, ...
    exit_code: int | None = None
    last_lines: str = ""
    usage: dict[str, float] = {}  # tokens in, out, cached; cost in USD
    resets: int | None = None  # ns since the epoch: when the limit that it ran into resets, where the vendor says so


class Message(Body, frozen=True, tag="message"):
    """A text to or from an agent. role: user | assistant | thinking | system."""

    NONDET = frozenset({"rid"})
    role: str
    text: str
    to: str = ""
    rid: str = ""  # id of the request, so that a repeat is not a second message


class ModelCall(Body, frozen=True, tag="model.call"):
    NONDET = frozenset({"request", "response_id", "detail"})
    provider: str
    request: str | None = None
    response_id: str = ""
    stop: str = ""
    detail: JSON = None


class ModelExchange(Body, frozen=True, tag="model.exchange"):
    """One HTTP request of an agent's program to its model, and the answer, as they went over the wire. `name` of the envelope:
    the model; status: ok, or error (a code of 400 and above, no answer, an answer that broke off). Headers are not recorded."""

    NONDET = frozenset({"request", "response", "request_size", "response_size", "response_id", "first_ns", "error"})
    provider: str  # anthropic | openai | google | another's name
    method: str
    path: str  # below the base URL, without keys
    code: int = 0  # of HTTP; 0: there was no answer
    media: str = ""  # type of the answer
    request: str | None = None  # hash of the body; None: it was empty, or too large
    request_size: int = 0  # bytes
    response: str | None = None
    response_size: int = 0
    response_id: str = ""
    first_ns: int | None = None  # until the first byte of the answer's body
    error: str = ""


# --- the tool boundary -------------------------------------------------------------------------------------


class ToolCall(Body, frozen=True, tag="tool.call"):
    NONDET = frozenset({"call"})
    call: str  # id that its result repeats
    args: JSON = None
    vendor: JSON = None  # what the CLI called it, beside our vocabulary


class ToolResult(Body, frozen=True, tag="tool.result"):
    """status of the envelope: ok | error | denied | timeout | cancelled; cause: seq of the call where known."""

    NONDET = frozenset({"call"})
    call: str
    output: JSON = None
    error: str = ""


class FileRead(Body, frozen=True, tag="file.read"):
    path: str
    hash: str | None  # sha256 of the content as read; None = there was no such file
    size: int = 0


class FileWrite(Body, frozen=True, tag="file.write"):
    """A file now has this content. via: tool (ours), scan (found after a process), rollback (undone by us)."""

    NONDET = frozenset({"token"})
    path: str
    before: str | None  # hash; None = it did not exist
    after: str
    size: int = 0
    mode: int = 0o644
    added: int = 0  # lines
    removed: int = 0
    diff: str | None = None  # hash of the unified diff, or None where it is binary or too large to diff
    via: str = "tool"
    link: str | None = None  # target, where it is a symbolic link
    stored: bool = True  # False: larger than the store takes; checkout cannot restore it
    token: int = 0


class FileDelete(Body, frozen=True, tag="file.delete"):
    NONDET = frozenset({"token"})
    path: str
    before: str
    via: str = "tool"
    token: int = 0


class FileRename(Body, frozen=True, tag="file.rename"):
    NONDET = frozenset({"token"})
    path: str
    to: str
    before: str
    replaced: str | None = None
    via: str = "tool"
    token: int = 0


class ProcStart(Body, frozen=True, tag="proc.start"):
    NONDET = frozenset({"pid", "cwd", "token"})
    proc: str  # id that its output and exit repeat
    argv: tuple[str, ...]
    cwd: str = "."
    env: dict[str, str] = {}  # what it has beyond the run's pinned environment
    pid: int = 0
    token: int = 0
    sandbox: str = "none"


class ProcOutput(Body, frozen=True, tag="proc.output"):
    """A piece of what a process printed, in order. Not text: bytes that are no UTF-8 are replaced in `data`, kept in `raw`."""

    NONDET = frozenset({"proc", "data", "raw"})
    proc: str
    fd: int  # 1 or 2
    data: str = ""
    raw: str | None = None  # hash of the bytes, where `data` is not all of them


class ProcExit(Body, frozen=True, tag="proc.exit"):
    NONDET = frozenset({"proc", "rusage", "killed"})
    proc: str
    code: int | None = None
    signal: int | None = None
    rusage: dict[str, float] = {}  # s of user and system time, peak bytes
    wrote: tuple[str, ...] = ()  # paths found changed afterwards
    killed: int = 0  # processes of its tree that had to be killed after it


class Artifact(Body, frozen=True, tag="artifact"):
    """name of the envelope: its name. kind: diff, log, report, output, file."""

    kind: str
    hash: str
    size: int = 0
    media: str = "text/plain"
    path: str | None = None


# --- locks -------------------------------------------------------------------------------------------------


class Blocker(Struct, frozen=True, omit_defaults=True):
    """Who stands in the way of a request: a holder, or a waiter ahead of it."""

    owner: str
    unit: str
    ticket: int
    waits: bool = False  # True: it waits too, ahead of us


class LockRequest(Body, frozen=True, tag="lock.request"):
    """A claim that has to wait. `key` is its place in the order of all waiting requests."""

    NONDET = frozenset({"ticket", "key", "rid", "behind", "passed"})
    ticket: int
    owner: str
    units: tuple[str, ...]
    mode: Mode
    key: tuple[int, ...]
    implicit: bool = False
    priority: Priority = Priority.NORMAL
    ttl: float = 60.0
    behind: tuple[Blocker, ...] = ()
    passed: tuple[int, ...] = ()  # tickets that this one was put before; each counts it as a bypass
    rid: str = ""


class LockGrant(Body, frozen=True, tag="lock.grant"):
    """Ownership begins. Without a `lock.request` of the same ticket it was free and granted at once."""

    NONDET = frozenset({"ticket", "token", "rid"})
    ticket: int
    owner: str
    units: tuple[str, ...]
    mode: Mode
    token: int  # fencing token: larger than that of every earlier grant
    implicit: bool = False
    priority: Priority = Priority.NORMAL
    ttl: float = 60.0
    rid: str = ""


class LockRelease(Body, frozen=True, tag="lock.release"):
    """Ownership, or the wait for it, ends. `units`: what is given back; a part of the ticket where fewer than it has."""

    NONDET = frozenset({"ticket"})
    ticket: int
    owner: str
    units: tuple[str, ...]
    reason: str = ""  # "" by its owner | end | yield | cancelled | operator
    by: str = ""  # the person, where it was taken away
    why: str = ""


class Revocation(Struct, frozen=True, omit_defaults=True):
    """Units that a person took from their owner, or a wait for them that a person ended."""

    ticket: int
    units: tuple[str, ...]
    by: str
    why: str = ""

    def __str__(self) -> str:
        return f"{', '.join(self.units)} was revoked by {self.by}{f': {self.why}' if self.why else ''}"


class LockExpire(Body, frozen=True, tag="lock.expire"):
    NONDET = frozenset({"ticket"})
    ticket: int
    owner: str
    units: tuple[str, ...]
    reason: str = "lease"  # lease | pause


class LockDeny(Body, frozen=True, tag="lock.deny"):
    NONDET = frozenset({"behind", "reason"})
    owner: str
    units: tuple[str, ...]
    mode: Mode
    reason: str  # the text of the refusal: it names tickets
    behind: tuple[Blocker, ...] = ()


# --- the rest ----------------------------------------------------------------------------------------------


class Handoff(Body, frozen=True, tag="handoff"):
    to: str
    artifact: str | None = None
    summary: str = ""


class StateSet(Body, frozen=True, tag="state"):
    """A fact beside the trace. Runtimes report theirs so: store "runtime", key its id, after the row."""

    NONDET = frozenset({"before", "after"})
    store: str
    key: str
    before: JSON = None
    after: JSON = None
    provenance: str = ""


class Standing(Struct, frozen=True, omit_defaults=True):
    """How a work unit stood: who had it, or waited for it."""

    unit: str
    owner: str
    mode: Mode
    waits: bool = False


class Approval(Body, frozen=True, tag="approval"):
    """A question (status asked) or how it ended (approved, denied, answered, expired, cancelled). One that a rule
    decides is never asked: then both are one event.

    `locks`: how the units, and what hangs together with them, stood when it was asked.
    """

    NONDET = frozenset({"approval", "locks", "expires", "rid"})
    approval: str
    kind: str = "question"  # question | permission | login
    question: str = ""
    options: tuple[str, ...] = ()
    tool: str = ""
    units: tuple[str, ...] = ()
    input: JSON = None
    diff: str | None = None  # hash of the unified diff of what is asked for
    risk: str = "low"  # low | medium | high
    risks: tuple[str, ...] = ()
    locks: tuple[Standing, ...] = ()
    expires: int | None = None  # ns since the epoch: then it ends as `expired`
    answer: str = ""
    by: str = ""  # who answered: a person, "policy", "plane", or the agent that took it back
    scope: str = "once"  # once | session | always
    rule: str = ""  # the rule of the policy that decided, or that had it asked
    rid: str = ""  # id of the request that answered, so that a repeat is not a second answer


class Guard(Body, frozen=True, tag="guard"):
    """A rule was enforced. status: denied | rolled_back | warned."""

    rule: str
    detail: str = ""
    paths: tuple[str, ...] = ()


class Error(Body, frozen=True, tag="error"):
    NONDET = frozenset({"trace"})
    kind: str
    message: str
    trace: str = ""


class Raw(Body, frozen=True, tag="import.raw"):
    """A line that nobody could read: kept, so that nothing is lost."""

    line: str
    source: str = ""


AnyBody = (
    RunStart | RunBegin | RunEnd | TaskCreate | TaskUpdate | PlanSet
    | AgentStart | AgentState | AgentEnd | Message | ModelCall | ModelExchange
    | ToolCall | ToolResult | FileRead | FileWrite | FileDelete | FileRename
    | ProcStart | ProcOutput | ProcExit | Artifact
    | LockRequest | LockGrant | LockRelease | LockExpire | LockDeny
    | Handoff | StateSet | Approval | Guard | Error | Raw
)  # fmt: skip


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the log. `id` orders the whole store, `seq` the run; neither has gaps. `ts`: ns since the epoch."""

    id: int = 0
    run_id: str = ""
    seq: int = 0
    ts: int = 0
    actor: str
    session_id: str | None = None
    task_id: str | None = None
    span: str | None = None
    parent: str | None = None
    cause: int | None = None  # seq of the event that this one follows from
    name: str | None = None
    unit: str | None = None
    status: str | None = None
    dur_ns: int | None = None
    tok_in: int | None = None
    tok_out: int | None = None
    tok_cache: int | None = None
    cost: float | None = None  # USD
    body: AnyBody

    @property
    def type(self) -> str:
        return self.body.__struct_config__.tag  # type: ignore[return-value]


class Blob(Struct, frozen=True):
    """Content by hash: `hash` is the sha256 of `data`, in hex."""

    hash: str
    data: bytes


_payload_encoder = msgspec.json.Encoder()
_payload_decoder: msgspec.json.Decoder[AnyBody] = msgspec.json.Decoder(AnyBody)


def encode_payload(body: AnyBody) -> bytes:
    """The `payload` column: JSON, with the type as its tag."""
    return _payload_encoder.encode(body)


def decode_payload(payload: bytes | str, type: str = "") -> AnyBody:
    """The body again. One that this version does not know becomes `Raw`: a log of a newer agentlab stays readable."""
    try:
        return _payload_decoder.decode(payload)
    except msgspec.ValidationError:
        text = payload if isinstance(payload, str) else payload.decode("utf-8", "replace")
        return Raw(line=text, source=type)
