"""What is inserted as code, and what a cell of it comes to."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[2] / "labextension" / "tests" / "console"
"""What the browser's tests and ours agree on."""


def value_of(code: str) -> object:
    """The value of the last line of a cell."""
    *before, last = ast.parse(code).body
    assert isinstance(last, ast.Expr)
    names: dict[str, Any] = {}
    exec(compile(ast.Module(before, []), "<cell>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
