"""The notebooks do what they say: executed headless, compared with what is committed of them, and readable as they are."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

from agentlab import discovery, processes

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

pytestmark = pytest.mark.slow(12)

AGENTS = ROOT / ".agents" / "node_modules" / ".bin"

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def notebooks() -> ModuleType:
    """scripts/headless.py"""
    spec = importlib.util.spec_from_file_location("headless", ROOT / "scripts" / "headless.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def home(notebooks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that nothing is left running for. What the notebook makes for itself is gone with it."""
    with tempfile.TemporaryDirectory(prefix="agentlab-home-") as folder:
        home, temporary = Path(folder).resolve() / "home", Path(folder).resolve() / "tmp"
        for place in (home, temporary):
            place.mkdir(mode=0o700)
        monkeypatch.setenv("TMPDIR", str(temporary))
        yield home
        left = notebooks.finish(home)
        assert not left, f"these processes were left: {left}"
        assert discovery.read(home) is None
        assert not processes.marked(str(home), "AGENTLAB_HOME")


def test_there_is_a_quickstart_and_one_with_agents_of_vendors() -> None:
    assert [path.name for path in NOTEBOOKS] == ["agents.ipynb", "quickstart.ipynb"]


@pytest.fixture
def programs(path: Path) -> None:
    """The programs that a notebook drives are there; without them it is skipped by name."""
    if path.stem == "agents" and not AGENTS.exists():
        pytest.skip("codex, gemini and opencode are not installed in .agents: `bash scripts/agents.sh` says why")


@pytest.mark.usefixtures("programs")
@each_notebook
def test_a_notebook_runs_from_top_to_bottom(path: Path, notebooks: ModuleType, home: Path) -> None:
    notebook = notebooks.read(path)
    notebooks.execute(notebook, path.parent, home)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.usefixtures("programs")
@each_notebook
def test_a_notebook_shows_what_is_committed(path: Path, notebooks: ModuleType, home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-cell-timeout", "180", "-q", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*command, str(path)], cwd=ROOT, env=notebooks.environment(home, tmp_path), capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_broken_magic_fails(notebooks: ModuleType, home: Path, tmp_path: Path) -> None:
    """Some runners print what is wrong with a magic and go on: this one must not, or it would prove nothing."""
    broken = new_notebook(cells=[new_code_cell("%load_ext agentlab"), new_code_cell("%agents ps")])
    with pytest.raises(CellExecutionError, match="agents"):
        notebooks.execute(broken, tmp_path, home)


def test_a_wrong_command_of_ours_fails_with_its_text(notebooks: ModuleType, home: Path, tmp_path: Path) -> None:
    wrong = new_notebook(cells=[new_code_cell("%load_ext agentlab"), new_code_cell("%agent pss")])
    with pytest.raises(CellExecutionError, match="Did you mean ps"):
        notebooks.execute(wrong, tmp_path, home)


@each_notebook
def test_what_is_committed_reads_without_a_kernel(path: Path, notebooks: ModuleType) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook == notebooks.tidy(nbformat.read(path, as_version=4)), "run: python scripts/headless.py"
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        assert cell.execution_count
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
            data = output.get("data", {})
            assert "<script" not in data.get("text/html", "")
            assert "\x1b" not in data.get("text/plain", "")
    assert any("assert " in cell.source for cell in notebook.cells)
