"""From what a person writes to an `AgentSpec`: all that can be wrong is found before anything is sent."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agentlab.core.events import GO_ON, JSON, AgentSpec, Mode, Priority
from agentlab.core.units import canonical
from agentlab.errors import BadRequest

_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
MODES = {"exclusive": Mode.EXCLUSIVE, "shared": Mode.SHARED, "X": Mode.EXCLUSIVE, "S": Mode.SHARED}
BOUNDARIES = ("tools", "native")
DEFAULT_BOUNDARY = BOUNDARIES[0]
SCHEDULES = ("arrival", "turns", "recorded")
CLAIMS = ("implicit", "explicit")


class Definition(NamedTuple):
    """An agent to be spawned, and the values behind the references of its environment, which are never logged."""

    spec: AgentSpec
    secrets: dict[str, str]

    def __repr__(self) -> str:
        return f"Definition(spec={self.spec!r})"


CREDENTIALS = {
    "claude": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_OAUTH_TOKEN"),
    "codex": ("OPENAI_API_KEY", "OPENAI_BASE_URL", "CODEX_API_KEY", "CODEX_HOME"),
    "gemini": (
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
        "GOOGLE_GENAI_USE_VERTEXAI",
        "GOOGLE_CLOUD_PROJECT",
        "GOOGLE_GEMINI_BASE_URL",
    ),
}
"""What an agent of a kind logs in with. Exported here, it is passed on by reference, as `env=` would; nothing else is."""

PROVIDERS = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "google": ("GOOGLE_GENERATIVE_AI_API_KEY", "GEMINI_API_KEY"),
    "openai": ("OPENAI_API_KEY",),
    "opencode": ("OPENCODE_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
}
"""The same of opencode, which speaks to many: that of the provider which its model names, no other's."""


def credentials(kind: str, model: str | None) -> tuple[str, ...]:
    """The variables that an agent logs in with. An acp agent's are not known here: `env`, or its profile, names them."""
    if kind == "opencode":
        return PROVIDERS.get((model or "").partition("/")[0], ())
    return CREDENTIALS.get(kind, ())


def new_id(prefix: str, now_ms: int | None = None) -> str:
    """An id that sorts by time: 9 base32 digits of milliseconds, then 6 of luck."""
    number = ((time.time_ns() // 1_000_000 if now_ms is None else now_ms) << 30) | secrets.randbits(30)
    return prefix + "".join(_BASE32[number >> shift & 31] for shift in range(70, -1, -5))


def one_of(what: str, value: str, allowed: Iterable[str]) -> str:
    if value not in (words := tuple(allowed)):
        raise BadRequest(f"{what} cannot be {value!r}. There is: {', '.join(words)}.")
    return value


def checked_name(what: str, name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadRequest(
            f"{name!r} is no name for {what}: up to 64 letters, digits, '_', '-' and '.', not beginning with '-' or '.'."
        )
    return name


def workspace(workdir: str | os.PathLike[str], home: Path | None = None) -> Path:
    """The resolved folder that agents will work in. Raises BadRequest: missing, no folder, not writable, or too much."""
    from agentlab.paths import Workspace

    try:
        place = Workspace(Path(workdir).expanduser(), home)
    except (OSError, RuntimeError, ValueError, TypeError):
        raise BadRequest(f"{workdir!r} is no folder. Name the directory that the agents are to work in.") from None
    place.check_root()
    return place.root


def canonical_units(units: str | Sequence[str], root: Path | None, home: Path | None = None) -> tuple[str, ...]:
    """Each unit in its one spelling, once. With a workspace, links and the like are followed too, and agentlab's home is no part
    of it."""
    listed: tuple[object, ...] = (units,) if isinstance(units, str) else tuple(units)
    spell = canonical
    if root is not None:
        from agentlab.paths import Workspace

        spell = Workspace(root, home).canonical_unit
    found = []
    for unit in listed:
        if not isinstance(unit, str):
            raise BadRequest(f"{unit!r} is no work unit. Write kind:name, for example 'file:src/a.py'.")
        found.append(spell(unit))
    return tuple(dict.fromkeys(found))


def resolve_env(env: Mapping[Any, Any], environ: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """(references for the log, values for the agent). `env:NAME` and `file:/path` are references, the rest is a literal."""
    references: dict[str, str] = {}
    values: dict[str, str] = {}
    for key, given in env.items():
        if not isinstance(key, str) or not key or "=" in key or "\0" in key:
            raise BadRequest(f"{key!r} is no name of an environment variable.")
        if not isinstance(given, str) or "\0" in given:
            raise BadRequest(f"The value of {key} must be a text: env:NAME, file:/path, or the value itself.")
        references[key], values[key] = _resolve(key, given, environ)
    return references, values


def _resolve(key: str, given: str, environ: Mapping[str, str]) -> tuple[str, str]:
    scheme, _, rest = given.partition(":")
    if scheme == "env":
        if rest not in environ:
            raise BadRequest(
                f"{key} refers to {given}, but {rest!r} is not set here. Set it, or name another variable."
            )
        return given, environ[rest]
    if scheme == "file":
        try:
            return given, Path(rest).expanduser().read_text().rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise BadRequest(f"{key} refers to {given}, which cannot be read: {why}.") from None
    return "literal:***", given


def task_of(kind: str, task: JSON, steps: JSON, code: str | None) -> JSON:
    """What the agent is given to do: a list of steps (script), code (python), or a text. Text steps are YAML or JSON."""
    given = {"task": task, "steps": steps, "code": code}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        fits = {"script": "steps=[...]", "python": "code='...'"}.get(kind, "a task")
        raise BadRequest(f"A {kind} agent wants {fits}" + (f", not {' and '.join(named)} together." if named else "."))
    value = given[named[0]]
    if kind == "script":
        if named[0] == "code":
            raise BadRequest("A script agent wants steps=[...]; code= is for python agents.")
        return script_steps(value) if isinstance(value, str) else _listed(value)
    if named[0] == "steps":
        raise BadRequest(
            f"steps= is for script agents; a {kind} agent wants {'code=' if kind == 'python' else 'a task'}."
        )
    if named[0] == "code" and kind != "python":
        raise BadRequest(f"code= is for python agents; a {kind} agent wants a task.")
    if not isinstance(value, str) or not value.strip():
        raise BadRequest(f"The {named[0]} of a {kind} agent is a text that is not empty.")
    return value


def script_steps(text: str) -> JSON:
    """The steps in a YAML or JSON text. Raises BadRequest with the place of the mistake."""
    import yaml

    try:
        return _listed(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise BadRequest(f"The steps are no YAML: {error}") from None


def _listed(steps: JSON) -> JSON:
    if isinstance(steps, Mapping) and set(steps) == {"steps"}:
        steps = steps["steps"]
    if not isinstance(steps, Sequence) or isinstance(steps, str):
        raise BadRequest(
            "The task of a script agent is a list of steps, for example [{'read': 'a.txt'}, {'say': 'done'}]."
        )
    return list(steps)


def budget(tokens: Any, cost: Any, time: Any) -> dict[str, Any]:
    """Of those that are given. Raises BadRequest: no number above 0."""
    given = {"tokens": tokens, "cost": cost, "time": time}
    for name, much in given.items():
        if much is not None and (isinstance(much, bool) or not isinstance(much, int | float) or not 0 < much < 1e18):
            raise BadRequest(f"max_{name} is a number above 0, not {much!r}.")
    return {name: int(much) if name == "tokens" else float(much) for name, much in given.items() if much is not None}


def define(
    kind: str,
    task: JSON = None,
    *,
    root: Path | None,
    home: Path | None = None,
    name: str | None = None,
    steps: JSON = None,
    code: str | None = None,
    claims: str | Sequence[str] = (),
    claims_mode: str = "exclusive",
    claims_policy: str | None = None,
    env: Mapping[str, str] | None = None,
    tools: Sequence[str] | None = None,
    permissions: Sequence[str] = (),
    boundary: str | None = None,
    priority: str = "normal",
    ttl: Any = 60.0,
    options: Mapping[str, JSON] | None = None,
    role: str = "",
    model: str | None = None,
    instructions: str = "",
    memory: str = "none",
    runtime: str | None = None,
    resume: str | None = None,
    max_tokens: int | None = None,
    max_cost: float | None = None,
    max_time: float | None = None,
    retries: Any = 1,
    wait_limits: bool = False,
    keep: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Definition:
    """What each means: `Run.spawn`. `root`: the workspace, where it is here. home: agentlab's. Raises BadRequest, OutsideWorkspace."""
    here, given = os.environ if environ is None else environ, env or {}
    exported = {key: f"env:{key}" for key in credentials(kind, model) if key in here and key not in given}
    references, values = resolve_env({**exported, **given}, here)
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= 10:
        raise BadRequest(f"retries is a number from 0 to 10, not {retries!r}.")
    if not isinstance(ttl, int | float) or not 0 < ttl < float("inf"):
        raise BadRequest(f"ttl is a number of seconds above 0, not {ttl!r}.")
    fields = {
        "kind": kind,
        "name": None if name is None else checked_name("an agent", name),
        "task": task_of(kind, task, steps, code),
        "claims": canonical_units(claims, root, home),
        "claims_mode": MODES[one_of("claims_mode", claims_mode, MODES)].value,
        "claims_policy": None if claims_policy is None else one_of("claims_policy", claims_policy, CLAIMS),
        "env": references,
        "tools": None if tools is None else list(tools),
        "permissions": list(permissions),
        "boundary": one_of("boundary", DEFAULT_BOUNDARY if boundary is None else boundary, BOUNDARIES),
        "priority": one_of("priority", priority, [p.value for p in Priority]),
        "ttl": float(ttl),
        "options": dict(options or {}),
        "role": role,
        "model": model,
        "instructions": instructions,
        "memory": memory,
        "runtime": runtime,
        "resume": resume,
        "budget": budget(max_tokens, max_cost, max_time),
        "retries": retries,
        "wait_limits": wait_limits,
        "keep": keep,
    }
    try:
        plain = msgspec.json.decode(msgspec.json.encode(fields))
    except (TypeError, ValueError) as error:
        raise BadRequest(
            f"The definition of a {kind} agent must be made of values that JSON can hold: {error}."
        ) from None
    try:
        return Definition(msgspec.convert(plain, AgentSpec), values)
    except msgspec.ValidationError as error:
        raise BadRequest(f"The definition of a {kind} agent: {error}.") from None


def again(row: Mapping[str, Any], text: str | None, environ: Mapping[str, str] | None = None) -> Definition:
    """An agent that has ended, once more in its vendor's session. row: as the plane has it. Raises BadRequest."""
    name, session = row["name"], row.get("vendor_session")
    if not session:
        raise BadRequest(
            f"Agent {name!r} ({row['kind']}) never had a session of its vendor to go on in. Spawn it anew."
        )
    before = msgspec.convert(row["spec"], AgentSpec)
    if lost := [key for key, reference in before.env.items() if reference == "literal:***"]:
        raise BadRequest(
            f"{', '.join(lost)} of {name!r} was given as a value, and values are not kept. Spawn it anew with "
            f"--resume {session} and --env."
        )
    references, values = resolve_env(before.env, os.environ if environ is None else environ)
    spec = msgspec.structs.replace(before, name=name, env=references, task=text or GO_ON, resume=session)
    return Definition(spec, values)


OPTIONS = frozenset(define.__kwdefaults__ or ()) - {"environ", "home", "root"}
"""What can be said of an agent beside its kind and task."""
