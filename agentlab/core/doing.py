"""What an agent does, in the words of the call that it makes. Pure."""

from __future__ import annotations

import shlex

from .events import JSON

SHOWN = 160  # characters

_TELLING = ("path", "file_path", "filepath", "filePath", "notebook_path", "pattern", "query", "id")
"""The arguments that say what a call is about, of our own tools and of vendors'."""


def of_call(name: str, unit: str | None, args: JSON) -> str:
    """`run pytest -q`, `edit src/a.py`: the tool, and what it is about where one can say."""
    about = unit or _about(args)
    said = " ".join(f"{name} {about}".split())
    return said if len(said) <= SHOWN else said[: SHOWN - 1] + "…"


def _about(args: JSON) -> str:
    if not isinstance(args, dict):
        return ""
    argv = args.get("argv") or args.get("command")
    if isinstance(argv, list):
        return shlex.join(str(word) for word in argv)
    if isinstance(argv, str):
        return argv
    found = (args[name] for name in _TELLING if isinstance(args.get(name), str))
    return str(next(found, ""))
