"""Work units: what can be locked. `file:src/a.py`, `dir:src`, `proc:test`, `port:8000`, `notebook:a.ipynb`, `gpu:0`.

This is the lexical half of naming, pure text. The half that asks the disk (links, case, existence) is
`agentlab.paths`, and ends here, so that two spellings of one thing always are one unit.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from agentlab.errors import BadRequest, OutsideWorkspace

PATH_KINDS = frozenset({"file", "dir", "notebook"})
WORKSPACE_KINDS = frozenset({"proc"})  # one per workspace: two projects may build at once
HOST_KINDS = frozenset({"port", "gpu"})  # one per machine
KINDS = PATH_KINDS | WORKSPACE_KINDS | HOST_KINDS

LONGEST = 4096 + len("notebook:")  # characters; Linux has no longer paths

Chain = tuple[str, ...]
"""The nodes from the root of a hierarchy down to one unit. Locks are taken on the last, intentions above it."""


def canonical(unit: str) -> str:
    """The one spelling of a unit, with its path relative to the workspace.

    Raises BadRequest (not of the form kind:name) and OutsideWorkspace (absolute, or leads out by `..`).
    """
    kind, sep, name = unit.partition(":")
    if not sep or kind not in KINDS or not name.strip():
        raise BadRequest(
            f"{unit!r} is no work unit. Write kind:name with a kind of {', '.join(sorted(KINDS))}, "
            f"for example 'file:src/a.py', 'dir:src' or 'proc:test'."
        )
    name = unicodedata.normalize("NFC", name)
    if "\0" in name:
        raise BadRequest(f"{unit!r} has a NUL in its name.")
    if kind in PATH_KINDS:
        return f"{kind}:{_relative(name, unit)}"
    name = name.strip()
    if kind in HOST_KINDS and not (name.isascii() and name.isdigit() and len(name) <= 6):
        raise BadRequest(f"{unit!r}: a {kind} is named by its number, for example '{kind}:0'.")
    return f"{kind}:{int(name) if kind in HOST_KINDS else name}"


def asked(unit: str) -> str:
    """`canonical`, of a unit that somebody wants: it is shown to all who look. Raises BadRequest: it is longer than any path."""
    if len(unit) > LONGEST:
        raise BadRequest(f"{unit[:80]!r}... has {len(unit)} characters; a work unit has {LONGEST} at most.")
    return canonical(unit)


def _relative(path: str, unit: str) -> str:
    if path.startswith("/"):
        raise OutsideWorkspace(f"{unit!r} is absolute; name it relative to the workspace.", unit=unit)
    parts: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if not parts:
                raise OutsideWorkspace(f"{unit!r} leads out of the workspace.", unit=unit)
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts) or "."


def kind_of(unit: str) -> str:
    return unit.partition(":")[0]


def path_of(unit: str) -> str | None:
    """The workspace path of a file, dir or notebook unit; None for the others."""
    kind, _, name = unit.partition(":")
    return name if kind in PATH_KINDS else None


@lru_cache(maxsize=65536)
def chain(unit: str, host: str, root: str) -> Chain:
    """The nodes of a canonical unit in the workspace at the absolute path `root` on `host`.

    Paths hang in one tree per host, from `/` down, so that two workspaces of which one lies inside the other
    still conflict where they meet.
    """
    kind, _, name = unit.partition(":")
    if kind in PATH_KINDS:
        full = root.rstrip("/") if name == "." else f"{root.rstrip('/')}/{name}"
        parts = full.split("/")[1:] if full else []
        nodes, at = [f"{host}:/"], f"{host}:"
        for part in parts:
            at = f"{at}/{part}"
            nodes.append(at)
        return tuple(nodes)
    if kind in WORKSPACE_KINDS:
        top = f"{host}:{kind}:{root.rstrip('/')}"
        return (top, f"{top}\0{name}")  # no path has a NUL, so no path is taken for a name
    return (f"{host}:{kind}", f"{host}:{kind}:{name}")


def covers(held: str, wanted: str) -> bool:
    """Whether an exclusive grant on `held` allows changing `wanted` (both canonical, same workspace).

    `dir:src` covers `file:src/a.py` but not `file:src2`; a file covers only itself, whatever its kind is called.
    """
    if held == wanted:
        return True
    outer, inner = path_of(held), path_of(wanted)
    if outer is None or inner is None:
        return False
    if outer == inner:
        return True
    return held.startswith("dir:") and (outer == "." or inner.startswith(outer + "/"))
