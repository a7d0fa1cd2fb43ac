"""One JupyterLab and one Chromium for the tests of a module; a fresh profile, and agents of its own, for each test."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import agentlab
from agentlab import discovery
from tests.stack.conftest import of_home, until

from . import lab as labs

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is missing here is said once for each test, by name."""
    why = labs.why_not()
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(300))
            if why:
                item.add_marker(pytest.mark.skip(reason=why))


@contextmanager
def served(**options: Any) -> Iterator[labs.Server]:
    """A JupyterLab in a folder of its own, as `labs.serve` has it; nothing of it is left at the end."""
    base = Path(tempfile.mkdtemp(prefix="agentlab-browser-")).resolve()
    home = base / "agentlab"
    try:
        with labs.serve(base, home, **options) as server:
            yield server
        if home.exists():
            discovery.stop(home, force=True)
        until(lambda: not of_home(home), "the end of all processes of the home")
    finally:
        for pid in of_home(home):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="module")
def server() -> Iterator[labs.Server]:
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def chrome() -> Iterator[object]:
    with labs.browser() as chrome:
        yield chrome


@pytest.fixture
def page(chrome, server: labs.Server) -> Iterator[labs.Lab]:
    """JupyterLab with the sidebar open. No error of the page goes unnoticed."""
    with labs.visit(chrome, server) as lab:
        lab.show_panel()
        yield lab
        assert lab.errors == []


@pytest.fixture
def lab(server: labs.Server) -> Iterator[agentlab.Lab]:
    """The plane from beside the browser, as a kernel or the CLI has it."""
    lab = agentlab.connect(server.home)
    yield lab
    for agent in lab.agents().to_dict("records"):
        if agent["status"] not in ("done", "failed", "cancelled"):
            lab.agent(f"{agent['run_id']}/{agent['name']}").stop(now=True)
    lab.close()


@pytest.fixture
def work(server: labs.Server, request: pytest.FixtureRequest) -> Path:
    folder = server.files / request.node.name[:40]
    if folder.exists():
        folder = folder.with_name(f"{folder.name}-again")  # of its first try
    folder.mkdir()
    return folder
