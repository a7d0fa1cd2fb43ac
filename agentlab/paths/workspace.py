"""A directory that nothing may leave.

Two halves. `locate` asks the disk what a path means (links, `..`, Unicode spellings) and gives its one canonical name.
All else takes such names and walks from the root by directory descriptors without ever following a link, so that a
link that is swapped in between check and use ends in OutsideWorkspace, never outside.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentlab.core.units import PATH_KINDS, canonical
from agentlab.errors import AgentlabError, BadRequest, NotFound, OutsideWorkspace

from .entry import ANYTHING, DIRECTORY, Entry, enter, hash_of
from .names import check_text, resolve, shown, spelling
from .problem import explained


@dataclass(frozen=True)
class Located:
    """`name`: relative to the root, with /, NFC, links resolved; "." is the root. `path`: where that is on the disk."""

    name: str
    path: Path


@dataclass(frozen=True)
class Workspace:
    """A directory that nothing may leave. Methods that take a `name` want one from `locate`.

    home: where agentlab keeps its own files. If that lies in the directory, it is no part of the workspace.
    """

    root: Path
    home: Path | None = None
    _apart: str = field(init=False, repr=False, default="")

    def __post_init__(self) -> None:
        root = Path(os.path.realpath(self.root))
        object.__setattr__(self, "root", root)
        home = None if self.home is None else Path(os.path.realpath(self.home))
        if home is not None and home != root and home.is_relative_to(root):
            object.__setattr__(self, "_apart", shown(home.relative_to(root).as_posix()))

    # --- names ---------------------------------------------------------------------------------------------

    def locate(self, path: str) -> Located:
        """What `path` (relative to the root, or absolute) means. It need not exist.

        Raises OutsideWorkspace (by `..`, an absolute path or a link) and BadRequest (no name that a file could have).
        """
        check_text(path)
        absolute = path.startswith("/")
        parts = resolve([] if absolute else list(self.root.parts[1:]), path)
        base = self.root.parts[1:]
        if tuple(parts[: len(base)]) != base:
            raise OutsideWorkspace(
                f"{path!r} leads out of the workspace {self.root}. Use a path inside it, relative to its root.",
                path=path,
            )
        name = unicodedata.normalize("NFC", "/".join(parts[len(base) :])) or "."
        if self.is_apart(name):
            raise OutsideWorkspace(
                f"{path!r} lies in agentlab's own home, which is no part of the workspace. Use another path.", path=path
            )
        check_text(name)
        return Located(name, Path("/", *parts))

    def is_apart(self, name: str) -> bool:
        """Whether this is agentlab's home, or in it. `name`: relative to the root, canonical or as the disk has it."""
        return bool(self._apart) and f"{shown(name)}/".startswith(f"{self._apart}/")

    def unit(self, path: str, kind: str = "file") -> str:
        """The work unit of a path: `file:src/a.py`."""
        return canonical(f"{kind}:{self.locate(path).name}")

    def canonical_unit(self, unit: str) -> str:
        """The one spelling of a unit that somebody typed; paths are asked from the disk."""
        kind, sep, name = unit.partition(":")
        if sep and kind in PATH_KINDS and name.strip():
            return self.unit(name, kind)
        return canonical(unit)

    def check_root(self) -> None:
        """Raises BadRequest where the root cannot be a workspace."""
        root, home = self.root, self.home
        if not root.exists():
            raise BadRequest(f"The workspace {root} does not exist. Create it, or name another workdir.")
        if not root.is_dir():
            raise BadRequest(f"The workspace {root} is not a directory. Name the directory that holds it.")
        if root == Path("/"):
            raise BadRequest("/ cannot be a workspace: agents would be let loose on the machine. Name a directory.")
        if root == Path.home().resolve():
            raise BadRequest(f"The workspace {root} is your home directory. Make a directory in it and name that.")
        if home is not None and root.is_relative_to(home.resolve()):
            raise BadRequest(f"The workspace {root} lies in agentlab's own home {home}. Name a directory elsewhere.")
        if not os.access(root, os.W_OK | os.X_OK):
            raise BadRequest(f"The workspace {root} is not writable for you. Change its mode, or name another workdir.")

    # --- files, by canonical name --------------------------------------------------------------------------

    def stat(self, name: str) -> os.stat_result | None:
        """Of the thing itself, not of what a link names. None: there is nothing."""
        try:
            with self._entry(name) as entry:
                return entry.stat()
        except NotFound:
            return None

    def open_read(self, name: str) -> int:
        """A descriptor of a regular file; the caller closes it. Anything else is refused without touching it."""
        with self._entry(name) as entry:
            return entry.open_read()

    def open_dir(self, name: str) -> int:
        """A descriptor of a directory; the caller closes it."""
        if name == ".":
            with explained(name):
                return os.open(self.root, DIRECTORY)
        with self._entry(name) as entry:
            return enter(entry.directory, entry.part, name)

    def read(self, name: str) -> bytes:
        with os.fdopen(self.open_read(name), "rb") as file:
            return file.read()

    def hash(self, name: str) -> str | None:
        """sha256 of the content, in hex. None: there is no such file."""
        try:
            fd = self.open_read(name)
        except NotFound:
            return None
        with os.fdopen(fd, "rb") as file:
            return hash_of(file.fileno())

    def replace(self, name: str, data: bytes, *, mode: int | None = None, expect: str | None = ANYTHING) -> None:
        """Give the file this content in one step: a reader sees the old or the new, never a mixture.

        expect: hash of what it must hold now (None: nothing must be there); raises StaleBase otherwise.
        mode: permission bits; None leaves them to the umask.
        """
        with self._entry(name, create=True) as entry:
            entry.replace(data, mode, expect)

    def remove(self, name: str, *, expect: str | None = ANYTHING) -> None:
        """Remove a file or a link, never a directory."""
        with self._entry(name) as entry:
            entry.check_holds(expect)
            os.unlink(entry.part, dir_fd=entry.directory)

    def remove_empty(self, name: str) -> bool:
        """Remove a directory if nothing is in it; whether it is gone."""
        try:
            with self._entry(name) as entry:
                os.rmdir(entry.part, dir_fd=entry.directory)
        except AgentlabError:
            return False
        return True

    def rename(self, name: str, to: str, *, expect: str | None = ANYTHING) -> None:
        """Move a file to where nothing is yet. Raises BadRequest where something is."""
        with self._entry(name) as entry, self._entry(to, create=True) as target, explained(name):
            entry.check_file()
            entry.check_holds(expect)
            entry.rename(target)

    def symlink(self, name: str, target: str) -> None:
        """Put back a link, instead of whatever is there now."""
        with self._entry(name, create=True) as entry:
            entry.symlink(target)

    @contextmanager
    def _entry(self, name: str, *, create: bool = False) -> Iterator[Entry]:
        """Where `name` is; what goes wrong with it inside is explained."""
        *directories, last = name.split("/")
        if last in ("", ".", ".."):
            raise BadRequest(f"{name!r} is a directory, not a file.")
        with explained(name):
            fd = os.open(self.root, DIRECTORY)
            try:
                for part in directories:
                    inner = enter(fd, part, name, create=create)
                    os.close(fd)
                    fd = inner
                yield Entry(fd, spelling(fd, last), name)
            finally:
                os.close(fd)
