"""What the tools answer."""

from __future__ import annotations

import base64
from hashlib import sha256

import msgspec
from msgspec import Struct

from agentlab.core.commands import Granted
from agentlab.core.events import JSON

SHOWN_HEAD = 20_000  # characters of a process's output that the agent sees, from its beginning
SHOWN_TAIL = 10_000  # and from its end


class Change(Struct, frozen=True, kw_only=True):
    """What became of a file. `before` None: it is new; `after` None: it is gone; `to`: it was moved there."""

    path: str
    before: str | None
    after: str | None
    added: int = 0  # lines
    removed: int = 0
    diff: str = ""  # unified; "" where nothing changed, or the content is binary or very large
    to: str | None = None

    @property
    def changed(self) -> bool:
        return self.before != self.after or self.to is not None


class Ran(Struct, frozen=True, kw_only=True):
    """How a command ended. `code` None: it was ended by `signal`. Long output is cut in the middle and says where it is.

    wrote: paths that it changed and that stay so. violations: what it wrote without a claim, and what to do about it.
    hint: what to do where its sandbox refused a write. stored: by stream, the path under which `read` has all of a long one.
    """

    code: int | None
    signal: int | None = None
    stdout: str = ""
    stderr: str = ""
    wrote: tuple[str, ...] = ()
    timed_out: bool = False
    violations: str = ""
    hint: str = ""
    stored: dict[str, str] = {}


class Printed(Struct, frozen=True, kw_only=True):
    """A command in the background: how it is, and a page of what it has printed, both streams as they came.

    code, signal: None while it runs. why: it did not end by itself: stopped, timeout, ... text: bytes `start` to `end` of the
    `size` that there are by now. wrote, violations, hint: as of `Ran`; while it runs, what was found just now.
    """

    id: str
    running: bool
    code: int | None = None
    signal: int | None = None
    why: str = ""
    text: str = ""
    start: int = 0
    end: int = 0
    size: int = 0
    wrote: tuple[str, ...] = ()
    violations: str = ""
    hint: str = ""


class Todos(Struct, frozen=True):
    """What is to be done. status: pending | in_progress | done."""

    items: tuple[Todo, ...]


class Todo(Struct, frozen=True):
    text: str
    status: str


class Kept(Struct, frozen=True, kw_only=True):
    """An artifact that was declared."""

    name: str
    hash: str
    size: int


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def to_json(value: object) -> JSON:
    """A result as JSON values: bytes in base64, structs as objects."""
    match value:
        case Granted():
            return granted_json(value)
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return msgspec.to_builtins(value)


def granted_json(granted: Granted) -> dict[str, JSON]:
    return {
        "ticket": granted.ticket,
        "token": granted.token,
        "units": list(granted.units),
        "mode": str(granted.mode),
        "ttl": granted.ttl,
    }


def shorten(text: str, where: str) -> str:
    """Head and tail of a long text, and a note between them of `where` the whole of it is."""
    left_out = len(text) - SHOWN_HEAD - SHOWN_TAIL
    if left_out <= 0:
        return text
    return f"{text[:SHOWN_HEAD]}\n[... {left_out} characters left out; {where} ...]\n{text[-SHOWN_TAIL:]}"
