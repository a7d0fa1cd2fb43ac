"""What is started for an agent: a vendor's program, with what it needs of the machine, and what is written for it to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Start:
    """title: how people call it. opens: what it has to write beside the workspace. reads: what it has to read of agentlab's home.
    asks: it can do nothing without a model beyond this machine. own: variables that go before those of its sandbox."""

    title: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict, repr=False)
    opens: tuple[Path, ...] = ()
    reads: tuple[Path, ...] = ()
    asks: bool = False
    own: Mapping[str, str] = field(default_factory=dict)


def write_anew(path: Path, text: str) -> None:
    """A program that keeps its own tools may have put a link there, by which we would write what it cannot."""
    path.unlink(missing_ok=True)
    path.write_text(text)
