"""The tools as agents see them: names, arguments, descriptions. One class of arguments a tool; its schema is derived."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from agentlab.core.events import JSON
from agentlab.errors import BadRequest

Path = Annotated[str, Meta(description="Path relative to the workspace root.")]
Line = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1, description="At most so many.")]
Ignored = Annotated[bool, Meta(description="Also what .gitignore names.")]
Encoding = Annotated[
    Literal["utf-8", "base64"], Meta(description="How `data` is given; base64 is for content that is no text.")
]
Mode = Annotated[
    Literal["exclusive", "shared"], Meta(description="exclusive: to change them; shared: so that nobody else does.")
]
Units = Annotated[
    list[str], Meta(description="Work units such as 'file:src/a.py', 'dir:src', 'proc:test', 'port:8000'.")
]


class Args(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The docstring of each subclass is what the agent reads about the tool."""


class Read(Args, frozen=True):
    """Read a text file of the workspace, before you change it or write over it. Lines come with their numbers, which are no
    part of the text, about 2,000 at a time: for another part give start and end. 'artifact:HASH' as path reads a stored
    output."""

    path: Path
    start: Annotated[Line, Meta(description="First line, from 1.")] | None = None
    end: Annotated[Line, Meta(description="Last line, inclusive.")] | None = None


class ReadBytes(Args, frozen=True):
    """Read a file that is no text, or its bytes from start up to but not including end, as base64."""

    path: Path
    start: Annotated[int, Meta(ge=0)] | None = None
    end: Annotated[int, Meta(ge=0)] | None = None


class Write(Args, frozen=True):
    """Write a whole file; directories are made as needed. An existing file must have been read first, so that no work of
    others is lost: if it changed since, the write is refused and shows the difference. Prefer edit for small changes."""

    path: Path
    data: Annotated[str, Meta(description="The complete new content.")]
    encoding: Encoding = "utf-8"
    base: (
        Annotated[
            str, Meta(description="Hash of the content that this one was made from; null: it must not exist yet.")
        ]
        | UnsetType
        | None
    ) = UNSET
    overwrite: Annotated[bool, Meta(description="Write over a file that you never read.")] = False


class Edit(Args, frozen=True):
    """Replace text in a file: `old` must be in it to the letter, and only once unless all is true. Give enough
    surrounding lines in `old` to make it unique."""

    path: Path
    old: Annotated[str, Meta(description="The exact text to replace, with its white space.", min_length=1)]
    new: Annotated[str, Meta(description="The text to put in its place.")]
    all: Annotated[bool, Meta(description="Replace every occurrence.")] = False


class Replacement(Args, frozen=True):
    old: Annotated[str, Meta(description="The exact text to replace.", min_length=1)]
    new: str
    all: Annotated[bool, Meta(description="Replace every occurrence.")] = False


class MultiEdit(Args, frozen=True):
    """Make several replacements in one file at once: all of them, or none if one fails. Each is made in what those before
    it left, by the rules of edit. For more than one change to a file."""

    path: Path
    edits: Annotated[list[Replacement], Meta(min_length=1)]


class Patch(Args, frozen=True):
    """Apply a unified diff to one file, where you have one; edit is easier to get right. Context lines must match to the
    letter; nothing is applied by halves."""

    path: Path
    diff: Annotated[str, Meta(description="Unified diff with @@ -start,count +start,count @@ headers.")]


class Delete(Args, frozen=True):
    """Delete one file. For a folder use run with ['rm', ...] and name it in writes."""

    path: Path


class Move(Args, frozen=True):
    """Move or rename a file, rather than write it anew. Nothing may exist at the new place."""

    path: Path
    to: Path


class List(Args, frozen=True):
    """See what is in a directory; directories end with '/'. With a pattern, all files below it that match."""

    path: Path = "."
    pattern: Annotated[str, Meta(description="As that of glob.")] | None = None


class Glob(Args, frozen=True):
    """Find files by their names, when you know what they are called. What .gitignore names is left out."""

    pattern: Annotated[
        str, Meta(min_length=1, description="Such as '*.py' at any depth, 'src/**/*.{ts,tsx}'. ** crosses directories.")
    ]
    path: Path = "."
    sort: Literal["name", "newest"] = "name"
    limit: Count = 500
    ignored: Ignored = False


class Search(Args, frozen=True):
    """Search file contents for a regular expression, when you know what is in them. Answers 'path:line:text'; with mode
    files the paths alone, with count 'path:lines'. What .gitignore names is left out, and what may not be read: that is said."""

    regex: Annotated[str, Meta(min_length=1)]
    path: Path = "."
    glob: Annotated[str, Meta(description="Only files that match, such as '*.py'.")] | None = None
    mode: Literal["content", "files", "count"] = "content"
    context: Annotated[int, Meta(ge=0, le=50, description="Lines to show around each.")] = 0
    ignore_case: bool = False
    limit: Count | None = None
    ignored: Ignored = False


class Run(Args, frozen=True):
    """Run a program and wait for it. Give command, a text for bash, or argv, a list of words. Declare what it changes in
    writes: other changes are refused or undone. Everything that it started is ended with it. With background it goes on
    while you do something else: for servers and watchers, and for what takes long. For files of no lasting use there is
    $TMPDIR."""

    command: Annotated[str, Meta(min_length=1)] | None = None
    argv: Annotated[list[str], Meta(min_length=1)] | Annotated[str, Meta(min_length=1)] | None = None
    writes: Annotated[list[str], Meta(description="Paths or units that it changes: 'build/', 'file:out.txt'.")] = []
    unit: Annotated[str, Meta(description="Process unit to take, such as 'proc:test'.")] | None = None
    timeout: Annotated[Seconds, Meta(description="Seconds until it is killed.")] | None = None
    background: bool = False
    env: dict[str, str] | None = None
    cwd: Path = "."
    stdin: str | None = None

    def __post_init__(self) -> None:
        if (self.argv is None) == (self.command is None):
            raise ValueError("give either command, a text for bash, or argv, a list of words")


class Output(Args, frozen=True):
    """See whether a program in the background runs, and what it printed since you looked last."""

    id: Annotated[str, Meta(description="As run told it, such as 'p3'.")]
    since: Annotated[int, Meta(description="From this byte on; -2000: the last 2000.")] | None = None
    wait: Annotated[float, Meta(ge=0, le=240, description="Seconds to wait for its end.")] = 0


class Stop(Args, frozen=True):
    """End a program in the background, with all that it started, when you need it no longer."""

    id: str


class Item(Args, frozen=True):
    text: Annotated[str, Meta(min_length=1)]
    status: Literal["pending", "in_progress", "done"] = "pending"


class Todo(Args, frozen=True):
    """Keep a list of what is to be done, for work of three steps or more: give all of it, whenever something changes."""

    items: list[Item]


class Artifact(Args, frozen=True):
    """Declare a result of your work: a report, a log, a diff. It is kept with the run."""

    name: Annotated[str, Meta(min_length=1)]
    data: str
    encoding: Encoding = "utf-8"
    kind: str = "file"


class Claim(Args, frozen=True):
    """Take work units, all or none, before a longer piece of work on them; wait until they are free. Release them soon."""

    units: Units
    mode: Mode = "exclusive"
    ttl: Annotated[Seconds, Meta(description="Seconds that the grant lives without a sign of life.")] | None = None
    yields: Annotated[
        bool, Meta(description="While holding others: give everything back and queue for the old and new together.")
    ] = False
    wait: Annotated[bool, Meta(description="false: be refused at once rather than queue.")] = True
    timeout: (
        Annotated[Seconds, Meta(description="Seconds to wait; your place in the queue is kept after it.")] | None
    ) = None


class Release(Args, frozen=True):
    """Give back work units, or a whole ticket; without arguments everything that you hold."""

    units: Units = []
    ticket: int | None = None


class Plan(Args, frozen=True):
    """Say what you are going to do, step by step, and which work units it will need. Replaces the plan before."""

    steps: list[str]
    units: Units = []


class Ask(Args, frozen=True):
    """Ask a person, and wait for the answer. Only for what you cannot decide yourself."""

    question: Annotated[str, Meta(min_length=1)]
    options: list[str] = []


class Say(Args, frozen=True):
    """Tell the people who watch something that they should know now."""

    text: str


class ToolSpec(Struct, frozen=True):
    """A tool as it is offered to a model. `schema`: JSON schema of its arguments.

    read_only: it changes nothing. destructive: it may take away what was there. idempotent: the same call once more
    changes nothing more. open_world: it may reach beyond the workspace.
    """

    name: str
    description: str
    schema: dict[str, JSON]
    read_only: bool
    destructive: bool = False
    idempotent: bool = False
    open_world: bool = False


def check_names(names: Iterable[str]) -> None:
    """Raises BadRequest: an agent is to have tools that there are not, and would go without."""
    if unknown := [name for name in names if name not in TOOLS]:
        raise BadRequest(f"There is no tool {', '.join(map(repr, unknown))}. There are: {', '.join(TOOLS)}.")


TOOLS: dict[str, type[Args]] = {
    "read": Read,
    "read_bytes": ReadBytes,
    "write": Write,
    "edit": Edit,
    "multi_edit": MultiEdit,
    "patch": Patch,
    "delete": Delete,
    "move": Move,
    "list": List,
    "glob": Glob,
    "search": Search,
    "run": Run,
    "output": Output,
    "stop": Stop,
    "todo": Todo,
    "artifact": Artifact,
    "claim": Claim,
    "release": Release,
    "plan": Plan,
    "ask": Ask,
    "say": Say,
}

READ_ONLY = frozenset({"read", "read_bytes", "list", "glob", "search", "output"})
HARMLESS = frozenset({"artifact", "claim", "release", "plan", "todo", "ask", "say"})
"""Not read-only, but what they change is nobody's work."""
IDEMPOTENT = READ_ONLY - {"output"} | {"write", "stop", "release", "plan", "todo"}
OPEN_WORLD = frozenset({"run"})


@cache
def spec_of(name: str) -> ToolSpec:
    args = TOOLS[name]
    made: dict[str, Any] = msgspec.json.schema(args)
    schema: dict[str, Any] = _plain(made["$defs"][args.__name__], made["$defs"])
    schema.pop("title", None)
    description = " ".join(str(schema.pop("description", "")).split())
    return ToolSpec(
        name,
        description,
        schema,
        read_only=name in READ_ONLY,
        destructive=name not in READ_ONLY | HARMLESS,
        idempotent=name in IDEMPOTENT,
        open_world=name in OPEN_WORLD,
    )


_DULL: tuple[tuple[str, JSON], ...] = (
    ("additionalProperties", False),
    ("required", []),
    ("default", []),
    ("default", False),
)


def _plain(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema that says no more than a model needs: without references, nulls that mean "not given" and their
    like. Unknown arguments are refused by `check`, which names the known ones; a client's own check would not."""
    match schema:
        case {"$ref": str(name)}:
            inner = _plain(definitions[name.rpartition("/")[2]], definitions)
            return {key: value for key, value in inner.items() if key not in ("title", "description")}
        case {"anyOf": [*some, {"type": "null"}], "default": None}:
            return _plain(some[0] if len(some) == 1 else {"anyOf": some}, definitions)
        case dict():
            return {key: _plain(value, definitions) for key, value in schema.items() if (key, value) not in _DULL}
        case list():
            return [_plain(each, definitions) for each in schema]
        case _:
            return schema


def check(name: str, args: Mapping[str, JSON]) -> Args:
    """The arguments of a call, as their class. Raises BadRequest that names what is wrong and what there is."""
    known = TOOLS[name].__struct_fields__
    if unknown := [key for key in args if key not in known]:
        raise BadRequest(
            f"{name} has no option {', '.join(map(repr, unknown))}. It takes: {', '.join(known)}.", unknown=unknown
        )
    try:
        return msgspec.convert(dict(args), TOOLS[name])
    except msgspec.ValidationError as error:
        text = re.sub(r"Object missing required field `(\w+)`", r"the option '\1' is missing", str(error))
        raise BadRequest(f"{name}: {text}. It takes: {', '.join(known)}.") from None
