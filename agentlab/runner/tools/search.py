"""Searching in files: by ripgrep where there is one, else by a program of our own. Both are given the same files."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentlab import processes
from agentlab.core.policy import Rule
from agentlab.errors import AgentTimeout, BadRequest, NotFound
from agentlab.paths import Workspace, program_outside

from .patterns import glob_regex
from .walk import Entry, Walk

Mode = Literal["content", "files", "count"]
Against = Callable[[str], Rule | None]
"""Which rule is against reading a file, by its name."""

MAX_LINES = 1_000  # of an answer, unless it is limited further
MAX_FILE = 8 * 1024 * 1024  # bytes; larger files are passed over
MAX_LINE = 500  # characters shown
_LOOKED_AT = 8192  # bytes in which a NUL makes a file a binary one
_MAX_BYTES = 1024 * 1024  # of what a search prints
_PATIENCE = 60.0  # s that a search may take
Looking = Callable[[Sequence[str]], tuple[Sequence[str], Mapping[str, str]]]
_GREP = Path(__file__).with_name("grep.py")


@dataclass(frozen=True)
class Wanted:
    regex: str
    mode: Mode = "content"
    context: int = 0
    ignore_case: bool = False


@dataclass(frozen=True)
class Line:
    """hit: it matches; else it is in the context of one that does."""

    path: str
    number: int
    hit: bool
    text: str


class Search:
    """looking: the argv of what only looks, in the agent's sandbox, and the environment that it wants there. A folder that is
    swapped for a link after the walk would lead the program anywhere; there, what is agentlab's own is not to be seen."""

    def __init__(
        self, workspace: Workspace, walk: Walk, env: Mapping[str, str], looking: Looking | None = None
    ) -> None:
        self._workspace = workspace
        self._walk = walk
        self._env = dict(env)
        self._looking = looking

    async def __call__(
        self,
        wanted: Wanted,
        path: str = ".",
        glob: str | None = None,
        *,
        limit: int | None = None,
        everything: bool = False,
        against: Against | None = None,
    ) -> list[str]:
        """By path and line; "path:line:text", "path-line-text" in a context, or as the mode says. The last items say if
        there were more, and how many files of a folder were left out, because a rule is `against` them."""
        _check(wanted.regex)
        name = self._workspace.locate(path).name
        names = await asyncio.to_thread(self._candidates, name, glob, everything)
        left: dict[Rule, list[str]] = {}
        if against is not None and names != [os.fsencode(name)]:
            names = await asyncio.to_thread(_allowed, names, against, left)
        out, full = await self._found(wanted, names)
        lines = _shown(out, wanted)
        most = limit or MAX_LINES
        notes = [_left_out(rule, files) for rule, files in left.items()]
        if len(lines) <= most and not full:
            return [*lines, *notes]
        more = f"{len(lines) - most} more" if not full else "more"
        return [*lines[:most], f"[... {more} lines; give a narrower pattern, path or glob, or mode='files']", *notes]

    def is_folder(self, path: str) -> bool:
        return self._workspace.locate(path).path.is_dir()

    def _candidates(self, name: str, glob: str | None, everything: bool) -> list[bytes]:
        """The files to search in, as the disk has their names."""
        found = self._workspace.root / name
        if not found.exists():
            raise NotFound(f"There is no {name!r} to search in. Use list to see what there is.", path=name)
        if not found.is_dir():
            return [os.fsencode(name)]
        regex = glob_regex(glob) if glob else None
        prefix = 0 if name == "." else len(name) + 1
        return [
            os.fsencode(entry.name)
            for entry in self._walk.files(name, everything=everything)
            if (regex is None or regex.fullmatch(entry.name[prefix:]) or regex.fullmatch(entry.name))
            and self._is_text(entry)
        ]

    def _is_text(self, entry: Entry) -> bool:
        if entry.is_link or entry.size > MAX_FILE:
            return False
        try:
            fd = os.open(self._workspace.root / entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return b"\0" not in os.read(fd, _LOOKED_AT)
        except OSError:
            return False
        finally:
            os.close(fd)

    async def _found(self, wanted: Wanted, names: Sequence[bytes]) -> tuple[str, bool]:
        """What the search prints, up to our bound, and whether there was more."""
        if not names:
            return "", False
        given = b"".join(name + b"\0" for name in names)
        path = self._env.get("PATH")
        rg, xargs = (program_outside(name, self._workspace.root, path) for name in ("rg", "xargs"))
        if rg and xargs:
            out, said = await self._printed([xargs, "-0", *ripgrep(rg, wanted)], given)
            if out or not said:  # else it does not know this kind of pattern, and ours does
                return out.decode(errors="surrogateescape"), len(out) >= _MAX_BYTES
        out, said = await self._printed(ours(wanted), given)
        if said and not out:
            raise BadRequest(f"The search failed: {said.decode(errors='replace').strip()[-500:]}")
        return out.decode(errors="surrogateescape"), len(out) >= _MAX_BYTES

    async def _printed(self, argv: Sequence[str], given: bytes) -> tuple[bytes, bytes]:
        """Both outputs of a program. It is ended at our bound, and when its time is over."""
        with os.fdopen(os.memfd_create("files"), "w+b") as stdin:
            stdin.write(given)
            stdin.seek(0)
            words, places = self._looking(argv) if self._looking else (argv, {})
            child = processes.spawn(words, cwd=self._workspace.root, env={**self._env, **places}, stdin=stdin)
        out, err = bytearray(), bytearray()
        full = asyncio.Event()

        async def take(data: bytes) -> None:
            out.extend(data[: _MAX_BYTES - len(out)])
            if len(out) >= _MAX_BYTES:
                full.set()

        async def complain(data: bytes) -> None:
            err.extend(data[:2000])

        async def read() -> None:
            pipes = ((child.stdout, take), (child.stderr, complain))
            await asyncio.gather(*(processes.read_pipe(pipe, sink) for pipe, sink in pipes))
            await child.wait()

        work, enough = asyncio.ensure_future(read()), asyncio.ensure_future(full.wait())
        try:
            done, _ = await asyncio.wait({work, enough}, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            enough.cancel()
            work.cancel()
            await asyncio.shield(processes.end([child.pid], grace=0))
            await child.wait()
            child.close_pipes()
        if not done:
            raise AgentTimeout(
                f"The search took more than {_PATIENCE:.0f} s. Give a simpler pattern or a narrower path."
            )
        return bytes(out), bytes(err)


def _allowed(names: Sequence[bytes], against: Against, left: dict[Rule, list[str]]) -> list[bytes]:
    """Those that no rule is against. left: the others, by rule."""
    allowed = []
    for name in names:
        shown = _name(os.fsdecode(name))
        if (rule := against(shown)) is None:
            allowed.append(name)
        else:
            left.setdefault(rule, []).append(shown)
    return allowed


def _left_out(rule: Rule, files: Sequence[str]) -> str:
    which = f"{files[0]} was" if len(files) == 1 else f"{len(files)} files ({files[0]}, ...) were"
    why = f"by the rule `{rule}`{f' ({rule.reason})' if rule.reason else ''}"
    if rule.action == "reject":
        return f"[{which} left out {why}]"
    return f"[{which} left out: somebody has to allow it, {why}; read or search one by itself, and that is asked]"


def ripgrep(rg: str, wanted: Wanted) -> list[str]:
    """The files follow."""
    argv = [rg, "--no-config", "--color=never", "--no-heading", "--with-filename", "--null", "--text", "--threads=1"]
    argv += ["--encoding=none", f"--max-columns={MAX_LINE}", "--max-columns-preview"]
    argv += {"content": ["--line-number"], "files": ["--files-with-matches"], "count": ["--count"]}[wanted.mode]
    argv += [f"--context={wanted.context}"] if wanted.context and wanted.mode == "content" else []
    argv += ["--ignore-case"] if wanted.ignore_case else []
    return [*argv, f"--regexp={wanted.regex}", "--"]


def ours(wanted: Wanted) -> list[str]:
    case = "i" if wanted.ignore_case else ""
    return [sys.executable, "-I", "-S", str(_GREP), wanted.mode, str(wanted.context), case, wanted.regex]


def _check(regex: str) -> None:
    try:
        re.compile(regex)
    except re.error as error:
        raise BadRequest(
            f"{regex!r} is no regular expression: {error}. To search for the text itself, put a backslash before each "
            "of its signs."
        ) from None


def _shown(out: str, wanted: Wanted) -> list[str]:
    if wanted.mode == "files":
        return [_name(path) for path in out.split("\0")[:-1]]
    if wanted.mode == "count":
        pairs = (line.split("\0", 1) for line in out.split("\n") if "\0" in line)
        return [f"{_name(path)}:{count}" for path, count in pairs]
    return list(_grouped(_parsed(out), wanted.context))


def _parsed(out: str) -> Iterator[Line]:
    for line in out.split("\n"):
        path, _, rest = line.partition("\0")
        if found := re.match(r"(\d+)([:-])", rest):
            text = rest[found.end() :].encode(errors="surrogateescape").decode(errors="replace")
            yield Line(_name(path), int(found[1]), found[2] == ":", _cut(text))


def _grouped(lines: Iterator[Line], context: int) -> Iterator[str]:
    """As text; with a context, a line of "--" where lines do not follow each other."""
    before: Line | None = None
    for line in lines:
        if context and before and (before.path, before.number + 1) != (line.path, line.number):
            yield "--"
        sign = ":" if line.hit else "-"
        yield f"{line.path}{sign}{line.number}{sign}{line.text}"
        before = line


def _name(path: str) -> str:
    name = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return unicodedata.normalize("NFC", name.removeprefix("./"))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_LINE else f"{text[:MAX_LINE]} [...]"
