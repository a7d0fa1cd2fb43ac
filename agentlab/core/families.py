"""Which tools a rule means that names one: a tool in another form is that tool, whoever wrote the rule did not have to know of it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

FORMS: Final = {"multi_edit": ("edit",), "read_bytes": ("read",)}
"""Tools of ours that do what another one does, and no more. `run` in the background is `run` already."""

DOES: Final = {
    "patch": ("edit", "write"),  # it may make a file
    "apply_patch": ("edit", "write", "delete", "move"),
    "exec_command": ("run",),
    "execute": ("run",),
}
"""Tools that do what others do, and more: the last three are of programs that keep their own, so neither our sandbox nor our
boundary is around them. What is said against those others is said against these; an approval of those is none of these."""


def means(glob: str, tool: str, *, covers: bool) -> bool:
    """Whether a rule for `glob` is about a call of this tool. covers: it approves, so that it has to mean all that the tool does."""
    names = (tool, *FORMS.get(tool, ()), *(() if covers else DOES.get(tool, ())))
    return any(fnmatchcase(name, glob) for name in names)
