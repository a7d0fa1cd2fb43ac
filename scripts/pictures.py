"""The picture of the README: a real run of four agents, drawn as SVG from its log.

python scripts/pictures.py      writes docs/pictures/run.svg
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pandas as pd
from headless import finish

from agentlab import Run, connect
from agentlab.trace.picture import picture

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "run.svg"

KINDS = ("wait", "hold", "proc")
TESTS = "import time, unittest\n\nclass Slow(unittest.TestCase):\n    def test_it(self):\n        time.sleep(0.8)\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, home = Path(folder) / "work", Path(folder) / "home"
        root.mkdir()
        try:
            spans, behind = record(root, home)
        finally:
            finish(home)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(picture(spans, behind, label="What four agents did when", kinds=KINDS))


def record(root: Path, home: Path) -> tuple[pd.DataFrame, dict[int, str]]:
    """What took time in a run, as `run.spans()` has it; and whom the wait that began at a seq was behind."""
    for name in ("src/api.py", "src/util.py", "docs.md"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("old\n")
    (root / "test_slow.py").write_text(TESTS)
    with connect(home) as lab, lab.run("picture", workdir=root) as run:
        work(run, "ann", "file:src/api.py", "src/api.py", seconds=1.1)
        work(run, "bob", "file:src/api.py", "src/api.py", seconds=0.8)
        work(run, "cho", "file:docs.md", "docs.md", seconds=2.6)
        work(run, "dan", "dir:src", "src/util.py", seconds=0.9)
        run.wait(120)
        locks = run.locks()
        behind = {
            int(row.seq): ", ".join(owner.rpartition("/")[2] for owner in row.behind) for row in locks.itertuples()
        }
        return run.spans(), behind


def work(run: Run, name: str, unit: str, path: str, seconds: float) -> None:
    """An agent that claims, works, writes, gives back, and then tests."""
    test = [sys.executable, "-m", "unittest", "-q"]
    steps = [
        {"read": path}, {"sleep": seconds}, {"write": [path, f"{name}\n"]}, {"release": [unit]}, {"run": test},
    ]  # fmt: skip
    run.spawn("script", name=name, claims=[unit], steps=steps)


if __name__ == "__main__":
    main()
