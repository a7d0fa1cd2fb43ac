"""Rules that answer for a person: ordered, the first that matches decides. Where none does, a person is asked.

    [[policy]]
    action = "approve"            # approve | reject | ask | escalate (ask, marked as high risk)
    tool = "run"                  # globs; * also crosses / and spaces. What is left out matches everything
    command = ["pytest*", "ruff *"]
    unit = "file:src/*"           # all units that a call names, or takes by a pattern, must match to approve it; one is enough for the rest
    agent = "typist*"
    workspace = "/home/ada/src/*"
    risk = "medium"               # at least
    reason = "tests are harmless"
    timeout = 600.0               # s that a question waits; then it is refused

A tool that is another one in a different form is meant with it: `multi_edit` is an `edit`, `read_bytes` a `read`, and a `run` is
one in the background too (`families`). So is one that does more, unless it is to be approved: `reject edit` stops a `patch`, and
`reject run` what a vendor's program calls `execute`, but an approval of them is none of these. A `write` is no `edit`.
About a file whatever is done with it, write the rule by `unit`. A `search` reads: a rule for `read` or `search` that names files
leaves them out of a search in their folder, which says so; one that names none (ask tool=read) is asked once for all of it.

Who may say what: a person's rules (the home's `config.toml`, the agent's spec) say anything; a workspace's `agentlab.toml`,
which an agent could write, only makes it stricter; answers that a person wanted remembered stand in for that person, where
one would be asked.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

from agentlab.errors import BadRequest

from .events import JSON
from .families import means
from .risk import RANK
from .shell import KEYS, Commands, bare, commands_of

ACTIONS: Final = ("approve", "ask", "escalate", "reject")
"""From the mildest to the strictest."""

STRICTNESS: Final = {action: rank for rank, action in enumerate(ACTIONS)}

Globs = str | tuple[str, ...]

_encode = msgspec.json.Encoder(order="deterministic").encode


class Rule(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    action: str
    agent: str = "*"
    tool: str = "*"
    unit: Globs = "*"
    command: Globs = "*"
    workspace: str = "*"
    input: str = "*"  # digest of the exact arguments, of a command with what it is given: in remembered rules
    risk: str = "low"
    reason: str = ""
    timeout: float | None = None

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"action={self.action!r}: choose one of {', '.join(ACTIONS)}")
        if self.risk not in RANK:
            raise ValueError(f"risk={self.risk!r}: choose one of {', '.join(RANK)}")
        if self.timeout is not None and not 0 < self.timeout < float("inf"):
            raise ValueError(f"timeout={self.timeout}: a number of seconds above 0")

    def __str__(self) -> str:
        """As `parse` reads it."""
        words = [self.action]
        for name in ("agent", "tool", "unit", "command", "workspace", "input", "risk", "timeout"):
            value = getattr(self, name)
            if value not in ("*", None) and (name, value) != ("risk", "low"):
                words += [shlex.quote(f"{name}={one}") for one in (value if isinstance(value, tuple) else (value,))]
        return " ".join(words)


class Act(Struct, frozen=True, kw_only=True):
    """What is to be decided: one call of one agent."""

    agent: str  # its name in the run
    tool: str
    units: tuple[str, ...] = ()
    input: JSON = None
    workspace: str = "/"
    risk: str = "high"

    @property
    def commands(self) -> Commands | None:
        return commands_of(self.input)


class Layers(Struct, frozen=True, kw_only=True):
    """The rules there are, by who made them."""

    spec: tuple[Rule, ...] = ()
    home: tuple[Rule, ...] = ()
    workspace: tuple[Rule, ...] = ()
    remembered: tuple[Rule, ...] = ()


class Decision(Struct, frozen=True):
    action: str
    rule: Rule | None = None  # None: nothing matched


def decide(act: Act, layers: Layers) -> Decision:
    """The spec's first match, else the home's, else ask; but the home's rejection stands, and the workspace may make it
    stricter. Only where a person would be asked, what a person had remembered is looked at."""
    home = first(layers.home, act)
    rule = first(layers.spec, act) or home
    if home is not None and home.action == "reject":
        rule = home
    action = rule.action if rule is not None else "ask"
    tighter = first((r for r in layers.workspace if r.action != "approve"), act)
    if tighter is not None and (STRICTNESS[tighter.action] > STRICTNESS[action] or rule is None):
        rule, action = tighter, tighter.action
    if action in ("ask", "escalate"):
        remembered = first((r for r in layers.remembered if r.action in ("approve", "reject")), act)
        if remembered is not None:
            return Decision(remembered.action, remembered)
    return Decision(action, rule)


def first(rules: Iterable[Rule], act: Act) -> Rule | None:
    return next((rule for rule in rules if matches(rule, act)), None)


def matches(rule: Rule, act: Act) -> bool:
    """An approval has to cover the whole call: every unit, and every command in it, all of them readable. Anything else is
    about the call as soon as a part of it is meant."""
    covers = rule.action == "approve"
    if not (
        fnmatchcase(act.agent, rule.agent)
        and means(rule.tool, act.tool, covers=covers)
        and fnmatchcase(act.workspace, rule.workspace)
        and RANK.get(act.risk, RANK["high"]) >= RANK[rule.risk]
        and (rule.input == "*" or rule.input in (digest(act.input), digest(_around(act.input))))
    ):
        return False
    if rule.unit != "*" and not _units_match(rule.unit, act.units, covers):
        return False
    return rule.command == "*" or _commands_match(rule.command, act.commands, covers)


def _units_match(globs: Globs, units: Sequence[str], covers: bool) -> bool:
    hits = [_any(unit, globs) for unit in units]
    return (bool(hits) and all(hits)) if covers else any(hits)


def _commands_match(globs: Globs, commands: Commands | None, covers: bool) -> bool:
    if commands is None:
        return False
    if covers:
        return commands.readable and bool(commands.simple) and all(_any(text, globs) for text in commands.texts)
    shown = [*commands.texts, *(" ".join(each) for words in commands.simple for each in (words, bare(words)))]
    return any(_any(text, globs) for text in shown)


def _any(text: str, globs: Globs) -> bool:
    return any(fnmatchcase(text, glob) for glob in ((globs,) if isinstance(globs, str) else globs))


# --- rules from elsewhere --------------------------------------------------------------------------------------


def parse(text: str) -> Rule:
    """`ACTION [name=glob ...]`, as a shell would split it: "approve tool=Bash command='pytest*'". Raises BadRequest."""
    try:
        action, *words = shlex.split(text) or [""]
        fields: dict[str, JSON] = {"action": action}
        for word in words:
            name, equals, value = word.partition("=")
            if not equals:
                raise ValueError(f"{word!r} is not of the form name=value")
            if name in ("unit", "command") and name in fields:
                before = fields[name]
                fields[name] = [*(before if isinstance(before, list) else [before]), value]
            elif name in fields:
                raise ValueError(f"{name} is there twice")
            else:
                fields[name] = value
        return msgspec.convert(fields, Rule, strict=False)
    except (ValueError, msgspec.ValidationError) as error:
        names = ", ".join(name for name in Rule.__struct_fields__ if name != "action")
        raise BadRequest(
            f"The rule {text!r} cannot be read: {error}. Write ACTION name=glob ..., with ACTION {' | '.join(ACTIONS)} and "
            f"names of {names}."
        ) from None


def remembered(status: str, tool: str, units: tuple[str, ...], input: JSON, workspace: str = "*") -> Rule | None:
    """The rule that a person's answer means for the same call again. None: it cannot be told which that would be."""
    commands = commands_of(input)
    runs = means("run", tool, covers=False)
    if not tool or (runs if commands is None else not commands.readable):
        return None
    action = {"approved": "approve", "denied": "reject"}.get(status)
    if action is None:
        return None
    return Rule(
        action=action,
        tool=_escaped(tool),
        workspace=workspace if workspace == "*" else _escaped(workspace),
        unit=_exact(units) if units else "*",
        command=_exact(commands.texts) if commands is not None else "*",
        input=_remembered_input(action, units, input, commands),
    )


def _remembered_input(action: str, units: tuple[str, ...], input: JSON, commands: Commands | None) -> str:
    if commands is not None:
        return digest(_around(input)) if action == "approve" else "*"
    return "*" if units else digest(input)


def digest(input: JSON) -> str:
    """16 hex digits that stand for exactly these arguments."""
    return sha256(_encode(input)).hexdigest()[:16]


def _around(input: JSON) -> JSON:
    """What makes a command what it is: its words, and what it is given besides. How long it may take does not."""
    if not isinstance(input, dict):
        return input
    given = {key: input.get(key) for key in (*KEYS, "env", "stdin", "cwd")}
    return {key: value for key, value in given.items() if value not in (None, "", ".", {})}


def _exact(texts: Sequence[str]) -> Globs:
    escaped = tuple(_escaped(text) for text in texts)
    return escaped[0] if len(escaped) == 1 else escaped


def _escaped(text: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", text)
