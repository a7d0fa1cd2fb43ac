"""`python -m agentlab.testing.scripted_model --port 8399`: prints its address, then serves until it is stopped."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

import uvicorn

from .server import Record, make_app


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m agentlab.testing.scripted_model", description="A scripted model server for real agent CLIs."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8399, help="0: any free one")
    parser.add_argument("--log", type=Path, help="append one line of JSON per request here")
    options = parser.parse_args()
    with socket.create_server((options.host, options.port)) as listening:
        print(f"scripted model on http://{options.host}:{listening.getsockname()[1]}", flush=True)
        config = uvicorn.Config(make_app(Record(options.log)), log_level="warning", lifespan="off", ws="none")
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
