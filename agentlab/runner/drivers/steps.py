"""The steps of a script agent: read from text or a list, and checked as a whole before the first of them runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentlab.core.events import JSON
from agentlab.errors import BadRequest
from agentlab.runner.tools import catalogue

SLEEP, FAIL = "sleep", "fail"

POSITIONAL: dict[str, tuple[str, ...]] = {
    "read": ("path", "start", "end"),
    "write": ("path", "data"),
    "edit": ("path", "old", "new"),
    "multi_edit": ("path", "edits"),
    "patch": ("path", "diff"),
    "delete": ("path",),
    "move": ("path", "to"),
    "list": ("path", "pattern"),
    "glob": ("pattern", "path"),
    "search": ("regex", "path", "glob"),
    "output": ("id", "since"),
    "stop": ("id",),
    "artifact": ("name", "data", "kind"),
    "ask": ("question",),
    "say": ("text",),
}
"""What the items of `{verb: [...]}` are called."""

WHOLE: dict[str, str] = {"run": "argv", "claim": "units", "release": "units", "plan": "steps", "todo": "items"}
"""Verbs whose list is one argument."""

VERBS = (*POSITIONAL, *WHOLE, SLEEP, FAIL)


@dataclass(frozen=True)
class Step:
    """`args` of a tool call; of sleep {"seconds": s}, of fail {"reason": text}."""

    number: int  # from 1
    verb: str
    args: dict[str, JSON]


def parse(task: JSON) -> list[Step]:
    """Raises BadRequest that names the step, what is wrong with it, and the steps there are."""
    steps = _load(task) if isinstance(task, str) else task
    if isinstance(steps, Mapping) and "steps" in steps:
        steps = steps["steps"]
    if not isinstance(steps, Sequence) or isinstance(steps, str):
        raise BadRequest(
            'A script is a list of steps, such as [{"read": "a.txt"}, {"say": "done"}], or that list as YAML or JSON.'
        )
    return [_step(number, step) for number, step in enumerate(steps, 1)]


def _load(text: str) -> JSON:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadRequest(f"The script is neither YAML nor JSON: {error}") from None


def _step(number: int, step: JSON) -> Step:
    if isinstance(step, str):  # `- release` and the like
        step = {step: None}
    if not isinstance(step, Mapping) or not step:
        raise BadRequest(f"Step {number} is {step!r}; a step is one of {', '.join(VERBS)} with what it needs.")
    verbs = [key for key in step if key in VERBS]
    if not verbs:
        unknown = ", ".join(repr(key) for key in step)
        raise BadRequest(f"Step {number}: there is no step {unknown}. There are: {', '.join(VERBS)}.")
    verb = str(next(iter(step)) if next(iter(step)) in VERBS else verbs[0])
    options = {str(key): value for key, value in step.items() if key != verb}
    args = _args(number, verb, step[verb]) | options
    if verb in (SLEEP, FAIL):
        if options:
            raise BadRequest(f"Step {number}: {verb} has no option {', '.join(map(repr, options))}.")
        return Step(number, verb, args)
    try:
        catalogue.check(verb, args)
    except BadRequest as error:
        raise BadRequest(f"Step {number}: {error}") from None
    return Step(number, verb, args)


def _args(number: int, verb: str, value: JSON) -> dict[str, JSON]:
    if verb == SLEEP:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise BadRequest(f"Step {number}: sleep needs a number of seconds, not {value!r}.")
        return {"seconds": float(value)}
    if verb == FAIL:
        return {"reason": str(value or "the script says so")}
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if verb in WHOLE:
        if value is None:
            return {}
        return {WHOLE[verb]: [value] if isinstance(value, str) and verb != "run" else value}
    items = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if items == [None]:
        items = []
    names = POSITIONAL[verb]
    if len(items) > len(names):
        raise BadRequest(f"Step {number}: {verb} takes {', '.join(names)}; it was given {len(items)} values.")
    return dict(zip(names, items, strict=False))
