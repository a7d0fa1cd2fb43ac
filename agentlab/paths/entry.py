"""One name in one directory, by the directory's descriptor: no link is ever followed, and what is no plain file is refused."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

from agentlab.errors import BadRequest, OutsideWorkspace, StaleBase

from .names import spelling
from .problem import problem, swapped

ANYTHING = "*"
"""As `expect`: whatever the file holds now."""

TEMPORARY = ".agentlab-"
"""How the names of half-written files begin. They live for the length of one write."""

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20

_WHAT = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """`part` is the last part of `name` as the disk spells it; `name` is told where something goes wrong."""

    directory: int
    part: str
    name: str

    def stat(self) -> os.stat_result:
        return os.stat(self.part, dir_fd=self.directory, follow_symlinks=False)

    def check_file(self) -> None:
        _check_regular(self.stat(), self.name)

    def open_read(self) -> int:
        """A descriptor of a regular file. Anything else is refused without touching it."""
        self.check_file()
        opened = os.open(self.part, _READ, dir_fd=self.directory)
        try:
            _check_regular(os.fstat(opened), self.name)
        except BaseException:
            os.close(opened)
            raise
        return opened

    def check_holds(self, expect: str | None) -> None:
        """Raises StaleBase unless its hash is this; None: unless nothing is there."""
        if expect == ANYTHING:
            return
        try:
            opened = self.open_read()
        except FileNotFoundError:
            now = None
        else:
            try:
                now = hash_of(opened)
            finally:
                os.close(opened)
        if now != expect:
            raise StaleBase(
                f"{self.name} changed at the last moment. Read it again.", path=self.name, base=expect, now=now
            )

    def replace(self, data: bytes, mode: int | None, expect: str | None) -> None:
        try:
            self.check_file()
        except FileNotFoundError:
            pass
        with self._temporary() as (temporary, out):
            _write_all(out, data)
            if mode is not None:
                os.fchmod(out, mode)
            self.check_holds(expect)
            os.rename(temporary, self.part, src_dir_fd=self.directory, dst_dir_fd=self.directory)

    def rename(self, to: Entry) -> None:
        """To where nothing is yet. Raises BadRequest where something is."""
        try:
            to.stat()
        except FileNotFoundError:
            os.rename(self.part, to.part, src_dir_fd=self.directory, dst_dir_fd=to.directory)
        else:
            raise BadRequest(f"{to.name} exists already. Delete it first, or choose another name.")

    def symlink(self, target: str) -> None:
        temporary = _temporary_name()
        os.symlink(target, temporary, dir_fd=self.directory)
        os.rename(temporary, self.part, src_dir_fd=self.directory, dst_dir_fd=self.directory)

    @contextmanager
    def _temporary(self) -> Iterator[tuple[str, int]]:
        """A new file beside the one to be replaced; gone afterwards unless it was renamed."""
        name = _temporary_name()
        out = os.open(name, _CREATE, 0o666, dir_fd=self.directory)
        try:
            yield name, out
        finally:
            os.close(out)
            try:
                os.unlink(name, dir_fd=self.directory)
            except FileNotFoundError:
                pass


def enter(directory: int, part: str, name: str, *, create: bool = False) -> int:
    """A descriptor of the directory that is `part` of `name`."""
    if part in ("", ".", ".."):
        raise OutsideWorkspace(f"{name!r} is not a canonical name.", path=name)
    part = spelling(directory, part)
    if create:
        try:
            os.mkdir(part, dir_fd=directory)
        except FileExistsError:
            pass
        except OSError as error:
            raise problem(error, name) from error
    try:
        return os.open(part, DIRECTORY, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP) and _is_link(directory, part):
            raise swapped(f"{part!r} in {name!r}", name) from None
        raise problem(error, name) from error


def hash_of(opened: int) -> str:
    """sha256 in hex of what is left to be read, piece by piece."""
    digest = sha256()
    while piece := os.read(opened, _CHUNK):
        digest.update(piece)
    return digest.hexdigest()


def _is_link(directory: int, part: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(part, dir_fd=directory, follow_symlinks=False).st_mode)
    except OSError:
        return True  # swapped under our eyes


def _check_regular(found: os.stat_result, name: str) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFLNK:
        raise swapped(repr(name), name)
    if kind != stat.S_IFREG:
        what = _WHAT.get(kind, "something special")
        advice = " Use list to see what is in it." if kind == stat.S_IFDIR else ""
        raise BadRequest(f"{name!r} is {what}, not a file.{advice}", path=name)


def _temporary_name() -> str:
    return f"{TEMPORARY}{secrets.token_hex(8)}.tmp"


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
