"""Whether a command only looks: told from its words alone, whatever its program or a vendor says of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from .events import JSON
from .shell import Words, commands_of

_LINES = re.compile(r"(\d+|\$)(,(\d+|\$))?p")
_FINDS = re.compile(r"-(delete|exec|ok|fprint|fls)")
_SEARCHES = re.compile(r"--(pre|hostname-bin|search-zip)|-\w*z")
_PLACES: Final = ("/bin/", "/usr/bin/")

Looks = Callable[[Words], bool]
"""Whether it only looks with these arguments."""


def _always(args: Words) -> bool:
    return True


def _prints_lines(args: Words) -> bool:
    """`sed -n 1,20p a.txt`: other scripts of sed can write, and start programs."""
    return len(args) > 1 and args[0] == "-n" and _LINES.fullmatch(args[1]) is not None and not _options(args[2:])


def _options(args: Words) -> bool:
    return any(arg.startswith("-") for arg in args)


PROGRAMS: Final[Mapping[str, Looks]] = {
    **dict.fromkeys(
        ("basename", "cat", "cd", "cut", "dirname", "du", "echo", "egrep", "fgrep", "grep", "head", "ls", "nl", "pwd", "readlink",
         "realpath", "stat", "tail", "true", "wc"), _always,
    ),
    "find": lambda args: not any(_FINDS.match(arg) for arg in args),
    "rg": lambda args: not any(_SEARCHES.match(arg) for arg in args),
    "sed": _prints_lines,
}  # fmt: skip
"""Programs that write nothing and start nothing, but for what these tell. None of them takes a file to write to: `sort`, `uniq`
and `tree` do, and are not here."""


def only_looks(input: JSON) -> bool:
    """`input`: the arguments of a tool, as in `shell.commands_of`. False too where it cannot be read to its end."""
    commands = commands_of(input)
    if commands is None or not commands.readable or commands.given or not commands.simple:
        return False
    return all(_looks(words) for words in commands.simple)


def _looks(words: Words) -> bool:
    place, _, program = words[0].rpartition("/")
    looks = PROGRAMS.get(program)
    return looks is not None and (f"{place}/" in _PLACES or program == words[0]) and looks(words[1:])
