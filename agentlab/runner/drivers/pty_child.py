"""A program in a terminal of its own. Run as a file (`python -I pty_child.py FD ROWS COLS PROGRAM...`): imports next to nothing.

FD is a socket of the driver. What comes is typed, byte by byte; what goes is what the program prints. The end of the
program is the end of this process, with its exit code; the end of the socket is the end of the program.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import socket
import struct
import sys
import termios


def main() -> int:
    link = socket.socket(fileno=int(sys.argv[1]))
    rows, columns, argv = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    pid, terminal = pty.fork()
    if pid == 0:
        link.close()
        try:
            os.execvp(argv[0], argv)  # noqa: S606 - an argv list, and no shell
        except OSError as error:
            os.write(2, f"{argv[0]}: {error.strerror}\r\n".encode())
            os._exit(127)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    os.kill(pid, signal.SIGWINCH)
    _relay(link, terminal, os.pidfd_open(pid))
    os.close(terminal)  # which hangs up on whatever is left in it
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _relay(link: socket.socket, terminal: int, program: int) -> None:
    """Until the program ends, its socket does, or nobody has the terminal open: what it started may have it for longer."""
    while True:
        ready, _, _ = select.select([link.fileno(), terminal, program], [], [])
        if terminal in ready:  # first: its last words
            try:
                said = os.read(terminal, 65536)
            except OSError:  # nobody has the other side open any more
                return
            if not said:
                return
            link.sendall(said)
        elif program in ready:
            return
        if link.fileno() in ready:
            typed = link.recv(65536)
            if not typed:
                return
            while typed:
                typed = typed[os.write(terminal, typed) :]


if __name__ == "__main__":
    sys.exit(main())
