from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from agentlab.config import Limits
from agentlab.errors import BadRequest, OutsideWorkspace, StoreCorrupt
from agentlab.paths import TEMPORARY
from agentlab.store.snapshots import LINK_MODE, NO_FILE, File, Manifest, read_manifest, snapshot, tree_hash

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    (root / "src").mkdir(parents=True)
    (root / "src" / "a.py").write_bytes(b"print()\n")
    (root / "empty").write_bytes(b"")
    (root / "日本.bin").write_bytes(bytes(range(256)))
    (root / "run.sh").write_bytes(b"#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "link").symlink_to("src/a.py")
    return root


@pytest.fixture
def git(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)

    def run(where: Path, *args: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *identity, *args], cwd=where, check=True, capture_output=True)

    return run


def paths(root: Path, **options: object) -> set[str]:
    return {file.path for file in snapshot(root, **options).manifest.files}  # type: ignore[arg-type]


def test_a_snapshot_has_every_file_with_its_mode_its_hash_and_its_content(workspace: Path) -> None:
    manifest, blobs = snapshot(workspace)
    files = {file.path: file for file in manifest.files}
    assert list(files) == sorted(["src/a.py", "empty", "日本.bin", "run.sh", "link"])
    assert files["run.sh"].mode == 0o755 and files["src/a.py"].mode == (workspace / "src/a.py").stat().st_mode & 0o777
    assert files["link"] == File("link", LINK_MODE, sha256(b"src/a.py").hexdigest(), 8, "src/a.py")
    content = {blob.hash: blob.data for blob in blobs(())}
    assert content[files["日本.bin"].hash] == bytes(range(256)) and content[files["empty"].hash] == b""
    assert set(content) == {file.hash for file in manifest.files}
    assert not manifest.skipped


def test_content_that_is_known_is_not_read_again(workspace: Path) -> None:
    manifest, blobs = snapshot(workspace)
    known = {manifest.files[0].hash}
    assert not known & {blob.hash for blob in blobs(known)}


def test_a_file_that_changes_after_it_was_hashed_does_not_pass_as_what_it_was(workspace: Path) -> None:
    manifest, blobs = snapshot(workspace)
    (workspace / "src" / "a.py").write_bytes(b"changed")
    (workspace / "empty").unlink()
    hashes = {file.path: file.hash for file in manifest.files}
    read = {blob.hash for blob in blobs(())}
    assert hashes["src/a.py"] not in read and hashes["empty"] not in read and hashes["run.sh"] in read


def test_what_the_tree_ignores_and_half_written_files_are_not_in_it(workspace: Path) -> None:
    for name in (".git", "node_modules", "src/__pycache__", ".venv"):
        (workspace / name).mkdir()
        (workspace / name / "x").write_text("x")
    (workspace / f"{TEMPORARY}0.tmp").write_text("half")
    assert paths(workspace) == {"src/a.py", "empty", "日本.bin", "run.sh", "link"}
    assert "node_modules/x" in paths(workspace, ignore=())


def test_links_are_kept_and_never_followed(workspace: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (workspace / "out").symlink_to(outside)
    (workspace / "loop").symlink_to(".")
    manifest, blobs = snapshot(workspace)
    assert {f.path: f.link for f in manifest.files if f.link} == {"link": "src/a.py", "out": str(outside), "loop": "."}
    assert b"secret" not in {blob.data for blob in blobs(())}


def test_a_directory_that_becomes_a_link_after_hashing_is_not_followed(workspace: Path, tmp_path: Path) -> None:
    manifest, blobs = snapshot(workspace)
    (workspace / "src").rename(tmp_path / "moved")
    (workspace / "src").symlink_to(tmp_path / "moved")
    hashes = {file.path: file.hash for file in manifest.files}
    assert hashes["src/a.py"] not in {blob.hash for blob in blobs(())}


def test_what_has_no_content_or_no_speakable_name_is_said(workspace: Path) -> None:
    os.mkfifo(workspace / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        there = os.getcwd()
        os.chdir(workspace)  # the path of a socket may be no longer than 108 bytes
        try:
            listener.bind("socket")
        finally:
            os.chdir(there)
        (workspace / os.fsdecode(b"b\xff")).write_text("x")
        skipped = dict(snapshot(workspace).manifest.skipped)
    assert skipped["pipe"] == skipped["socket"] == NO_FILE
    assert "UTF-8" in skipped["b\\udcff"]


def test_too_large_a_file_is_in_the_tree_without_its_content(workspace: Path) -> None:
    manifest, blobs = snapshot(workspace, limits=Limits(blob=100))
    large = next(file for file in manifest.files if file.path == "日本.bin")
    assert large.hash == sha256(bytes(range(256))).hexdigest()
    assert [path for path, _ in manifest.skipped] == ["日本.bin"]
    assert large.hash not in {blob.hash for blob in blobs(())}


def test_a_workspace_over_the_limits_is_taken_as_far_as_they_go(workspace: Path) -> None:
    by_bytes = snapshot(workspace, limits=Limits(snapshot_bytes=100)).manifest
    assert {path for path, _ in by_bytes.skipped} == {"日本.bin"} and len(by_bytes.files) == 4
    by_count = snapshot(workspace, limits=Limits(snapshot_files=2)).manifest
    assert len(by_count.files) == 2 and len(by_count.skipped) == 1 and "nothing after it" in by_count.skipped[0][1]


@needs_git
def test_of_a_git_work_tree_it_takes_what_git_would_show(workspace: Path, git: Callable[..., None]) -> None:
    (workspace / ".gitignore").write_text("*.secret\nbuild/\n")
    (workspace / "api.secret").write_text("key")
    (workspace / "build").mkdir()
    (workspace / "build" / "out").write_text("x")
    git(workspace, "init", "-q")
    git(workspace, "add", "src", "empty")
    (workspace / "empty").unlink()
    before = sorted((p, p.stat().st_mtime_ns) for p in (workspace / ".git").rglob("*"))
    manifest = snapshot(workspace).manifest
    assert {f.path for f in manifest.files} == {".gitignore", "src/a.py", "日本.bin", "run.sh", "link"}
    assert dict(manifest.skipped) == {"empty": "it is gone"}
    assert sorted((p, p.stat().st_mtime_ns) for p in (workspace / ".git").rglob("*")) == before
    assert paths(workspace / "src") == {"a.py"}


@needs_git
def test_a_workspace_that_its_repository_ignores_is_taken_whole(workspace: Path, git: Callable[..., None]) -> None:
    git(workspace.parent, "init", "-q")
    (workspace.parent / ".gitignore").write_text("workspace/\n")
    assert paths(workspace) == {"src/a.py", "empty", "日本.bin", "run.sh", "link"}


@needs_git
def test_a_repository_inside_is_part_of_the_tree(workspace: Path, git: Callable[..., None]) -> None:
    git(workspace, "init", "-q")
    inner = workspace / "inner"
    inner.mkdir()
    (inner / "x").write_text("x")
    (inner / ".gitignore").write_text("y\n")
    (inner / "y").write_text("y")
    git(inner, "init", "-q")
    git(inner, "add", "x")
    git(inner, "commit", "-qm", "x")
    assert {"inner/x", "inner/.gitignore", "src/a.py"} <= paths(workspace) and "inner/y" not in paths(workspace)
    git(workspace, "add", ".")
    git(workspace, "commit", "-qm", "with a submodule")
    assert "inner/x" in paths(workspace)
    shutil.rmtree(inner)
    inner.mkdir()
    assert not any(path.startswith("inner") for path in paths(workspace))


@needs_git
def test_the_configuration_of_a_workspace_starts_no_program(
    workspace: Path, git: Callable[..., None], tmp_path: Path
) -> None:
    git(workspace, "init", "-q")
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
    hook.chmod(0o755)
    git(workspace, "config", "core.fsmonitor", str(hook))
    assert "src/a.py" in paths(workspace)
    assert not (tmp_path / "started").exists()


@needs_git
def test_a_clone_that_lacks_something_starts_no_program_to_fetch_it(
    workspace: Path, git: Callable[..., None], tmp_path: Path
) -> None:
    git(workspace, "init", "-q")
    git(workspace, "add", "-A")
    git(workspace, "commit", "-qm", "1")
    (workspace / "kept").mkdir()
    git(workspace, "sparse-checkout", "init", "--cone", "--sparse-index")
    git(workspace, "sparse-checkout", "set", "kept")
    said = subprocess.run(["git", "rev-parse", "HEAD:src"], cwd=workspace, check=True, capture_output=True, text=True)
    tree = said.stdout.strip()
    (workspace / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    settings = {
        "extensions.partialClone": "origin", "core.repositoryformatversion": "1", "remote.origin.promisor": "true",
        "remote.origin.url": "ssh://nowhere/x", "core.sshCommand": f"touch {tmp_path / 'started'}; false",
    }  # fmt: skip
    for name, value in settings.items():
        git(workspace, "config", name, value)
    paths(workspace)
    assert not (tmp_path / "started").exists()


def test_a_git_that_lies_in_the_workspace_is_not_run(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / "bin").mkdir()
    (workspace / "bin" / "git").write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
    (workspace / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{workspace}/bin:{os.environ['PATH']}")
    assert "src/a.py" in paths(workspace)
    assert not (tmp_path / "started").exists()


@pytest.fixture
def bottomless(workspace: Path) -> Iterator[Path]:
    """Folders in each other, more than Python goes down, or one path can name. They are gone before pytest tidies up."""
    top = workspace / "deep"
    top.mkdir()
    try:
        fd = os.open(top, os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("d", dir_fd=fd)
            inner = os.open("d", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = inner
        os.close(fd)
        yield top
    finally:
        subprocess.run(["rm", "-rf", top], check=True)


def test_folders_in_each_other_without_end_are_left_out_and_said(workspace: Path, bottomless: Path) -> None:
    (bottomless / "near.txt").write_text("1")
    manifest = snapshot(workspace).manifest
    assert {"src/a.py", "deep/near.txt"} <= {file.path for file in manifest.files}
    assert [reason for path, reason in manifest.skipped if path.startswith("deep/")] == [NO_FILE]


def test_a_manifest_is_read_back_as_it_was(workspace: Path) -> None:
    manifest = snapshot(workspace).manifest
    blob = manifest.blob()
    assert sha256(blob.data).hexdigest() == blob.hash
    assert read_manifest(blob.data) == manifest and read_manifest(blob.data).tree == manifest.tree


def test_the_tree_depends_on_path_mode_and_hash_alone() -> None:
    one, two = ("a", 0o644, "1" * 64), ("b", 0o755, "2" * 64)
    assert tree_hash([one, two]) == tree_hash([two, one])
    others = [[one], [], [one, ("b", 0o644, "2" * 64)], [one, ("c", 0o755, "2" * 64)], [one, ("b", 0o755, "1" * 64)]]
    assert len({tree_hash(files) for files in [[one, two], *others]}) == 6


def test_a_manifest_that_is_none_or_leads_out_is_not_read() -> None:
    with pytest.raises(StoreCorrupt):
        read_manifest(b'{"files": 3}')
    with pytest.raises(OutsideWorkspace):
        read_manifest(Manifest((File("../x", 0o644, "1" * 64, 1),)).blob().data)


def test_what_is_no_directory_has_no_snapshot(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no directory"):
        snapshot(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match="no directory"):
        snapshot(tmp_path / "file")


def test_a_log_of_ours_is_not_opened_for_it_lies_in_no_tree(tmp_path: Path) -> None:
    for name in ("agentlab.db", "agentlab.db-wal", "agentlab.db-shm", "mine.db"):
        (tmp_path / "home").mkdir(exist_ok=True)
        (tmp_path / "home" / name).write_text("x")
    assert "mine.db" in str(snapshot(tmp_path)) and "agentlab.db" not in str(snapshot(tmp_path))


@pytest.mark.parametrize("in_git", [False, pytest.param(True, marks=needs_git)])
def test_agentlabs_home_in_the_workspace_lies_in_no_tree(
    workspace: Path, tmp_path: Path, git: Callable[..., None], in_git: bool
) -> None:
    home = workspace / "var" / "lab[1]"
    for name in ("plane.json", "secret", "fences/1", "deep/lab[1]/x"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(f"kept from everybody: {name}")
    for name in ("var/lab[1].txt", "var/mine", "lab[1]/mine"):
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).write_text("mine")
    (workspace / "near").symlink_to("var/lab[1]")
    (tmp_path / "link").symlink_to(home)
    if in_git:
        git(workspace, "init", "-q")
        git(workspace, "add", "var")  # somebody committed it
        git(home, "init", "-q")
    for given in (home, tmp_path / "link", workspace / "near"):
        manifest, blobs = snapshot(workspace, home=given)
        kept = {file.path for file in manifest.files}
        assert {"var/lab[1].txt", "var/mine", "lab[1]/mine", "near"} <= kept
        assert not [path for path in kept if path.startswith("var/lab[1]/")]
        assert not [blob for blob in blobs(()) if b"kept from everybody" in blob.data]
    assert snapshot(workspace, home=tmp_path).manifest.tree == snapshot(workspace).manifest.tree, "that is around it"
