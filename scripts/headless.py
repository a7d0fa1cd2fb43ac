"""Notebooks without a browser: executed by this very interpreter, in a home that is given, and put in shape for the repository.

    python scripts/headless.py         execute notebooks/*.ipynb and write their outputs back

Nothing is read from or written to the user's Jupyter or IPython folders.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import psutil
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from agentlab import connect, discovery, processes
from agentlab.client.rows import is_live
from agentlab.errors import AgentlabError

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
CELL_TIMEOUT = 180  # s
LEAVING = 15.0  # s in which runners whose agents have ended are gone
WIDGET = "application/vnd.jupyter.widget-view+json"


class ThisInterpreter(KernelSpecManager):  # type: ignore[misc]
    """Every kernel is this Python, whatever the notebook or the machine calls its kernels."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="agentlab", language="python")


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def execute(notebook: NotebookNode, folder: Path, home: Path) -> None:
    """Run all cells, in `folder`; the outputs are in `notebook` then, those before a failure too.

    Raises nbclient's CellExecutionError (a cell failed) and CellTimeoutError.
    """
    with tempfile.TemporaryDirectory(prefix="agentlab-kernel-") as private:
        manager = AsyncKernelManager(
            kernel_spec_manager=ThisInterpreter(), connection_file=f"{private}/kernel.json", transport="ipc",
            ip=f"{private}/kernel",
        )  # fmt: skip
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=CELL_TIMEOUT,
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute(env=environment(home, Path(private)), cleanup_kc=True)  # ours, and so to be shut down


def environment(home: Path, private: Path) -> dict[str, str]:
    """What a kernel gets: our home, and Jupyter folders that nobody else uses."""
    names = ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR")
    return {**os.environ, "AGENTLAB_HOME": str(home), **{name: str(private / name.lower()) for name in names}}


def finish(home: Path) -> list[int]:
    """End the agents and the plane of a home. Pids of what was left all the same, and was killed: there should be none."""
    agents: list[str] = []
    try:
        with connect(home, start=False) as lab:
            for row in lab.state()["tables"]["agents"].values():
                agents.append(row["agent"])
                if is_live(row):
                    handle = lab.agent(row["agent"])
                    handle.stop(now=True)
                    handle.wait(30)
    except AgentlabError:
        pass  # no plane, or none that answers: what is there is found below
    discovery.stop(home, force=True)
    deadline = time.monotonic() + LEAVING
    while (left := _running(home, agents)) and time.monotonic() < deadline:
        time.sleep(0.05)
    processes.kill_tree(left, grace=0)
    return left


def _running(home: Path, agents: list[str]) -> list[int]:
    """Plane and runners of a home, and whatever these agents started."""
    served = [pid for pid in processes.marked(str(home), "AGENTLAB_HOME") if _is_ours(pid)]
    return served + [pid for agent in agents for pid in processes.marked(agent)]


def _is_ours(pid: int) -> bool:
    """A plane or a runner. A Jupyter server that somebody opened on the same home is not."""
    try:
        argv = psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return False
    return "agentlab.plane" in argv or "agentlab.runner" in argv


def tidy(notebook: NotebookNode) -> NotebookNode:
    """As it is committed: outputs that read without a kernel, and nothing that differs by machine."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(WIDGET, None)
    notebook.metadata = nbformat.from_dict({
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    })  # fmt: skip
    return notebook


def refresh(path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="agentlab-home-") as home:
        notebook = read(path)
        try:
            execute(notebook, path.parent, Path(home))
        finally:
            finish(Path(home))
    nbformat.write(tidy(notebook), path)


def main() -> None:
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        refresh(path)
        print(f"{path.name}: executed, outputs written")


if __name__ == "__main__":
    main()
