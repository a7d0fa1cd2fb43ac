from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import KernelManager
from kernels import Kernel, of
from traitlets.config import Config

from agentlab.testing.stage import Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A plane without runners, and a current folder to work in."""
    monkeypatch.setenv("AGENTLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AGENTLAB_URL", raising=False)
    (tmp_path / "workspace").mkdir()
    monkeypatch.chdir(tmp_path / "workspace")
    with Stage(tmp_path / "home") as stage:
        yield stage


@pytest.fixture
def ip(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """An IPython with the extension loaded, without a front end."""
    monkeypatch.setenv("IPYTHONDIR", str(stage.home / "ipython"))
    quiet = Config({"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor"}})
    shell = InteractiveShell.instance(config=quiet)
    shell.run_line_magic("load_ext", "agentlab")
    yield shell
    face = shell.magics_manager.registry["AgentMagics"].face
    if face._lab is not None:
        face._lab.close()
    shell.run_line_magic("unload_ext", "agentlab")
    InteractiveShell.clear_instance()


@pytest.fixture
def kernel(stage: Stage) -> Iterator[Kernel]:
    manager = KernelManager()
    manager.start_kernel(cwd=os.getcwd(), env={**os.environ, "IPYTHONDIR": str(stage.home / "ipython")})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        kernel = Kernel(manager, client)
        assert not of(kernel.run("%load_ext agentlab"), "error", "stream")
        yield kernel
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
