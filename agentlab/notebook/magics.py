"""`%agent` and `%%agent`: the verbs of `faces.verbs`. They return objects, print nothing, and raise ordinary exceptions."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from agentlab.client import Lab, Run
from agentlab.client.rows import Tables
from agentlab.client.spec import workspace
from agentlab.client.target import Target
from agentlab.client.text import visible
from agentlab.errors import AgentlabError, BadRequest
from agentlab.faces.table import Table, parse, table_for
from agentlab.faces.values import Listing, Stream

from .display import LiveLines
from .frame import ShownFrame

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

HELP = """Spawn agents, watch them, steer them. `%agent COMMAND --help` says more of each.

`%%agent spawn ...` takes the body of the cell as the task. `-o NAME` also stores the result as a variable.
"""


class Notebook:
    """The face of a kernel: one lab, and a run for each folder that agents are spawned over."""

    stays = True

    def __init__(self, shell: InteractiveShell) -> None:
        self.cell: str | None = None
        self.output: str | None = None
        self._shell = shell
        self._lab: Lab | None = None
        self._runs: dict[Path, Run] = {}

    def for_one(self, cell: str | None) -> Notebook:
        """Itself, for one command."""
        self.cell, self.output = cell, None
        return self

    def lab(self) -> Lab:
        target = Target.of(None, None, True)
        if self._lab is None or self._lab.closed or self._lab._target != target:
            from agentlab import connect

            self._lab, self._runs = connect(), {}
        return self._lab

    def peek(self) -> Tables:
        try:
            if self._lab is not None and not self._lab.closed:
                return self._lab._peek()
            with Lab(Target.of(None, None, False)) as lab:
                return lab._peek()
        except AgentlabError:
            return {}

    def current_run(self, workdir: str | None) -> Run:
        """The kernel's run over that folder, opened on first use and named after the notebook."""
        lab = self.lab()
        root = workspace(workdir or ".", lab.home)
        run = self._runs.get(root)
        if run is None or run.status != "open":
            run = self._runs[root] = lab.run(notebook_name(self._shell), root)
        return run


def notebook_name(shell: InteractiveShell) -> str:
    """The notebook's name without its ending, as far as its front end tells; else `notebook`."""
    path = shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME") or ""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(str(path)).stem).strip("-.")[:64]
    return name or "notebook"


@magics_class
class AgentMagics(Magics):  # type: ignore[misc]
    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.face = Notebook(shell)
        self.table = table()

    @no_var_expand  # type: ignore[untyped-decorator]  # braces and dollars are the task's: JSON and code are full of them
    @line_cell_magic  # type: ignore[untyped-decorator]
    def agent(self, line: str, cell: str | None = None) -> Any:
        """Spawn agents, watch them, steer them: `%agent` alone lists the commands."""
        face = self.face.for_one(cell)
        try:
            value = shown(parse(self.table, words(line), face))
        except AgentlabError as error:
            raise told(error) from None
        if face.output is not None:
            self.shell.user_ns[face.output] = value
        return value


def told(error: AgentlabError) -> AgentlabError:
    """The error, shown in a cell by what it says: the way to it leads through our own code, where there is nothing to mend."""
    error._render_traceback_ = lambda: [f"{type(error).__name__}: {visible(error)}"]  # type: ignore[attr-defined]
    return error


def table() -> Table:
    from agentlab.faces.verbs import VERBS

    return table_for("%agent", VERBS, _output_option, help=HELP)


def words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise BadRequest(
            f"{error} in {line!r}. Put texts with an apostrophe in double quotes, or use %%agent with the text as the cell."
        ) from None


def shown(value: Any) -> Any:
    """What a cell gets: tables as frames that show themselves well, logs that are followed as a live view."""
    match value:
        case Listing():
            return ShownFrame.of(value)
        case Stream():
            return LiveLines(value)
    return value


def _output_option() -> click.Option:
    return click.Option(
        ["-o", "--output", "output"],
        metavar="NAME",
        expose_value=False,
        callback=_remember,
        help="Store the result as this variable.",
    )


def _remember(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    if not value.isidentifier():
        raise BadRequest(f"-o wants the name of a variable, not {value!r}.")
    if ctx.find_root().obj is not None:
        ctx.find_root().obj.output = value
