"""A stand-in for the runner, for the tests of runtimes: `python -m agentlab.testing.actor`, the launch on its input.

What it does is said by words in the launch's secret `ACTOR`:

    exit:N     end at once with this code            crash      end at once by SIGKILL
    child      have a child process (the "agent")    daemon     have one that left for a session of its own
    stubborn   ignore TERM, and so do they           say:WORD   write it to standard error

Each process shows itself in the workspace: `NAME.tick` grows while it runs, and a lock on `NAME.life` is held until it
has ended, which can be seen from outside of any container.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import msgspec

from agentlab.runtimes.base import Launch

TICK = 0.02  # s


def live(root: Path, name: str, *, stubborn: bool) -> NoReturn:
    """Tick until TERM comes, or longer."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else lambda *_: sys.exit(0))
    life = (root / f"{name}.life").open("w")
    fcntl.flock(life, fcntl.LOCK_EX)
    with (root / f"{name}.tick").open("ab", buffering=0) as ticks:
        while True:
            ticks.write(b".")
            time.sleep(TICK)


def beget(root: Path, name: str, *, stubborn: bool, leave: bool) -> None:
    """A child, or with `leave` a grandchild in its own session whose parent is gone."""
    first = os.fork()
    if first:
        if leave:
            os.waitpid(first, 0)
        return
    if leave:
        os.setsid()
        if os.fork():
            os._exit(0)
    live(root, name, stubborn=stubborn)


def main() -> None:
    launch = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Launch)
    root, words = Path(launch.root), launch.secrets.get("ACTOR", "").split()
    (root / "launch").write_bytes(msgspec.msgpack.encode(launch))
    stubborn = "stubborn" in words
    for word in words:
        verb, _, rest = word.partition(":")
        match verb:
            case "say":
                print(rest, file=sys.stderr, flush=True)
            case "child" | "daemon":
                beget(root, verb, stubborn=stubborn, leave=verb == "daemon")
                while not (root / f"{verb}.tick").exists():
                    time.sleep(TICK)
            case "exit":
                sys.exit(int(rest))
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
    live(root, "runner", stubborn=stubborn)


if __name__ == "__main__":
    main()
