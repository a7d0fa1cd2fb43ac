"""What a spec may not set itself, because an agent's boundary rests on it: arguments and variables of its program. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

from agentlab.errors import BadRequest

LOADED: Final = (
    "LD_*", "DYLD_*", "GCONV_PATH", "OPENSSL_CONF", "OPENSSL_MODULES", "NODE_OPTIONS", "NODE_PATH", "BUN_*",
)  # fmt: skip
"""Variables by which any program loads code, or takes arguments, that are none of its own."""


def check_args(kind: str, args: Iterable[str], flags: Iterable[str]) -> None:
    """Raises BadRequest where extra arguments would override what the boundary rests on."""
    if found := protected_args(args, flags):
        raise _refused(kind, found)


def check_env(kind: str, env: Iterable[str], names: Iterable[str], but: Iterable[str] = ()) -> None:
    """The same for the variables that a spec sets. names: of this kind's program, beside `LOADED`. but: those of them that may."""
    if found := protected_env(env, (*names, *LOADED), but):
        raise _refused(kind, found)


def _refused(kind: str, what: str) -> BadRequest:
    return BadRequest(f"An agent of kind {kind} may not set {what} itself: its boundary rests on it. Leave it out.")


def protected_args(args: Iterable[str], protected: Iterable[str]) -> str:
    """The first argument that sets something protected, in any spelling that parsers of arguments take: --flag=value,
    --flagOne for --flag-one, --no-flag, the beginning of a long flag, a short one among others (-sy) or with its value."""
    names = {name.partition("=")[0] for name in protected}
    long = {_squashed(name) for name in names if name.startswith("--")}
    short = {name[1] for name in names if len(name) == 2 and name.startswith("-")}
    for arg in args:
        flag = arg.partition("=")[0]
        if flag in names:
            return flag
        if flag.startswith("--"):
            word = flag.lstrip("-").partition(".")[0]
            meant = {_squashed(word), _squashed(word.removeprefix("no-"))} - {""}
            if any(name.startswith(one) for name in long for one in meant):
                return flag
        elif flag.startswith("-") and short & set(flag[1:]):
            return flag
    return ""


def _squashed(flag: str) -> str:
    """--flag-one and --flagOne are one."""
    return flag.replace("-", "").replace("_", "").lower()


def protected_env(env: Iterable[str], names: Iterable[str], but: Iterable[str] = ()) -> str:
    """The first protected variable that somebody wants to set. `NAME*` stands for all that begin so."""
    patterns, free = tuple(names), tuple(but)
    for name in env:
        if _fits(name, patterns) and not _fits(name, free):
            return name
    return ""


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
