"""Commands as far as they can be read without running them: what a rule is matched with, and what a risk is seen in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from .events import JSON

Words = tuple[str, ...]

SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
WRAPPERS: Final = frozenset(
    {"env", "nohup", "time", "timeout", "nice", "ionice", "stdbuf", "setsid", "xargs", "command", "exec", "builtin"}
)
KEYS: Final = ("command", "cmd", "argv")

_HIDDEN = re.compile(r"\$\(|`|<\(|>\(|\$\{")
_ASSIGNMENT = re.compile(r"\w+=.*", re.DOTALL)
_OPERATORS = frozenset(";|&()<>\n")


class Commands(Struct, frozen=True):
    """The simple commands of one call. `readable`: that is all of it; else there may be more in it than one sees. `given`: the
    variables that come with the call, as assignments: PATH or PAGER decide what a command is."""

    simple: tuple[Words, ...]
    readable: bool = True
    piped: bool = False
    given: Words = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """As one would type them, with the variables."""
        return tuple(" ".join((*self.given, *words)) for words in self.simple)


def commands_of(input: JSON) -> Commands | None:
    """The commands in the arguments of a tool. None: there is none."""
    if not isinstance(input, dict):
        return None
    given = next((input[key] for key in KEYS if key in input), None)
    if isinstance(given, str) and given.strip():
        found = _of_text(given)
    elif isinstance(given, list | tuple) and given and all(isinstance(word, str) for word in given):
        found = _of_argv(tuple(given))
    else:
        return None
    env = input.get("env")
    assigned = tuple(f"{name}={value}" for name, value in env.items()) if isinstance(env, dict) else ()
    hidden = input.get("stdin") and any(bare(words)[:1] and bare(words)[0] in SHELLS for words in found.simple)
    return replace(found, given=assigned, readable=found.readable and not hidden)


def bare(words: Words) -> Words:
    """The program that really runs: without assignments, wrappers and its path."""
    words = tuple(words)
    while words:
        if _ASSIGNMENT.fullmatch(words[0]):
            words = words[1:]
        elif words[0].rpartition("/")[2] in WRAPPERS:
            words = words[1:]
            while words and (words[0].startswith("-") or re.fullmatch(r"[\d.]+[smhd]?", words[0])):
                words = words[1:]
        else:
            return (words[0].rpartition("/")[2], *words[1:])
    return ()


def _of_argv(argv: Words) -> Commands:
    program = bare(argv)
    script = _script(program)
    return Commands((argv,)) if script is None else _of_text(script)


def _script(words: Words) -> str | None:
    """What `sh -c` is given."""
    if not words or words[0] not in SHELLS:
        return None
    for index, word in enumerate(words[1:-1], start=1):
        if re.fullmatch(r"-\w*c", word):
            return words[index + 1]
    return None


def _of_text(text: str, depth: int = 0) -> Commands:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";|&()<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        tokens = list(lexer)
    except ValueError:
        return Commands((tuple(text.split()),), readable=False)
    readable, piped = _HIDDEN.search(text) is None, False
    simple: list[Words] = []
    words: list[str] = []
    for token in [*tokens, ";"]:
        if not token or not set(token) <= _OPERATORS:
            words.append(token)
            continue
        readable = readable and not set(token) & set("()<>")
        piped = piped or token.startswith("|")
        if words:
            simple.append(tuple(words))
        words = []
    return _unfolded(simple, readable, piped, depth)


def _unfolded(simple: Sequence[Words], readable: bool, piped: bool, depth: int) -> Commands:
    found: list[Words] = []
    for words in simple:
        script = _script(bare(words))
        if script is None or depth > 4:
            found.append(words)
            readable = readable and (script is None)
        else:
            inner = _of_text(script, depth + 1)
            found += inner.simple
            readable, piped = readable and inner.readable, piped or inner.piped
    return Commands(tuple(found), readable, piped)
