"""What the suite has to know of a driver: how it is made, what it is told, and what it does not do.

What a driver does not do is declared, and the promise about it becomes another one: that it is refused where it is asked for,
or that there is nothing which could break.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from agentlab.core import vendors
from agentlab.core.events import JSON, AgentSpec, ToolCall
from agentlab.errors import AgentlabError, BadRequest
from agentlab.runner.drivers.base import Driver, Turn
from agentlab.testing.scripted_model import CACHED, INPUT, OUTPUT, ScriptedModel

from .bench import DriverBench, Step, do


class Case:
    """One driver."""

    kind: ClassVar[str]
    model: ClassVar[str | None] = None
    boundary: ClassVar[str] = "tools"
    calls: ClassVar[bool] = True
    """It calls our tools. Else it cannot have boundary="tools", and is refused with it."""
    goes_on: ClassVar[bool] = True
    """It goes on after a call that went wrong. Else its turn has failed, with what was said to it."""
    lives: ClassVar[str] = "always"
    """always: one program from start to close. turn: one for each turn. never: there is none that could end, or say anything."""
    session: ClassVar[bool] = True
    """It tells an id of its session."""
    resumes: ClassVar[bool] = True
    """A session goes on in a new process. Else a resume is refused at spawn, or by the first turn."""
    counts: ClassVar[bool] = True
    """It tells how many tokens it uses. Else a limit of them is refused at spawn."""
    costs: ClassVar[bool] = False
    """It tells the price of a turn. Else a limit of it is refused at spawn, or warned of."""
    heals: ClassVar[bool] = False
    """A turn after its program has died begins another one."""
    freezes: ClassVar[bool] = True
    """It may be interrupted while it is frozen, and stays so. Else that ends its program."""
    option: ClassVar[str] = "cli"
    """The option that names its program."""
    noise: ClassVar[tuple[bytes, ...]] = (
        b"An update is available!",
        b"[info] starting",
        b"{half a line",
        b"[1, 2]",
        b"null",
        b"\xff\xfe\x00 no text at all",
        b'{"nobody": "knows this"}',
        b'{"jsonrpc": "2.0", "method": "never/heard/of", "params": {"x": 1}}',
    )
    """Lines that may stand among those of the protocol and do no harm."""

    def env(self, bench: DriverBench) -> dict[str, str]:
        return {}

    def options(self) -> dict[str, Any]:
        return {}

    @pytest.fixture
    def served(self) -> Iterator[ScriptedModel]:
        with ScriptedModel() as server:
            yield server

    @pytest_asyncio.fixture
    async def bench(self, served: ScriptedModel, tmp_path: Path) -> AsyncIterator[DriverBench]:
        bench = self.bench_of(served, tmp_path)
        yield bench
        await bench.close()

    def bench_of(self, served: ScriptedModel, base: Path) -> DriverBench:
        spec = {"options": self.options(), "boundary": self.boundary, **({"model": self.model} if self.model else {})}
        bench = DriverBench(served, base, self.kind, spec, {}, task=self.task, option=self.option)
        bench.env = self.env(bench)
        return bench

    # --- how it is told, and what it says --------------------------------------------------------------------

    def task(self, *steps: Step) -> JSON:
        """A prompt that makes it take these steps."""
        return do(*steps)

    def changes(self, root: Path, path: str, text: str) -> Step:
        """A step that makes a new file in the workspace `root`: by a tool of ours, or of its own where it keeps those."""
        return {"write": [path, text]}

    def says(self, turn: Turn, text: str) -> bool:
        """Whether a turn has gone well, and ended with these words."""
        return (turn.status, turn.output, turn.error) == ("done", text, "")

    def heard(self, bench: DriverBench, number: int) -> str:
        """What it was told of its nth call, from 0."""
        return bench.said(number + 1)

    def check_call(self, bench: DriverBench, call: ToolCall) -> None:
        """What is otherwise with a call of this driver: it wrote a.txt."""

    def check_usage(self, turn: Turn, answers: int) -> None:
        """Of a turn in which the model answered so often."""
        assert turn.usage["out"] == answers * OUTPUT
        assert turn.usage["in"] + turn.usage["cached"] in (answers * INPUT, answers * (INPUT + CACHED))

    async def busy(self, bench: DriverBench, driver: Driver) -> asyncio.Task[Turn]:
        """A turn in the middle of something that does not end by itself."""
        return await bench.held_up(driver)

    async def disturbed(
        self, bench: DriverBench, *after: Step, noise: tuple[bytes, ...] = (), end: int | None = None
    ) -> tuple[Driver, Turn]:
        """What becomes of a turn in which its program prints lines that are none of its protocol, or exits."""
        raise NotImplementedError

    # --- what it does not do ---------------------------------------------------------------------------------

    def refused(self, why: str, **spec: Any) -> None:
        """Such an agent is never made, and is told why."""
        with pytest.raises(BadRequest, match=why):
            vendors.check(
                AgentSpec(**{"kind": self.kind, "boundary": self.boundary, "options": self.options(), **spec})
            )

    def without_calls(self) -> bool:
        if not self.calls:
            self.refused("cannot have boundary='tools'", boundary="tools")
        return not self.calls

    async def without_program(self, bench: DriverBench) -> bool:
        if self.lives == "never":
            driver = await bench.started()
            assert self.says(await driver.prompt(self.task({"say": "all is here"})), "all is here")
            assert (driver.processes(), bench.left()) == ([], [])
        return self.lives == "never"


class VendorCase(Case):
    """A vendor's real program, its model scripted.

    `own` are calls of the program's own tools that would change something, if they were there. All paths in them are
    relative to the workspace or hold `{root}`. reads: those that stay on; they change nothing. login: what the advice on a
    refused key says.
    """

    own: ClassVar[tuple[Step, ...]] = ()
    reads: ClassVar[frozenset[str]] = frozenset()
    login: ClassVar[str] = ""

    def check_call(self, bench: DriverBench, call: ToolCall) -> None:
        assert call.vendor["tool"].endswith("write"), "the vendor's name is kept beside ours"
        assert "created a.txt" in self.heard(bench, 0)

    async def disturbed(
        self, bench: DriverBench, *after: Step, noise: tuple[bytes, ...] = (), end: int | None = None
    ) -> tuple[Driver, Turn]:
        """By a program that stands between."""
        from agentlab.testing import meddler

        driver = await bench.meddled(self.program(bench), noise=noise, end=end)
        turn = await driver.prompt(self.task({"write": ["a.txt", "x"], "say": meddler.WORD}, *after))
        assert meddler.meddled(bench.base / "meddler")
        return driver, turn

    def program(self, bench: DriverBench) -> Path:
        """The real program, for those that wrap it."""
        from agentlab.runner.drivers.program import find

        try:
            return find(self.kind, {"PATH": os.environ["PATH"], **bench.env})
        except AgentlabError as error:
            pytest.fail(str(error))


def exit_code(text: str) -> int | None:
    """Of a command, in what an agent was told about it: in words, or as a value."""
    found = re.search(r"code\W{1,5}(\d+)", text)
    return int(found[1]) if found else None
