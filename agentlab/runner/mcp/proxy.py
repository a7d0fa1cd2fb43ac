"""The MCP server as an agent's program starts it: standard input and output, passed on to the runner's socket.

    python -I -S proxy.py FOLDER

FOLDER, 0700, holds `mcp.sock` and `mcp.token`. Nothing but the built-in modules is imported: an agent whose server is
slow to start asks its model without our tools.
"""

import os
import select
import sys
from _socket import AF_UNIX, SHUT_WR, SOCK_STREAM, socket  # `socket` takes longer to import than all else together

_CHUNK = 1 << 16


def _connect(folder: str) -> tuple[socket, bytes]:
    """The socket, and what to say on it first. By an open folder: a path may be longer than an address can be."""
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        token = os.open("mcp.token", os.O_RDONLY, dir_fd=place)
        try:
            secret = os.read(token, 4096)
        finally:
            os.close(token)
        sock = socket(AF_UNIX, SOCK_STREAM)
        sock.connect(f"/proc/self/fd/{place}/mcp.sock")
    finally:
        os.close(place)
    return sock, secret.strip() + b"\n"


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _pass_on(sock: socket, source: int, sink: int) -> None:
    """Both ways at once. The agent's end of input is told to the runner, whose end is ours."""
    reading = [source, sock.fileno()]
    while True:
        ready, _, _ = select.select(reading, [], [])
        if sock.fileno() in ready:
            answer = sock.recv(_CHUNK)
            if not answer:
                return
            _write(sink, answer)
        if source in ready:
            asked = os.read(source, _CHUNK)
            if asked:
                sock.sendall(asked)
            else:
                reading.remove(source)
                sock.shutdown(SHUT_WR)


def main() -> int:
    try:
        sock, hello = _connect(sys.argv[1])
        sock.sendall(hello)
        _pass_on(sock, 0, 1)
    except (OSError, IndexError) as error:
        sys.stderr.write(f"The agent's runner cannot be reached: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
