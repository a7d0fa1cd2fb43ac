"""Looking around: lists and searches. They change nothing, need no grant, and their answers are bounded."""

from __future__ import annotations

import asyncio
import fnmatch
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentlab import processes
from agentlab.errors import AgentTimeout, BadRequest, NotFound
from agentlab.paths import Workspace

Names = list[str]  # the class below has a method `list`

MAX_NAMES = 5_000
MAX_MATCHES = 1_000
_MAX_BYTES = 1024 * 1024  # of search output
_PATIENCE = 60.0  # s that a search may take
_GREP = Path(__file__).with_name("grep.py")


class Look:
    def __init__(self, workspace: Workspace, *, ignore: Sequence[str], env: Mapping[str, str]) -> None:
        self._workspace = workspace
        self._ignore = tuple(ignore)
        self._env = dict(env)

    async def list(self, path: str = ".", pattern: str | None = None) -> Names:
        """Entries of a directory, or files below it that match, relative to the workspace. The last item says if more."""
        name = self._workspace.locate(path).name
        found = await asyncio.to_thread(self._entries if pattern is None else self._files, name, pattern or "")
        more = len(found) - MAX_NAMES
        return found if more <= 0 else [*found[:MAX_NAMES], f"[... {more} more; give a narrower path or pattern]"]

    async def search(self, regex: str, path: str = ".", glob: str | None = None) -> Names:
        """Lines as "path:line:text", by path and line. The last item says if there were more."""
        try:
            re.compile(regex)
        except re.error as error:
            raise BadRequest(f"{regex!r} is no regular expression: {error}.") from None
        name = self._workspace.locate(path).name
        if self._workspace.root.joinpath(name).exists() is False:
            raise NotFound(f"There is no {name!r} to search in. Use list to see what there is.")
        argv = search_argv(shutil.which("rg"), regex, name, glob, self._ignore)
        out = await self._collect(argv)
        lines = [parsed for line in out.split("\n") if (parsed := _parsed(line))]
        if len(lines) <= MAX_MATCHES and len(out) < _MAX_BYTES:
            return lines
        return [*lines[:MAX_MATCHES], "[... more lines match; give a narrower pattern, path or glob]"]

    def _entries(self, name: str, _: str) -> Names:
        fd = self._open(name)
        try:
            with os.scandir(fd) as entries:
                names = [e.name + ("/" if e.is_dir(follow_symlinks=False) else "") for e in entries]
        finally:
            os.close(fd)
        prefix = "" if name == "." else f"{name}/"
        return sorted(prefix + n for n in names)

    def _files(self, name: str, pattern: str) -> Names:
        wanted = glob_regex(pattern)
        prefix = "" if name == "." else f"{name}/"
        found = []
        fd = self._open(name)
        try:
            for directory, inner, names, _ in os.fwalk(".", dir_fd=fd):
                inner[:] = [d for d in inner if not any(fnmatch.fnmatchcase(d, i) for i in self._ignore)]
                below = "" if directory == "." else f"{directory[2:]}/"
                found += [prefix + below + n for n in names if wanted.fullmatch(below + n)]
        finally:
            os.close(fd)
        return sorted(found)

    def _open(self, name: str) -> int:
        return self._workspace.open_dir(name)

    async def _collect(self, argv: Sequence[str]) -> str:
        """What a search prints, up to our bound; it is ended at the bound, and when its time is over."""
        child = processes.spawn(argv, cwd=self._workspace.root, env=self._env)
        out, err = bytearray(), bytearray()
        full = asyncio.Event()

        async def take(data: bytes) -> None:
            out.extend(data[: _MAX_BYTES - len(out)])
            if len(out) >= _MAX_BYTES:
                full.set()

        async def complain(data: bytes) -> None:
            err.extend(data[:2000])

        async def read() -> bool:
            pipes = ((child.stdout, take), (child.stderr, complain))
            await asyncio.gather(*(processes.read_pipe(pipe, sink) for pipe, sink in pipes))
            await child.wait()
            return True

        work, enough = asyncio.ensure_future(read()), asyncio.ensure_future(full.wait())
        try:
            done, _ = await asyncio.wait({work, enough}, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            enough.cancel()
            work.cancel()
            await asyncio.shield(processes.end([child.pid], grace=0))
            exit = await child.wait()
            child.close_pipes()
        if not done:
            raise AgentTimeout(
                f"The search took more than {_PATIENCE:.0f} s. Give a simpler pattern or a narrower path."
            )
        if exit.code not in (0, 1, None) and not out:
            raise BadRequest(f"The search failed: {err.decode(errors='replace').strip()[-500:]}")
        return out.decode(errors="replace")


def search_argv(rg: str | None, regex: str, path: str, glob: str | None, ignore: Sequence[str]) -> list[str]:
    """ripgrep where there is one, else our own; both pass over the same files and print the same lines."""
    if rg is None:
        return [sys.executable, "-I", "-S", str(_GREP), regex, path, glob or "", *ignore]
    argv = [rg, "--no-config", "--no-ignore", "--hidden", "--color=never", "--no-heading", "--with-filename", "--null"]
    argv += ["--line-number", "--sort=path", "--max-filesize=8M", "--max-columns=500", "--max-columns-preview"]
    argv += [f"--glob=!{name}" for name in ignore]
    if glob:
        argv.append(f"--glob={glob}")
    return [*argv, f"--regexp={regex}", "--", path]


def glob_regex(pattern: str) -> re.Pattern[str]:
    """`*` and `?` stay within a directory, `**` crosses; a pattern without a slash matches names at any depth."""
    if "/" not in pattern:
        pattern = f"**/{pattern}"
    out = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out.append("(?:.*/)?")
            at += 3
        elif pattern.startswith("**", at):
            out.append(".*")
            at += 2
        elif pattern[at] == "*":
            out.append("[^/]*")
            at += 1
        elif pattern[at] == "?":
            out.append("[^/]")
            at += 1
        else:
            out.append(re.escape(pattern[at]))
            at += 1
    return re.compile("".join(out), re.DOTALL)


def _parsed(line: str) -> str | None:
    path, sep, rest = line.partition("\0")
    return f"{path.removeprefix('./')}:{rest}" if sep else None
