"""R1: the workspace as it was after an event, byte for byte, in a directory of its own. Only files are written."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from agentlab.errors import BadRequest, NotFound, Refused, StoreCorrupt
from agentlab.store.snapshots import check_path, tree_hash

from .blobs import contents, sizes
from .load import Log
from .view import FileAt, Tree, tree_at

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Checkout(Struct, frozen=True):
    """tree: hash of what was written. files: how many. missing: path and reason of what the log cannot restore."""

    tree: str
    files: int
    missing: dict[str, str]


def checkout(db: str | Path, run_id: str, seq: int | None, directory: str | Path, *, strict: bool = True) -> Checkout:
    """Write the workspace of a run after event `seq` (None: the last) into an empty or new directory.

    Modes and links are those of the record; where a link leads is not looked at. Raises BadRequest (the directory is
    not empty; nothing was done), NotFound (no such run or event, no snapshot, or content that was never stored, unless
    `strict=False`; nothing was written), Refused (the record leads out of the directory), StoreCorrupt.
    """
    log, root = Log(db), Path(directory)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise BadRequest(f"{root} is not an empty directory. A checkout changes nothing that is there: name a new one.")
    tree = tree_at(log, run_id, seq)
    _check_paths(tree)
    missing = _missing(log, tree)
    if missing and strict:
        some = ", ".join(f"{path} ({reason})" for path, reason in list(missing.items())[:5])
        raise NotFound(
            f"{len(missing)} of the files of run {run_id} cannot be restored: {some}{', ...' if len(missing) > 5 else ''}. "
            f"strict=False writes the others.",
            missing=missing,
        )
    files = {path: file for path, file in tree.files.items() if path not in missing}
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadRequest(f"{root} cannot be made: {error.strerror}. Nothing was written.") from error
    _write(log, root, files)
    return Checkout(tree_hash((path, f.mode, f.hash) for path, f in files.items()), len(files), missing)


def _check_paths(tree: Tree) -> None:
    """No path leads out, and none leads through another file, which could be a link."""
    for path in tree.files:
        check_path(path)
        above = path
        while above := above.rpartition("/")[0]:
            if above in tree.files:
                raise Refused(
                    f"The record has {above} both as a file and as a directory of {path}: not written.", path=path
                )


def _missing(log: Log, tree: Tree) -> dict[str, str]:
    needed = {file.hash for file in tree.files.values() if file.link is None}
    stored = sizes(log, needed)
    lost = {
        path: "its content is not stored" for path, f in tree.files.items() if f.link is None and f.hash not in stored
    }
    reasons = {path: reason for path, reason in tree.lost.items() if path not in tree.files or path in lost}
    return dict(sorted((lost | reasons).items()))


def _write(log: Log, root: Path, files: dict[str, FileAt]) -> None:
    by_hash: dict[str, list[str]] = {}
    for path, file in files.items():
        if file.link is None:
            by_hash.setdefault(file.hash, []).append(path)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
    for hash, data in contents(log, by_hash):
        for path in by_hash.pop(hash):
            _write_file(root / path, data, files[path].mode)
    if by_hash:
        raise StoreCorrupt(f"The blob {next(iter(by_hash))} went away while the checkout was written.")
    # Links come last, so that nothing can have been written through one.
    for path, file in files.items():
        if file.link is not None:
            (root / path).symlink_to(file.link)


def _write_file(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, _CREATE, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), mode & 0o777)
