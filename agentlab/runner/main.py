"""The runner's process: reads its `Launch` from standard input, runs one agent, and is gone."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import msgspec

from agentlab import processes
from agentlab.core.redaction import Redactor
from agentlab.runtimes.base import Launch

from . import spare
from .worker import Worker


def main() -> int:
    """0: the agent has ended and the plane knows how, or there was none for a spare. 2: that was no launch. For the others
    see `Worker.run`."""
    processes.leave_no_core()
    ahead = sys.argv[1:] == ["--spare"]
    if ahead:
        spare.preload(Path(os.environ["AGENTLAB_HOME"]))
        os.write(1, b".")
    given = sys.stdin.buffer.read()
    if ahead and not given:
        return 0
    try:
        launch = msgspec.msgpack.decode(given, type=Launch)
    except msgspec.DecodeError:
        print(
            "A runner is started by a runtime, which gives it a msgpack Launch on its standard input.", file=sys.stderr
        )
        return 2
    if ahead:
        spare.become(launch)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    _log_to_stderr(Redactor({**launch.secrets, "AGENTLAB_TOKEN": launch.token}))
    processes.become_subreaper()
    asyncio.run(_run(launch))
    return 0  # not reached


async def _run(launch: Launch) -> None:
    worker = Worker(launch, alone=True)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop, f"signal {number.name}")
    code = await worker.run()
    logging.shutdown()
    os._exit(code)  # no thread of a driver that hangs may keep an agent alive that is over


class _Redacted(logging.Formatter):
    """The last lines of this log may become part of the run's."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.text(super().format(record))


def _log_to_stderr(redactor: Redactor) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Redacted(redactor))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("agentlab.runner.uplink").setLevel(logging.WARNING)
