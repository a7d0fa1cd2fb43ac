"""The picture of the README: a real run of four agents, drawn as SVG from its log.

python scripts/pictures.py      writes docs/pictures/run.svg
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from headless import finish

from agentlab import Run, connect
from agentlab.trace.charts import COLORS

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "run.svg"

WIDTH, LEFT, RIGHT, TOP, LANE, BAR, PROCESS = 900, 64, 16, 48, 50, 24, 8  # px
KINDS = {"wait": "waits for a lock", "hold": "holds a lock", "proc": "runs a process"}
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
    PICTURE.write_text(draw(spans, behind))


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


def draw(spans: pd.DataFrame, behind: dict[int, str]) -> str:
    spans = spans[spans["kind"].isin(list(KINDS))]
    first, last = spans["started"].min(), spans["ended"].max()
    agents = list(dict.fromkeys(spans["actor"]))
    scale = (WIDTH - LEFT - RIGHT) / (last - first).total_seconds()
    height = TOP + LANE * len(agents) + 26
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="What four agents did when">',
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        *legend(),
        *axis((last - first).total_seconds(), scale, height),
    ]
    for lane, agent in enumerate(agents):
        y = TOP + lane * LANE
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y - 7}" y2="{y - 7}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="14" y="{y + 17}" font-weight="600" fill="#222">{escape(str(agent))}</text>')
        for row in spans[spans["actor"] == agent].itertuples():
            x = LEFT + (row.started - first).total_seconds() * scale
            width = max((row.ended - row.started).total_seconds() * scale, 1.0)
            parts += bar(row, x, y, width, behind.get(int(row.seq), ""))
    return "\n".join([*parts, "</svg>"]) + "\n"


def bar(row: Any, x: float, y: int, width: float, behind: str) -> Iterator[str]:
    kind, unit, name = str(row.kind), str(row.unit), str(row.name)
    text = {"wait": f"{unit}, behind {behind}", "hold": unit, "proc": ""}[kind]
    top, high = (y + BAR + 3, PROCESS) if kind == "proc" else (y, BAR)
    says = name.rpartition("/")[2] if kind == "proc" else f"{KINDS[kind]}: {text}"
    yield (
        f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{high}" rx="2" fill="{COLORS[kind]}">'
        f"<title>{escape(says)}</title></rect>"
    )
    shown = next((t for t in (text, unit) if len(t) * 6.3 + 10 < width), "") if text else ""
    if shown:
        yield f'<text x="{x + 5:.1f}" y="{y + 16}" fill="#1c1c1c">{escape(shown)}</text>'


def legend() -> Iterator[str]:
    x = LEFT
    for kind, says in KINDS.items():
        yield f'<rect x="{x}" y="14" width="12" height="12" rx="2" fill="{COLORS[kind]}"/>'
        yield f'<text x="{x + 18}" y="24" fill="#444">{says}</text>'
        x += 18 + len(says) * 7 + 20


def axis(seconds: float, scale: float, height: int) -> Iterator[str]:
    for second in range(int(seconds) + 1):
        x = LEFT + second * scale
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 7}" y2="{height - 24}" stroke="#eeeeee"/>'
        yield f'<text x="{x:.1f}" y="{height - 9}" fill="#777" text-anchor="middle">{second} s</text>'


if __name__ == "__main__":
    main()
