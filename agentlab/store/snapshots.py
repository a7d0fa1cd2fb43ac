"""Workspace trees: what files there are, by content. Taken at the start of a run, so that any later state can be made.

A tree is named by the hash of its (path, mode, hash) triples. The content goes to the store as blobs, never to the
user's `.git`. Of a git work tree it is what git would show (tracked, and untracked but not ignored): what a project
keeps out of git, often secrets and builds, is kept out of the log too.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from agentlab.config import Limits
from agentlab.core.events import Blob
from agentlab.errors import BadRequest, OutsideWorkspace, StoreCorrupt
from agentlab.paths import DEEPEST, IGNORED, TEMPORARY, Workspace, program_outside

LINK_MODE = stat.S_IFLNK | 0o777
"""The mode of a symbolic link in a tree; its content is its target. Files have permission bits alone."""

NO_FILE = "no regular file"  # a socket, a pipe, a device: there is no content to keep

_CHUNK = 1024 * 1024
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class File(Struct, frozen=True, array_like=True):
    """One file of a tree. path: relative, with `/`. hash: sha256 of the content, in hex. link: target of a link."""

    path: str
    mode: int
    hash: str
    size: int
    link: str | None = None


class Manifest(Struct, frozen=True):
    """The files of a tree, by path, and what of the workspace is not in it or has no content stored: path, reason."""

    files: tuple[File, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def tree(self) -> str:
        return tree_hash((f.path, f.mode, f.hash) for f in self.files)

    def blob(self) -> Blob:
        """The manifest itself, as it is stored."""
        data = msgspec.json.encode(self)
        return Blob(sha256(data).hexdigest(), data)


class Taken(NamedTuple):
    """A snapshot. `blobs(known)` reads the content again and yields it, but for the hashes in `known`.

    A file that changed since it was hashed is left out: whoever checks the tree out is told that its content is missing.
    """

    manifest: Manifest
    blobs: Callable[[Collection[str]], Iterator[Blob]]


def tree_hash(entries: Iterable[tuple[str, int, str]]) -> str:
    """The name of a tree: sha256 over its (path, mode, hash) triples in order of path."""
    digest = sha256()
    for path, mode, hash in sorted(entries):
        digest.update(f"{mode:o} {hash} {len(path.encode())}:{path}\n".encode())
    return digest.hexdigest()


def read_manifest(data: bytes) -> Manifest:
    """The manifest of a blob. Raises StoreCorrupt: it is none, or a path in it leads out of the tree."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(f"The manifest of a snapshot cannot be read: {error}.") from error
    for file in manifest.files:
        check_path(file.path)
    return manifest


def check_path(path: str) -> str:
    """The path, which stays inside whatever tree it is in. Raises OutsideWorkspace."""
    if not path or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise OutsideWorkspace(f"{path!r} is no path of a file inside a workspace.", path=path)
    return path


def snapshot(
    root: str | Path,
    *,
    home: Path | None = None,
    ignore: Collection[str] = IGNORED,
    limits: Limits | None = None,
) -> Taken:
    """The tree at `root` as it is now. Never follows a link. Blocks while it reads: call it in a thread.

    home: agentlab's own, which is no part of it. Raises BadRequest: `root` is no directory.
    """
    workspace, bounds = Workspace(Path(root), home), limits or Limits()
    base = workspace.root
    try:
        top = os.open(base, _OPEN | os.O_DIRECTORY)
    except OSError as error:
        raise BadRequest(f"{base} is no directory that can be read: {error.strerror}.", path=str(base)) from error
    files: list[File] = []
    skipped: list[tuple[str, str]] = []
    room = bounds.snapshot_bytes
    try:
        for path in _paths(workspace, ignore, skipped):
            if len(files) >= bounds.snapshot_files:
                skipped.append((path, f"one more than {bounds.snapshot_files} files; nothing after it was looked at"))
                break
            found = _look(top, path, room)
            if isinstance(found, str):
                skipped.append((path, found))
                continue
            files.append(found)
            room -= found.size
            if found.size > bounds.blob:
                skipped.append((path, f"{found.size} bytes are more than the {bounds.blob} of which content is kept"))
    finally:
        os.close(top)
    manifest = Manifest(tuple(sorted(files, key=lambda f: f.path)), tuple(sorted(skipped)))
    return Taken(manifest, lambda known: _contents(base, manifest, bounds, known))


# --- which files -------------------------------------------------------------------------------------------


def _paths(
    workspace: Workspace, ignore: Collection[str], skipped: list[tuple[str, str]], inside: str = ""
) -> Iterator[str]:
    """Paths of the candidates below `inside`, relative to the root. Names that are no UTF-8 go to `skipped`."""
    root = workspace.root
    listed = _git_files(root / inside, program_outside("git", root))
    for name in _walk(workspace, inside, ignore) if listed is None else sorted(set(listed)):
        path = (inside + name).rstrip("/")
        if any(part in ignore or part.startswith(TEMPORARY) for part in path.split("/")) or workspace.is_apart(path):
            continue
        if not _speakable(path):
            skipped.append((path.encode("utf-8", "backslashreplace").decode(), "its name is no UTF-8"))
        elif listed is not None and _is_directory(root / path):  # a submodule, or another repository inside
            yield from _paths(workspace, ignore, skipped, path + "/")
        else:
            yield path


def _git_files(directory: Path, git: str | None) -> list[str] | None:
    """What git sees in a work tree; None where there is none, or no git, or where git sees nothing (an ignored directory).

    The configuration of a workspace is not ours, an agent may have written it. What of it makes `ls-files` start programs is
    off: a monitor of files, and fetching what a partial clone lacks (by an ssh that it names).
    """
    if git is None:
        return None
    command = [git, "-c", "core.fsmonitor=false", "ls-files", "-z", "-co", "--exclude-standard"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": ":"}
    try:
        done = subprocess.run(
            command, cwd=directory, env=env, capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError:
        return None
    if done.returncode != 0:
        return None
    names = [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    return None if names in ([], ["./"]) else names  # "./": a submodule that is not checked out


def _walk(workspace: Workspace, inside: str, ignore: Collection[str]) -> Iterator[str]:
    """Paths relative to `inside`."""
    directory = workspace.root / inside
    for at, folders, names in os.walk(directory):
        here = Path(at)
        prefix = "" if here == directory else here.relative_to(directory).as_posix() + "/"
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(
            name for name in folders
            if name not in ignore and name not in links and not workspace.is_apart(inside + prefix + name)
        )  # fmt: skip
        deep = folders.copy() if (inside + prefix).count("/") >= DEEPEST else []
        if deep:
            folders.clear()
        for name in sorted(names + links + deep):  # what is too deep is said to be left out: it is no file
            if name not in ignore:
                yield prefix + name


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _speakable(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- what is in them ---------------------------------------------------------------------------------------


def _look(top: int, path: str, room: int) -> File | str:
    """One file of the tree below the open directory `top`, or why it is not in the snapshot."""
    try:
        with _Beneath(top, path) as (folder, name):
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISLNK(info.st_mode):
                target = os.readlink(name, dir_fd=folder)
                if not _speakable(target):
                    return "the target of the link is no UTF-8"
                return File(path, LINK_MODE, sha256(target.encode()).hexdigest(), len(target.encode()), target)
            if not stat.S_ISREG(info.st_mode):
                return NO_FILE
            if info.st_size > room:
                return f"{info.st_size} bytes are more than the snapshot has room for"
            digest, size = sha256(), 0
            fd = os.open(name, _OPEN, dir_fd=folder)
            with os.fdopen(fd, "rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
            return File(path, info.st_mode & 0o777, digest.hexdigest(), size)
    except FileNotFoundError:
        return "it is gone"  # git still lists what was deleted but not committed
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _contents(root: Path, manifest: Manifest, limits: Limits, known: Collection[str]) -> Iterator[Blob]:
    done = set(known)
    top = os.open(root, _OPEN | os.O_DIRECTORY)
    try:
        for file in manifest.files:
            if file.hash in done or file.size > limits.blob:
                continue
            data = file.link.encode() if file.link is not None else _read(top, file.path, file.size)
            if data is not None and sha256(data).hexdigest() == file.hash:
                done.add(file.hash)
                yield Blob(file.hash, data)
    finally:
        os.close(top)


def _read(top: int, path: str, size: int) -> bytes | None:
    try:
        with _Beneath(top, path) as (folder, name):
            with os.fdopen(os.open(name, _OPEN, dir_fd=folder), "rb") as file:
                return file.read(size + 1)
    except OSError:
        return None


class _Beneath:
    """The directory of a path, opened step by step from `top` so that no link is followed, and the last name."""

    def __init__(self, top: int, path: str) -> None:
        *self.folders, self.name = path.split("/")
        self.top, self.fd = top, -1

    def __enter__(self) -> tuple[int, str]:
        fd = os.dup(self.top)
        for folder in self.folders:
            try:
                below = os.open(folder, _OPEN | os.O_DIRECTORY, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        self.fd = fd
        return fd, self.name

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
