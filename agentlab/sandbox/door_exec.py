"""Become a program that finds one door in a sandbox without network. Run as a file: `python -I -S door_exec.py SOCKET PORT -- PROGRAM...`.

A process beside the program listens on PORT of the namespace's own loopback, and passes on what comes to the unix socket,
which lies outside. It ends with the program. Standard library only, and little of it: this is the time that a program waits.
"""

from __future__ import annotations

import os
import select
import sys
from _signal import SIG_DFL, SIGPIPE, SIGXFSZ, signal  # type: ignore[import-not-found]
from _socket import AF_INET, AF_UNIX, SHUT_RDWR, SHUT_WR, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket
from _thread import start_new_thread

MARK = "door: "
_CHUNK = 1 << 16


def pump(source: socket, sink: socket) -> None:
    """One direction, until its end; then that end is told, or, where something broke, both directions end."""
    try:
        while data := source.recv(_CHUNK):
            sink.sendall(data)
        sink.shutdown(SHUT_WR)
    except OSError:
        for end in (source, sink):
            try:
                end.shutdown(SHUT_RDWR)
            except OSError:
                pass  # it is gone already


def pass_on(client: socket, folder: int, name: str) -> None:
    """One connection from its begin to its end. By an open folder: a path may be longer than an address can be."""
    upstream = socket(AF_UNIX, SOCK_STREAM)
    try:
        upstream.connect(f"/proc/self/fd/{folder}/{name}")
        start_new_thread(pump, (client, upstream))
        pump(upstream, client)
    except OSError:
        client.close()  # nobody is there: the program sees a broken connection
        upstream.close()


def serve(listener: socket, folder: int, name: str) -> None:
    while True:
        fd, _ = listener._accept()  # type: ignore[attr-defined]
        client = socket(AF_INET, SOCK_STREAM, 0, fd)
        start_new_thread(pass_on, (client, folder, name))


def open_door(place: str, port: int) -> None:
    """Return when the port listens. Raises OSError."""
    above, name = os.path.split(place)
    folder = os.open(above, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket(AF_INET, SOCK_STREAM)
    listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    program = os.pidfd_open(os.getpid())
    if child := os.fork():
        os.waitpid(child, 0)
        listener.close()
        os.close(folder)
        os.close(program)
        return
    if os.fork():
        os._exit(0)  # so that it is nobody's child: the program waits for its own only
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)  # who reads the program's output is not to wait for us
    start_new_thread(leave_after, (program,))
    serve(listener, folder, name)


def leave_after(program: int) -> None:
    """The namespace lasts as long as somebody is in it."""
    select.select([program], [], [])
    os._exit(0)


def main() -> None:
    place, port, _, *program = sys.argv[1:]
    named = ""
    try:
        open_door(place, int(port))
        for number in (SIGPIPE, SIGXFSZ):
            signal(number, SIG_DFL)  # Python ignores them, and what we become would too
        named = program[0]
        os.execvp(named, program)  # noqa: S606 - an argv list, and no shell
    except OSError as error:
        sys.stderr.write(f"{MARK}{named + ': ' if named else ''}{error.strerror or error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
