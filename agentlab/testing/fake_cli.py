"""An interactive program for a terminal, without a model: it does what is typed, well or badly. For tests.

    python -u -m agentlab.testing.fake_cli

What is typed is a JSON list of steps in hexadecimal digits, so that its echo gives nothing away:
    {"say": text, "delay": seconds}  {"read": path}  {"write": [path, text]}  {"shell": text}
    {"noise": [text in Latin-1]}  {"exit": code}  {"hang": true}
Ctrl-C ends what it does. It imports the standard library only, so that it starts at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROMPT = "you> "


def take(step: dict[str, Any]) -> None:
    match step:
        case {"say": text}:
            time.sleep(step.get("delay", 0))
            print(text)
        case {"read": path}:
            print(Path(path).read_text())
        case {"write": [path, text]}:
            Path(path).write_text(text)
            print("written")
        case {"shell": text}:
            subprocess.run(["bash", "-c", text], check=False)
        case {"noise": lines}:
            for line in lines:
                sys.stdout.buffer.write(line.encode("latin-1") + b"\r\n")
            sys.stdout.buffer.flush()
        case {"exit": code}:
            os._exit(code)
        case {"hang": _}:
            while True:
                print(".", end="", flush=True)
                time.sleep(0.05)


def main() -> int:
    print("Welcome! A new version is available.")
    while True:
        try:
            line = input(PROMPT)
            for step in json.loads(bytes.fromhex(line)):
                take(step)
        except EOFError:
            return 0
        except KeyboardInterrupt:
            print("^C")
        except (OSError, ValueError) as error:
            print(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main())
