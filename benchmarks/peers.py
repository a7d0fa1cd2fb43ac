"""The peers: Redis and etcd as Debian packages them, on loopback, as durable as we are. Missing ones are named."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
import subprocess
from collections.abc import Iterator

from .servers import Server, folder, free_port, running

REDIS = "Redis AOF always"
ETCD = "etcd Lock RPC"


def missing(peer: str) -> str:
    """Why a peer cannot be asked; '' where it can."""
    if peer == REDIS:
        return "" if shutil.which("redis-server") else "redis-server is not installed"
    if not shutil.which("etcd"):
        return "etcd is not installed"
    return "" if importlib.util.find_spec("grpc") else "grpcio is not installed (pip install 'agentlab[bench]')"


@contextlib.contextmanager
def redis() -> Iterator[tuple[Server, str]]:
    """Redis on a unix socket, each write synced before it is answered: the server, and the socket's path."""
    with folder() as place:
        path = place / "redis.sock"
        argv = [
            "redis-server", "--port", "0", "--unixsocket", str(path), "--dir", str(place), "--save", "",
            "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no",
        ]  # fmt: skip
        with running(argv, place) as server:
            server.until(path.is_socket)
            yield server, str(path)


@contextlib.contextmanager
def etcd() -> Iterator[tuple[Server, str]]:
    """A single etcd, which syncs by default: the server, and host:port."""
    with folder() as place:
        client, peer = free_port(), free_port()
        here, there = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        argv = [
            "etcd", "--data-dir", str(place / "data"), "--name", "bench", "--log-level", "error",
            "--listen-client-urls", here, "--advertise-client-urls", here, "--listen-peer-urls", there,
            "--initial-advertise-peer-urls", there, "--initial-cluster", f"bench={there}",
        ]  # fmt: skip
        with running(argv, place) as server:
            server.until(lambda: _answers(client))
            yield server, f"127.0.0.1:{client}"


def versions() -> dict[str, str]:
    found = {}
    for name in ("redis-server", "etcd"):
        if shutil.which(name):
            said = subprocess.run([name, "--version"], capture_output=True, text=True, check=False).stdout
            found[name] = said.partition("\n")[0].strip()
    return found


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
