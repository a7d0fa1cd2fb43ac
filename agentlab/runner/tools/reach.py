"""What a sandboxed command may write, from the units that its agent holds.

A folder's unit opens the folder. A file's unit opens its folder for new names and for that file, because many programs
replace a file by writing beside it and renaming; what else is there is sealed. New names that nobody declared are
found by the scan and undone. `proc:git` opens `.git`; other processes open nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from agentlab.core.units import PATH_KINDS, kind_of
from agentlab.errors import Unavailable
from agentlab.sandbox import Opened

_SEALS = 64  # at most, for one folder: each is a mount, and their cost grows by the square. A larger folder is open as a whole, the scan looks after it


def opened(root: Path, units: Iterable[str]) -> tuple[Opened, ...]:
    """The folders that these units open, outer ones first. Raises Unavailable: one leads out of the workspace by a link."""
    whole: set[Path] = set()
    parts: defaultdict[Path, set[Path]] = defaultdict(set)
    for unit in units:
        kind, name = kind_of(unit), unit.partition(":")[2]
        if unit == "proc:git":
            kind, name = "dir", ".git"
            if not (root / name).is_dir():
                continue
        if kind not in PATH_KINDS:
            continue
        path = root / name
        if kind == "dir" and path.is_dir():
            whole.add(_inside(root, path, unit))
            continue
        while path != root and not path.parent.is_dir():
            path = path.parent
        folder = _inside(root, path.parent, unit)
        parts[folder].add(folder / path.name)
    found = [Opened(folder=folder) for folder in whole if not _below(folder, whole - {folder})]
    for folder, names in parts.items():
        if not _below(folder, whole):
            found.append(Opened(folder=folder, sealed=_others(folder, names)))
    return tuple(sorted(found, key=lambda one: one.folder.parts))


def _below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _inside(root: Path, path: Path, unit: str) -> Path:
    real = path.resolve()
    if not real.is_relative_to(root):
        raise Unavailable(f"{unit} leads out of the workspace, to {real}: no command gets it for writing.")
    return real


def _others(folder: Path, names: set[Path]) -> tuple[Path, ...]:
    entries = sorted(path for path in folder.iterdir() if path not in names and not path.is_symlink())
    return tuple(entries) if len(entries) <= _SEALS else ()
