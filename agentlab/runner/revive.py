"""Where the plane is now, and starting it again when it has died under a local runner."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agentlab import discovery, processes

GIVE_UP = 40.0  # s for one attempt

_PR_SET_CHILD_SUBREAPER = 36

log = logging.getLogger(__name__)


class Finder:
    """Knows where to connect. It is `local` when the plane that was reached is the one of this home, on this machine:
    then a plane that moved is found by the home's state file, and one that died may be started again."""

    def __init__(self, address: str, home: Path) -> None:
        self._given = address
        self._home = home
        self.local = False

    def address(self) -> str:
        plane = discovery.read(self._home) if self.local or self._given.startswith("unix:") else None
        return plane.address if plane else self._given

    def reached(self, address: str) -> None:
        """A plane answered there."""
        plane = discovery.read(self._home)
        self.local = plane is not None and plane.address == address

    async def revive(self) -> None:
        """Start the plane again, unless it is elsewhere or was stopped on purpose. Failures are logged."""
        if self.local and not discovery.stopped_on_purpose(self._home):
            await asyncio.to_thread(ensure_apart, self._home)


def ensure_apart(home: Path, command: Sequence[str] | None = None) -> None:
    """`discovery.ensure`, in a process of its own, so that the plane does not become part of this runner's tree:
    it must not die with the agent, and the agent's end must not wait for it."""
    program = (
        "import sys, pathlib; from agentlab import discovery; "
        "discovery.ensure(pathlib.Path(sys.argv[1]), command=sys.argv[2:] or None)"
    )
    argv = [sys.executable, "-P", "-c", program, str(home), *(command or ())]
    env = {name: value for name, value in os.environ.items() if name != processes.AGENT_VARIABLE}
    try:
        with _without_adopting():
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=GIVE_UP, check=False, cwd=home, env=env
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("the plane could not be started: %s", error)
        return
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        log.warning("the plane could not be started: %s", lines[-1] if lines else f"exit code {done.returncode}")


@contextmanager
def _without_adopting() -> Iterator[None]:
    """Orphans made meanwhile go to init and not to us. (One of the agent's is still found by its environment.)"""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    try:
        yield
    finally:
        processes.become_subreaper()
