"""A program that stands between a driver and a vendor's real program, and speaks its protocol badly on demand.

It hands on what the real one says, line by line, until a line holds the plan's `when`; then, once, it does what the
plan says. `wrap` makes the program that a driver is given as its option `cli`; run as a script it needs nothing but the
standard library.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

WORD = "MEDDLE-NOW"
"""What the scripted model says to set it off."""


def wrap(folder: Path, real: Path, *, noise: Sequence[bytes] = (), end: int | None = None, said: str = "") -> Path:
    """A program like `real` that, where it should say `WORD`, first says the lines of `noise`.

    end: it kills the real one then and exits with this code. said: on standard error, before it does. The file
    `meddled` in `folder` tells that it has happened.
    """
    plan = folder / "plan.json"
    lines = [base64.b64encode(line).decode() for line in noise]
    plan.write_text(
        json.dumps({"when": WORD, "noise": lines, "end": end, "said": said, "done": str(folder / "meddled")})
    )
    program = folder / "meddler"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{__file__}" "{plan}" "{real}" "$@"\n')
    program.chmod(0o755)
    return program


def meddled(folder: Path) -> bool:
    return (folder / "meddled").exists()


def main(plan_file: str, real: str, *args: str) -> int:
    plan = json.loads(Path(plan_file).read_text())
    out = sys.stdout.buffer
    with subprocess.Popen([real, *args], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if plan["when"].encode() in line and not Path(plan["done"]).exists():
                for noise in plan["noise"]:
                    out.write(base64.b64decode(noise) + b"\n")
                Path(plan["done"]).touch()
                if plan["end"] is not None:
                    sys.stderr.write(plan["said"] + "\n")
                    sys.stderr.flush()
                    out.flush()
                    child.kill()
                    return int(plan["end"])
            out.write(line)
            out.flush()
    return child.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
