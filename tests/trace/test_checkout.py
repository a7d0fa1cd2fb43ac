from __future__ import annotations

import stat
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trace_log import Recorder

from agentlab.core.events import FileDelete, FileRename, FileWrite, RunStart
from agentlab.errors import AgentlabError, BadRequest, NotFound, OutsideWorkspace, Refused, StoreCorrupt
from agentlab.store.base import Snapshot
from agentlab.store.snapshots import LINK_MODE, File, Manifest, snapshot, tree_hash
from agentlab.trace.checkout import checkout


class Item(NamedTuple):
    """What is at a path: content and mode, or the target of a link."""

    data: bytes
    mode: int = 0o644
    link: str | None = None

    @property
    def hash(self) -> str:
        return sha256(self.data).hexdigest()


def link(target: str) -> Item:
    return Item(target.encode(), LINK_MODE, target)


Files = dict[str, Item]


def put(root: Path, files: Files) -> None:
    for path, item in files.items():
        at = root / path
        at.parent.mkdir(parents=True, exist_ok=True)
        if item.link is not None:
            at.symlink_to(item.link)
        else:
            at.write_bytes(item.data)
            at.chmod(item.mode)


def found(root: Path) -> Files:
    files: Files = {}
    for at in root.rglob("*"):
        path = at.relative_to(root).as_posix()
        if at.is_symlink():
            files[path] = link(str(at.readlink()))
        elif at.is_file():
            files[path] = Item(at.read_bytes(), stat.S_IMODE(at.lstat().st_mode))
    return files


def tree_of(files: Files) -> str:
    return tree_hash((path, item.mode, item.hash) for path, item in files.items())


contents = st.one_of(st.binary(max_size=40), st.just(b""), st.just(b"\r\n\xff\0text"), st.just(b"0123456789" * 2000))
modes = st.sampled_from([0o644, 0o755, 0o600, 0o444, 0o640])
items = st.one_of(
    st.builds(Item, contents, modes, st.none()), st.builds(link, st.sampled_from(["a", "../out", "/etc/passwd", "ü"]))
)
names = st.sampled_from(["a", "b.bin", "dir/c", "dir/sub/d e", "ü/日本.txt", "-rf", "new\nline"])


@given(
    st.dictionaries(names, items),
    st.lists(st.tuples(names, st.one_of(items, st.none(), names)), max_size=12),
    st.data(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_checkout_is_the_workspace_byte_for_byte_at_any_event(
    base: Files, edits: list[tuple[str, Item | str | None]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        workspace, log = Path(folder, "w"), Recorder(Path(folder, "log.db"))
        workspace.mkdir()
        put(workspace, base)
        manifest, blobs = snapshot(workspace)
        stored = {blob.data for blob in blobs(())} | {manifest.blob().data}
        assert manifest.tree == tree_of(base)

        log.event(RunStart(name="r", root=str(workspace), host="h"))
        now = dict(base)
        history = [dict(base), dict(base)]
        for path, change in edits:
            before = now.get(path)
            if isinstance(change, Item):
                now[path] = change
                stored.add(change.data)
                body = FileWrite(
                    path=path, before=before and before.hash, after=change.hash, mode=change.mode, link=change.link
                )
                log.event(body)
            elif before is None or change == path:
                continue
            elif change is None:
                del now[path]
                log.event(FileDelete(path=path, before=before.hash))
            else:
                now[change] = now.pop(path)
                log.event(FileRename(path=path, to=change, before=before.hash))
            history.append(dict(now))
        db = log.save(stored, [Snapshot("r1", 0, manifest.tree, manifest.blob().hash)])

        seq = data.draw(st.integers(0, len(history) - 1))
        made = checkout(db, "r1", seq, Path(folder, "out"))
        assert found(Path(folder, "out")) == history[seq]
        assert (made.tree, made.files, made.missing) == (tree_of(history[seq]), len(history[seq]), {})
        assert snapshot(Path(folder, "out")).manifest.tree == made.tree


def recorded(log: Recorder, files: tuple[File, ...], stored: tuple[bytes, ...] = (b"x",), **more: object) -> Path:
    """A log of a run whose base has these files."""
    base = Manifest(files, **more)  # type: ignore[arg-type]
    log.event(RunStart(name="r", root="/w", host="h"))
    return log.save([base.blob().data, *stored], [Snapshot("r1", 0, base.tree, base.blob().hash)])


X = sha256(b"x").hexdigest()
GONE = "0" * 64


def test_a_directory_that_is_not_empty_is_left_alone(log: Recorder, tmp_path: Path) -> None:
    db = recorded(log, (File("a", 0o644, X, 1),))
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("keep")
    with pytest.raises(BadRequest, match="not an empty directory"):
        checkout(db, "r1", None, out)
    assert [path.name for path in out.iterdir()] == ["mine"]
    with pytest.raises(BadRequest, match="not an empty directory"):
        checkout(db, "r1", None, out / "mine")


@pytest.mark.parametrize("path", ["../out", "/etc/x", "a/../../b", "a//b", "./a", "", "..", "a/\0"])
def test_a_path_that_leads_out_is_refused_before_anything_is_written(log: Recorder, tmp_path: Path, path: str) -> None:
    db = recorded(log, (File("ok", 0o644, X, 1), File(path, 0o644, X, 1)))
    with pytest.raises(OutsideWorkspace):
        checkout(db, "r1", None, tmp_path / "deep" / "out")
    assert not (tmp_path / "deep").exists()


def test_a_path_of_an_event_that_leads_out_is_refused_too(log: Recorder, tmp_path: Path) -> None:
    recorded(log, ())
    log.event(FileWrite(path="../evil", before=None, after=X))
    base = Manifest()
    db = log.save([base.blob().data, b"x"], [Snapshot("r1", 0, base.tree, base.blob().hash)])
    with pytest.raises(OutsideWorkspace):
        checkout(db, "r1", None, tmp_path / "deep" / "out")


def test_nothing_is_written_through_a_link_of_the_record(log: Recorder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    db = recorded(log, (File("dir", LINK_MODE, GONE, 1, str(outside)), File("dir/evil", 0o644, X, 1)))
    with pytest.raises(Refused, match="both as a file and as a directory"):
        checkout(db, "r1", None, tmp_path / "out")
    assert not list(outside.iterdir())


def test_content_that_was_never_stored_is_named_and_the_rest_can_be_had(log: Recorder, tmp_path: Path) -> None:
    files = (File("a", 0o644, X, 1), File("big", 0o644, GONE, 9))
    db = recorded(log, files, skipped=(("big", "too large"), ("huge", "no room"), ("pipe", "no regular file")))
    with pytest.raises(NotFound, match=r"big \(too large\)") as error:
        checkout(db, "r1", None, tmp_path / "out")
    assert error.value.data["missing"] == {"big": "too large", "huge": "no room"}
    assert not (tmp_path / "out").exists()
    made = checkout(db, "r1", None, tmp_path / "out", strict=False)
    assert made.files == 1 and set(made.missing) == {"big", "huge"}
    assert found(tmp_path / "out") == {"a": Item(b"x")}


def test_what_was_missing_in_the_base_is_whole_again_once_it_is_written_or_deleted(
    log: Recorder, tmp_path: Path
) -> None:
    recorded(log, ())
    log.event(FileWrite(path="big", before=GONE, after=X, size=1))
    log.event(FileDelete(path="huge", before=GONE))
    base = Manifest((File("big", 0o644, GONE, 9),), (("big", "too large"), ("huge", "no room")))
    db = log.save([base.blob().data, b"x"], [Snapshot("r1", 0, base.tree, base.blob().hash)])
    assert checkout(db, "r1", None, tmp_path / "out").missing == {}


def test_damaged_content_is_not_written(log: Recorder, tmp_path: Path) -> None:
    import sqlite3

    db = recorded(log, (File("a", 0o644, X, 1),))
    connection = sqlite3.connect(db)
    connection.execute("UPDATE blobs SET data = 'y', codec = 'raw' WHERE hash = ?", (X,))
    connection.commit()
    connection.close()
    with pytest.raises(StoreCorrupt, match="damaged"):
        checkout(db, "r1", None, tmp_path / "out")
    assert not found(tmp_path / "out")


def test_special_bits_of_a_mode_are_not_restored(log: Recorder, tmp_path: Path) -> None:
    db = recorded(log, (File("a", 0o6755, X, 1),))
    checkout(db, "r1", None, tmp_path / "out")
    assert found(tmp_path / "out")["a"].mode == 0o755


def test_a_run_recorded_without_a_snapshot_cannot_be_checked_out(log: Recorder, tmp_path: Path) -> None:
    log.event(RunStart(name="r", root="/w", host="h"))
    with pytest.raises(AgentlabError, match="no snapshot"):
        checkout(log.save(), "r1", None, tmp_path / "out")
