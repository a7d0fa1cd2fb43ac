"""What commands return: something that a notebook shows, a terminal prints, and a program reads."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentlab.client import html
from agentlab.client.rows import Row
from agentlab.client.text import line, visible

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, RenderableType


CELL = 400
"""Characters of a cell of a table."""


@dataclass(frozen=True)
class Listing:
    """A table. `cells`: short texts for people; `records`: JSON values for programs; `frame`: all of it for pandas."""

    title: str
    columns: tuple[str, ...]
    cells: Sequence[Sequence[object]]
    records: Callable[[], Sequence[Row]] = field(repr=False, compare=False)
    frame: Callable[[], pd.DataFrame] = field(repr=False, compare=False)
    note: str = ""

    @property
    def failed(self) -> bool:
        return False

    def data(self) -> Any:
        return list(self.records())

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        if not self.cells:
            return Text(self.note or f"{self.title}: none")
        table = Table(title=Text(self.title), title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column in self.columns:
            table.add_column(Text(column), overflow="fold")
        for row in self.cells:
            table.add_row(*(Text(line("" if cell is None else cell, CELL)) for cell in row))
        return Group(table, Text(line(self.note, 400))) if self.note else table

    def __str__(self) -> str:
        return rendered(self)

    def _repr_html_(self) -> str:
        return html.table(self.title, self.columns, self.cells, self.note)


@dataclass(frozen=True)
class Words:
    """A text: logs, help. Safe to print as it is."""

    text: str

    @property
    def failed(self) -> bool:
        return False

    def data(self) -> Any:
        return self.text.splitlines()

    def __str__(self) -> str:
        return visible(self.text)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html.lines(self.text)


@dataclass(frozen=True)
class Said:
    """Something was done; `facts` says to whom."""

    text: str
    facts: Row

    @property
    def failed(self) -> bool:
        return False

    def data(self) -> Any:
        return self.facts

    def __str__(self) -> str:
        return line(self.text, 400)

    __repr__ = __str__


@dataclass(frozen=True)
class Stream:
    """Lines as they come. `agent` is whose; closing the iterator ends it."""

    agent: str
    lines: Callable[[], Iterator[str]] = field(repr=False)

    @property
    def failed(self) -> bool:
        return False

    def data(self) -> Any:
        return list(self.lines())


def rendered(value: Listing, width: int = 160) -> str:
    """As plain text, without colour."""
    out = console(io.StringIO(), width=width, color=False)
    out.print(value)
    return out.file.getvalue().rstrip("\n")  # type: ignore[attr-defined,no-any-return]


def console(file: Any = None, *, width: int | None = None, stderr: bool = False, color: bool = True) -> Console:
    """Where things are printed: nothing in a text is taken for markup, a link or a sign."""
    from rich.console import Console

    return Console(
        file=file, width=width, stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=False,
        color_system="auto" if color else None,
        force_jupyter=False,  # in a kernel rich would show what it prints as an output of its own, whatever the file
    )  # fmt: skip
