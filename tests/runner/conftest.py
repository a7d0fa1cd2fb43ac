from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from toolbox import Lab

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
