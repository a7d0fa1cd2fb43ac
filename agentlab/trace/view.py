"""R0: what was so after an event, from the log alone. Nothing runs, nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, cast
from unicodedata import normalize

import pyarrow as pa

from agentlab.core import events as e
from agentlab.core.events import Event
from agentlab.core.fold import apply
from agentlab.core.state import State
from agentlab.core.views import Row, tables
from agentlab.errors import NotFound, StoreCorrupt
from agentlab.store.rows import unpack
from agentlab.store.schema import EVENT_COLUMNS
from agentlab.store.snapshots import LINK_MODE, NO_FILE, read_manifest

from . import queries
from .blobs import contents, named_in
from .load import Log, Query

_FLOATS = {"cost"}
_INTS = {"id", "seq", "ts", "cause", "dur_ns", "tok_in", "tok_out", "tok_cache"}
_EVENT = pa.schema(
    [(n, pa.float64() if n in _FLOATS else pa.int64() if n in _INTS else pa.string()) for n in EVENT_COLUMNS]
)
_SNAPSHOT = pa.schema({"seq": pa.int64(), "tree": pa.string(), "manifest": pa.string()})


class FileAt(NamedTuple):
    """A file of a workspace at some time. link: the target of a symbolic link; hash and mode are then of the link."""

    hash: str
    mode: int
    size: int = 0
    link: str | None = None


class Tree(NamedTuple):
    """The files of a workspace at some time, by path. lost: path and reason of those whose content was never kept."""

    files: dict[str, FileAt]
    lost: dict[str, str]


def at(db: str | Path, run_id: str, seq: int | None = None) -> dict[str, dict[str, Row]]:
    """The rows of a run after event `seq` (None: the last): table -> key -> row, as `core.views.tables` gives them.

    Raises NotFound: there is no such run, or it has no such event.
    """
    log = Log(db)
    state = State()
    for event in _events(log, run_id, _position(log, run_id, seq)):
        apply(state, event)
    return tables(state, run_id)


def files_at(db: str | Path, run_id: str, seq: int | None = None) -> dict[str, FileAt]:
    """The files of the workspace after event `seq`: the newest snapshot before it, and every change since.

    Raises NotFound: there is no such run, it has no such event, or it was recorded without a snapshot.
    """
    return tree_at(Log(db), run_id, seq).files


def tree_at(log: Log, run_id: str, seq: int | None = None) -> Tree:
    """The same with what cannot be restored."""
    seq = _position(log, run_id, seq)
    since, tree = _base(log, run_id, seq)
    types = ("file.write", "file.delete", "file.rename")
    # A name is one file however it is spelled in Unicode. Events have the NFC spelling, the snapshot that of the disk.
    spelling = {normalize("NFC", path): path for path in (*tree.files, *tree.lost)}
    for event in _events(log, run_id, seq, queries.of_types(types) & queries.after(since)):
        _apply(tree, spelling, event.body)
    return tree


def _apply(tree: Tree, spelling: dict[str, str], body: e.AnyBody) -> None:
    files, lost = tree
    match body:
        case e.FileWrite():
            path = spelling.setdefault(normalize("NFC", body.path), body.path)
            mode = LINK_MODE if body.link is not None else body.mode
            files[path] = FileAt(body.after, mode, body.size, body.link)
            lost.pop(path, None)
            if not body.stored:
                lost[path] = f"{body.size} bytes were too large to keep"
        case e.FileDelete():
            path = spelling.get(normalize("NFC", body.path), body.path)
            files.pop(path, None)
            lost.pop(path, None)
        case e.FileRename():
            path = spelling.pop(normalize("NFC", body.path), body.path)
            to = spelling.setdefault(normalize("NFC", body.to), body.to)
            for table in (files, lost):
                table.pop(to, None)
                if path in table:
                    table[to] = table.pop(path)  # type: ignore[assignment]
            if to not in files and to not in lost:  # of a file that the snapshot left out
                files[to] = FileAt(body.before, 0o644)


def _base(log: Log, run_id: str, seq: int) -> tuple[int, Tree]:
    found = log.rows(queries.snapshots(run_id, seq), _SNAPSHOT)
    if not found:
        raise NotFound(
            f"Run {run_id} has no snapshot of its workspace at or before event {seq}: what its files were is not known.",
            run=run_id,
        )
    since, tree, hash = cast("tuple[int, str, str]", found[0])
    stored = dict(contents(log, [hash]))
    if hash not in stored:
        raise StoreCorrupt(
            f"The manifest of the snapshot of run {run_id} (blob {hash}) is not in {log.path}.", hash=hash
        )
    manifest = read_manifest(stored[hash])
    if manifest.tree != tree:
        raise StoreCorrupt(f"The snapshot of run {run_id} at {since} is not the tree {tree} that it says it is.")
    files = {f.path: FileAt(f.hash, f.mode, f.size, f.link) for f in manifest.files}
    return since, Tree(files, {path: reason for path, reason in manifest.skipped if reason != NO_FILE})


def _position(log: Log, run_id: str, seq: int | None) -> int:
    query = Query("SELECT COALESCE(max(seq), 0) FROM events WHERE run_id = ?", (run_id,))
    last = cast("int", log.rows(query, pa.schema({"last": pa.int64()}))[0][0])
    if last == 0:
        raise NotFound(f"There is no run {run_id} in {log.path}. runs_df() lists those there are.", run=run_id)
    if seq is None:
        return last
    if not 0 <= seq <= last:
        raise NotFound(f"Run {run_id} has events 1 to {last}, and so no {seq}.", run=run_id, last=last)
    return seq


def _events(log: Log, run_id: str, until: int, more: queries.Condition | None = None) -> list[Event]:
    condition = queries.of_runs(run_id) & queries.Condition("seq <= ?", (until,)) & (more or queries.Condition())
    order = f"{1 + EVENT_COLUMNS.index('run_id')}, {1 + EVENT_COLUMNS.index('seq')}"
    columns = ", ".join(EVENT_COLUMNS)
    rows: list[Any] = log.rows(
        Query(f"SELECT {columns} FROM events WHERE {condition.sql}", condition.params, order),  # noqa: S608
        _EVENT,
    )
    found = dict(contents(log, named_in(row[-1] for row in rows)))
    return [unpack(row, found.get) for row in rows]
