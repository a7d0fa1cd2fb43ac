"""The one place where a path that anybody gave becomes a name, and a name becomes an open file.

Two halves. `locate` asks the disk what a path means (links, `..`, Unicode spellings) and gives its one canonical name.
All else takes such names and walks from the root by directory descriptors without ever following a link, so that a
link that is swapped in between check and use ends in OutsideWorkspace, never outside.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import unicodedata
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from agentlab.core.units import PATH_KINDS, canonical
from agentlab.errors import AgentlabError, BadRequest, Forbidden, NotFound, OutsideWorkspace, StaleBase, Unavailable

ANYTHING = "*"
"""As `expect`: whatever the file holds now."""

IGNORED = (
    ".git", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", "node_modules", ".venv", ".ipynb_checkpoints",
    # A log, of whatever home: whoever closes it in the process that writes it takes away its locks.
    "agentlab.db", "agentlab.db-wal", "agentlab.db-shm",
)  # fmt: skip
"""Names of directories and files that are neither kept nor watched, at any depth of a workspace."""

TEMPORARY = ".agentlab-"
"""How the names of half-written files begin. They live for the length of one write."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40  # as in the kernel
_CHUNK = 1 << 20


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
        _check_text(path)
        absolute = path.startswith("/")
        parts = _resolve([] if absolute else list(self.root.parts[1:]), path)
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
        _check_text(name)
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
            with self._parent(name) as (fd, last), _explained(name):
                return os.stat(last, dir_fd=fd, follow_symlinks=False)
        except NotFound:
            return None

    def open_read(self, name: str) -> int:
        """A descriptor of a regular file; the caller closes it. Anything else is refused without touching it."""
        with self._parent(name) as (fd, last), _explained(name):
            _check_regular(os.stat(last, dir_fd=fd, follow_symlinks=False), name)
            opened = os.open(last, _READ, dir_fd=fd)
        try:
            _check_regular(os.fstat(opened), name)
        except BaseException:
            os.close(opened)
            raise
        return opened

    def open_dir(self, name: str) -> int:
        """A descriptor of a directory; the caller closes it."""
        if name == ".":
            with _explained(name):
                return os.open(self.root, _DIRECTORY)
        with self._parent(name) as (fd, last):
            return _enter(fd, last, name)

    def read(self, name: str) -> bytes:
        with os.fdopen(self.open_read(name), "rb") as file:
            return file.read()

    def hash(self, name: str) -> str | None:
        """sha256 of the content, in hex, read piece by piece. None: there is no such file."""
        try:
            fd = self.open_read(name)
        except NotFound:
            return None
        with os.fdopen(fd, "rb") as file:
            return _hash_of(file.fileno())

    def replace(self, name: str, data: bytes, *, mode: int | None = None, expect: str | None = ANYTHING) -> None:
        """Give the file this content in one step: a reader sees the old or the new, never a mixture.

        expect: hash of what it must hold now (None: nothing must be there); raises StaleBase otherwise.
        mode: permission bits; None leaves them to the umask.
        """
        with self._parent(name, create=True) as (fd, last), _explained(name):
            _check_target(fd, last, name)
            with _temporary(fd) as (temporary, out):
                _write_all(out, data)
                if mode is not None:
                    os.fchmod(out, mode)
                _check_expected(fd, last, name, expect)
                os.rename(temporary, last, src_dir_fd=fd, dst_dir_fd=fd)

    def remove(self, name: str, *, expect: str | None = ANYTHING) -> None:
        """Remove a file or a link, never a directory."""
        with self._parent(name) as (fd, last), _explained(name):
            _check_expected(fd, last, name, expect)
            os.unlink(last, dir_fd=fd)

    def remove_empty(self, name: str) -> bool:
        """Remove a directory if nothing is in it; whether it is gone."""
        try:
            with self._parent(name) as (fd, last):
                os.rmdir(last, dir_fd=fd)
        except (OSError, AgentlabError):
            return False
        return True

    def rename(self, name: str, to: str, *, expect: str | None = ANYTHING) -> None:
        """Move a file to where nothing is yet. Raises BadRequest where something is."""
        with self._parent(name) as (fd, last), self._parent(to, create=True) as (to_fd, to_last), _explained(name):
            _check_regular(os.stat(last, dir_fd=fd, follow_symlinks=False), name)
            _check_expected(fd, last, name, expect)
            if _lexists(to_fd, to_last):
                raise BadRequest(f"{to} exists already. Delete it first, or choose another name.")
            os.rename(last, to_last, src_dir_fd=fd, dst_dir_fd=to_fd)

    def symlink(self, name: str, target: str) -> None:
        """Put back a link, instead of whatever is there now."""
        with self._parent(name, create=True) as (fd, last), _explained(name):
            temporary = _temporary_name()
            os.symlink(target, temporary, dir_fd=fd)
            os.rename(temporary, last, src_dir_fd=fd, dst_dir_fd=fd)

    @contextmanager
    def _parent(self, name: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """The directory that holds `name`, and its last part as the disk spells it."""
        *directories, last = name.split("/")
        if last in ("", ".", ".."):
            raise BadRequest(f"{name!r} is a directory, not a file.")
        with _explained(name):
            fd = os.open(self.root, _DIRECTORY)
        try:
            for part in directories:
                inner = _enter(fd, part, name, create=create)
                os.close(fd)
                fd = inner
            yield fd, _spelling(fd, last)
        finally:
            os.close(fd)


def shown(name: str) -> str:
    """A name of the disk as it can be told: NFC, and escapes where it is no UTF-8."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode(errors="backslashreplace"))


def problem(error: OSError, name: str) -> AgentlabError:
    """What the operating system said, as one of our errors."""
    text = error.strerror or str(error)
    match error.errno:
        case errno.ENOENT:
            return NotFound(f"There is no file {name!r} in the workspace. Use list to see what there is.", path=name)
        case errno.ELOOP:
            return OutsideWorkspace(
                f"{name!r} became a symbolic link while it was in use. Nothing was done.", path=name
            )
        case errno.EISDIR | errno.ENOTDIR | errno.ENOTEMPTY | errno.EEXIST | errno.ENAMETOOLONG | errno.EINVAL:
            return BadRequest(f"{name!r}: {text}.", path=name)
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return Forbidden(f"{name!r}: {text}. Its owner, its mode or the file system does not allow it.", path=name)
        case _:
            return Unavailable(f"{name!r}: {text}. Nothing was changed.", path=name)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """What the operating system says inside is raised as one of our errors (which are OSErrors too, some of them)."""
    try:
        yield
    except AgentlabError:
        raise
    except OSError as error:
        raise problem(error, name) from error


def _check_text(path: str) -> None:
    if "\0" in path:
        raise BadRequest(f"The path {path!r} has a NUL in it; no file can be named so.")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"The path {path!r} is no UTF-8. Rename the file before agents may use it.") from None


def _resolve(at: list[str], path: str) -> list[str]:
    """The parts, from /, of what the path means when it is read in the directory `at`. Like realpath, for any spelling."""
    pending = deque(path.split("/"))
    links = 0
    while pending:
        part = pending.popleft()
        if part in ("", "."):
            continue
        if part == "..":
            del at[-1:]
            continue
        here = "/" + "/".join(at)
        part = _spelling(here, part)
        try:
            target = os.readlink(os.path.join(here, part))  # noqa: PTH115, PTH118
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise BadRequest(f"The path {path[:80]!r}... is longer than any file name may be.") from None
            at.append(part)  # no link, or not there (yet)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise BadRequest(f"{path!r} goes in circles through symbolic links.")
        if target.startswith("/"):
            at.clear()
        pending.extendleft(reversed(target.split("/")))
    return at


def _spelling(directory: int | str, part: str) -> str:
    """How the disk spells this part. Names that differ only in their Unicode form are one; the NFC one is preferred."""
    if part.isascii():
        return part
    wanted = unicodedata.normalize("NFC", part)
    try:
        entries = os.listdir(directory)  # noqa: PTH208 - by descriptor
    except OSError:
        return wanted
    if wanted in entries:
        return wanted
    return min((e for e in entries if unicodedata.normalize("NFC", e) == wanted), default=wanted)


def _enter(fd: int, part: str, name: str, *, create: bool = False) -> int:
    if part in ("", ".", ".."):
        raise OutsideWorkspace(f"{name!r} is not a canonical name.", path=name)
    part = _spelling(fd, part)
    if create:
        try:
            os.mkdir(part, dir_fd=fd)
        except FileExistsError:
            pass
        except OSError as error:
            raise problem(error, name) from error
    try:
        return os.open(part, _DIRECTORY, dir_fd=fd)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP) and _is_link(fd, part):
            raise OutsideWorkspace(
                f"{part!r} in {name!r} became a symbolic link while it was in use. Nothing was done.", path=name
            ) from None
        raise problem(error, name) from error


def _is_link(fd: int, part: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(part, dir_fd=fd, follow_symlinks=False).st_mode)
    except OSError:
        return True  # swapped under our eyes


def _lexists(fd: int, part: str) -> bool:
    try:
        os.stat(part, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


_WHAT = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _check_regular(found: os.stat_result, name: str) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFLNK:
        raise OutsideWorkspace(f"{name!r} became a symbolic link while it was in use. Nothing was done.", path=name)
    if kind != stat.S_IFREG:
        what = _WHAT.get(kind, "something special")
        advice = " Use list to see what is in it." if kind == stat.S_IFDIR else ""
        raise BadRequest(f"{name!r} is {what}, not a file.{advice}", path=name)


def _check_target(fd: int, last: str, name: str) -> None:
    try:
        _check_regular(os.stat(last, dir_fd=fd, follow_symlinks=False), name)
    except FileNotFoundError:
        pass


def _check_expected(fd: int, last: str, name: str, expect: str | None) -> None:
    if expect == ANYTHING:
        return
    try:
        opened = os.open(last, _READ, dir_fd=fd)
    except FileNotFoundError:
        now = None
    else:
        try:
            _check_regular(os.fstat(opened), name)
            now = _hash_of(opened)
        finally:
            os.close(opened)
    if now != expect:
        raise StaleBase(f"{name} changed at the last moment. Read it again.", path=name, base=expect, now=now)


def _hash_of(fd: int) -> str:
    digest = sha256()
    while piece := os.read(fd, _CHUNK):
        digest.update(piece)
    return digest.hexdigest()


def _temporary_name() -> str:
    return f"{TEMPORARY}{secrets.token_hex(8)}.tmp"


@contextmanager
def _temporary(fd: int) -> Iterator[tuple[str, int]]:
    """A new file beside the one to be replaced; gone afterwards unless it was renamed."""
    name = _temporary_name()
    out = os.open(name, _CREATE, 0o666, dir_fd=fd)
    try:
        yield name, out
    finally:
        os.close(out)
        try:
            os.unlink(name, dir_fd=fd)
        except FileNotFoundError:
            pass


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
