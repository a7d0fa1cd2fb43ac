"""A driver that does what its task says, word by word: enough to see what the runner does around a driver."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any, ClassVar

from agentlab.core.events import JSON, Message
from agentlab.errors import AgentFailed, Unavailable
from agentlab.runner.drivers.base import Context, Turn

DAEMON = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
os.close(1)
os.close(2)
time.sleep(600)
"""


class TinyDriver:
    """Tasks: `echo TEXT`, `wait` (until it is interrupted), `env`, `daemon`, `hang` (does not hear), `raise`, `fail`, `claim UNIT`,
    `upon FILE`."""

    boundaries: ClassVar[frozenset[str]] = frozenset({"tools"})
    last: ClassVar[TinyDriver]

    def __init__(self, context: Context) -> None:
        self.context = context
        self.calls: list[str] = []
        self._interrupted = asyncio.Event()
        type(self).last = self

    async def start(self) -> None:
        self.calls.append("start")
        if problem := self.context.spec.options.get("problem"):
            if problem == "login":
                raise Unavailable("There is no login. Run `tiny login`.")
            raise AgentFailed("It did not come up.", reason="auth", exit_code=7, last_lines="bye")

    async def prompt(self, task: JSON) -> Turn:
        self.calls.append(f"prompt {task}")
        word, _, rest = str(task).partition(" ")
        turn: Turn = await getattr(self, f"_{word}")(rest)
        return turn

    async def interrupt(self) -> None:
        self.calls.append("interrupt")
        self._interrupted.set()

    async def freeze(self) -> None:
        self.calls.append("freeze")

    async def thaw(self) -> None:
        self.calls.append("thaw")

    async def close(self, *, now: bool = False) -> None:
        self.calls.append("close now" if now else "close")

    def processes(self) -> list[int]:
        return []

    async def _echo(self, text: str) -> Turn:
        self.context.gate.record(Message(role="assistant", text=text))
        return Turn("done", output=text, usage={"in": 2, "cost": 0.5}, vendor_session="session-1")

    async def _wait(self, _: str) -> Turn:
        self._interrupted.clear()
        self.context.gate.record(Message(role="assistant", text="waiting"))
        await self._interrupted.wait()
        return Turn("cancelled", reason="cancelled", usage={"in": 1})

    async def _hang(self, _: str) -> Turn:
        self.context.gate.record(Message(role="assistant", text="hanging"))
        while "close now" not in self.calls:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                pass
        return Turn("cancelled")

    async def _env(self, _: str) -> Turn:
        return Turn("done", output=dict(self.context.env))

    async def _daemon(self, _: str) -> Turn:
        child = subprocess.run([sys.executable, "-c", DAEMON], env=self.context.env, capture_output=True, check=True)
        self.context.gate.record(Message(role="assistant", text=child.stdout.decode().strip()))
        return Turn("done", output=int(child.stdout))

    async def _raise(self, text: str) -> Turn:
        raise ZeroDivisionError(text)

    async def _fail(self, text: str) -> Turn:
        return Turn("failed", error=text, reason="quota", exit_code=3, last_lines="no more")

    async def _upon(self, name: str) -> Turn:
        """Say so when there is a file of this name, and wait."""
        self.context.gate.record(Message(role="assistant", text="looking"))
        while not (self.context.root / name).exists():
            await asyncio.sleep(0.002)
        return await self._wait("")

    async def _claim(self, unit: str) -> Turn:
        await self.context.gate.claim((unit,))
        return Turn("done")


def register() -> None:
    """For a runner in a process of its own."""
    from agentlab import kinds

    drivers: dict[str, Any] = kinds.DRIVERS
    drivers["tiny"] = "tiny_driver:TinyDriver"
