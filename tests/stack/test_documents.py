"""The examples of the documents do what they say, in the order in which they are read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def example(document: str) -> str:
    """Its first block of Python."""
    found = re.search(r"^```python\n(.*?)^```", (ROOT / document).read_text(), re.M | re.S)
    assert found, document
    return found[1]


def execute(code: str, home: Path, work: Path) -> str:
    """What it printed."""
    env = {**os.environ, "AGENTLAB_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", code], cwd=work, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_counts_to_two_and_the_log_can_be_looked_through(home: Path, work: Path) -> None:
    (work / "counter.txt").write_text("0")
    execute(example("README.md"), home, work)
    assert (work / "counter.txt").read_text() == "2"
    assert (work / "then" / "counter.txt").read_text() in ("1", "2")
    code = example("docs/log.md").replace('"then"', '"later"')  # the first example has made that folder
    execute(code, home, work)
    assert (work / "later" / "counter.txt").exists()


@pytest.mark.claude
def test_a_real_program_does_what_its_scripted_model_says(home: Path, work: Path) -> None:
    said = execute(example("docs/testing.md"), home, work)
    assert (work / "a.txt").read_text() == "hello"
    assert said.startswith("done") and "write" in said
