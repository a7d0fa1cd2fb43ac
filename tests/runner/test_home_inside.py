"""agentlab's home in the workspace itself: for agents it is not there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from toolbox import Lab, until

from agentlab import errors
from agentlab.core.events import FileDelete, FileWrite, Guard
from agentlab.errors import Unavailable
from agentlab.sandbox import Bubblewrap, Landlock, Sandbox, probe_bubblewrap, probe_landlock
from agentlab.testing.gate import MemoryPlane

SECRET = "0f5a-the-secret"


@pytest.fixture(params=["a folder", "behind a link"])
async def inside(
    request: pytest.FixtureRequest, workspace: Path, tmp_path: Path, memory_plane: MemoryPlane
) -> AsyncIterator[Lab]:
    """A workspace with the home two folders down; the tools may be told of it by a link."""
    home = workspace / "var" / "lab"
    home.mkdir(parents=True)
    (home / "secret").write_text(SECRET)
    (workspace / "var" / "mine.txt").write_text("needle " + SECRET)
    (workspace / "near").symlink_to("var/lab")
    (tmp_path / "link").symlink_to(home)
    lab = Lab(workspace, home if request.param == "a folder" else tmp_path / "link", memory_plane)
    yield lab
    await lab.close()


@pytest.mark.parametrize(
    ("tool", "args"),
    [
        ("read", {"path": "var/lab/secret"}),
        ("read", {"path": "near/secret"}),
        ("read_bytes", {"path": "var/../var/./lab/secret"}),
        ("list", {"path": "var/lab"}),
        ("list", {"path": "near", "pattern": "*"}),
        ("glob", {"pattern": "*", "path": "var/lab"}),
        ("search", {"regex": "secret", "path": "var/lab/secret"}),
        ("write", {"path": "var/lab/new", "data": "x"}),
        ("edit", {"path": "var/lab/secret", "old": SECRET, "new": "mine"}),
        ("delete", {"path": "var/lab/secret"}),
        ("move", {"path": "var/lab/secret", "to": "mine"}),
        ("move", {"path": "var/mine.txt", "to": "var/lab/config.toml"}),
        ("run", {"argv": ["cat", "secret"], "cwd": "var/lab"}),
        ("run", {"argv": ["true"], "writes": ["var/lab/"]}),
        ("claim", {"units": ["dir:var/lab"]}),
    ],
)
async def test_no_tool_reaches_it(inside: Lab, tool: str, args: dict[str, object]) -> None:
    a, _ = inside.agent("a")
    with pytest.raises(errors.OutsideWorkspace, match="agentlab's own home"):
        await a.call(tool, args)  # type: ignore[arg-type]
    with pytest.raises(errors.OutsideWorkspace, match="agentlab's own home"):
        await a.read(str(inside.root / "var" / "lab" / "secret"))
    assert (inside.root / "var" / "lab" / "secret").read_text() == SECRET
    assert (inside.root / "var" / "mine.txt").exists()


async def test_looking_around_does_not_find_it(inside: Lab) -> None:
    a, _ = inside.agent("a")
    assert await a.list("var") == ["var/mine.txt"]
    assert await a.list(".", "*") == ["near", "var/mine.txt"]
    assert await a.glob("**/*", ignored=True) == ["near", "var/mine.txt"]
    assert await a.search("secret", ignored=True) == [f"var/mine.txt:1:needle {SECRET}"]


async def test_what_happens_in_it_beside_a_command_is_neither_told_nor_put_back(inside: Lab) -> None:
    a, gate = inside.agent("a")
    home = inside.root / "var" / "lab"
    script = "echo 1 > var/out.txt; while [ ! -e var/go ]; do sleep 0.05; done"
    running = asyncio.ensure_future(a.run(["sh", "-c", script], writes=["var/"]))
    await until((inside.root / "var" / "out.txt").exists, 60)
    (home / "journal").write_text("of another runner")
    (home / "secret").write_text("another")
    (inside.root / "var" / "go").touch()
    ran = await running
    assert ran.wrote == ("var/go", "var/out.txt") and not ran.violations
    assert not (await a.run(["sh", "-c", "echo 1 > var/lab/by-hand"])).violations, "no sandbox, and not looked at"
    assert [(home / name).exists() for name in ("journal", "by-hand")] == [True, True]
    assert (home / "secret").read_text() == "another"
    assert {body.path for body in gate.of(FileWrite)} == {"var/go", "var/out.txt"}
    assert not gate.of(FileDelete) and not gate.of(Guard)


@pytest.fixture(params=["bubblewrap", "landlock"])
def rung(request: pytest.FixtureRequest) -> Callable[..., Sandbox]:
    try:
        made = partial(Bubblewrap, program=probe_bubblewrap()) if request.param == "bubblewrap" else Landlock
        probe_landlock()
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    return made


@pytest.mark.parametrize(
    "attempt",
    [
        "cat var/lab/secret near/secret",
        "echo evil > var/lab/secret; rm var/lab/secret",
        "mv var/lab elsewhere; cat elsewhere/secret",
        "mv var elsewhere; cat elsewhere/lab/secret",
        "mv var beside/elsewhere; cat beside/elsewhere/lab/secret",
        "ln var/lab/secret other; cat other",
        "umount var/lab; cat var/lab/secret",
    ],
)
async def test_a_command_that_may_write_the_whole_workspace_does_not_reach_it(
    inside: Lab, rung: Callable[..., Sandbox], attempt: str
) -> None:
    home = inside.root / "var" / "lab"
    (inside.root / "beside").mkdir()
    a, _ = inside.agent("a", sandbox=rung(hidden=(home,)))
    ran = await a.run(["sh", "-c", f"echo 1 > beside/yes; ({attempt}) 2>&1"], writes=["./"])
    assert (inside.root / "beside" / "yes").exists()
    assert SECRET not in ran.stdout
    assert (home / "secret").read_text() == SECRET
