"""The rules of a home: those of its `config.toml`, and the answers that a person wanted remembered (`remembered.toml`).

Both are read again when they have changed, so that a rule that a person deletes is gone at the next question.
"""

from __future__ import annotations

import json
import logging
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agentlab import config
from agentlab.core.approvals import POLICY
from agentlab.core.events import JSON, Approval, Event
from agentlab.core.policy import Rule, remembered
from agentlab.errors import BadRequest

from .engine import Engine

log = logging.getLogger(__name__)

FILE = "remembered.toml"

HEAD = """# Answers that were given with --always: the first that matches stands in for you, where you would be asked.
# Delete what you do not want any more; it is gone at the next question.
"""


class Policies:
    def __init__(self, engine: Engine, home: Path) -> None:
        self._engine, self._home = engine, home
        self._seen: tuple[object, ...] = ()
        engine.on_ask = self.refresh
        engine.on_commit.append(self._committed)
        self.refresh()

    def refresh(self) -> None:
        """Have the engine decide by what the files say now. One that makes no sense allows nothing: a person is asked."""
        seen = tuple(_stamp(self._home / name) for name in ("config.toml", FILE))
        if seen == self._seen:
            return
        try:
            rules, kept = config.load(self._home).policy, read(self._home / FILE)
        except (BadRequest, OSError) as error:
            log.error("the rules cannot be read, so a person is asked: %s", error)
            rules, kept = (Rule(action="escalate", reason=f"the rules cannot be read: {error}"),), ()
        self._engine.rules = msgspec.structs.replace(self._engine.rules, policy=rules, remembered=kept)
        self._seen = seen

    def _committed(self, events: Sequence[Event]) -> None:
        for event in events:
            body = event.body
            if isinstance(body, Approval) and body.scope == "always" and body.by != POLICY:
                question = self._engine.state.approvals.get(body.approval)
                run = self._engine.state.runs.get(event.run_id)
                if question is None or run is None:
                    continue
                rule = remembered(event.status or "", question.tool, question.units, question.input, run.root)
                if rule is not None:
                    self._remember(rule, f"{body.by}, {question.agent}: {question.question}")

    def _remember(self, rule: Rule, note: str) -> None:
        path = self._home / FILE
        try:
            kept = [old for old in read(path) if msgspec.structs.replace(old, action=rule.action, reason="") != rule]
            write(path, [msgspec.structs.replace(rule, reason=note[:200]), *kept])
        except (BadRequest, OSError) as error:
            log.error("an answer could not be remembered: %s", error)


def read(path: Path) -> tuple[Rule, ...]:
    """The rules of a file, the first to be looked at first. Raises BadRequest, OSError."""
    try:
        found = msgspec.convert(tomllib.loads(path.read_text()).get("policy", []), tuple[Rule, ...])
    except FileNotFoundError:
        return ()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise BadRequest(f"{path}: {error}") from None
    return found


def write(path: Path, rules: Sequence[Rule]) -> None:
    """Replace the file at once; only its owner can read it."""
    blocks = [HEAD]
    for rule in rules:
        fields = msgspec.to_builtins(rule)
        lines = [f"{name} = {_toml(value)}" for name, value in fields.items()]
        blocks.append("[[policy]]\n" + "\n".join(lines) + "\n")
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write("\n".join(blocks))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _toml(value: JSON) -> str:
    """A text or a list of texts, or a number. JSON's escapes are TOML's, where no text is written in surrogates."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size)
