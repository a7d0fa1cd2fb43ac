"""What a workspace says about itself in its `agentlab.toml`, and which process unit a command belongs to.

[processes]                      # unit name = patterns for the whole command line; replaces our patterns of that name
test = ["pytest*", "npm test*"]
[workspace]
ignore = ["dist", "data/*.bin"]  # beside ours: not looked at when a process has ended
[[policy]]                       # rules as in `core.policy`: reject, ask and escalate; approve is not heard here
action = "reject"
command = "git push*"
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from agentlab.core.events import JSON
from agentlab.core.policy import Rule
from agentlab.core.shell import bare, commands_of
from agentlab.errors import BadRequest, NotFound
from agentlab.paths import IGNORED, Workspace

FILE = "agentlab.toml"

DEFAULTS: dict[str, tuple[str, ...]] = {
    "test": (
        "pytest*",
        "py.test*",
        "python* -m pytest*",
        "python* -m unittest*",
        "tox*",
        "nox*",
        "npm test*",
        "npm run test*",
        "yarn test*",
        "pnpm test*",
        "npx jest*",
        "npx vitest*",
        "make test*",
        "make check*",
        "cargo test*",
        "go test*",
        "ctest*",
    ),
    "deploy": (
        "kubectl apply*",
        "helm install*",
        "helm upgrade*",
        "terraform apply*",
        "docker push*",
        "npm publish*",
        "twine upload*",
        "make deploy*",
    ),
    "migrate": ("alembic *", "python* manage.py migrate*", "flask db *", "npx prisma migrate*", "make migrate*"),
    "build": (
        "make*",
        "cmake*",
        "ninja*",
        "npm run build*",
        "npm install*",
        "npm ci*",
        "yarn build*",
        "yarn install*",
        "pnpm build*",
        "pnpm install*",
        "pip install*",
        "python* -m pip install*",
        "python* -m build*",
        "cargo build*",
        "go build*",
        "mvn *",
        "gradle*",
        "docker build*",
        "tsc*",
    ),
    "git": ("git *",),
}
"""Read from the top: the first name that matches a command has it."""

ANY = "proc:run"
"""Taken shared by a command that belongs to no class and declares no writes."""

_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
_OPERATORS = re.compile(r"&&|\|\||[;|&\n]")


class WorkspaceTable(Struct, frozen=True, forbid_unknown_fields=True):
    ignore: tuple[str, ...] = ()


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    processes: dict[str, tuple[str, ...]] = {}
    workspace: WorkspaceTable = WorkspaceTable()
    policy: tuple[Rule, ...] = ()  # only what makes it stricter counts: an agent could write this file

    @property
    def ignore(self) -> tuple[str, ...]:
        return IGNORED + self.workspace.ignore

    def units(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The process units that a command belongs to; those of all its parts where it is a shell's."""
        return self._units(simple_commands(argv))

    def units_of(self, input: JSON) -> tuple[str, ...]:
        """Those of the command in the arguments of a tool that is not ours; (): there is none."""
        commands = commands_of(input)
        return () if commands is None else self._units(filter(None, map(bare, commands.simple)))

    def _units(self, commands: Iterable[Sequence[str]]) -> tuple[str, ...]:
        patterns = self.processes | {k: v for k, v in DEFAULTS.items() if k not in self.processes}
        found = (_class_of(command, patterns) for command in commands)
        return tuple(dict.fromkeys(f"proc:{name}" for name in found if name))


def load(workspace: Workspace) -> Policy:
    """Raises BadRequest: the file is there and makes no sense."""
    try:
        return msgspec.convert(tomllib.loads(workspace.read(FILE).decode()), Policy)
    except NotFound:
        return Policy()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise BadRequest(f"{FILE} in the workspace: {error}") from None


def simple_commands(argv: Sequence[str]) -> list[list[str]]:
    """The command itself, or those that `sh -c` is given, as far as they can be seen without running them."""
    script = _script(argv)
    if script is None:
        return [list(argv)]
    commands = []
    for part in _OPERATORS.split(script):
        try:
            words = shlex.split(part)
        except ValueError:
            words = part.split()
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words.pop(0)
        if words:
            commands.append(words)
    return commands


def split(text: str) -> list[str]:
    """A command that was given as one text. Raises BadRequest where it would need a shell."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
        argv = shlex.split(text)
    except ValueError as error:
        raise BadRequest(f"The command {text!r} cannot be split into arguments: {error}. Pass a list.") from None
    operators = [word for word in words if word and set(word) <= set("();<>|&")]
    if operators or "\n" in text.strip() or re.search(r"\$\(|`", text):
        what = operators[0] if operators else "shell syntax"
        raise BadRequest(
            f"The command has {what!r} in it, which needs a shell. To have bash do it say: run(command={text!r})."
        )
    if not argv:
        raise BadRequest("The command is empty.")
    return argv


def _class_of(command: Sequence[str], patterns: Mapping[str, Sequence[str]]) -> str | None:
    line = " ".join([os.path.basename(command[0]), *command[1:]])  # noqa: PTH119
    for name, globs in patterns.items():
        if any(fnmatch.fnmatchcase(line, glob) for glob in globs):
            return name
    return None


def _script(argv: Sequence[str]) -> str | None:
    if os.path.basename(argv[0]) not in _SHELLS:  # noqa: PTH119
        return None
    for index, word in enumerate(argv[1:-1], start=1):
        if re.fullmatch(r"-\w*c", word):
            return argv[index + 1]
    return None
