from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fake_plane import FakePlane, Run
from toolbox import Lab

from agentlab.runner.worker import Worker
from agentlab.testing.gate import MemoryPlane


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    root.mkdir()
    return root


@pytest.fixture
def memory_plane() -> MemoryPlane:
    return MemoryPlane()


@pytest.fixture
async def tool_lab(tmp_path: Path, workspace: Path, memory_plane: MemoryPlane) -> AsyncIterator[Lab]:
    """Agents with tool hosts over one workspace: `tool_lab.agent("a")`."""
    lab = Lab(workspace, tmp_path / "home", memory_plane)
    yield lab
    await lab.close()


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[FakePlane]:
    """The real rules behind a real link, in this process."""
    (tmp_path / "work").mkdir()
    plane = FakePlane(tmp_path / "home", tmp_path / "work")
    await plane.come_up()
    yield plane
    await plane.go_down()


@pytest.fixture
async def run(plane: FakePlane) -> AsyncIterator[Run]:
    """Hire an agent of kind `tiny`, whichever driver that is, and run it here."""
    tasks: list[asyncio.Task[int]] = []

    def run(task: object, name: str = "a", **spec: object) -> asyncio.Task[int]:
        launch = plane.hire(name, "tiny", task=task, **spec)
        tasks.append(asyncio.create_task(Worker(launch).run()))
        return tasks[-1]

    yield run
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
