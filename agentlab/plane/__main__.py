"""`python -m agentlab.plane --home DIR`: serve a home in the foreground. Clients start it so when they need it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from agentlab.config import home_dir
from agentlab.errors import AgentlabError
from agentlab.processes import leave_no_core


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m agentlab.plane", description=__doc__)
    parser.add_argument("--home", type=Path, default=None, help="default: $AGENTLAB_HOME, else the user's data folder")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from .daemon import serve

    leave_no_core()
    try:
        asyncio.run(serve(home_dir(options.home)))
    except AgentlabError as error:
        print(f"agentlab: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
