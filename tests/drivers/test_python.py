"""Python agents keep the promises of all drivers: what they print is none of their protocol, and their process is new each turn."""

from __future__ import annotations

import json
from pathlib import Path

from agentlab.core.events import JSON
from agentlab.runner.drivers.base import Driver, Turn
from agentlab.testing.driver_suite import DriverBench, DriverSuite, Step

CODE = """
import json, os, sys, time
noted, last = {noted!r}, None

def tell(what):
    with open(noted, "a") as file:
        file.write(json.dumps(str(what)) + "\\n")

def take(call, *args):
    try:
        tell(call(*args))
    except Exception as error:
        tell(error)

for step in json.loads({steps!r}):
    match step:
        case {{"say": text}}:
            time.sleep(step.get("delay", 0))
            last = text
            tools.say(text)
        case {{"write": args}}:
            take(tools.write, *args)
        case {{"read": path}}:
            take(tools.read, path)
        case {{"shell": text}}:
            take(tools.run, ["bash", "-c", text])
        case {{"noise": lines}}:
            for line in lines:
                sys.stdout.buffer.write(line.encode("latin-1") + b"\\n")
            sys.stdout.buffer.flush()
        case {{"exit": code}}:
            os._exit(code)
result = last
"""


class TestPython(DriverSuite):
    kind = "python"
    lives = "turn"
    session = False
    counts = False
    heals = True

    def bench_of(self, *args: object) -> DriverBench:
        bench = super().bench_of(*args)
        self.noted = bench.base / "noted"
        bench.task = self.task
        return bench

    noted = Path("noted")

    def task(self, *steps: Step) -> JSON:
        return CODE.format(noted=str(self.noted), steps=json.dumps(steps))

    def heard(self, bench: DriverBench, number: int) -> str:
        return str(json.loads(self.noted.read_text().splitlines()[number]))

    async def disturbed(
        self, bench: DriverBench, *after: Step, noise: tuple[bytes, ...] = (), end: int | None = None
    ) -> tuple[Driver, Turn]:
        lines = {"noise": [line.decode("latin-1") for line in noise]}
        exits = [] if end is None else [{"exit": end}]
        driver = await bench.started()
        return driver, await driver.prompt(self.task({"write": ["a.txt", "x"]}, lines, *exits, *after))
