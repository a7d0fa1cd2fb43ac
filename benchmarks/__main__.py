"""Run the benchmarks: all, or those named. A table each, and all of it as JSON with the facts of the machine."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console

from . import machine
from .measure import Measure, show

NAMES = ("startup", "recorder", "locks", "frames", "history", "boundary", "browser", "stops", "crowd")
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """0: every target was met. 1: not so. 2: a benchmark failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], metavar="name", help=f"of {', '.join(NAMES)}")
    parser.add_argument(
        "--quick", action="store_true", help="tiny loads, to see that it works; the numbers mean little"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: benchmarks/results/<date>.json")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 200)
    facts = machine.facts()
    console.print(
        f"{facts['cpus']} CPUs, load {facts['load']}, Linux {facts['kernel']}, Python {facts['python']}, "
        f"fdatasync {facts['fdatasync_p50_ms']} ms{', QUICK: the numbers mean little' if options.quick else ''}",
        highlight=False,
    )
    results: dict[str, list[Measure]] = {}
    failed: dict[str, str] = {}
    for name in options.names or NAMES:
        begun = time.monotonic()
        try:
            results[name] = importlib.import_module(f"benchmarks.{name}").run(options.quick)
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
            console.print(f"[red]{name} failed[/]: {failed[name]}", markup=True)
            continue
        show(f"{name} ({time.monotonic() - begun:.0f} s)", results[name], console)
    facts["load_after"] = machine.load()
    path = options.json or RESULTS / f"{datetime.now(UTC):%Y-%m-%d}.json"
    _write(
        path,
        {"when": datetime.now(UTC), "quick": options.quick, "machine": facts, "results": results, "failed": failed},
    )
    missed = [m.name for measures in results.values() for m in measures if m.ok is False]
    left_out = sorted({m.note for measures in results.values() for m in measures if m.note.startswith("left out")})
    for line in left_out:
        console.print(line)
    console.print(
        f"{len(missed)} of {sum(m.ok is not None for ms in results.values() for m in ms)} targets missed; {path}"
    )
    return 2 if failed else 1 if missed and not options.quick else 0


def _write(path: Path, result: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
