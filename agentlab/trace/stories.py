"""What belongs together in a log: a call and its result, a process and its exit. Pure, over steps in order of the log.

A record is a tuple in the order of its frame's columns. It stands where it began: `run_id`, `seq`, `actor`, `task_id`
are those of its first event, and a record is told when that one is `wanted`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from agentlab.errors import StoreCorrupt

from .kinds import Columns, Kind

S = TypeVar("S", bound=Struct)
Record = tuple[object, ...]

KEYS: Columns = {"run_id": Kind.CATEGORY, "seq": Kind.NUMBER, "actor": Kind.CATEGORY, "task_id": Kind.CATEGORY}

UNKNOWN = "unknown"
"""The status of what has no end in the log: it goes on, or its end was never written."""


class Step(NamedTuple):
    """One event, as far as stories need it. Columns as in `queries.STEPS`."""

    run_id: str
    seq: int
    ts: int
    type: str
    actor: str
    task_id: str | None
    name: str | None
    unit: str | None
    status: str | None
    dur: int | None
    cause: int | None
    payload: str
    wanted: int

    @property
    def keys(self) -> tuple[str, int, str, str | None]:
        return self.run_id, self.seq, self.actor, self.task_id


class Cut(Struct, frozen=True):
    """What stands in a payload for a value that is a blob."""

    hash: str = field(name="$blob")
    n: int
    head: str = ""


Text = str | Cut


def text(value: Text) -> str:
    """For people: a value that is a blob by its beginning, and it says so."""
    return value if isinstance(value, str) else f"{value.head}… ({value.n} bytes; blobs=True for all)"


class Reading:
    """Decodes payloads. What cannot be read is raised (StoreCorrupt), or noted in `errors` and left out."""

    def __init__(self, strict: bool = True) -> None:
        self.strict = strict
        self.errors: list[dict[str, Any]] = []

    def body(self, step: Step, decoder: msgspec.json.Decoder[S]) -> S:
        try:
            return decoder.decode(step.payload)
        except msgspec.MsgspecError as error:
            self.fail(f"{step.run_id}:{step.seq} ({step.type})", error)
            return decoder.type()

    def fail(self, event: str, error: Exception) -> None:
        if self.strict:
            raise StoreCorrupt(
                f"The payload of event {event} cannot be read: {error}. "
                f"strict=False leaves such payloads out and lists them in .attrs['errors'].",
                event=event,
            ) from error
        self.errors.append({"event": event, "error": str(error)})


# --- messages ----------------------------------------------------------------------------------------------


class _Message(Struct):
    role: str = ""
    text: Text = ""
    to: str = ""


_message = msgspec.json.Decoder(_Message)

MESSAGES: Columns = {**KEYS, "ts": Kind.TIME, "role": Kind.CATEGORY, "to": Kind.CATEGORY, "text": Kind.TEXT}


def messages(steps: Iterable[Step], reading: Reading) -> Iterator[Record]:
    for step in steps:
        if step.wanted:
            body = reading.body(step, _message)
            yield *step.keys, step.ts, body.role or None, body.to or None, text(body.text)


# --- what programs and their models said to each other ----------------------------------------------------


class _Exchange(Struct):
    provider: str = ""
    method: str = ""
    path: str = ""
    code: int = 0
    request: str | None = None
    request_size: int = 0
    response: str | None = None
    response_size: int = 0
    response_id: str = ""
    first_ns: int | None = None
    error: Text = ""


_exchange = msgspec.json.Decoder(_Exchange)

EXCHANGES: Columns = {
    **KEYS,
    "ts": Kind.TIME,
    "provider": Kind.CATEGORY,
    "model": Kind.CATEGORY,
    "method": Kind.CATEGORY,
    "path": Kind.TEXT,
    "status": Kind.CATEGORY,
    "code": Kind.NUMBER,
    "dur": Kind.SPAN,
    "first": Kind.SPAN,
    "request_size": Kind.NUMBER,
    "response_size": Kind.NUMBER,
    "response_id": Kind.TEXT,
    "error": Kind.TEXT,
    "request": Kind.TEXT,
    "response": Kind.TEXT,
}


def exchanges(steps: Iterable[Step], reading: Reading) -> Iterator[Record]:
    for step in steps:
        if step.wanted:
            body = reading.body(step, _exchange)
            yield (
                *step.keys, step.ts, body.provider, step.name, body.method, body.path, step.status, body.code, step.dur,
                body.first_ns, body.request_size, body.response_size, body.response_id or None, text(body.error) or None,
                body.request, body.response,
            )  # fmt: skip


# --- tool calls --------------------------------------------------------------------------------------------


class _Call(Struct):
    call: str = ""
    args: Raw = Raw(b"null")


class _Result(Struct):
    call: str = ""
    output: Raw = Raw(b"null")
    error: Text = ""


class _CallStory(Struct):
    first: Step
    call: str
    args: str | None = None
    end: Step | None = None
    result: _Result | None = None


_call, _result = msgspec.json.Decoder(_Call), msgspec.json.Decoder(_Result)

TOOL_CALLS: Columns = {
    **KEYS,
    "call": Kind.TEXT,
    "name": Kind.CATEGORY,
    "unit": Kind.CATEGORY,
    "status": Kind.CATEGORY,
    "started": Kind.TIME,
    "ended": Kind.TIME,
    "dur": Kind.SPAN,
    "end_seq": Kind.COUNT,
    "error": Kind.TEXT,
    "args": Kind.JSON,
    "output": Kind.JSON,
}


def tool_calls(steps: Iterable[Step], reading: Reading) -> Iterator[Record]:
    """Each call with its result. One without has the status `unknown`; a result without a call stands alone.

    The id of a call is its vendor's, and unique for one actor at one time. Where it does not help, the result's
    cause does.
    """
    stories: list[_CallStory] = []
    begun: dict[tuple[str, str, str], _CallStory] = {}
    at: dict[tuple[str, int], _CallStory] = {}
    for step in steps:
        if step.type == "tool.call":
            call = reading.body(step, _call)
            story = _CallStory(step, call.call, _json(call.args))
            stories.append(story)
            begun[step.run_id, step.actor, call.call] = at[step.run_id, step.seq] = story
            continue
        result = reading.body(step, _result)
        found = begun.pop((step.run_id, step.actor, result.call), None)
        if found is None and step.cause is not None:
            found = at.get((step.run_id, step.cause))
        if found is None or found.end is not None:
            found = _CallStory(step, result.call)
            stories.append(found)
        found.end, found.result = step, result
    return (_call_record(story) for story in stories if story.first.wanted)


def _call_record(story: _CallStory) -> Record:
    first, end, result = story.first, story.end, story.result
    alone = first is end
    head = (*first.keys, story.call or None, first.name or (end and end.name), first.unit or (end and end.unit))
    if end is None or result is None:
        return *head, UNKNOWN, first.ts, None, None, None, None, story.args, None
    dur = end.dur if end.dur is not None else None if alone else end.ts - first.ts
    error = text(result.error) or None
    status = end.status or ("error" if error else "ok")
    started = None if alone else first.ts
    return *head, status, started, end.ts, dur, end.seq, error, story.args, _json(result.output)


def _json(raw: Raw) -> str | None:
    value = bytes(raw)
    return None if value == b"null" else value.decode()


# --- files -------------------------------------------------------------------------------------------------


class _File(Struct):
    path: str = ""
    to: str | None = None
    before: str | None = None
    after: str | None = None
    size: int | None = None
    mode: int | None = None
    added: int | None = None
    removed: int | None = None
    via: str = "tool"
    diff: str | None = None
    link: str | None = None


_file = msgspec.json.Decoder(_File)

FILES: Columns = {
    **KEYS,
    "ts": Kind.TIME,
    "op": Kind.CATEGORY,
    "path": Kind.TEXT,
    "to": Kind.TEXT,
    "before": Kind.TEXT,
    "after": Kind.TEXT,
    "size": Kind.COUNT,
    "mode": Kind.COUNT,
    "added": Kind.COUNT,
    "removed": Kind.COUNT,
    "via": Kind.CATEGORY,
    "diff": Kind.TEXT,
    "link": Kind.TEXT,
}


def files(steps: Iterable[Step], reading: Reading) -> Iterator[Record]:
    """Each change of a file. op: create, write, delete, rename. `added`, `removed`: lines, of writes alone."""
    for step in steps:
        if not step.wanted:
            continue
        f = reading.body(step, _file)
        op = step.type.partition(".")[2]
        size = mode = added = removed = None
        if op == "write":  # the defaults of its event are left out in the log
            op = "write" if f.before else "create"
            size, mode = f.size or 0, 0o644 if f.mode is None else f.mode
            added, removed = f.added or 0, f.removed or 0
        yield (
            *step.keys, step.ts, op, f.path, f.to, f.before, f.before if op == "rename" else f.after,
            size, mode, added, removed, f.via, f.diff, f.link,
        )  # fmt: skip


# --- processes ---------------------------------------------------------------------------------------------


class _ProcStart(Struct):
    proc: str = ""
    argv: tuple[str, ...] = ()
    cwd: str = "."
    pid: int | None = None
    sandbox: str = "none"


class _ProcOutput(Struct):
    proc: str = ""
    fd: int = 1
    data: Text = ""


class _ProcExit(Struct):
    proc: str = ""
    code: int | None = None
    signal: int | None = None
    wrote: tuple[str, ...] = ()
    killed: int = 0


class _ProcStory(Struct):
    first: Step
    start: _ProcStart
    end: Step | None = None
    exit: _ProcExit | None = None
    printed: list[int] = field(default_factory=lambda: [0, 0, 0])  # bytes, by file descriptor


_proc_start, _proc_output, _proc_exit = map(msgspec.json.Decoder, (_ProcStart, _ProcOutput, _ProcExit))

PROCS: Columns = {
    **KEYS,
    "proc": Kind.TEXT,
    "unit": Kind.CATEGORY,
    "argv": Kind.TEXTS,
    "cwd": Kind.TEXT,
    "pid": Kind.COUNT,
    "status": Kind.CATEGORY,
    "code": Kind.COUNT,
    "signal": Kind.COUNT,
    "started": Kind.TIME,
    "ended": Kind.TIME,
    "dur": Kind.SPAN,
    "out_bytes": Kind.NUMBER,
    "err_bytes": Kind.NUMBER,
    "wrote": Kind.TEXTS,
    "killed": Kind.COUNT,
    "sandbox": Kind.CATEGORY,
}


def procs(steps: Iterable[Step], reading: Reading) -> Iterator[Record]:
    """Each process with its exit. Bytes are those of the text in the log: what was no UTF-8 counts as it was replaced."""
    stories: list[_ProcStory] = []
    live: dict[tuple[str, str, str], _ProcStory] = {}  # each agent counts its own: p1, p2, ...
    for step in steps:
        if step.type == "proc.start":
            start = reading.body(step, _proc_start)
            story = live[step.run_id, step.actor, start.proc] = _ProcStory(step, start)
            stories.append(story)
        elif step.type == "proc.output":
            output = reading.body(step, _proc_output)
            if (printing := live.get((step.run_id, step.actor, output.proc))) is not None:
                data = output.data
                printing.printed[output.fd == 2] += data.n if isinstance(data, Cut) else len(data.encode())
        else:
            exit = reading.body(step, _proc_exit)
            if (ending := live.pop((step.run_id, step.actor, exit.proc), None)) is not None:
                ending.end, ending.exit = step, exit
    return (_proc_record(story) for story in stories if story.first.wanted)


def _proc_record(story: _ProcStory) -> Record:
    first, start, end, exit = story.first, story.start, story.end, story.exit
    head = (*first.keys, start.proc, first.unit, start.argv, start.cwd, start.pid)
    out, err, _ = story.printed
    if end is None or exit is None:
        return *head, UNKNOWN, None, None, first.ts, None, None, out, err, None, None, start.sandbox
    dur = end.dur if end.dur is not None else end.ts - first.ts
    status = end.status or ("ok" if exit.code == 0 else "error")
    return (
        *head, status, exit.code, exit.signal, first.ts, end.ts, dur, out, err, exit.wrote, exit.killed, start.sandbox
    )  # fmt: skip
