"""The machine that a result was measured on: without these facts a number says nothing."""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from statistics import median

from . import peers

_PACKAGES = ("agentlab", "msgspec", "aiosqlite", "pandas", "pyarrow", "adbc-driver-sqlite", "grpcio")


def facts() -> dict[str, object]:
    return {
        "cpus": os.cpu_count(),
        "load": load(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "peers": peers.versions(),
        "fdatasync_p50_ms": round(fdatasync_p50() * 1e3, 3),
    }


def load() -> list[float]:
    return [round(value, 2) for value in os.getloadavg()]


def fdatasync_p50(times: int = 101) -> float:
    """s for one append of 1 KB that is really on the disk: what everything durable waits for."""
    taken = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(times):
            begun = time.perf_counter()
            os.write(file.fileno(), b"x" * 1024)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return median(taken)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
