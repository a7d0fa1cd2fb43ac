"""Patterns for names of files: globs, and the lines of a `.gitignore`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")
_MANY = 64  # patterns that the braces of one may stand for


@dataclass(frozen=True)
class Rule:
    """A line of a `.gitignore`. For names relative to its directory."""

    regex: re.Pattern[str]
    negated: bool
    directories: bool  # only


Rules = Sequence[tuple[str, Sequence[Rule]]]
"""(directory, its rules), the outermost first; the root is ""."""


def glob_regex(pattern: str) -> re.Pattern[str]:
    """`*` and `?` stay within a directory, `**` crosses, `[a-z]` is one of these, `{a,b}` either; a pattern without a slash
    matches names at any depth."""
    found = (one if "/" in one else f"**/{one}" for one in _unfolded(pattern))
    return re.compile("|".join(f"(?:{_translated(one.removeprefix('./'))})" for one in found), re.DOTALL)


def parse(text: str) -> list[Rule]:
    """The rules of a `.gitignore`. Lines that no pattern could be are passed over, as git does."""
    return [rule for line in text.splitlines() if (rule := _rule(line))]


def ignored(name: str, rules: Rules, *, is_directory: bool) -> bool:
    """Whether the last rule of the innermost directory that says anything of this name says so."""
    for directory, own in reversed(rules):
        below = name[len(directory) + 1 :] if directory else name
        for rule in reversed(own):
            if (is_directory or not rule.directories) and rule.regex.fullmatch(below):
                return not rule.negated
    return False


def _rule(line: str) -> Rule | None:
    line = re.sub(r"(?<!\\)\s+$", "", line)
    if not line or line.startswith("#"):
        return None
    negated = line.startswith("!")
    line = line[negated:]
    directories = line.endswith("/")
    line = line.removesuffix("/")  # one: what still ends in a slash is the name of nothing
    if not line:
        return None
    anchored = "/" in line
    pattern = line.removeprefix("/") if anchored else f"**/{line}"
    try:
        return Rule(re.compile(_translated(pattern, within=False), re.DOTALL), negated, directories)
    except re.error:
        return None


def _unfolded(pattern: str) -> list[str]:
    """The patterns that one with braces stands for."""
    found = [pattern]
    while len(found) < _MANY and any(_BRACES.search(one) for one in found):
        found = [each for one in found for each in _once(one)]
    return found[:_MANY]


def _once(pattern: str) -> Iterable[str]:
    braces = _BRACES.search(pattern)
    if braces is None:
        return [pattern]
    return [pattern[: braces.start()] + each + pattern[braces.end() :] for each in braces[1].split(",")]


def _translated(pattern: str, *, within: bool = True) -> str:
    """within: `**` crosses directories also where it is only a part of a name (`src/**.py`). For git it is `*` there."""
    return "".join(_parts(pattern, within))


def _parts(pattern: str, within: bool) -> Iterator[str]:
    at = 0
    while at < len(pattern):
        begins_part = at == 0 or pattern[at - 1] == "/"
        if begins_part and pattern.startswith("**/", at):
            yield "(?:.*/)?"
            at += 3
        elif pattern.startswith("**", at) and (within or (begins_part and at + 2 == len(pattern))):
            yield ".*"
            at += 2
        elif pattern[at] == "*":
            yield "[^/]*"
            at += 1
        elif pattern[at] == "?":
            yield "[^/]"
            at += 1
        elif pattern[at] == "[" and (end := pattern.find("]", at + 2)) > 0:
            inner = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            yield f"[^/{inner[1:]}]" if inner[0] in "!^" else f"[{inner}]"
            at = end + 1
        elif pattern[at] == "\\" and at + 1 < len(pattern):
            yield re.escape(pattern[at + 1])
            at += 2
        else:
            yield re.escape(pattern[at])
            at += 1
