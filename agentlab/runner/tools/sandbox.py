"""A bubblewrap sandbox for one command: everything can be read, only what was claimed or declared can be written.

`argv` builds, `probe` tries for real. A file unit opens its directory, because programs replace files by renaming and
a bound file cannot be renamed over; what they write beside it is found by the scan and undone.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agentlab.core.units import kind_of
from agentlab.errors import Unavailable

_PATIENCE = 60.0  # s for the trial


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """program: bwrap. hidden: folders whose content no command may see. network: whether it is the machine's."""

    program: str
    hidden: tuple[Path, ...] = ()
    network: bool = True

    def argv(self, root: Path, units: Iterable[str], command: tuple[str, ...]) -> tuple[str, ...]:
        """What to execute instead of `command`. Raises Unavailable: a unit leads out of the workspace."""
        outer = [h for h in self.hidden if not h.is_relative_to(root)]
        inner = [h for h in self.hidden if h.is_relative_to(root)]
        words = [self.program, "--ro-bind", "/", "/", "--dev", "/dev", "--unshare-pid", "--proc", "/proc"]
        words += ["--tmpfs", "/tmp"]  # noqa: S108 - the command's own
        for hidden in outer:
            words += ["--tmpfs", str(hidden)]
        words += ["--ro-bind", str(root), str(root)]
        for folder in writable(root, units):
            words += ["--bind", str(folder), str(folder)]
        for hidden in inner:
            words += ["--tmpfs", str(hidden)]
        if not self.network:
            words.append("--unshare-net")
        return (*words, "--", *command)


def writable(root: Path, units: Iterable[str]) -> tuple[Path, ...]:
    """The folders that these units open, outer ones only. A `proc:` unit opens none, but git's opens `.git`.

    Raises Unavailable: one of them leads out of the workspace by a link.
    """
    found: set[Path] = set()
    for unit in units:
        kind, name = kind_of(unit), unit.partition(":")[2]
        if unit == "proc:git":
            path = root / ".git"
            if not path.is_dir():
                continue
        elif kind == "dir":
            path = root / name
        elif kind == "file":
            path = (root / name).parent
        else:
            continue
        while not path.is_dir() and path != root:
            path = path.parent
        real = path.resolve()
        if not real.is_relative_to(root):
            raise Unavailable(f"{unit} leads out of the workspace, to {real}: no command gets it for writing.")
        found.add(real)
    return tuple(sorted(f for f in found if not any(f != o and f.is_relative_to(o) for o in found)))


def probe(program: str | None = None) -> str:
    """The bwrap that works here: it runs a command, and a write outside fails. Raises Unavailable, with the reason."""
    path = program or shutil.which("bwrap")
    if path is None:
        raise Unavailable("bubblewrap is not installed. As root: apt-get install bubblewrap.")
    with tempfile.TemporaryDirectory(prefix="agentlab-probe-") as folder:
        root, inside = Path(folder).resolve(), Path(folder).resolve() / "open"
        inside.mkdir()
        script = 'echo 1 > "$1/open/yes" && ! { echo 1 > "$1/no"; } 2>/dev/null'
        words = Sandbox(program=path).argv(root, ("dir:open",), ("/bin/sh", "-c", script, "sh", str(root)))
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{path} cannot be used: {error}.") from error
        if done.returncode or not (inside / "yes").exists() or (root / "no").exists():
            said = done.stderr.strip() or "it did not keep a write out"
            raise Unavailable(f"{path} does not work here: {said}. Allow unprivileged user namespaces.")
    return path
