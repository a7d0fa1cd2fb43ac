"""`make demo`: executes the quickstart notebook headless in a fresh home, and tells what happened.

    demo-output/quickstart.ipynb, .html   the notebook with its outputs
    demo-output/home                      the home: its database is the log

Exit code 1: a cell failed, or a process was left behind. Nothing outside demo-output is written, but for temporary files.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat
from headless import NOTEBOOKS, execute, finish, read
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentlab.client.text import visible
from agentlab.faces.values import console
from agentlab.plane.daemon import DATABASE
from agentlab.trace.frames import runs_df
from agentlab.trace.summary import Summary, summary

OUTPUT = NOTEBOOKS.parent / "demo-output"
HOME = OUTPUT / "home"


def main() -> int:
    out = console(width=None if sys.stdout.isatty() else 120)
    fresh(HOME)
    notebook = read(NOTEBOOKS / "quickstart.ipynb")
    out.print("Executing notebooks/quickstart.ipynb headless ...")
    failure = ""
    try:
        execute(notebook, NOTEBOOKS, HOME)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        failure = visible(error)
    finally:
        left = finish(HOME)
    save(notebook)
    for run in runs(HOME):
        tell(out, run)
    where(out)
    if left:
        failure += f"\nProcesses were left behind, and were killed: {', '.join(map(str, left))}."
    if failure:
        out.print(Text(failure.strip(), style="red"))
    return 1 if failure else 0


def fresh(home: Path) -> None:
    """An empty home, 0700. What an interrupted demo left in it is ended first."""
    if home.exists():
        finish(home)
        shutil.rmtree(home)
    home.mkdir(parents=True, mode=0o700)


def save(notebook: NotebookNode) -> None:
    nbformat.write(notebook, OUTPUT / "quickstart.ipynb")
    html, _ = HTMLExporter().from_notebook_node(notebook, resources={"metadata": {"name": "quickstart"}})
    (OUTPUT / "quickstart.html").write_text(html)


def runs(home: Path) -> list[Summary]:
    """What came of each run in the log, the oldest first."""
    log = home / DATABASE
    if not log.exists():
        return []
    return [summary(log, run_id) for run_id in runs_df(log, where="run_id <> 'plane'")["run_id"]]


def tell(out: Console, run: Summary) -> None:
    took = "" if run["seconds"] is None else f" in {span(run['seconds'])}"
    out.print(Text(f"\nRun {run['name']}: {run['status']}{took}, {run['events']} events", style="bold"))
    agents = (
        (a["agent"], a["kind"], a["status"], span(a["seconds"]), span(a["waited"]), a["tool_calls"], a["errors"] or "")
        for a in run["agents"]
    )
    show(out, "Agents", ("agent", "kind", "ended", "took", "waited", "tool calls", "refused"), agents)
    show(out, "Who waited for whom", ("agent", "for", "behind", "times", "in all"), longest_waits(run))
    files = ((f["path"], f["changes"], f"+{f['added']} -{f['removed']}", ", ".join(f["by"])) for f in run["files"])
    show(out, "Files changed", ("file", "changes", "lines", "by"), files)
    guards = ((g["agent"], g["rule"], g["status"].replace("_", " "), g["detail"]) for g in run["guards"])
    show(out, "Rules enforced", ("agent", "rule", "what was done", "detail"), guards)


def longest_waits(run: Summary) -> list[tuple[object, ...]]:
    """The waits of each agent for each unit, together; the longest first."""
    together: dict[tuple[str, str], tuple[set[str], list[float]]] = {}
    for wait in run["waits"]:
        behind, seconds = together.setdefault((wait["agent"], wait["unit"]), (set(), []))
        behind.update(wait["behind"])
        seconds.append(wait["seconds"] or 0.0)
    rows = sorted(together.items(), key=lambda item: -sum(item[1][1]))
    return [(agent, unit, ", ".join(sorted(b)), len(s), span(sum(s))) for (agent, unit), (b, s) in rows]


def where(out: Console) -> None:
    agentlab = f"{shown(Path(sys.executable).parent / 'agentlab')} --home {shown(HOME)}"
    out.print(Text("\nWhere it is", style="bold"))
    for what, place in (
        ("the log", shlex.quote(str(HOME / DATABASE))),
        ("look at it", f"{agentlab} events quickstart"),
        ("the notebook", shown(OUTPUT / "quickstart.html")),
        ("open the notebooks", "make lab"),
    ):
        out.print(f"  {what:<20}{place}", soft_wrap=True)


def shown(path: Path) -> str:
    """As it is written in this folder."""
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def show(out: Console, title: str, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", title_style="")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(re.sub(r"\s+", " ", visible(cell))) for cell in row))
    if table.row_count:
        out.print()
        out.print(table)


def span(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"


if __name__ == "__main__":
    sys.exit(main())
