"""The one process that serves a home: held, started when it is missing, stopped on purpose."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agentlab import processes
from agentlab.errors import PlaneUnavailable, Unavailable

from .places import log_path, prepare
from .record import Plane, read

LOG_BYTES = 16 * 1024 * 1024  # a log larger than this is set aside when a plane starts

_NOISE = (
    *("AGENTLAB_", "JPY_", "JUPYTERHUB_", "JUPYTER_TOKEN", "JUPYTER_SERVER_", "KERNEL_", "PYDEVD_", "VSCODE_"),
    *(
        "CLAUDECODE",
        "CLAUDE_CODE_ENTRYPOINT",
        "CLAUDE_CODE_SESSION",
        "CLAUDE_CODE_SSE_PORT",
        "MPLBACKEND",
        "PAGER",
        "GIT_PAGER",
        "CLICOLOR",
        "FORCE_COLOR",
        "COLUMNS",
        "LINES",
    ),
)
"""Beginnings of names in the environment that a notebook, an editor or an agent set for itself."""


class _Outliving(subprocess.Popen[bytes]):
    """A plane may outlive who started it: that is no leak, of which Python would warn."""

    def __del__(self) -> None:
        pass


_started: list[_Outliving] = []
"""Planes that this process started: its children, reaped when it starts the next one."""


# --- the right to serve a home -----------------------------------------------------------------------------


@contextmanager
def hold(home: Path) -> Iterator[None]:
    """Be the plane of this home, from before its database is opened. Raises Unavailable: another one is, and who."""
    prepare(home)
    fd = os.open(_lock_path(home), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not any(_lock(fd) for _ in _until(time.monotonic() + 1.0)):  # a client's look at it passes at once
            raise Unavailable(
                f"Another plane (pid {_holder(home).partition(':')[0] or '?'}) serves {home}. "
                "Stop it with `agentlab daemon stop`, or choose another AGENTLAB_HOME."
            )
        os.ftruncate(fd, 0)
        os.pwrite(fd, processes.identity(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(fd)


def _held(home: Path) -> bool:
    """A plane lives, though it may not answer yet, or not any more."""
    try:
        fd = os.open(_lock_path(home), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _holder(home: Path) -> str:
    """Identity of the plane that holds the home, '' where none does."""
    return _lock_path(home).read_text() if _held(home) else ""


def _lock_path(home: Path) -> Path:
    return home / "plane.lock"


def _lock(fd: int, mode: int = fcntl.LOCK_EX) -> bool:
    """Take the lock, or still have it."""
    try:
        fcntl.flock(fd, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _until(deadline: float) -> Iterator[None]:
    """Once at least, then again after longer and longer pauses (5 to 50 ms) until the time has come."""
    pause = 0.005
    yield
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, 0.05)
        yield


def stopped_on_purpose(home: Path) -> bool:
    """Somebody stopped the plane; do not start it again unasked."""
    return (home / "plane.stopped").exists()


def mark_stopped(home: Path) -> None:
    os.close(os.open(home / "plane.stopped", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


# --- start and stop ----------------------------------------------------------------------------------------


def ensure(home: Path, *, timeout: float = 30.0, command: Sequence[str] | None = None) -> Plane:
    """The plane of this home, started if there is none. However many ask at once, one is started.

    Blocking; `command` replaces what is started (it gets no further arguments). Raises BadRequest (the home cannot be
    used) and PlaneUnavailable (it did not come up, with the last lines of its log).
    """
    home = home.resolve()
    if plane := _answering(home):
        return plane
    prepare(home)
    process: _Outliving | None = None
    log_from = _size(log_path(home))
    right = os.open(home / "plane.start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for _ in _until(time.monotonic() + timeout):
            code = process.poll() if process else None  # before the look: a plane that answered and left was there
            if plane := _answering(home):
                return plane
            if code is not None and not _held(home):  # else another one was first: wait for that
                raise PlaneUnavailable(
                    f"The plane could not be started: it ended {_how(code)}.\n{_tail(log_path(home), log_from)}"
                )
            if process is None and _lock(right) and read(home) is None and not _held(home):
                process, log_from = _launch(home, command or _command(home))
    finally:
        os.close(right)
    raise PlaneUnavailable(
        f"The plane of {home} does not answer within {timeout:g} s. Try again; `agentlab daemon logs` says what it does, "
        f"`agentlab daemon stop` ends it.\n{_tail(log_path(home), log_from)}"
    )


def stop(home: Path, timeout: float = 30.0, *, force: bool = False) -> bool:
    """End the plane, on purpose. True: it is gone; False: there was none. Agents and their runners go on.

    It is asked (TERM); `force` kills it if it is still there after `timeout` seconds, else Unavailable is raised.
    """
    home = home.resolve()
    plane = read(home)
    identity = plane.identity if plane else _holder(home)  # one that still starts has no state file
    if not identity:
        return False
    mark_stopped(home)
    pid = identity.partition(":")[0]
    with _pinned(identity) as handle:
        if handle is None:
            return True
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not _ended(handle, timeout):
            if not force:
                raise Unavailable(
                    f"The plane (pid {pid}) was asked to stop and is still there after {timeout:g} s. "
                    "Look at `agentlab daemon logs`, or stop it with force: agents are not lost by that."
                )
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            if not _ended(handle, 5.0):
                raise Unavailable(f"The plane (pid {pid}) cannot be killed: it hangs in the kernel.")
    return True


@contextmanager
def _pinned(identity: str) -> Iterator[int | None]:
    """A pidfd of this process, so that no signal can go astray; None: it is gone."""
    try:
        handle = os.pidfd_open(int(identity.partition(":")[0]))
    except ProcessLookupError:
        yield None
        return
    try:
        yield handle if processes.alive(identity) else None
    except ProcessLookupError:
        pass  # it ended before the signal came
    finally:
        os.close(handle)


def _answering(home: Path) -> Plane | None:
    plane = read(home)
    return plane if plane and answers(plane.address) else None


def answers(address: str) -> bool:
    """Somebody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address.removeprefix("unix:"))
        except OSError as error:
            return error.errno in (errno.EAGAIN, errno.EINPROGRESS)  # its backlog is full: busy, but there
    return True


def _ended(handle: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(max(timeout, 0) * 1000))


def _command(home: Path) -> list[str]:
    return [sys.executable, "-P", "-m", "agentlab.plane", "--home", str(home)]


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOISE)}
    return kept | {"AGENTLAB_HOME": str(home)}


def _launch(home: Path, command: Sequence[str]) -> tuple[_Outliving, int]:
    (home / "plane.stopped").unlink(missing_ok=True)
    log = log_path(home)
    if _size(log) > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        log_from = _size(log)
        process = _Outliving(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=fd,
            stderr=fd,
            close_fds=True,
            start_new_session=True,
            cwd=home,
            env=_environment(home),
        )
    except OSError as error:
        raise PlaneUnavailable(f"The plane could not be started: {error}.") from None
    finally:
        os.close(fd)
    _started[:] = [one for one in _started if one.poll() is None] + [process]
    return process, log_from


def _how(code: int) -> str:
    return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _tail(path: Path, start: int, lines: int = 20) -> str:
    """The last lines of what was written since `start`."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, _size(path) - 64 * 1024))
            text = file.read().decode(errors="replace").strip()
    except FileNotFoundError:
        text = ""
    return "\n".join(text.splitlines()[-lines:]) or f"Nothing was written to {path}."
