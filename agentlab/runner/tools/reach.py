"""What a sandboxed command may write, from the units that its agent holds.

A folder's unit opens the folder. `proc:git` opens `.git`; other processes open nothing. What a file's unit opens depends on
the sandbox. One that can seal opens the file's folder, for new names and for that file, because many programs replace a file
by writing beside it and renaming; what else is there is sealed, and new names that nobody declared are found by the
scan and undone (`opened`). One that cannot opens the file alone, and what is not there yet is made if the command declares it
(`opened_alone`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from agentlab.core.units import PATH_KINDS, kind_of
from agentlab.errors import Unavailable
from agentlab.sandbox import Opened

_SEALS = 64  # at most, for one folder: each is a mount, and their cost grows by the square. A larger folder is open as a whole, the scan looks after it


def opened(root: Path, units: Iterable[str]) -> tuple[Opened, ...]:
    """The folders that these units open, outer ones first. Raises Unavailable: one leads out of the workspace by a link."""
    whole: set[Path] = set()
    parts: defaultdict[Path, set[Path]] = defaultdict(set)
    for unit, kind, path in _paths(root, units):
        if kind == "dir" and path.is_dir():
            whole.add(_inside(root, path, unit))
            continue
        path = _first_missing(root, path)
        folder = _inside(root, path.parent, unit)
        parts[folder].add(folder / path.name)
    found = [Opened(folder=folder) for folder in whole if not _below(folder, whole - {folder})]
    for folder, names in parts.items():
        if not _below(folder, whole):
            found.append(Opened(folder=folder, sealed=_others(folder, names)))
    return tuple(sorted(found, key=lambda one: one.folder.parts))


def opened_alone(root: Path, units: Iterable[str], declared: Iterable[str]) -> tuple[Opened, ...]:
    """What these units name, and nothing beside it, outer ones first; permissions may be changed everywhere. declared: the
    units that are made if they are not there. Raises Unavailable: one leads out of the workspace by a link."""
    declared = set(declared)
    found: dict[Path, Opened] = {}
    for unit, kind, path in _paths(root, units):
        if path.exists():
            real = _inside(root, path, unit)
            found[real] = Opened(folder=real)
        elif unit in declared and not path.is_symlink():
            first = _first_missing(root, path)
            made = _inside(root, first.parent, unit) / first.name
            found[made] = Opened(folder=made, missing="file" if first == path and kind != "dir" else "folder")
    outer = [one for one in found.values() if not _below(one.folder, found.keys() - {one.folder})]
    return (*sorted(outer, key=lambda one: one.folder.parts), Opened(folder=root, modes=True))


def _paths(root: Path, units: Iterable[str]) -> Iterator[tuple[str, str, Path]]:
    """Unit, kind and path of those that a command could write."""
    for unit in units:
        kind, name = kind_of(unit), unit.partition(":")[2]
        if unit == "proc:git" and (root / ".git").is_dir():
            yield unit, "dir", root / ".git"
        elif kind in PATH_KINDS:
            yield unit, kind, root / name


def _first_missing(root: Path, path: Path) -> Path:
    """The path itself, or the outermost folder on the way to it that is not there."""
    while path != root and not path.parent.is_dir():
        path = path.parent
    return path


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
