"""How a plane is found and started: the state file of a home, the socket's place, the one process that may serve it.

    <home>/plane.json         where the running plane answers, and its admin token (0600, replaced atomically)
    <home>/plane.sock         its socket, where that name is short enough
    <home>/plane.lock         held by the plane as long as it lives
    <home>/plane.start.lock   held by a client while it starts one
    <home>/plane.stopped      it was stopped on purpose: runners leave it so, a client's `ensure` does not

A state file is believed only while its process lives and is the same one: a crash leaves the file, and pids come again.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from agentlab.__about__ import PROTOCOL, __version__
from agentlab.errors import BadRequest, PlaneUnavailable, Unavailable

SOCKET_BYTES = 100  # of a unix socket's path: the kernel takes 108 with the final NUL, macOS 104
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

_started: list[subprocess.Popen[bytes]] = []
"""Planes that this process started: its children, to be reaped when they end before it does."""


class Plane(Struct, frozen=True, kw_only=True):
    """A running plane. `started` is the kernel's start time of `pid`; together they name one process."""

    pid: int
    started: int
    address: str  # unix:/path
    token: str  # of the admin
    http: str = ""  # url, '' where HTTP is switched off
    version: str = __version__
    protocol: int = PROTOCOL
    log: str = ""

    @classmethod
    def here(cls, *, address: str, token: str, http: str = "", log: str = "") -> Plane:
        """This very process, as a plane."""
        pid = os.getpid()
        return cls(pid=pid, started=start_time(pid) or 0, address=address, token=token, http=http, log=log)

    def __repr__(self) -> str:  # the token stays out of logs and tracebacks
        return f"Plane(pid={self.pid}, address={self.address!r}, http={self.http!r}, version={self.version!r})"


# --- the state file ----------------------------------------------------------------------------------------


def read(home: Path) -> Plane | None:
    """The plane of a home, or None: there is no state file, or what it names is gone."""
    plane = _recorded(home)
    if plane is None:
        return None
    return plane if start_time(plane.pid) == plane.started else None


def write(home: Path, plane: Plane) -> None:
    """Say where the plane is. To be called when it answers, not before."""
    target = home / "plane.json"
    draft = home / f".plane.json.{os.getpid()}"
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(plane)) + b"\n")
    draft.replace(target)


def remove(home: Path, pid: int) -> None:
    """Take the state file away if it is still that process's."""
    plane = _recorded(home)
    if plane is not None and plane.pid == pid:
        (home / "plane.json").unlink(missing_ok=True)


def new_token() -> str:
    return secrets.token_urlsafe(32)


def _recorded(home: Path) -> Plane | None:
    try:
        return msgspec.json.decode((home / "plane.json").read_bytes(), type=Plane)
    except (OSError, msgspec.DecodeError):
        return None


def start_time(pid: int) -> int | None:
    """When a process was started, as the kernel counts it; None: there is none, or only its zombie."""
    for child in _started[:]:
        if child.pid == pid and child.poll() is not None:
            _started.remove(child)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None if Path("/proc/self/stat").exists() else _start_time_elsewhere(pid)
    return None if fields[0] in "ZX" else int(fields[19])


def _start_time_elsewhere(pid: int) -> int | None:
    """Where there is no /proc: 1/100 s since the epoch."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 100)
    except psutil.Error:
        return None


# --- places ------------------------------------------------------------------------------------------------


def prepare(home: Path) -> None:
    """Make the home and its logs folder, 0700. Raises BadRequest: it cannot be made or written."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        (home / "logs").mkdir(exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise BadRequest(
            f"agentlab cannot keep its files in {home}: {error.strerror or error}. "
            "Set AGENTLAB_HOME to a folder that you may write (or pass home=...)."
        ) from None


def log_path(home: Path) -> Path:
    return home / "logs" / "plane.log"


def socket_path(home: Path) -> Path:
    """Where the plane listens: in the home, or where that name is too long for a socket, in a private runtime folder.

    Raises BadRequest: a folder of somebody else is in the way.
    """
    path = home / "plane.sock"
    if len(os.fsencode(path)) <= SOCKET_BYTES:
        return path
    name = f"agentlab-{os.getuid()}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"
    for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - checked below
        if not base or not Path(base).is_dir():
            continue
        path = Path(base) / name / "plane.sock"
        if len(os.fsencode(path)) <= SOCKET_BYTES:
            _private_folder(path.parent)
            return path
    raise BadRequest(
        f"No place for a socket: {home} is too long and so is the temp folder. Choose a shorter AGENTLAB_HOME."
    )


def _private_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise BadRequest(f"{folder}, for the plane's socket, cannot be made: {error.strerror or error}.") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise BadRequest(
            f"{folder}, for the plane's socket, is not a private folder of yours (owner {found.st_uid}, "
            f"mode {stat.filemode(found.st_mode)}). Remove it, or choose a shorter AGENTLAB_HOME."
        )


# --- one plane for a home ----------------------------------------------------------------------------------


@contextmanager
def hold(home: Path) -> Iterator[None]:
    """Be the plane of this home, from before its database is opened. Raises Unavailable: another one is, and who."""
    prepare(home)
    fd = os.open(home / "plane.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not any(_lock(fd) for _ in _until(time.monotonic() + 1.0)):  # a client's look at it passes at once
            raise Unavailable(
                f"Another plane (pid {os.pread(fd, 32, 0).decode(errors='replace').strip() or '?'}) serves {home}. "
                "Stop it with `agentlab daemon stop`, or choose another AGENTLAB_HOME."
            )
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def _somebody_serves(home: Path) -> bool:
    """A plane lives, though it may not answer yet, or not any more."""
    if read(home):
        return True
    try:
        fd = os.open(home / "plane.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


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
    process: subprocess.Popen[bytes] | None = None
    log_from = _size(log_path(home))
    right = os.open(home / "plane.start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for _ in _until(time.monotonic() + timeout):
            code = process.poll() if process else None  # before the look: a plane that answered and left was there
            if plane := _answering(home):
                return plane
            if code is not None:
                raise PlaneUnavailable(
                    f"The plane could not be started: it ended {_how(code)}.\n{_tail(log_path(home), log_from)}"
                )
            if process is None and _lock(right) and not _somebody_serves(home):
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
    if (plane := read(home)) is None:
        return False
    mark_stopped(home)
    with _pinned(plane) as handle:
        if handle is None:
            return True
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not _ended(handle, timeout):
            if not force:
                raise Unavailable(
                    f"The plane (pid {plane.pid}) was asked to stop and is still there after {timeout:g} s. "
                    "Look at `agentlab daemon logs`, or stop it with force: agents are not lost by that."
                )
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            if not _ended(handle, 5.0):
                raise Unavailable(f"The plane (pid {plane.pid}) cannot be killed: it hangs in the kernel.")
    start_time(plane.pid)  # reaps it where it was our child
    return True


@contextmanager
def _pinned(plane: Plane) -> Iterator[int | None]:
    """A pidfd of the plane, so that no signal can go astray; None: it is gone."""
    try:
        handle = os.pidfd_open(plane.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield handle if start_time(plane.pid) == plane.started else None
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


def _launch(home: Path, command: Sequence[str]) -> tuple[subprocess.Popen[bytes], int]:
    (home / "plane.stopped").unlink(missing_ok=True)
    log = log_path(home)
    if _size(log) > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        log_from = _size(log)
        process = subprocess.Popen(
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
    _started.append(process)
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
