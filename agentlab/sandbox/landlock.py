"""The second rung: the kernel's Landlock, which needs no namespaces and hence works in many containers.

It can allow, not forbid, and knows nothing of mounts. So a file is opened alone, to be written in place; /tmp is everybody's, and
closed: temporary files have a folder of the agent's own, which the environment names; names, modes, owners and times
of files are not held, their content is. `landlock_exec` is what a command is started through.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from agentlab.errors import Unavailable

from . import landlock_exec as launcher
from .base import NO_NEEDS, Needs, Opened, caches, devices, kept_caches

_PATIENCE = 60.0  # s for the trial
_OPEN_DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts"))
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - everybody's: programs with several processes do not work without
_LAUNCHER = (sys.executable, "-I", "-S", launcher.__file__)
_TRIAL = """
import os, socket, sys
root, network = sys.argv[1:]
def can(act, *given):
    try:
        act(*given)
    except OSError:
        return False
    return True
kept = os.path.join(root, "kept")
write = lambda path: open(path, "w").write("1")
wrong = [what for what, right in {
    "it keeps a write from where it was allowed": can(write, os.path.join(root, "open", "yes")),
    "it did not keep a write out": not can(write, os.path.join(root, "no")) and not can(os.truncate, kept, 0),
    "it did not hide what was to be hidden": not can(lambda: open(os.path.join(root, "hidden", "secret")).read()),
    "it did not cut the network": network == "True" or not can(socket.socket, socket.AF_INET, socket.SOCK_DGRAM),
}.items() if not right]
sys.exit("; ".join(wrong) or 0)
"""


@dataclass(frozen=True, kw_only=True)
class Landlock:
    """hidden: folders of which no command may read or write the content of a file; private: likewise, where they are there. scratch: its folder for temporary files;
    None: it has none. extra: folders that may always be written, as far as they are not in the workspace. needs: of the
    agent's own program, where that is executed in it."""

    hidden: tuple[Path, ...] = ()
    private: tuple[Path, ...] = ()
    scratch: Path | None = None
    extra: tuple[Path, ...] = ()
    needs: Needs = NO_NEEDS
    network: bool = True
    name: str = "landlock"
    seals: bool = False
    doors: bool = False
    mark: str = launcher.MARK

    def placed(self, scratch: Path, env: Mapping[str, str]) -> Self:
        return replace(self, scratch=scratch)

    def around(self, needs: Needs) -> Self:
        if needs.door is not None:
            raise Unavailable(
                "Landlock knows ports, not hosts: who may reach the model through it could reach any machine. Install bubblewrap."
            )
        return replace(self, needs=needs)

    def argv(self, root: Path, opened: Iterable[Opened], command: tuple[str, ...]) -> tuple[str, ...]:
        words = [*_LAUNCHER]
        for hidden in (*self.hidden, *(path for path in self.private if path.is_dir())):
            words += ["hide", str(hidden.resolve())]
        for device in (*_OPEN_DEVICES, *devices()):
            words += ["device", device]
        words += ["keep", str(root), "around", _SHARED_MEMORY]
        for place in self.extra:
            if not place.is_relative_to(root):
                words += ["around", str(place)]
        if self.scratch is not None:
            scratch = self.scratch.resolve()
            words += ["open", str(scratch)]
            for path in kept_caches():
                words += ["link", str(scratch / ".cache" / path.name), "to", str(path)]
        for path in self.needs.shown:
            words += ["show", str(path.resolve())]
        for path in self.needs.opened:
            words += ["open", str(path.resolve())]
        for one in opened:
            if not one.modes:
                words += [one.missing or "open", str(one.folder)]
        if not self.network:
            words += ["network", "off"]
        return (*words, "--", *command)

    def handed(self, argv: tuple[str, ...], fd: int) -> tuple[str, ...]:
        return (*_LAUNCHER, "variables", str(fd), *argv[len(_LAUNCHER) :])

    def environment(self, root: Path, opened: Iterable[Opened], given: Mapping[str, str]) -> dict[str, str]:
        return {} if self.scratch is None else caches(self.scratch.resolve(), root, opened, given)


def probe(*, network: bool = True) -> int:
    """The version of the kernel's Landlock, which was tried: it holds writes and hides, and cuts the network if that is not
    to be. Raises Unavailable, with the reason."""
    try:
        version = launcher.version()
    except OSError as error:
        raise Unavailable(
            f"The kernel does not offer Landlock: {error.strerror}. Boot a kernel >= 6.2 with lsm=...,landlock."
        ) from None
    if version < launcher.LEAST:
        raise Unavailable(
            f"The kernel's Landlock (version {version}) does not hold files from being truncated. Boot a kernel >= 6.2."
        )
    if not network and os.uname().machine not in launcher.MACHINES:
        raise Unavailable(f"With Landlock the network cannot be cut on {os.uname().machine}. Install bubblewrap.")
    with tempfile.TemporaryDirectory(prefix="agentlab-probe-") as folder:
        root = Path(folder).resolve()
        for name in ("open", "hidden"):
            (root / name).mkdir()
        for name in ("kept", "hidden/secret"):
            (root / name).write_text("1")
        trial = (sys.executable, "-I", "-S", "-c", _TRIAL, str(root), str(network))
        words = Landlock(hidden=(root / "hidden",), network=network).argv(root, (Opened(folder=root / "open"),), trial)
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"Landlock cannot be used: {error}.") from error
        if done.returncode:
            raise Unavailable(f"Landlock does not work here: {done.stderr.strip().removeprefix(launcher.MARK)}.")
    return version
