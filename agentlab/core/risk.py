"""How much harm a call could do, as a person would see it at a glance: low, medium or high, and why. The same call always
has the same risk; nothing is run, asked or guessed by a model. It is a help for people and for rules, not a boundary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from .events import JSON
from .shell import SHELLS, Commands, Words, bare, commands_of
from .units import kind_of

LEVELS: Final = ("low", "medium", "high")
RANK: Final = {level: rank for rank, level in enumerate(LEVELS)}

MANY = 10  # files that are deleted at once

Reason = tuple[str, str]
"""Level, and why."""

_SECRET = re.compile(
    r"(^|[/:=@\s])(\.env(\.\w+)?|\.ssh|\.aws|\.gnupg|\.kube|\.netrc|\.npmrc|\.pypirc|\.git-credentials|id_(rsa|dsa|ecdsa|ed25519)\b"
    r"|[\w.-]*(credential|secret|password|passwd)[\w.-]*|shadow|[\w.-]+\.(pem|key|p12|pfx|keystore))($|[/\s:])",
    re.IGNORECASE,
)
_READING = re.compile(r"read|list|ls|search|grep|glob|view|look|think|todo", re.IGNORECASE)
_DELETING = re.compile(r"delete|remove|unlink", re.IGNORECASE)
_NETWORK = re.compile(r"web|fetch|http|browse|download|upload", re.IGNORECASE)

# Patterns of the words of a command, from the program on, joined by one space.
_COMMANDS: Final[tuple[tuple[str, str, str], ...]] = (
    (r"(sudo|su|doas|pkexec)\b", "high", "other rights"),
    (r"rm( .*)? (-\w*[rR]|--recursive)", "high", "deletes recursively"),
    (r"find .*(-delete|-exec(dir)? rm)\b", "high", "deletes what it finds"),
    (r"(rm|unlink|shred|rmdir|truncate)\b", "medium", "deletes files"),
    (r"git( -\S+)*( .*)? push\b", "high", "publishes: git push"),
    (r"git .*(reset .*--hard|clean .*-\w*f|checkout .*(--|-f)( |$)|branch .*-D|restore |stash (drop|clear)|filter-)", "high", "discards work"),
    (r"git .*(rebase|commit .*--amend|merge|cherry-pick)\b", "medium", "rewrites or merges history"),
    (r"(dd|mkfs\S*|fdisk|parted|mount|umount|shutdown|reboot|halt|init)\b", "high", "touches disks or the machine"),
    (r"(chmod|chown|chgrp)( .*)? (-\w*R|--recursive)", "high", "changes rights recursively"),
    (r"(kubectl|helm|terraform|tofu|pulumi) .*(delete|destroy|uninstall|drain)\b", "high", "destroys infrastructure"),
    (r"(kubectl|helm|terraform|tofu|pulumi|ansible\S*|docker|podman)\b", "medium", "acts on infrastructure"),
    (r"(npm|yarn|pnpm|cargo|poetry|uv|hatch|flit) publish\b|twine upload|gem push|docker push", "high", "publishes a package"),
    (r"(pip\d*|uv|npm|pnpm|yarn|cargo|gem|apt(-get)?|dnf|yum|apk|brew|conda|python\S* -m pip) .*(install|add|i)\b", "medium", "installs packages"),
    (r"(npx|uvx|pipx|bunx)\b", "medium", "runs a program from a registry"),
    (r"(curl|wget|ssh|scp|sftp|rsync|nc|ncat|netcat|telnet|ftp|socat)\b", "medium", "network"),
    (r"(kill|pkill|killall|systemctl|service)\b", "medium", "ends processes"),
    (r"(crontab|at|eval|source)\b", "medium", "runs what is not to be seen here"),
    (r".*\b(drop (table|database|schema)|truncate table|delete from)\b", "high", "deletes data"),
)  # fmt: skip


def assess(
    tool: str,
    units: Sequence[str] = (),
    input: JSON = None,
    *,
    unclaimed: Iterable[str] = (),
    others: Iterable[str] = (),
) -> tuple[str, tuple[str, ...]]:
    """(level, reasons). unclaimed: the units that the agent does not hold. others: who else holds them."""
    commands = commands_of(input)
    reasons = [*_of_units(tool, units, unclaimed, others), *_of_tool(tool, units, commands), *_of_texts(units, input)]
    if commands is not None:
        reasons += _of_commands(commands)
    reasons = sorted(dict.fromkeys(reasons), key=lambda reason: -RANK[reason[0]])
    level = reasons[0][0] if reasons else "low"
    return level, tuple(dict.fromkeys(why for _, why in reasons))


def outside(unit: str) -> bool:
    """Whether a unit names a path that is not in the workspace."""
    kind, _, path = unit.partition(":")
    return kind in ("file", "dir", "notebook") and (path.startswith(("/", "~")) or ".." in path.split("/"))


def _of_units(tool: str, units: Sequence[str], unclaimed: Iterable[str], others: Iterable[str]) -> Iterator[Reason]:
    reads = _READING.search(tool) is not None
    for unit in units:
        if outside(unit):
            yield ("medium" if reads else "high"), f"outside the workspace: {unit}"
    for unit in () if reads else unclaimed:
        if not outside(unit) and kind_of(unit) != "proc":  # a command takes it for the one call
            yield "medium", f"outside its claims: {unit}"
    for owner in others:
        yield "medium", f"held by {owner}"


def _of_tool(tool: str, units: Sequence[str], commands: Commands | None) -> Iterator[Reason]:
    if _DELETING.search(tool):
        yield (
            "high" if len(units) >= MANY else "medium",
            f"deletes {len(units) or 'some'} file{'s' * (len(units) != 1)}",
        )
    if _NETWORK.search(tool):
        yield "medium", "network"
    if not units and commands is None and not (_READING.search(tool) or _NETWORK.search(tool)):
        yield "medium", "what it touches is not known"


def _of_texts(units: Sequence[str], input: JSON) -> Iterator[Reason]:
    texts = [*units]
    if isinstance(input, dict):
        texts += [value for key, value in input.items() if isinstance(value, str) and "path" in str(key).lower()]
    for text in texts:
        if _SECRET.search(text):
            yield "high", f"secret-like path: {text[:200]}"


def _of_commands(commands: Commands) -> Iterator[Reason]:
    if not commands.readable:
        yield "medium", "a command that cannot be read without running it"
    deleted = 0
    for index, words in enumerate(commands.simple):
        program = bare(words)
        line = " ".join(program)
        for pattern, level, why in _COMMANDS:
            if re.match(pattern, line, re.IGNORECASE):
                yield level, why
        if program and program[0] in SHELLS and commands.piped and index:
            yield "high", "runs what it was piped"
        deleted += _deleted(program)
        for word in program[1:]:
            if _SECRET.search(word):
                yield "high", f"secret-like path: {word[:200]}"
            if word.startswith(("/", "~")) and not word.startswith(("/dev/null", "/dev/std")):
                yield "medium", f"outside the workspace: {word[:200]}"
    if deleted >= MANY:
        yield "high", f"deletes {deleted} files"


def _deleted(program: Words) -> int:
    return sum(not word.startswith("-") for word in program[1:]) if program and program[0] in ("rm", "unlink") else 0
