"""A runner that is started ahead and waits: it has loaded what most of a start is spent on, and becomes the runner of the
next agent when it is given a launch. It ends when its input does, with the plane for instance.
"""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from agentlab import processes

ROOM: Final = 1024
"""Bytes for the name of an agent in the environment of a spare, to be filled in later: see `runner.spare`."""

NOBODY: Final = "-" * ROOM
"""The name of whom a spare belongs to, as long as it belongs to nobody."""

BUSY: Final = 30.0  # s that a machine is given to come to rest
_LOOK = 0.5  # s that are looked at
_FREE = 0.75  # of the processors there are, and of two at most, that have nothing to do where a spare disturbs nobody


async def rest(patience: float = BUSY) -> None:
    """Until there is a processor to spare: the agent that was just started needs them itself. patience: s, for a machine that
    never rests."""
    wanted = _FREE * min(2, os.cpu_count() or 1) * _LOOK
    deadline = time.monotonic() + patience
    before = processes.idle()
    while before is not None and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK)
        after = processes.idle()
        if after is None or after - before >= wanted:
            return
        before = after


class Spare:
    """`command` is started; it says that it is ready by writing to its output. Raises OSError."""

    def __init__(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        source, self.sink = os.pipe()
        try:
            self.process = subprocess.Popen(
                command,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd=cwd,
                env={**env, processes.AGENT_VARIABLE: NOBODY},
            )
        except OSError:
            os.close(self.sink)
            raise
        finally:
            os.close(source)

    @property
    def ready(self) -> bool:
        """It has loaded everything, and is alive."""
        assert self.process.stdout is not None
        said = select.poll()
        said.register(self.process.stdout, select.POLLIN)
        return self.process.poll() is None and any(event & select.POLLIN for _, event in said.poll(0))

    def end(self) -> None:
        """It has begun nothing: no need to ask it."""
        self.let_go()
        self.process.kill()
        self.process.wait()

    def let_go(self) -> None:
        """Of its pipes: it goes on with what it was given."""
        assert self.process.stdout is not None
        self.process.stdout.close()
        if self.sink >= 0:
            os.close(self.sink)
            self.sink = -1
