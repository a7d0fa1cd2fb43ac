"""Finding files by name and by content: what .gitignore names is left out, and it makes no difference who searches."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agentlab import errors
from agentlab.paths import Workspace
from agentlab.runner.tools import search
from agentlab.runner.tools.patterns import glob_regex
from agentlab.runner.tools.search import Search, Wanted
from agentlab.runner.tools.walk import Walk

ROOT = Path(__file__).parents[2]
RIPGREPS = [Path(found) for found in [shutil.which("rg")] if found] or [*ROOT.glob(".agents/**/codex-path/rg")]

with_ripgrep = pytest.mark.skipif(not RIPGREPS, reason="there is no ripgrep here")


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("needle\n")


# --- patterns ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.py", ["a.py", "x/y/a.py"], ["a.pyc", "a.py/b"]),
        ("src/*.py", ["src/a.py"], ["src/x/a.py", "x/src/a.py"]),
        ("src/**/*.py", ["src/a.py", "src/x/y/a.py"], ["a.py"]),
        ("**/test_*.py", ["test_a.py", "x/test_a.py"], ["x/a.py"]),
        ("src/**", ["src/a", "src/b/c"], ["srcx/a"]),
        ("*.{ts,tsx}", ["a.ts", "x/a.tsx"], ["a.js", "a.{ts,tsx}"]),
        ("{src,lib/{a,b}}/*.c", ["src/x.c", "lib/a/x.c", "lib/b/x.c"], ["lib/c/x.c"]),
        ("[a-c]?.txt", ["ab.txt", "x/c1.txt"], ["d1.txt", "a.txt"]),
        ("[!a]b", ["bb"], ["ab"]),
        ("./a.py", ["a.py"], ["x/a.py"]),
        ("a+(1).py", ["a+(1).py"], ["aa1.py"]),
        ("[", ["["], ["x"]),
    ],
)
def test_a_pattern_means_what_shells_and_models_take_it_for(pattern: str, yes: list[str], no: list[str]) -> None:
    regex = glob_regex(pattern)
    assert [name for name in yes if not regex.fullmatch(name)] == []
    assert [name for name in no if regex.fullmatch(name)] == []


def test_braces_are_not_followed_without_end() -> None:
    assert len(glob_regex("{a,b}" * 40).pattern) < 100_000


NAMES = ("a", "b", "a.o", "b.log", "ab", ".x")
LINES = st.lists(
    st.one_of(
        st.sampled_from([
            "*.o", "!a.o", "/a", "a/", "a/b", "**/b", "a/**", "a/**/b", "b?", "[ab]", "[!a]", "*", "!*/", "!b.log", "#a", "\\#a", "a ", "",
            "/*", "!/a", "*.l*", "d/", "!d/", "/d/*", "!/d/b", ".x", "a/*/b",
        ]),
        st.text("ab*/.!?", min_size=1, max_size=5),
    ),
    max_size=4,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(top=LINES, inner=LINES)
@example(top=["*", "!*/", "!*.o"], inner=[])
@example(top=["/d/*", "!/d/b"], inner=["b"])
@example(top=["*.o"], inner=["!a.o"])
@example(top=["?//", "//b", "a//"], inner=["?//", "//b"])
@example(top=["e/**b", "a**"], inner=["?**?"])
def test_what_is_ignored_is_what_git_ignores(
    top: list[str], inner: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("repo")
    make(root, *NAMES, *(f"d/{name}" for name in NAMES), *(f"d/e/{name}" for name in NAMES), "a.d/b", "e/a/b")
    put(root, **{".gitignore": "\n".join(top), "d__.gitignore": "\n".join(inner)})
    git = ["git", "-c", "core.excludesFile=/dev/null", "ls-files", "--others", "--exclude-standard", "-z"]
    subprocess.run(["git", "init", "-q", "."], cwd=root, check=True)
    said = subprocess.run(git, cwd=root, check=True, capture_output=True, text=True).stdout
    walk = Walk(Workspace(root), (".git",))
    assert [entry.name for entry in walk.files(".")] == sorted(said.split("\0")[:-1])
    within = [entry.name for entry in walk.files("d")]
    shown = sorted(name for name in said.split("\0") if name.startswith("d/"))
    assert not shown or within == shown, "a directory is seen alike from above and from within"


# --- by name -----------------------------------------------------------------------------------------------


async def test_files_are_found_by_name_without_those_that_nobody_means(tool_lab: Any) -> None:
    make(tool_lab.root, "a.py", "src/b.py", "src/deep/c.py", "build/d.py", "node_modules/e.py", "src/old/f.py", "g.txt")
    put(tool_lab.root, **{".gitignore": "build/\n", "src__.gitignore": "old\n"})
    a, _ = tool_lab.agent("a")
    assert await a.glob("**/*.py") == ["a.py", "src/b.py", "src/deep/c.py"]
    assert await a.glob("*.py", "src") == ["src/b.py", "src/deep/c.py"]
    assert await a.glob("deep/*", "src") == ["src/deep/c.py"]
    assert await a.glob(f"{tool_lab.root}/src/*.py") == ["src/b.py"]
    assert await a.glob("*.py", ignored=True) == ["a.py", "build/d.py", "src/b.py", "src/deep/c.py", "src/old/f.py"]
    assert await a.glob("*.py", "build") == ["build/d.py"], "it was asked for"
    with pytest.raises(errors.NotFound):
        await a.glob("*.py", "nowhere")


async def test_the_newest_files_come_first_where_asked_and_what_is_left_off_is_counted(tool_lab: Any) -> None:
    for age, name in enumerate(["c.py", "a.py", "b.py"]):
        make(tool_lab.root, name)
        os.utime(tool_lab.root / name, (1_000_000 - age, 1_000_000 - age))
    a, _ = tool_lab.agent("a")
    assert await a.glob("*.py", sort="newest") == ["c.py", "a.py", "b.py"]
    assert await a.glob("*.py", limit=1) == ["a.py", "[... 2 more; give a narrower path or pattern]"]


async def test_links_are_not_followed_and_odd_names_are_told(tool_lab: Any, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    make(tmp_path, "outside/secret.py")
    (tool_lab.root / "link").symlink_to(tmp_path / "outside")
    make(tool_lab.root, "ok.py")
    (tool_lab.root / os.fsdecode(b"\xff.py")).write_text("needle\n")
    a, _ = tool_lab.agent("a")
    assert await a.call("glob", {"pattern": "**/*.py"}) == ["ok.py", "\\xff.py"]
    assert await a.call("search", {"regex": "needle", "mode": "files"}) == ["ok.py", "\\xff.py"]


# --- by content --------------------------------------------------------------------------------------------


@pytest.fixture(params=["ours", pytest.param("ripgrep", marks=with_ripgrep)])
def find(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Search]:
    """A search over a workspace, by each that can do it."""
    root = tmp_path / "searched"
    root.mkdir()
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "xargs").symlink_to(str(shutil.which("xargs")))
    if request.param == "ripgrep":
        (tools / "rg").symlink_to(RIPGREPS[0])
    workspace = Workspace(root)
    return Search(workspace, Walk(workspace, (".git",)), {"PATH": str(tools)})


@pytest.fixture
def root(find: Search) -> Path:
    root = find._workspace.root
    put(
        root,
        a="one\nNeedle 1\nthree\nfour\nfive\nsix\nneedle 2\nlast",
        b="needle\n\nneedle",
        src__c="before\nthe needle's eye\nafter\n",
        ignored__d="needle\n",
        **{".gitignore": "ignored/\n", "x.py": "needle in py\n", ".hidden": "needle\n"},
    )
    (root / "binary").write_bytes(b"needle\0needle\n")
    (root / "late").write_bytes(b"x\n" * 5000 + b"needle\0\n")
    (root / "latin").write_bytes(b"needle caf\xe9\n")
    (root / "utf16").write_bytes("needle".encode("utf-16"))
    (root / "empty").write_bytes(b"")
    (root / "link").symlink_to("b")
    os.mkfifo(root / "fifo")
    return root


async def test_lines_are_found_by_path_and_number(find: Search, root: Path) -> None:
    assert await find(Wanted("^needle")) == [
        ".hidden:1:needle", "a:7:needle 2", "b:1:needle", "b:3:needle", "late:5001:needle\0", "latin:1:needle caf\ufffd", "x.py:1:needle in py",
    ]  # fmt: skip
    assert await find(Wanted("needle"), "src") == ["src/c:2:the needle's eye"]
    assert await find(Wanted("needle"), "ignored") == ["ignored/d:1:needle"]
    assert await find(Wanted("needle"), "b") == ["b:1:needle", "b:3:needle"]
    assert await find(Wanted("needle"), glob="*.{py,c}") == ["x.py:1:needle in py"]
    assert await find(Wanted("needle"), glob="src/*") == ["src/c:2:the needle's eye"]
    assert await find(Wanted("needle"), glob="ignored/*", everything=True) == ["ignored/d:1:needle"]
    assert await find(Wanted("no such thing")) == []
    assert await find(Wanted("x"), glob="*.nothing") == []


async def test_an_empty_line_is_a_line_and_the_end_of_a_file_is_none(find: Search, root: Path) -> None:
    assert await find(Wanted("^$")) == ["b:2:"]
    assert await find(Wanted("^$", "count")) == ["b:1"]


async def test_the_case_is_minded_unless_it_is_not(find: Search, root: Path) -> None:
    assert await find(Wanted("^NEEDLE"), "a") == []
    assert await find(Wanted("^NEEDLE", ignore_case=True), "a") == ["a:2:Needle 1", "a:7:needle 2"]


async def test_paths_or_counts_alone_may_be_asked_for(find: Search, root: Path) -> None:
    assert await find(Wanted("needle", "files"), glob="[a-b]") == ["a", "b"]
    assert await find(Wanted("needle", "count"), glob="[a-b]") == ["a:1", "b:2"]
    assert await find(Wanted("needle", "count", context=3), glob="[a-b]") == ["a:1", "b:2"]


async def test_a_context_is_shown_around_each_line_and_gaps_are_seen(find: Search, root: Path) -> None:
    assert await find(Wanted("[Nn]eedle", context=1), glob="[ab]") == [
        "a-1-one", "a:2:Needle 1", "a-3-three", "--", "a-6-six", "a:7:needle 2", "a-8-last", "--", "b:1:needle", "b-2-", "b:3:needle",
    ]  # fmt: skip


async def test_a_long_line_is_cut_and_many_are_counted(find: Search, root: Path) -> None:
    put(root, long="x" * 10_000 + "\n", many="hit\n" * 1_500)
    assert await find(Wanted("x{9}"), "long") == [f"long:1:{'x' * search.MAX_LINE} [...]"]
    found = await find(Wanted("hit"))
    assert len(found) == search.MAX_LINES + 1
    assert found[-1].startswith("[... 500 more lines; give a narrower")
    assert (await find(Wanted("hit"), limit=2))[:2] == ["many:1:hit", "many:2:hit"]


async def test_an_endless_answer_is_cut_short(find: Search, root: Path) -> None:
    put(root, many="a line that is found again and again\n" * 100_000)
    found = await find(Wanted("line"))
    assert len(found) == search.MAX_LINES + 1
    assert found[-1].startswith("[... more lines; ")


@pytest.mark.parametrize("regex", [r"(?<=the )needle", r"(\w)\1dle", "needle{}|needle's"])
async def test_a_pattern_that_only_one_of_them_knows_is_searched_by_that_one(
    find: Search, root: Path, regex: str
) -> None:
    assert await find(Wanted(regex), "src") == ["src/c:2:the needle's eye"]


async def test_a_name_that_looks_like_an_option_is_a_name(find: Search, root: Path) -> None:
    put(root, **{"--version": "needle\n"})
    assert await find(Wanted("--version"), "a") == []
    assert await find(Wanted("needle"), "--version") == ["--version:1:needle"]


async def test_what_is_no_pattern_or_no_place_is_said(find: Search, root: Path) -> None:
    with pytest.raises(errors.BadRequest, match=r"no regular expression.*backslash"):
        await find(Wanted("foo("))
    with pytest.raises(errors.NotFound, match="Use list"):
        await find(Wanted("x"), "nowhere")


async def test_a_search_that_takes_for_ever_is_ended(find: Search, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_PATIENCE", 0.5)
    put(root, evil="a" * 40 + "!")
    with pytest.raises(errors.AgentTimeout, match="simpler pattern"):
        await find(Wanted(r"(?=(a+)+$)b"), "evil")
