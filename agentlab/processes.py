"""Process trees: started, watched, frozen, and ended so that nothing of them is left.

A child is started by `subprocess.Popen` (vfork: cheap from a big process) in a session of its own. It carries its
owner in its environment, which its descendants inherit: so a daemon that forked twice into its own session is found
again, also by another process after its runner was killed. That is why there is no PDEATHSIG: it would need a
`preexec_fn` (a full fork, unsafe with threads), and dies with the *thread* that spawned, not with the process.
A runner calls `become_subreaper`, so that orphans come back to it and stay in its tree.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import resource
import select
import signal
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from agentlab.errors import Unavailable

AGENT_VARIABLE = "AGENTLAB_AGENT"
"""run/agent, in the environment of every process of an agent."""

_PROC = "/proc"
_PATIENCE = 15.0  # s until a process that survives SIGKILL is reported; it hangs in the kernel then
_PIPE = 1 << 20  # bytes; the default of 64 KiB costs a wake-up each
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_KTHREADD = 2  # the parent of the kernel's own
_PR_SET_CHILD_SUBREAPER = 36


class Info(NamedTuple):
    parent: int
    session: int
    state: str
    start: int  # clock ticks since boot
    cpu: float  # s
    rss: int  # bytes

    @property
    def dead(self) -> bool:
        return self.state in "ZXx"


class Usage(NamedTuple):
    cpu: float  # s since start
    rss: int  # bytes
    processes: int


@dataclass(frozen=True)
class Exit:
    code: int | None
    signal: int | None
    rusage: dict[str, float]


# --- looking -----------------------------------------------------------------------------------------------


def info(pid: int) -> Info | None:
    """None: there is no such process."""
    try:
        text = _told(pid, "stat")
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split(None, 22)
    cpu = (int(fields[11]) + int(fields[12])) / _TICKS
    return Info(int(fields[1]), int(fields[3]), chr(fields[0][0]), int(fields[19]), cpu, int(fields[21]) * _PAGE)


def _told(pid: int | str, what: str) -> bytes:
    """A file of /proc, without a `Path` or a decoder: hundreds are read in one look. Raises OSError."""
    fd = os.open(f"{_PROC}/{pid}/{what}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def table() -> dict[int, Info]:
    """All processes there are."""
    found = {}
    for entry in os.listdir(_PROC):  # noqa: PTH208 - a Path each would cost more than the look
        if entry.isdigit() and (seen := info(int(entry))):
            found[int(entry)] = seen
    return found


def identity(pid: int) -> str:
    """ "pid:start time": names this process and never a later one. Raises ProcessLookupError."""
    found = info(pid)
    if found is None or found.dead:
        raise ProcessLookupError(f"There is no process {pid}.")
    return f"{pid}:{found.start}"


def alive(identity: str) -> bool:
    pid, _, start = identity.partition(":")
    found = info(int(pid)) if pid.isdigit() else None
    return found is not None and not found.dead and str(found.start) == start


def tree(pid: int) -> list[int]:
    """The process and its living descendants, parents before children. Empty: it is gone."""
    return _below([pid], table())


def families(roots: Iterable[int]) -> dict[int, list[str]]:
    """The identities of what is alive below each of these, themselves included: by one look at all processes."""
    now = table()
    return {root: [f"{pid}:{now[pid].start}" for pid in _below([root], now)] for root in roots}


def marked(value: str, variable: str = AGENT_VARIABLE) -> list[int]:
    """All own processes that carry this value in their environment: `marked("run/agent")`."""
    return _carrying(f"{variable}={value}".encode())[0]


def _carrying(wanted: bytes) -> tuple[list[int], bool]:
    """Processes with this in their environment, and whether that is all of them. One that went away during the look may
    have left a child that was not looked at; one in the middle of an exec shows an empty environment."""
    found, sure = [], True
    for entry in os.listdir(_PROC):  # noqa: PTH208 - a Path each would cost more than the look
        if not entry.isdigit():
            continue
        try:
            environ = _told(entry, "environ")
        except PermissionError:
            continue  # of another user
        except OSError:
            environ = b""
        if wanted in environ.split(b"\0"):
            found.append(int(entry))
        elif not environ:
            seen = info(int(entry))
            sure = sure and seen is not None and (seen.dead or _KTHREADD in (int(entry), seen.parent))
    return found, sure


def stats(roots: Iterable[int]) -> Usage:
    """Of the trees below these roots, together."""
    now = table()
    pids = _below(roots, now)
    return Usage(sum(now[p].cpu for p in pids), sum(now[p].rss for p in pids), len(pids))


def idle() -> float | None:
    """s that the machine's processors have had nothing to do, added up, since it was started. None: it does not tell."""
    try:
        return float(_told("", "uptime").split()[1])
    except (OSError, IndexError, ValueError):
        return None


def _below(roots: Iterable[int], now: Mapping[int, Info]) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid, seen in now.items():
        children.setdefault(seen.parent, []).append(pid)
    found: dict[int, None] = {}
    pending = list(roots)
    while pending:
        pid = pending.pop(0)
        if pid in found or pid not in now:
            continue
        found[pid] = None
        pending.extend(children.get(pid, ()))
    return [pid for pid in found if not now[pid].dead]


def _ourselves(now: Mapping[int, Info]) -> set[int]:
    """This process and those above it: never to be killed by us."""
    spared, pid = {0, 1}, os.getpid()
    while pid not in spared:
        spared.add(pid)
        pid = now[pid].parent if pid in now else 0
    return spared


# --- freezing and ending -----------------------------------------------------------------------------------


def freeze(roots: Iterable[int]) -> None:
    """Stop the trees, and whatever they fork meanwhile."""
    roots = list(roots)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        now = table()
        running = [pid for pid in _below(roots, now) if now[pid].state not in "Tt" and pid != os.getpid()]
        if not running:
            return
        for pid in running:
            _signal(pid, signal.SIGSTOP)
        time.sleep(0.002)  # uninterruptible ones stop when they come back


def thaw(roots: Iterable[int]) -> None:
    for pid in reversed(_below(roots, table())):
        _signal(pid, signal.SIGCONT)


_LOOKS = 3  # in which nothing was seen, where one look may have missed a process
_BETWEEN = 0.008  # s


def kill_tree(roots: Iterable[int], *, marker: str | None = None, grace: float = 5.0) -> int:
    """End the trees: TERM, after `grace` seconds KILL, again until none is seen. Blocks; the number ended.

    Counted in are members of the roots' sessions and processes that carry `marker`: an agent's name, or
    "VARIABLE=value". This process and its ancestors are spared. Raises Unavailable where one cannot be killed.
    """
    roots = list(roots)
    known: dict[int, int] = {}  # pid -> start time, of all that were ever seen in the trees
    asked: set[int] = set()
    begun = time.monotonic()
    quiet = 0  # looks in a row in which nothing was seen
    while True:
        carrying: list[int] = []
        sure = False
        if marker is not None:
            carrying, sure = _carrying((marker if "=" in marker else f"{AGENT_VARIABLE}={marker}").encode())
        now = table()  # afterwards: whoever was seen above is in it, if it is still there
        spared = _ourselves(now)
        sessions = set(roots) - spared
        members = {pid for pid, seen in now.items() if seen.session in sessions or known.get(pid) == seen.start}
        members.update(pid for pid in carrying if pid in now)
        living = [pid for pid in _below([*roots, *members], now) if pid not in spared]
        known |= {pid: now[pid].start for pid in living}
        if not living:
            quiet += 1
            if sure or quiet >= _LOOKS:
                _reap(known, roots)
                return len(known)
            time.sleep(_BETWEEN)
            continue
        quiet = 0
        elapsed = time.monotonic() - begun
        if elapsed > grace + _PATIENCE:
            raise Unavailable(f"The processes {living} do not die, not even by SIGKILL. The machine needs a look.")
        for pid in living:
            if elapsed >= grace:
                _signal(pid, signal.SIGKILL)
            elif pid not in asked:
                asked.add(pid)
                _signal(pid, signal.SIGTERM)
                _signal(pid, signal.SIGCONT)  # a stopped one would never hear it
        _wait_any(living, 0.05 if elapsed >= grace else min(grace - elapsed, 0.25))


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _wait_any(pids: Sequence[int], timeout: float) -> None:
    """Return as soon as one of them ends."""
    poll, opened = select.poll(), []
    for pid in pids[:256]:
        try:
            opened.append(os.pidfd_open(pid))
        except OSError:
            timeout = 0
            break
    for fd in opened:
        poll.register(fd, select.POLLIN)
    poll.poll(timeout * 1000)
    for fd in opened:
        os.close(fd)


def _reap(known: Mapping[int, int], roots: Sequence[int]) -> None:
    """Bury orphans that came to us as their subreaper. Roots have an owner who waits for them."""
    for pid, start in known.items():
        seen = info(pid)
        if seen and seen.start == start and seen.dead and seen.parent == os.getpid() and pid not in roots:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass


# --- who belongs to nobody ---------------------------------------------------------------------------------

_adopting = False  # this process is a subreaper
_started: set[int] = set()  # children of `spawn` that are not buried yet
_starting = threading.Lock()
_excused: set[str] = set()


def excuse(mark: str) -> None:
    """Whoever carries this ("VARIABLE=value") in its environment is no stray, for as long as we live."""
    _excused.add(mark)


def strays(marks: Callable[[], Iterable[str]]) -> list[int]:
    """Orphans that came to us as their subreaper, and carry neither one of these marks nor one that is excused: they have left
    the session that they were started in and its environment, or what they belonged to is over. What we start ourselves is
    none: it is in our session, or from `spawn`. Blocks."""
    if not _adopting:
        return []
    session = os.getsid(0)
    with _starting:
        ours = [
            pid
            for pid, seen in table().items()
            if seen.parent == os.getpid() and not seen.dead and seen.session != session
        ]
        found = [pid for pid in ours if pid not in _started]
    return [pid for pid in found if not _carries(pid, _excused.union(marks()))]


def _carries(pid: int, marks: Iterable[str]) -> bool:
    wanted = {mark.encode() for mark in marks}
    for _ in range(_LOOKS):
        try:
            environ = _told(pid, "environ")
        except PermissionError:
            return False  # it has made itself unreadable
        except OSError:
            return True  # it is gone
        if environ:
            return not wanted.isdisjoint(environ.split(b"\0"))
        time.sleep(_BETWEEN)  # it may be in the middle of an exec
    return False


def leave_no_core() -> None:
    """No core file of this process, which knows tokens, and of what it starts, unless that raises the limit for itself."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def become_subreaper() -> None:
    """Orphans of this process's descendants become its own children, so that they stay in `tree(os.getpid())`."""
    global _adopting
    _adopting = True
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


# --- starting ----------------------------------------------------------------------------------------------


class Child:
    """A process that we started. Its pipes are read by `read_pipe`, its exit is awaited by pidfd: no threads."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid
        self.identity = f"{self.pid}:{found.start}" if (found := info(self.pid)) else f"{self.pid}:0"
        self._pidfd = os.pidfd_open(self.pid)
        self._exit: asyncio.Task[Exit] | None = None

    @property
    def stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def stderr(self) -> IO[bytes]:
        assert self._process.stderr is not None
        return self._process.stderr

    async def wait(self) -> Exit:
        """How it ended. Any number may wait; cancelling one of them disturbs nobody."""
        if self._exit is None:
            self._exit = asyncio.ensure_future(self._collect())
        return await asyncio.shield(self._exit)

    async def _collect(self) -> Exit:
        await readable(self._pidfd)
        os.close(self._pidfd)
        _started.discard(self.pid)
        _, status, usage = os.wait4(self.pid, 0)  # noqa: ASYNC222 - it has ended
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code
        rusage = {"user": usage.ru_utime, "system": usage.ru_stime, "peak": float(usage.ru_maxrss * 1024)}
        return Exit(code if code >= 0 else None, -code if code < 0 else None, rusage)

    def close_pipes(self) -> None:
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def spawn(
    argv: Sequence[str],
    *,
    cwd: str | Path,
    env: Mapping[str, str],
    stdin: IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
) -> Child:
    """Start a program in a session of its own, with pipes for what it prints. Raises OSError, as Popen does."""
    with _starting:
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(env),
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
        _started.add(process.pid)
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        try:
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)
        except OSError:
            pass  # the user's pipe budget is used up: a smaller one works too
    return Child(process)


async def readable(fd: int) -> None:
    """Return when the descriptor has something to read, or its other end is closed."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, wake)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def read_pipe(pipe: IO[bytes], sink: Callable[[bytes], Awaitable[None]], chunk: int = 1 << 18) -> None:
    """Hand everything to `sink`, in order, until the other end is closed. A slow sink slows the writer."""
    fd = pipe.fileno()
    while True:
        try:
            data = os.read(fd, chunk)
        except BlockingIOError:
            await readable(fd)
            continue
        if not data:
            return
        await sink(data)


async def end(roots: Iterable[int], *, marker: str | None = None, grace: float = 5.0) -> int:
    """`kill_tree`, without holding up the loop."""
    return await asyncio.to_thread(kill_tree, list(roots), marker=marker, grace=grace)
