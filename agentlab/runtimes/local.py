"""Runners on this machine: child processes that outlive the plane, each the leader of its own session."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from agentlab import processes
from agentlab.config import Config
from agentlab.core.commands import CLI
from agentlab.errors import BadRequest, Unavailable
from agentlab.runtimes.base import Ended, Launch, Place, Stats
from agentlab.runtimes.detect import Detector, ask
from agentlab.runtimes.spare import ROOM, Spare, rest

LOG_TAIL = 1024 * 1024  # bytes of a log that are read at most
LAST_LINES = 20  # kept with the end of a runner
REMEMBERED = 256  # ends that `poll` and `wait` can still tell
FREE_BYTES = 64 * 1024 * 1024  # a home with less room cannot take runners

RUNNER = (sys.executable, "-P", "-m", "agentlab.runner")
LOOK = 2.0  # s between looks at the processes below the runners
CALM = 2.0  # s without a start, after which a spare runner is made
KEPT = 600.0  # s without a start, after which it is let go

_INHERITED = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV"}
    | {"CONDA_PREFIX", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}
    | {"JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"}  # what a sandbox has to hide; agents do not get them
    | {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"}
)
_NAME = re.compile(r"[^/\0]{1,200}")


# --- pure --------------------------------------------------------------------------------------------------


def environment(base: Mapping[str, str], agent: str, home: Path) -> dict[str, str]:
    """A runner's: what programs need to run at all, and whose it is. No secret comes this way."""
    kept = {name: value for name, value in base.items() if name in _INHERITED or name.startswith(("LC_", "XDG_"))}
    return kept | {processes.AGENT_VARIABLE: agent, "AGENTLAB_HOME": str(home)}


def log_file(home: Path, agent: str) -> Path:
    """Where a runner's own words go. Raises BadRequest: that is no agent's name."""
    run, slash, name = agent.partition("/")
    if not slash or any(not _NAME.fullmatch(part) or part in (".", "..") for part in (run, name)):
        raise BadRequest(f"{agent!r} is no agent: it should be run/agent.")
    return home / "logs" / run / f"{name}.log"


# --- the runtime -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Runner:
    place: Place
    handle: int  # pidfd: signals through it can never reach another process
    end: asyncio.Task[Ended]


class LocalRuntime:
    """`command` is what is started in place of the runner: it reads the `Launch` (msgpack) from its standard input."""

    kind = "local"

    def __init__(
        self,
        config: Config,
        home: Path,
        *,
        id: str = "local",
        host: str | None = None,
        command: Sequence[str] = RUNNER,
    ) -> None:
        self.host = host or socket.gethostname()
        self.id = id  # without the host, whose name may change under a home
        self.slots = config.local.slots
        self._home = home
        self._command = tuple(command)
        self._detector = Detector(config.clis)
        self._spares = config.local.spare and self._command == RUNNER
        self._spare: Spare | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._families: dict[str, list[str]] = {}  # agent -> identities of its processes, as seen last
        self._looking: asyncio.Task[None] | None = None
        self._living: dict[str, _Runner] = {}
        self._ends: dict[str, Ended] = {}

    # --- start and end ---

    async def start(self, launch: Launch) -> Place:
        if not Path(launch.root).is_dir():
            raise BadRequest(f"The workspace {launch.root} is no folder on {self.host}.")
        log = log_file(self._home, launch.agent)
        if len(self._living) >= self.slots:
            raise Unavailable(
                f"All {self.slots} slots of {self.id} are taken. Wait for an agent to end, stop one, "
                "or raise `slots` under [local] in config.toml."
            )
        place = self._follow(*self._begin(launch, log)).place
        self._keep_spare()
        return place

    def adopt(self, place: Place) -> bool:
        """Take over a runner of an earlier plane: it fills a slot again. False: it is gone."""
        return self._find(place) is not None

    async def poll(self, place: Place) -> Ended | None:
        runner = self._find(place)
        if runner is None:
            return self._ends.get(place.id) or self._unseen(place)
        return await asyncio.shield(runner.end) if _has_ended(runner.handle) else None

    async def wait(self, place: Place) -> Ended:
        runner = self._find(place)
        if runner is None:
            return self._ends.get(place.id) or self._unseen(place)
        return await asyncio.shield(runner.end)

    async def stop(self, place: Place, *, grace: float = 5.0) -> None:
        runner = self._find(place)
        if runner is None:
            return
        family = await asyncio.to_thread(_family, place)  # what loses its parent now is found by this list
        try:
            if not runner.end.done():  # its handle is closed then
                signal.pidfd_send_signal(runner.handle, signal.SIGTERM)
            async with asyncio.timeout(grace):
                await asyncio.shield(runner.end)
        except (ProcessLookupError, TimeoutError):
            pass
        left = [int(one.partition(":")[0]) for one in family if processes.alive(one)]
        await processes.end(left, marker=place.agent or None, grace=0.0)
        await asyncio.shield(runner.end)

    async def reap(self, agent: str) -> int:
        left = [int(one.partition(":")[0]) for one in self._families.pop(agent, ()) if processes.alive(one)]
        return await processes.end(left, marker=agent, grace=0.0)

    # --- while it runs ---

    async def pause(self, place: Place) -> None:
        if self._find(place):
            await asyncio.to_thread(lambda: processes.freeze(_agent_pids(place)))

    async def resume(self, place: Place) -> None:
        if self._find(place):
            await asyncio.to_thread(lambda: processes.thaw(_agent_pids(place)))

    async def logs(self, place: Place, tail: int | None = None) -> str:
        return self._log(place, tail)

    async def stats(self, place: Place) -> Stats:
        if not self._find(place):
            return Stats(cpu=0.0, rss=0, processes=0)
        usage = await asyncio.to_thread(processes.stats, [place.pid])
        return Stats(cpu=usage.cpu, rss=usage.rss, processes=usage.processes)

    # --- the machine ---

    async def detect(self) -> tuple[CLI, ...]:
        return await self._detector.detect()

    async def health(self) -> str:
        """Full is not ill: it says nothing of slots that are taken."""
        if self.slots < 1:
            return "It has no slots: raise `slots` under [local] in config.toml."
        try:
            free = shutil.disk_usage(self._home).free
        except OSError as error:
            return f"Its home {self._home} cannot be used: {error.strerror}."
        if free < FREE_BYTES:
            return f"The disk of {self._home} is full ({free // 1024**2} MiB left): free some room."
        answer = await ask(["true"], {"PATH": os.environ.get("PATH", os.defpath)})
        if answer.failed or answer.code != 0:
            return f"It cannot start processes: {answer.failed or f'`true` ended with {answer.code}'}."
        return ""

    async def close(self) -> None:
        followers = [runner.end for runner in self._living.values()]
        followers += [task for task in (self._keeping, self._looking) if task is not None]  # type: ignore[misc]
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        self._living.clear()
        if self._spare is not None:
            self._spare.end()
            self._spare = None

    # --- inside ---

    def _begin(self, launch: Launch, log: Path) -> tuple[Place, int]:
        """A process with its launch waiting in its standard input: nothing here can block on it. The place, and a pidfd."""
        for folder in (log.parent.parent, log.parent):
            folder.mkdir(exist_ok=True, mode=0o700)
        spare = self._take_spare(launch)
        try:
            process = self._hand_over(spare, launch, log) if spare else self._spawn(launch, log)
        except OSError as error:
            raise Unavailable(f"{self.id} could not start a runner: {error}. Nothing was started.") from None
        seen = processes.info(process.pid)
        try:
            handle = os.pidfd_open(process.pid)
        except OSError as error:
            process.kill()
            process.wait()
            raise Unavailable(f"{self.id} cannot watch a runner: {error}. Nothing was started.") from None
        process.returncode = 0  # Popen's part ends here: the process is awaited, and buried, by its pidfd
        id = f"{process.pid}:{seen.start if seen else 0}"
        return Place(runtime=self.id, id=id, pid=process.pid, agent=launch.agent), handle

    def _spawn(self, launch: Launch, log: Path) -> subprocess.Popen[bytes]:
        source, sink = os.pipe()
        output = -1
        try:
            _fill(sink, msgspec.msgpack.encode(launch))
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            return subprocess.Popen(
                self._command,
                stdin=source,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self._home,
                env=environment(os.environ, launch.agent, self._home),
            )
        finally:
            for fd in (source, sink, output):
                if fd >= 0:
                    os.close(fd)

    def _hand_over(self, spare: Spare, launch: Launch, log: Path) -> subprocess.Popen[bytes]:
        try:
            _fill(spare.sink, msgspec.msgpack.encode(msgspec.structs.replace(launch, log=str(log))))
        finally:
            spare.let_go()
        return spare.process

    def _take_spare(self, launch: Launch) -> Spare | None:
        """None: there is none that would be quicker than a fresh one."""
        spare = self._spare
        if spare is None or not spare.ready or len(launch.agent.encode()) > ROOM:
            return None
        self._spare = None
        return spare

    def _keep_spare(self) -> None:
        if self._spares:
            if self._keeping is not None:
                self._keeping.cancel()
            self._keeping = asyncio.create_task(self._have_spare(), name="agentlab-spare")

    async def _have_spare(self) -> None:
        """Once it is calm: one that waits. Not for ever: it takes memory."""
        try:
            await asyncio.sleep(CALM)
            await rest()
            if self._spare is not None and self._spare.process.poll() is not None:
                self._spare.end()
                self._spare = None
            if self._spare is None:
                env = environment(os.environ, "", self._home)
                self._spare = Spare((*self._command, "--spare"), cwd=self._home, env=env)
            await asyncio.sleep(KEPT)
        except OSError:
            return  # no room for one: agents start without
        self._spare.end()
        self._spare = None

    def _find(self, place: Place) -> _Runner | None:
        """The living runner of a place, one of an earlier plane included."""
        if runner := self._living.get(place.id):
            return runner
        if place.id in self._ends or not processes.alive(place.id):
            return None
        try:
            handle = os.pidfd_open(place.pid)
        except ProcessLookupError:
            return None
        if not processes.alive(place.id):  # it ended between the two looks: the handle may be another's
            os.close(handle)
            return None
        return self._follow(place, handle)

    def _follow(self, place: Place, handle: int) -> _Runner:
        runner = _Runner(place, handle, asyncio.create_task(self._until_end(place, handle)))
        self._living[place.id] = runner
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="families of runners")
        return runner

    async def _look(self) -> None:
        """Who belongs to whom, again and again, for as long as there are runners: what has thrown away its mark is not found any
        more once its runner was killed."""
        while self._living:
            places = [runner.place for runner in self._living.values()]
            found = await asyncio.to_thread(processes.families, [place.pid for place in places])
            self._families |= {place.agent: found[place.pid] for place in places if found[place.pid]}
            await asyncio.sleep(LOOK)

    async def _until_end(self, place: Place, handle: int) -> Ended:
        try:
            await processes.readable(handle)
            end = _collect(handle, self._log(place, LAST_LINES))
        finally:
            os.close(handle)
        del self._living[place.id]
        self._ends[place.id] = end
        for old in list(self._ends)[:-REMEMBERED]:
            del self._ends[old]
        return end

    def _unseen(self, place: Place) -> Ended:
        return Ended(reason="It is gone, and nobody saw how it ended.", last_lines=self._log(place, LAST_LINES))

    def _log(self, place: Place, tail: int | None) -> str:
        if not place.agent:
            return ""
        try:
            with log_file(self._home, place.agent).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            return f"Its log cannot be read: {error}."
        return text if tail is None else "\n".join(text.splitlines()[-tail:] if tail else [])


def _fill(sink: int, data: bytes) -> None:
    """Put all of it into a pipe that nobody reads yet. Raises BadRequest: it is too much."""
    os.set_blocking(sink, False)
    try:
        if len(data) > fcntl.fcntl(sink, fcntl.F_GETPIPE_SZ):
            fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, len(data))
        if os.write(sink, data) == len(data):
            return
    except OSError:
        pass  # more than a user may put into a pipe
    raise BadRequest(f"The agent's environment is too large to hand over ({len(data)} bytes): put it into a file.")


def _has_ended(handle: int) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(0))


def _collect(handle: int, last_lines: str) -> Ended:
    """How it ended, which the kernel tells only its parent, and only once."""
    try:
        found = os.waitid(os.P_PIDFD, handle, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        found = None
    if found is None:
        return Ended(reason="It was started by an earlier plane: how it ended is not known.", last_lines=last_lines)
    if found.si_code == os.CLD_EXITED:
        return Ended(code=found.si_status, last_lines=last_lines)
    name = signal.Signals(found.si_status).name
    return Ended(signal=found.si_status, reason=f"It was ended by {name}.", last_lines=last_lines)


def _family(place: Place) -> list[str]:
    """Identities of a runner's living tree."""
    found = []
    for pid in processes.tree(place.pid):
        try:
            found.append(processes.identity(pid))
        except ProcessLookupError:
            continue  # ended between the two looks
    return found


def _agent_pids(place: Place) -> list[int]:
    """The processes of the agent: below its runner, or marked as its; the runner itself not."""
    pids = {*processes.tree(place.pid), *(processes.marked(place.agent) if place.agent else ())}
    return sorted(pids - {place.pid, os.getpid()})
