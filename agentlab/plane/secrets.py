"""Secrets in memory, and what people write of them: a mark in the log, the text itself to the agent that it is meant for.

A person pastes a token into a task, or repeats the value of a variable in a message. In the log stands `[redacted:NAME]`, as
in all that a runner records; what the mark stands for is remembered here, for as long as the agent that was told lives, and
put back into what its runner is given. Marks are each agent's own: a text that came from another agent reveals nothing.

A runner knows the secrets of its own agent. Those of the others it may come across all the same (in a file, in an answer):
they are looked for here, in all that comes from it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import TypeVar

import msgspec

from agentlab.core import commands as c
from agentlab.core.events import AgentSpec, Blob
from agentlab.core.redaction import MARK, SHORTEST, Mark, Redactor, mark, rewritten
from agentlab.core.rows import Question
from agentlab.errors import BadRequest

RENAMED = 10_000  # blobs remembered whose content, and with it their hash, was changed

C = TypeVar("C", bound=c.AnyCommand)
T = TypeVar("T")

Marks = dict[str, str]
"""What stands in the log -> what it stands for."""

_WORDS: dict[type[c.Command], tuple[str, ...]] = {
    c.StartRun: ("name",),
    c.EndRun: ("reason",),
    c.CreateTask: ("goal", "input"),
    c.UpdateTask: ("output",),
    c.SendText: ("text",),
    c.Signal: ("reason",),
    c.Answer: ("answer",),
    c.Revoke: ("reason",),
    c.Report: ("entries",),
    c.SetPlan: ("steps",),
    c.Ask: ("question", "options", "input", "diff"),
    c.Withdraw: ("reason",),
    c.Status: ("reason",),
    c.Finish: ("output", "error", "last_lines"),
}
"""The fields of a command that somebody's words are in. Names and units stay: they say which, and must be exact."""

_SPOKEN = ("task", "instructions", "options")
_ARGV = ("args", "command")

_KEY = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH", re.IGNORECASE)

_HASH = re.compile(rb"[0-9a-f]{64}")

_encode = msgspec.msgpack.Encoder().encode


class Secrets:
    """Of the agents of one plane. Nothing of this is ever written down."""

    def __init__(self) -> None:
        self._bound: dict[str, dict[str, str]] = {}  # by agent, until its run ends
        self._marks: dict[str, Marks] = {}  # by agent, until it ends
        self._renamed: OrderedDict[str, str] = OrderedDict()
        self._redactors: dict[str, Redactor | None] = {}  # of the secrets of all others, by agent
        self._all: Redactor | None = None

    # --- whose ---------------------------------------------------------------------------------------------------

    def bind(self, agent: str, values: Mapping[str, str], marks: Mapping[str, str] | None = None) -> None:
        """These are the agent's: the values of its environment, and what the marks in its spec stand for."""
        self._bound[agent] = dict(values)
        self._marks[agent] = {**self._marks.get(agent, {}), **_own(values), **(marks or {})}
        self._changed()

    def of(self, agent: str) -> dict[str, str] | None:
        """The values of its environment; None: this plane was not told them."""
        return self._bound.get(agent)

    def left(self, agent: str) -> None:
        """The agent has ended: nothing is revealed to it any more. Its secrets are looked for until its run ends."""
        self._marks.pop(agent, None)

    def closed(self, run_id: str) -> None:
        for agent in [agent for agent in self._bound if agent.startswith(f"{run_id}/")]:
            del self._bound[agent]
            self._marks.pop(agent, None)
        self._changed()

    def _changed(self) -> None:
        self._redactors.clear()
        self._all = None

    # --- into the log --------------------------------------------------------------------------------------------

    def conceal_spawn(self, spawn: c.Spawn) -> tuple[c.Spawn, Marks]:
        """The same without secrets, and what to `bind` when it was accepted. Raises BadRequest: one would be in an argv."""
        # An address or a path may be both a variable and an argument; a key may not.
        spec, own = spawn.spec, Redactor({name: v for name, v in spawn.secrets.items() if _KEY.search(name)})
        for name in _ARGV:
            given = spec.options.get(name)
            if (told := own.value(given)) is not given:
                raise BadRequest(
                    f"options[{name!r}] holds a secret ({', '.join(_marks_in(told))}), and every user of the machine can read "
                    "the arguments of a program. Hand it over in the agent's environment, for example --env KEY=env:KEY."
                )
        marks = _own(spawn.secrets)
        redactor = Redactor(spawn.secrets, *self._bound.values()) if spawn.secrets else self._redactor()
        logged = _worded(spec, _SPOKEN, redactor, _numbered(marks))
        argv = {name: spec.options[name] for name in _ARGV if name in spec.options}
        logged = msgspec.structs.replace(logged, options={**logged.options, **argv})
        return msgspec.structs.replace(spawn, spec=logged, secrets={}), marks

    def conceal(self, command: C, to: str | None = None) -> C:
        """The same without secrets. to: the agent that it is meant for, which will be told what was written."""
        words = _WORDS.get(type(command))
        if words is None:
            return command
        if isinstance(command, c.Report):
            redactor = self._foreign(command.agent)
            if redactor is None and not self._renamed:
                return command  # its runner knew them all
            encoded = _encode(command)
            if redactor is not None and redactor.knows_of(encoded):
                command = _worded(command, words, redactor, mark)
            return self._with_new_names(command, encoded)
        marking = _numbered(self._marks.setdefault(to, {})) if to else mark
        return self._with_new_names(_worded(command, words, self._redactor(), marking))

    def blobs(self, agent: str, blobs: Sequence[Blob]) -> Sequence[Blob]:
        """What a runner keeps. Content with another agent's secret gets another hash; what names it follows in `conceal`."""
        redactor = self._foreign(agent)
        if redactor is None:
            return blobs
        return [self._redacted(blob, redactor) if redactor.knows_of(blob.data) else blob for blob in blobs]

    def _redacted(self, blob: Blob, redactor: Redactor) -> Blob:
        data = redactor.data(blob.data)
        hash = sha256(data).hexdigest()
        self._renamed[blob.hash] = hash
        if len(self._renamed) > RENAMED:
            self._renamed.popitem(last=False)
        return Blob(hash=hash, data=data)

    def _with_new_names(self, command: C, encoded: bytes | None = None) -> C:
        if not self._renamed:
            return command
        if encoded is not None and not any(hash.decode() in self._renamed for hash in _HASH.findall(encoded)):
            return command
        return rewritten(command, lambda text: self._renamed.get(text, text))

    def _redactor(self) -> Redactor:
        if self._all is None:
            self._all = Redactor(*self._bound.values())
        return self._all

    def _foreign(self, agent: str) -> Redactor | None:
        """Of the secrets that the agent's own runner does not know; None: it knows all."""
        if agent not in self._redactors:
            own = set((self._bound.get(agent) or {}).values())
            others = [
                {name: value for name, value in values.items() if value not in own and len(value) >= SHORTEST}
                for owner, values in self._bound.items()
                if owner != agent
            ]
            self._redactors[agent] = Redactor(*others) if any(others) else None
        return self._redactors[agent]

    # --- to the agent --------------------------------------------------------------------------------------------

    def reveal(self, agent: str, told: T) -> T:
        """What the agent is told, as it was written. Marks that this plane does not know stay."""
        marks = self._marks.get(agent)
        if not marks:
            return told
        return rewritten(told, lambda text: _put_back(text, marks))

    def hired(self, hired: c.Hired) -> c.Hired:
        """What a runner is given to begin with, or to go on."""
        spec, mail, earlier = self.reveal(hired.agent, (hired.spec, hired.mail, hired.earlier))
        return msgspec.structs.replace(hired, spec=spec, mail=mail, earlier=earlier)

    def answer(self, question: Question) -> str:
        return self.reveal(question.agent, question.answer)

    def lost(self, agent: str, spec: AgentSpec) -> tuple[str, ...]:
        """The marks in a spec that nobody can put back any more: they went with an earlier plane."""
        marks = self._marks.get(agent, {})
        return tuple(found for found in _marks_in([getattr(spec, name) for name in _SPOKEN]) if found not in marks)


def _own(values: Mapping[str, str]) -> Marks:
    return {mark(name): value for name, value in values.items() if len(value) >= SHORTEST}


def _worded(value: T, fields: Iterable[str], redactor: Redactor, marking: Mark) -> T:
    said = {name: getattr(value, name) for name in fields}
    told = {name: redactor.value(words, marking) for name, words in said.items()}
    changed = {name: words for name, words in told.items() if words is not said[name]}
    return msgspec.structs.replace(value, **changed) if changed else value  # type: ignore[type-var]


def _numbered(marks: Marks) -> Mark:
    """Marks that stand for one text each: the second secret of a name is [redacted:NAME:2]. They are added to `marks`."""

    def marking(name: str, found: str) -> str:
        number = 1
        while marks.setdefault(label := mark(name if number == 1 else f"{name}:{number}"), found) != found:
            number += 1
        return label

    return marking


def _marks_in(value: object) -> tuple[str, ...]:
    found: dict[str, None] = {}

    def look(text: str) -> str:
        found.update(dict.fromkeys(MARK.findall(text)))
        return text

    rewritten(value, look)
    return tuple(found)


def _put_back(text: str, marks: Marks) -> str:
    return MARK.sub(lambda found: marks.get(found[0], found[0]), text) if "[redacted:" in text else text
