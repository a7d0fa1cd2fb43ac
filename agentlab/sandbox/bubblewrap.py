"""The first rung: mounts of the command's own, in which only what was opened can be written, and what is hidden is empty.

/tmp is a folder of the agent's own, which lasts as long as the agent; tools that keep caches are sent there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Self

from agentlab.errors import Unavailable
from agentlab.paths import program_outside

from . import door_exec
from .base import NO_NEEDS, Door, Needs, Opened, caches, devices, kept_caches

_PATIENCE = 60.0  # s for the trial
_TMP = Path("/tmp")  # noqa: S108 - the command's own
_VAR_TMP = Path("/var/tmp")  # noqa: S108
MISSING = "bubblewrap is not installed. As root: apt-get install bubblewrap."
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
"""What root keeps: to work on files of others. Without the rest it cannot mount, trace, load or make devices."""


@dataclass(frozen=True, kw_only=True)
class Bubblewrap:
    """program: bwrap. hidden: folders whose content no command may see; private: likewise, where they are there. scratch: what it finds as /tmp; None: something
    empty. seen: what stays visible though it lies below /tmp. extra: folders that may always be written. needs: of the
    agent's own program, where that is executed in it."""

    program: str
    hidden: tuple[Path, ...] = ()
    private: tuple[Path, ...] = ()
    scratch: Path | None = None
    seen: tuple[Path, ...] = ()
    extra: tuple[Path, ...] = ()
    needs: Needs = NO_NEEDS
    network: bool = True
    name: str = "bubblewrap"
    seals: bool = True
    doors: bool = True
    mark: str = "bwrap: "

    def placed(self, scratch: Path, env: Mapping[str, str]) -> Self:
        return replace(self, scratch=scratch, seen=needed(env))

    def around(self, needs: Needs) -> Self:
        return replace(self, needs=needs, seen=tuple(sorted({*self.seen, *filter(below_tmp, needs.seen)})))

    def argv(self, root: Path, opened: Iterable[Opened], command: tuple[str, ...]) -> tuple[str, ...]:
        words = [self.program, "--ro-bind", "/", "/", "--dev", "/dev", "--unshare-pid", "--proc", "/proc"]
        for device in devices():
            words += ["--dev-bind-try", device, device]
        for folder in (_TMP, _VAR_TMP):
            words += ["--tmpfs", str(folder)] if self.scratch is None else ["--bind", str(self.scratch), str(folder)]
        for path in self.seen:
            words += ["--ro-bind-try", str(path), str(path)]
        for path in kept_caches():
            words += ["--ro-bind-try", str(path), str(_tmp(root) / ".cache" / path.name)]
        for place in sorted(
            {root, *self.extra}, key=lambda path: path.parts
        ):  # outer first: the workspace is not reopened
            words += ["--ro-bind" if place == root else "--bind-try", str(place), str(place)]
            if place != root:
                words += [
                    word for way in self._ways(Opened(folder=place)) for word in ("--bind-try", str(way), str(way))
                ]
        for one in opened:
            for place in (one.folder, *self._ways(one)):
                words += ["--bind", str(place), str(place)]
            for sealed in one.sealed:
                words += ["--ro-bind-try", str(sealed), str(sealed)]
        for hidden in self._all_hidden():
            words += ["--tmpfs", str(hidden)]
        for path in self.needs.shown:
            words += ["--ro-bind", str(path), str(path)]
        for path in self.needs.opened:
            words += ["--bind", str(path), str(path)]
        if not self.network:
            words.append("--unshare-net")
        if os.geteuid() == 0:
            words += ["--cap-drop", "ALL"]
            for capability in _CAPABILITIES:
                words += ["--cap-add", f"CAP_{capability}"]
        return (*words, "--", *(through(self.needs.door) if self.needs.door else ()), *command)

    def handed(self, argv: tuple[str, ...], fd: int) -> tuple[str, ...]:
        return (argv[0], "--args", str(fd), *argv[1:])

    def _all_hidden(self) -> tuple[Path, ...]:
        return (*self.hidden, *(path for path in self.private if path.is_dir()))

    def _ways(self, one: Opened) -> list[Path]:
        """What lies on the way to something hidden in it. As places of mounts they cannot be moved, and it with them."""
        inside = [hidden for hidden in self._all_hidden() if hidden in one]
        found = {way for hidden in inside for way in hidden.parents if way != one.folder and way in one}
        return sorted(found, key=lambda way: way.parts)

    def environment(self, root: Path, opened: Iterable[Opened], given: Mapping[str, str]) -> dict[str, str]:
        return caches(_tmp(root), root, opened, given)


def needed(env: Mapping[str, str]) -> tuple[Path, ...]:
    """What lies below /tmp and programs need: Python, the virtual environment, what PATH names, the user's home."""
    named = [sys.prefix, sys.base_prefix, *(env[v] for v in ("VIRTUAL_ENV", "CONDA_PREFIX", "HOME") if env.get(v))]
    paths = [Path(name) for name in named]
    for name in env.get("PATH", "").split(os.pathsep):
        path = Path(name)
        paths.append(path.parent if path.parent not in (_TMP, _VAR_TMP) else path)  # what is in bin/ needs lib/
    return tuple(sorted({path for path in paths if below_tmp(path)}))


def below_tmp(path: Path) -> bool:
    return path.is_absolute() and any(tmp in path.parents for tmp in (_TMP, _VAR_TMP))


def through(door: Door) -> tuple[str, ...]:
    """What a program is started by so that it finds this door."""
    return (sys.executable, "-I", "-S", door_exec.__file__, str(door.place), str(door.port), "--")


def probe(program: str | None = None) -> str:
    """The bwrap that works here: it runs a command, and a write outside fails. Raises Unavailable, with the reason."""
    path = program or shutil.which("bwrap")
    if path is None:
        raise Unavailable(MISSING)
    with tempfile.TemporaryDirectory(prefix="agentlab-probe-") as folder:
        root, inside = Path(folder).resolve(), Path(folder).resolve() / "open"
        inside.mkdir()
        script = 'echo 1 > "$1/open/yes" && ! { echo 1 > "$1/no"; } 2>/dev/null'
        trial = ("/bin/sh", "-c", script, "sh", str(root))
        words = Bubblewrap(program=path).argv(root, (Opened(folder=inside),), trial)
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{path} cannot be used: {error}.") from error
        if done.returncode or not (inside / "yes").exists() or (root / "no").exists():
            said = done.stderr.strip() or "it did not keep a write out"
            raise Unavailable(f"{path} does not work here: {said}. Allow unprivileged user namespaces.")
    return path


def probe_once(home: Path, root: Path) -> str:
    """As `probe`, for agents in this workspace: the program is none of what is in there. A trial that went well is remembered in the home, for this program, kernel, boot and namespace; one that
    did not is repeated."""
    path, memory = program_outside("bwrap", root), home / "sandbox"
    if path is None:
        raise Unavailable(MISSING)
    found = Path(path).stat()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    spaces = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "user")]  # noqa: PTH115
    facts = (path, found.st_mtime_ns, found.st_ino, found.st_size, os.uname().release, boot, os.geteuid(), *spaces)
    verdict = sha256(repr(facts).encode()).hexdigest()
    try:
        if memory.read_text() == verdict:
            return path
    except OSError:
        pass
    probe(path)
    fresh = memory.with_name(f"sandbox.{os.getpid()}")
    try:
        fresh.touch(mode=0o600)
        fresh.write_text(verdict)
        fresh.replace(memory)
    except OSError:
        pass  # there is no home yet: nothing is remembered
    return path


def _tmp(root: Path) -> Path:
    """Where the command finds its scratch: not below the workspace."""
    return _VAR_TMP if _TMP.is_relative_to(root) else _TMP
