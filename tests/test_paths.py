from __future__ import annotations

import ctypes
import os
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from agentlab import errors
from agentlab.paths import Workspace

NFC, NFD = "caf\u00e9.txt", "cafe\u0301.txt"


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    root = tmp_path / "ws"
    (root / "src").mkdir(parents=True)
    (root / "src/a.py").write_text("inside")
    (tmp_path / "secret.txt").write_text("outside")
    return Workspace(root)


@pytest.fixture
def outside(space: Workspace) -> Path:
    return space.root.parent / "secret.txt"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("src/a.py", "src/a.py"),
        ("./src//a.py", "src/a.py"),
        ("src/../src/a.py", "src/a.py"),
        ("src/new/../a.py", "src/a.py"),
        ("../ws/src/a.py", "src/a.py"),
        ("not/there/yet", "not/there/yet"),
        ("", "."),
        (".", "."),
        ("src/", "src"),
    ],
)
def test_every_spelling_of_a_path_has_one_name(space, path, name):
    assert space.locate(path).name == name
    assert space.locate(str(space.root / path)).name == name


@pytest.mark.parametrize(
    "path", ["..", "../secret.txt", "src/../../secret.txt", "/etc/passwd", "/", "../ws2/a", "//etc"]
)
def test_a_path_that_leads_out_is_refused(space, path):
    with pytest.raises(errors.OutsideWorkspace, match="leads out"):
        space.locate(path)


def test_links_that_lead_out_are_refused_and_links_inside_are_followed(space, outside):
    (space.root / "file").symlink_to(outside)
    (space.root / "dir").symlink_to(outside.parent)
    (space.root / "up").symlink_to("../secret.txt")
    (space.root / "chain").symlink_to("file")
    (space.root / "new").symlink_to(outside.parent / "not-there-yet")
    for path in ("file", "dir", "dir/secret.txt", "dir/new.txt", "up", "chain", "new", "src/../dir/x"):
        with pytest.raises(errors.OutsideWorkspace):
            space.locate(path)
    (space.root / "in").symlink_to("src")
    (space.root / "abs").symlink_to(space.root / "src/a.py")
    assert space.locate("in/a.py").name == space.locate("abs").name == "src/a.py"
    assert space.unit("in", "dir") == "dir:src"


def test_a_workspace_that_is_reached_through_a_link_is_the_same_workspace(space, tmp_path):
    (tmp_path / "alias").symlink_to(space.root)
    assert Workspace(tmp_path / "alias").root == space.root
    assert space.locate(str(tmp_path / "alias/src/a.py")).name == "src/a.py"


def test_links_in_a_circle_are_refused(space):
    (space.root / "x").symlink_to("y")
    (space.root / "y").symlink_to("x")
    with pytest.raises(errors.BadRequest, match="circles"):
        space.locate("x/a")


def test_names_that_no_file_can_have_are_refused(space):
    for path in ("a\0b", "\0", "\udcff", "x" * 300):
        with pytest.raises(errors.BadRequest):
            space.locate(path)


def test_unicode_forms_of_one_name_are_one_file(space):
    assert space.locate(NFD).name == space.locate(NFC).name == NFC
    (space.root / NFD).write_text("as the Mac wrote it")
    assert space.locate(NFC) == space.locate(NFD)
    assert space.read(space.locate(NFC).name) == b"as the Mac wrote it"
    space.replace(NFC, b"new")
    assert [e for e in os.listdir(space.root) if e != "src"] == [NFD]
    angstrom = space.locate("\u212b/x")  # has another character as its NFC
    assert angstrom.name == "\u00c5/x"


def test_characters_that_look_like_dots_and_slashes_are_neither(space):
    for path in ("\u2024\u2024/secret.txt", "\uff0e\uff0e/secret.txt", "..\u2215secret.txt", "..\uff0fsecret.txt"):
        located = space.locate(path)
        assert located.path.parent.is_relative_to(space.root) and located.path.is_relative_to(space.root)


def test_units_of_people_become_canonical(space):
    (space.root / "in").symlink_to("src")
    assert space.canonical_unit("file:in/../in/a.py") == "file:src/a.py"
    assert space.canonical_unit("file:/" + str(space.root / "src/a.py").lstrip("/")) == "file:src/a.py"
    assert space.canonical_unit("proc: test ") == "proc:test"
    assert space.canonical_unit("port:08000") == "port:8000"
    for unit in ("nonsense", "file:", "disk:a", "port:http"):
        with pytest.raises(errors.BadRequest):
            space.canonical_unit(unit)
    with pytest.raises(errors.OutsideWorkspace):
        space.canonical_unit("dir:..")


@pytest.mark.parametrize("home", ["ws/src/lab", "link", "ws/near"])
def test_agentlabs_home_is_outside_of_a_workspace_that_holds_it(space, home):
    lab = space.root / "src" / "lab"
    lab.mkdir()
    (space.root / "near").symlink_to("src/lab")
    (space.root.parent / "link").symlink_to(lab)
    held = Workspace(space.root, space.root.parent / home)
    for path in ("src/lab", "src/lab/", "src/lab/x/y", "near", "near/x", "src/../near/x", str(lab), f"{lab}/../lab"):
        with pytest.raises(errors.OutsideWorkspace, match="own home"):
            held.locate(path)
    with pytest.raises(errors.OutsideWorkspace, match="own home"):
        held.canonical_unit("dir:src/lab")
    assert [held.locate(path).name for path in ("src", "src/lab2", "src/lab.txt", "lab")] == [
        "src", "src/lab2", "src/lab.txt", "lab",
    ]  # fmt: skip
    assert space.locate("src/lab/x").name == "src/lab/x", "whose home it is must be known"


def test_what_cannot_be_a_workspace_says_why(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "home/inside").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    for root, says in [
        (tmp_path / "missing", "does not exist"),
        (file, "not a directory"),
        (Path("/"), "let loose"),
        (tmp_path, "your home"),
        (tmp_path / "home/inside", "own home"),
    ]:
        with pytest.raises(errors.BadRequest, match=says):
            Workspace(root, tmp_path / "home").check_root()
    (tmp_path / "fine").mkdir()
    Workspace(tmp_path / "fine", tmp_path / "home").check_root()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(errors.BadRequest, match="not writable"):
        Workspace(tmp_path / "fine").check_root()


# --- by descriptors ----------------------------------------------------------------------------------------


def test_names_are_walked_without_following_links(space, outside):
    (space.root / "dir").symlink_to(outside.parent)
    (space.root / "file").symlink_to(outside)
    for attempt in (
        lambda: space.open_read("file"),
        lambda: space.open_read("dir/secret.txt"),
        lambda: space.replace("file", b"x"),
        lambda: space.replace("dir/secret.txt", b"x"),
        lambda: space.replace("dir/new.txt", b"x"),
        lambda: space.remove("dir/secret.txt"),
        lambda: space.rename("src/a.py", "dir/a.py"),
        lambda: space.rename("dir/secret.txt", "stolen"),
        lambda: space.open_dir("dir"),
        lambda: space.open_read("../secret.txt"),
    ):
        with pytest.raises(errors.OutsideWorkspace):
            attempt()
    assert outside.read_text() == "outside" and sorted(os.listdir(outside.parent)) == ["secret.txt", "ws"]


def test_a_link_that_is_swapped_between_check_and_use_leads_nowhere(space, outside):
    """`d` is by turns a directory of the workspace and a link out of it, while everything is tried on it."""
    real, link = space.root / "d", space.root / "d.link"
    elsewhere = outside.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "n.txt").write_text("outside")
    real.mkdir()
    (real / "n.txt").write_text("inside")
    link.symlink_to(elsewhere)
    stop = threading.Event()

    exchange = ctypes.CDLL(None, use_errno=True).renameat2

    def flip() -> None:
        for _ in range(1_000_000):
            if stop.is_set():
                break
            assert exchange(-100, bytes(real), -100, bytes(link), 2) == 0  # AT_FDCWD, RENAME_EXCHANGE

    flipper = threading.Thread(target=flip)
    flipper.start()
    seen = {"read": 0, "wrote": 0, "refused": 0}
    try:
        for _ in range(2_000):
            if seen["refused"] > 100 and seen["wrote"] > 100:
                break
            try:
                name = space.locate("d/n.txt").name
                assert space.read(name) == b"inside"
                seen["read"] += 1
                space.replace(name, b"inside")
                seen["wrote"] += 1
            except (errors.OutsideWorkspace, errors.NotFound, errors.BadRequest):
                seen["refused"] += 1
            assert (elsewhere / "n.txt").read_text() == "outside"
    finally:
        stop.set()
        flipper.join()
    assert os.listdir(elsewhere) == ["n.txt"]
    assert seen["refused"] and seen["read"] and seen["wrote"]


@pytest.mark.timeout(20)
def test_a_fifo_or_a_device_is_refused_at_once(space):
    os.mkfifo(space.root / "fifo")
    for attempt in (space.open_read, lambda name: space.replace(name, b"x"), space.read, space.hash):
        with pytest.raises(errors.BadRequest, match="FIFO"):
            attempt("fifo")
    if os.geteuid() == 0:
        os.mknod(space.root / "null", 0o600 | 0o020000, os.makedev(1, 3))
        with pytest.raises(errors.BadRequest, match="device"):
            space.open_read("null")


def test_a_file_is_replaced_as_a_whole_and_leaves_nothing_behind(space):
    before = os.open(space.root / "src/a.py", os.O_RDONLY)
    space.replace("src/a.py", b"new", mode=0o640, expect=sha256(b"inside").hexdigest())
    assert os.read(before, 100) == b"inside"  # whoever reads the old one goes on reading it
    os.close(before)
    assert (space.root / "src/a.py").read_text() == "new"
    assert (space.root / "src/a.py").stat().st_mode & 0o777 == 0o640
    with pytest.raises(errors.StaleBase):
        space.replace("src/a.py", b"newer", expect=sha256(b"inside").hexdigest())
    with pytest.raises(errors.StaleBase):
        space.replace("src/a.py", b"newer", expect=None)
    with pytest.raises(errors.StaleBase):
        space.remove("src/a.py", expect=None)
    assert os.listdir(space.root / "src") == ["a.py"] and space.read("src/a.py") == b"new"


def test_parents_are_made_and_a_move_never_replaces(space):
    space.replace("x/y/z.txt", b"1", expect=None)
    space.rename("x/y/z.txt", "p/q.txt", expect=sha256(b"1").hexdigest())
    assert space.read("p/q.txt") == b"1" and space.stat("x/y/z.txt") is None
    with pytest.raises(errors.BadRequest, match="exists already"):
        space.rename("p/q.txt", "src/a.py")
    space.remove("p/q.txt")
    assert space.hash("p/q.txt") is None
    with pytest.raises(errors.NotFound):
        space.remove("p/q.txt")
