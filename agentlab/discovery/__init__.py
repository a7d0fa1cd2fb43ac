"""How a plane is found and started: the state file of a home, the socket's place, the one process that may serve it.

    <home>/plane.json         where the running plane answers, and its admin token (0600, replaced atomically)
    <home>/plane.sock         its socket, where that name is short enough
    <home>/plane.lock         held by the plane as long as it lives
    <home>/plane.start.lock   held by a client while it starts one
    <home>/plane.stopped      it was stopped on purpose: runners leave it so, a client's `ensure` does not
    <home>/logs/plane.log     what it says

A state file is believed only while its process lives and is the same one: a crash leaves the file, and pids come again.
"""

from .places import SOCKET_BYTES, log_path, prepare, socket_path
from .process import answers, ensure, hold, mark_stopped, stop, stopped_on_purpose
from .record import Plane, new_token, read, remove, start_time, write

__all__ = [
    "SOCKET_BYTES",
    "Plane",
    "answers",
    "ensure",
    "hold",
    "log_path",
    "mark_stopped",
    "new_token",
    "prepare",
    "read",
    "remove",
    "socket_path",
    "start_time",
    "stop",
    "stopped_on_purpose",
    "write",
]
