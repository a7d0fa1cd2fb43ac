"""How a vendor's program is found and started, and what is refused before it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentlab.errors import AgentFailed, BadRequest, Unavailable
from agentlab.testing import meddler

from .bench import DriverBench, do
from .case import VendorCase


class Program(VendorCase):
    async def test_its_last_words_are_told_with_the_failure(self, bench: DriverBench) -> None:
        driver = await bench.meddled(self.program(bench), end=3, said="out of cheese")
        turn = await driver.prompt(do({"write": ["a.txt", "x"], "say": meddler.WORD}, {"say": "never"}))
        assert (turn.status, turn.exit_code) == ("failed", 3)
        assert "out of cheese" in turn.last_lines

    async def test_a_banner_before_the_protocol_is_passed_over(self, bench: DriverBench, tmp_path: Path) -> None:
        real = self.program(bench)
        banner = tmp_path / "banner"
        said = "".join(f"echo '{line.decode()}'\n" for line in self.noise[:3])
        banner.write_text(f'#!/bin/sh\n{said}exec {real} "$@"\n')
        banner.chmod(0o755)
        driver = await bench.started(options={**self.options(), "cli": str(banner)})
        assert (await driver.prompt(do({"say": "fine"}))).output == "fine"

    async def test_a_program_that_only_prints_garbage_is_a_clear_failure(
        self, bench: DriverBench, tmp_path: Path
    ) -> None:
        garbage = tmp_path / "garbage"
        garbage.write_text("#!/bin/sh\necho 'Segmentation fault (not really)'\nexit 0\n")
        garbage.chmod(0o755)
        driver = bench.driver(options={**self.options(), "cli": str(garbage)})
        with pytest.raises((AgentFailed, Unavailable)) as failure:
            await driver.start()
        assert "Segmentation fault" in f"{failure.value} {failure.value.data}"

    async def test_a_missing_program_is_named(self, bench: DriverBench) -> None:
        with pytest.raises(Unavailable, match="no program at '/nowhere/program'"):
            await bench.driver(options={**self.options(), "cli": "/nowhere/program"}).start()

    @pytest.mark.parametrize("name", ["NODE_OPTIONS", "BUN_OPTIONS", "LD_PRELOAD"])
    async def test_a_variable_that_would_load_code_into_it_is_refused(self, bench: DriverBench, name: str) -> None:
        driver = bench.driver(env={name: "x"})
        with pytest.raises(BadRequest, match=f"may not set {name} itself"):
            await driver.start()

    async def test_an_unknown_option_names_those_there_are(self, bench: DriverBench) -> None:
        with pytest.raises(BadRequest, match="cli"):
            await bench.driver(options={"nonsense": 3}).start()

    async def test_a_task_that_is_no_text_is_refused(self, bench: DriverBench) -> None:
        with pytest.raises(BadRequest, match="is its prompt"):
            await bench.driver(task=[{"write": ["a", "b"]}]).start()
