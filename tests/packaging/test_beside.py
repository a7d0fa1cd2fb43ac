"""Another's agents in the same environment: jupyter-ai, whose packages want other versions of some that our extras use, and the base of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentlab import __version__, discovery
from tests.packaging.test_packaging import ROOT, good, run, within
from tests.stack.conftest import of_home, until

JUPYTER_AI = "jupyter-ai==3.2.0"
OTHERS = ("agent-client-protocol", "mcp", "mcp-types")  # of our extras; jupyter-ai takes older ones than we test with
SESSION = """
%load_ext agentlab
import agentlab
run = agentlab.connect().run('beside', workdir='work')
ann = run.spawn('script', name='ann', steps=[{'write': ['a.txt', 'hello']}, {'run': ['cat', 'a.txt']}])
print('came to', ann.wait(120).status)
shown = %agent ps --all
print(shown)
"""

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with our wheel and jupyter-ai, and nothing else that they do not ask for."""
    folder = tmp_path_factory.mktemp("together")
    venv = folder / "venv"
    pins = folder / "constraints.txt"
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins.write_text("\n".join(line for line in lines if line.split("==")[0] not in OTHERS) + "\n")
    good(run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder / "wheels", "."], ROOT))
    good(run([sys.executable, "-m", "venv", "--without-pip", venv], folder))
    pip = [sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install", "-q", "-c", pins]
    done = run([*pip, *(folder / "wheels").iterdir(), JUPYTER_AI], folder)
    if done.returncode and "from versions: none" in done.stdout:
        pytest.skip(f"{JUPYTER_AI} cannot be had here")
    good(done)
    return venv


@pytest.fixture
def home(together: Path) -> Iterator[Path]:
    """agentlab's home there. Its plane is gone at the end."""
    home = together.parent / "agentlab"
    yield home
    discovery.stop(home, force=True)
    until(lambda: not of_home(home), "the end of all processes of the home")


def test_no_package_of_either_lacks_what_it_asks_for(together: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--python", together / "bin" / "python"]
    assert "No broken requirements found." in good(run([*pip, "check"], together))
    listed = good(run([*pip, "list", "--format=freeze"], together)).splitlines()
    assert {JUPYTER_AI.replace("-", "_"), f"agentlab=={__version__}"} <= {line.replace("-", "_") for line in listed}


def test_both_extensions_are_found_and_enabled(together: Path) -> None:
    path = os.environ["PATH"]
    front = within(together, path, "from jupyterlab.labextensions import main; main()", "list")
    assert f"{together}/share/jupyter/labextensions" in front and f"agentlab v{__version__} enabled OK" in front
    server = within(together, path, "from jupyter_server.extension.serverextension import main; main()", "list")
    assert f"agentlab enabled - Validating agentlab... agentlab {__version__} OK" in server
    assert "jupyter_ai" in server


def test_an_agent_runs_to_its_end_from_ipython(together: Path, home: Path) -> None:
    work = together.parent / "work"
    work.mkdir(exist_ok=True)
    (together.parent / "session.ipy").write_text(SESSION)
    start = "import sys; from IPython import start_ipython; sys.exit(start_ipython(sys.argv[1:]))"
    said = within(together, os.environ["PATH"], start, "--no-banner", "--colors=nocolor", "session.ipy")
    assert "came to done" in said and "ann beside script ✓ done" in said
    assert (work / "a.txt").read_text() == "hello"
